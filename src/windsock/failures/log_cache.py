"""Logs that were read, in the memory of this process: finished tries for a day, others for the next poll."""

import time
from collections import OrderedDict

from windsock.errors import ProviderFailed
from windsock.failures.log_snapshots import LogSnapshot

MAX_BYTES = 32 * 1024 * 1024
MAX_ENTRIES = 2_000
FINISHED_SECONDS = 86_400.0
INCOMPLETE_SECONDS = 15.0
"""Of the log of a try that has just ended, or of which Airflow gave no end: the rest may be stored in a moment."""
FAILED_SECONDS = 5.0
POLL_SECONDS = 2.0
_SHARE_OF_TIME = 5
"""A log that takes long to read is read less often: at most this part of the time is spent on it."""

Key = tuple[object, ...]


class LogCache:
    """Holds LogSnapshots, and for a moment the failures to get one; the least used go first."""

    def __init__(self) -> None:
        self._entries: OrderedDict[Key, tuple[float, LogSnapshot | ProviderFailed, int]] = OrderedDict()
        self._bytes = 0

    def get(self, key: Key) -> LogSnapshot | None:
        """Raises the ProviderFailed that was put."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        until, found, _ = entry
        if time.monotonic() >= until:
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        if isinstance(found, ProviderFailed):
            raise found.with_traceback(None)
        return found

    def put(self, key: Key, snapshot: LogSnapshot, *, is_settled: bool) -> None:
        """`is_settled`: nothing will be added to it."""
        if is_settled:
            seconds = FINISHED_SECONDS
        else:
            least = INCOMPLETE_SECONDS if snapshot.is_finished else POLL_SECONDS
            seconds = max(least, _SHARE_OF_TIME * snapshot.seconds)
        self._store(key, seconds, snapshot, snapshot.size)

    def put_failure(self, key: Key, failure: ProviderFailed, seconds: float) -> None:
        """`seconds`: how long it took to fail."""
        self._store(key, max(FAILED_SECONDS, _SHARE_OF_TIME * seconds), failure, len(str(failure)))

    def _store(self, key: Key, seconds: float, found: LogSnapshot | ProviderFailed, size: int) -> None:
        self._drop(key)
        self._entries[key] = time.monotonic() + seconds, found, size
        self._bytes += size
        while self._bytes > MAX_BYTES or len(self._entries) > MAX_ENTRIES:
            self._drop(next(iter(self._entries)))

    def _drop(self, key: Key) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._bytes -= entry[2]
