"""Follows the log of a running try as server-sent events; all viewers of a log share what is read from Airflow."""

import asyncio
import time
from collections.abc import AsyncIterator
from uuid import UUID

from windsock.auth.authenticator import Space
from windsock.errors import TooManyStreams, WindsockError
from windsock.failures.log_cache import POLL_SECONDS
from windsock.failures.log_models import Level
from windsock.failures.log_reader import LogReader
from windsock.failures.log_snapshots import LogSnapshot
from windsock.http.responses import dump_json

MAX_STREAMS = 200
"""Open at once in one process."""
MAX_STREAM_SECONDS = 600.0
"""After that the client opens it again, and its key is checked anew."""
SILENT_SECONDS = 15.0
"""Then a comment is sent, so that proxies do not take the connection for dead."""
TIME_IS_UP = "A stream ends after ten minutes. Open it again with the cursor."


class LogStreams:
    """Counts the streams that are open."""

    def __init__(self, reader: LogReader) -> None:
        self._reader = reader
        self._open = 0

    def check_capacity(self) -> None:
        """Raise TooManyStreams where no more may be opened."""
        if self._open >= MAX_STREAMS:
            raise TooManyStreams(f"This process follows {MAX_STREAMS} logs already. Try again in a moment.")

    async def follow(
        self, space: Space, task_run_id: UUID, first: LogSnapshot, *, tail: int, level: Level | None, after: int
    ) -> AsyncIterator[bytes]:
        """Events `lines` with a TaskLogPage each, and at last `end` with a TaskLogEnd."""
        self._open += 1
        try:
            async for event in self._events(space, task_run_id, first, tail=tail, level=level, after=after):
                yield event
        finally:
            self._open -= 1

    async def _events(
        self, space: Space, task_run_id: UUID, snapshot: LogSnapshot, *, tail: int, level: Level | None, after: int
    ) -> AsyncIterator[bytes]:
        started = sent_at = time.monotonic()
        is_first, reason = True, None
        while True:
            page = snapshot.page(tail=tail, level=level, after=after)
            if page["lines"] or is_first:
                yield _event("lines", page, page["cursor"])
                is_first, sent_at = False, time.monotonic()
            after = int(page["cursor"])
            if snapshot.is_finished:
                break
            if time.monotonic() - started > MAX_STREAM_SECONDS:
                reason = TIME_IS_UP
                break
            if time.monotonic() - sent_at > SILENT_SECONDS:
                yield b": \n\n"
                sent_at = time.monotonic()
            await asyncio.sleep(POLL_SECONDS)
            try:
                snapshot = await self._reader.read(space, task_run_id, snapshot.try_number)
            except WindsockError as failure:
                reason = str(failure)
                break
        yield _event("end", {"is_finished": snapshot.is_finished, "reason": reason}, str(after))


def _event(name: str, data: object, event_id: str) -> bytes:
    return b"event: %s\nid: %s\ndata: %s\n\n" % (name.encode(), event_id.encode(), dump_json(data))
