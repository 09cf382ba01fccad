"""Finds out who a key or a session belongs to; when it was used last is written down beside the requests."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from uuid import UUID

from windsock import log
from windsock.db.database import Database, Row
from windsock.db.queries import Query, load
from windsock.errors import DatabaseFailed
from windsock.tasks import end_tasks

QUERIES = load(__package__, "authorizer.sql")

MAX_NOTED = 10_000
"""Keys and sessions whose use waits for being written; of more, the next request is noted."""
WRITE_SECONDS = 1.0

logger = log.get(__name__)


class Uses:
    """Which keys and sessions were used, until that is written: by one statement each, which waits for no lock.

    Authorisation only reads: a locked row delays no request.
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
    """Looks up who a key (or the token of a session) belongs to, and their role in a space."""

    def __init__(self, db: Database, query: Query = QUERIES["authorize"], uses: Uses | None = None) -> None:
        self._db, self._query, self._uses = db, query, uses

    async def authorize(self, key_hash: bytes, slug: str | None) -> Row | None:
        """Return what the SQL function of that name returns; None for a key that is unknown, expired or revoked."""
        row = await self._db.fetch_one(self._query, key_hash=key_hash, slug=slug)
        if self._uses is not None and row is not None and row["is_use_due"]:
            self._uses.note(row)
        return row
