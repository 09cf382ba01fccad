"""Finds out who a key or a session belongs to; when it was used last is written down beside the requests."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from uuid import UUID

from windsock import log
from windsock.db import Database, Row
from windsock.errors import DatabaseFailed
from windsock.sql import Query, load
from windsock.tasks import end_tasks

QUERIES = load(__package__, "authorizer.sql")
AuthRequest = tuple[bytes, str | None]

MAX_NOTED = 10_000
"""Keys and sessions whose use waits for being written; of more, the next request is noted."""
WRITE_SECONDS = 1.0

logger = log.get(__name__)


class Uses:
    """Which keys and sessions were used, until that is written: by one statement each, which waits for no lock.

    Written by the statement that finds out who asks, one locked row would stop all requests of the process: they share
    a connection.
    """

    def __init__(self, db: Database) -> None:
        self._db = db
        self._keys: set[UUID] = set()
        self._sessions: set[UUID] = set()

    def note(self, row: Row) -> None:
        """A row of authorize() or authorize_session() whose last use was a minute ago."""
        if len(self._keys) + len(self._sessions) < MAX_NOTED:
            if "key_id" in row:
                self._keys.add(row["key_id"])
            else:
                self._sessions.add(row["session_id"])

    async def write(self) -> None:
        """A use that was not written, because its row was locked, is noted again by the next request."""
        keys, self._keys = list(self._keys), set()
        sessions, self._sessions = list(self._sessions), set()
        async with self._db.transaction() as tx:
            if keys:
                await tx.execute(QUERIES["save_key_uses"], ids=keys)
            if sessions:
                await tx.execute(QUERIES["save_session_uses"], ids=sessions)

    @contextlib.asynccontextmanager
    async def writing(self) -> AsyncIterator[None]:
        """Write every second while the body runs, and what is left at its end."""
        task = asyncio.create_task(self._write_forever(), name="uses of keys")
        try:
            yield
        finally:
            await end_tasks([task], grace_seconds=0)
            with contextlib.suppress(DatabaseFailed):
                await self._write_if_any()

    async def _write_forever(self) -> None:
        while True:
            await asyncio.sleep(WRITE_SECONDS)
            try:
                await self._write_if_any()
            except DatabaseFailed as error:
                logger.info("could not write when keys were used", error=str(error))

    async def _write_if_any(self) -> None:
        if self._keys or self._sessions:
            await self.write()


class Authorizer:
    """Asks the database who a key (or the token of a session) is, and what it may do in a space.

    Requests that ask the same at the same time share one answer, which was asked for after the last of them had come.
    """

    def __init__(self, db: Database, query: Query = QUERIES["authorize"], uses: Uses | None = None) -> None:
        self._db, self._query, self._uses = db, query, uses
        self._next: dict[AuthRequest, asyncio.Task[Row | None]] = {}
        self._in_flight: dict[AuthRequest, asyncio.Task[Row | None]] = {}

    async def authorize(self, key_hash: bytes, slug: str | None) -> Row | None:
        """Return what the SQL function of that name returns; None for a key that is no key any more."""
        request = key_hash, slug
        task = self._next.get(request)
        if task is None:
            task = asyncio.create_task(self._run_query(request, self._in_flight.get(request)))
            task.add_done_callback(_consume_exception)
            self._next[request] = task
        return await asyncio.shield(task)  # whoever goes away leaves the others their answer

    async def _run_query(self, request: AuthRequest, before: asyncio.Task[Row | None] | None) -> Row | None:
        if before is not None:
            await asyncio.wait([before])
        mine = self._in_flight[request] = self._next.pop(request)  # who comes from now on waits for the next one
        try:
            row = await self._db.fetch_shared(self._query, key_hash=request[0], slug=request[1])
            if self._uses is not None and row is not None and row["is_use_due"]:
                self._uses.note(row)
            return row
        finally:
            if self._in_flight.get(request) is mine:
                del self._in_flight[request]


def _consume_exception(task: asyncio.Task[Row | None]) -> None:
    """Mark the exception as retrieved; the callers that still wait receive it."""
    if not task.cancelled():
        task.exception()
