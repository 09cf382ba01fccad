"""Ring buffer of the end of a log that arrives in pieces: so much is in memory as it may hold."""

from collections import deque
from collections.abc import Callable
from typing import Final

from windsock import egress

READ_SECONDS: Final = 20.0
MAX_READ_BYTES: Final = 8 * 1024 * 1024
"""Of a larger log the end is not read: Airflow delivers a log from its beginning only."""
MAX_TAIL_BYTES: Final = 256 * 1024
MAX_ENTRY_BYTES: Final = 64 * 1024
"""A longer line is cut. So long that of a cut line no end is shown, which may be half of a secret: an event is at most
16,000 characters of at most four bytes."""
_MAX_TEXT_BYTES: Final = 12_000
"""Of an entry of several lines that is no traceback; a longer one is taken apart, so that none of its lines is cut."""
_OVERHEAD_BYTES: Final = 100
"""Of an entry in memory, so that a log of empty lines does not take many times its size."""
_MAX_HEADER_LINES: Final = 50

_GROUP_OF_SOURCES: Final = b"::group::Log message source details"
_END_OF_GROUP: Final = b"::endgroup::"
_TRACEBACK: Final = b"Traceback (most recent call last):"


class LogTail:
    """A BodySink. `entries`: the newest, oldest first; `count`: how many there were in all.

    `starts_entry` tells whether a line begins an entry or goes on with the one before. `is_header`: of a line before
    the first entry and its number, whether it only says where the log was found; such lines are in `header` and are
    not counted.
    `skip`: so many entries at the beginning are counted and not kept. `is_cut`: the log goes on behind what was read.
    """

    seconds = READ_SECONDS

    def __init__(
        self,
        content_type: str,
        starts_entry: Callable[[bytes], bool],
        is_header: Callable[[bytes, int], bool],
        *,
        skip: int = 0,
    ) -> None:
        self.entries: deque[bytearray] = deque()
        self.header: list[bytes] = []
        self.count = 0
        self.is_cut = False
        self._content_type = content_type
        self._starts_entry, self._is_header = starts_entry, is_header
        self._skip = skip
        self._read_bytes = self._tail_bytes = 0
        self._partial = bytearray()
        self._in_header, self._in_sources, self._in_traceback = True, False, False

    def accepts(self, response: egress.Response) -> bool:
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        return response.status_code == 200 and kind == self._content_type  # noqa: PLR2004

    @property
    def has_begun(self) -> bool:
        return self._read_bytes > 0

    def write(self, chunk: bytes) -> bool:
        self._read_bytes += len(chunk)
        first, *others = chunk.split(b"\n")
        self._extend(first)
        for line in others:
            self._add(bytes(self._partial))
            self._partial.clear()
            self._extend(line)
        self.is_cut = self._read_bytes >= MAX_READ_BYTES
        return not self.is_cut

    def close(self, *, is_whole: bool) -> None:
        """End the log. Without `is_whole` the last line may be half of one, and is left out."""
        if self._partial and is_whole and not self.is_cut:
            self._add(bytes(self._partial))
        self._partial.clear()

    def _extend(self, part: bytes) -> None:
        self._partial += part[: MAX_ENTRY_BYTES - len(self._partial)]

    def _add(self, line: bytes) -> None:
        line = line.removesuffix(b"\r")
        if self._in_header and self._takes_header(line):
            return
        self._in_header = False
        starts_entry = self._starts_entry(line) or not self.count
        if starts_entry and not line:
            return
        if not starts_entry:
            if self.count <= self._skip:
                return
            self._in_traceback = self._in_traceback or line.startswith(_TRACEBACK)
            most = MAX_ENTRY_BYTES if self._in_traceback else _MAX_TEXT_BYTES
            if self.entries and len(self.entries[-1]) + len(line) < most:
                self.entries[-1] += b"\n" + line
                self._keep(len(line) + 1)
                return
        self.count += 1
        self._in_traceback = False
        if self.count > self._skip:
            self.entries.append(bytearray(line))
            self._keep(len(line) + _OVERHEAD_BYTES)

    def _takes_header(self, line: bytes) -> bool:
        if _GROUP_OF_SOURCES in line:
            self._in_sources = True
        elif self._in_sources and _END_OF_GROUP in line:
            self._in_header = False
        elif not self._in_sources and not self._is_header(line, len(self.header)):
            return False
        if len(self.header) < _MAX_HEADER_LINES:
            self.header.append(line)
        return True

    def _keep(self, size: int) -> None:
        self._tail_bytes += size
        while self._tail_bytes > MAX_TAIL_BYTES and len(self.entries) > 1:
            self._tail_bytes -= len(self.entries.popleft()) + _OVERHEAD_BYTES
