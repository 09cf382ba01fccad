"""Background jobs of a worker process: loops that nothing ends, and queues that are tables."""

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from uuid import UUID

import psycopg

from windsock import log
from windsock.db.database import Database
from windsock.db.queries import Query
from windsock.errors import DatabaseFailed
from windsock.tasks import end_tasks

POLL_SECONDS = 2.0
SHUTDOWN_SECONDS = 5.0
MAX_BATCHES = 500
"""In one round of a deletion; the next one goes on."""
BATCH_PAUSE = 0.05

logger = log.get(__name__)


async def repeat(
    work: Callable[[], Awaitable[None]], *, name: str, seconds: float, wake: asyncio.Event | None = None
) -> None:
    """Do the work, and again after `seconds` or when woken, until cancelled. An error is logged; the loop goes on."""
    wake = wake or asyncio.Event()
    while True:
        wake.clear()
        try:
            await work()
        except (DatabaseFailed, psycopg.Error):
            logger.warning("a job could not reach the database; it tries again", job=name, exc_info=True)
        except Exception:  # the edge of a job: a fault of ours must not end it for good
            logger.exception("a job failed by a fault of Windsock's own; it tries again", job=name)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await wake.wait()


async def delete_in_batches(db: Database, space_id: UUID, query: Query, *, most: int, **parameters: object) -> None:
    """Delete everything that the query matches, in transactions of at most `most` rows."""
    for _ in range(MAX_BATCHES):
        async with db.tenant_transaction(space_id) as tx:
            deleted = await tx.execute(query, space_id=space_id, most=most, **parameters)
        if deleted < most:
            return
        await asyncio.sleep(BATCH_PAUSE)


class JobQueue:
    """`list_due` returns `space_id` and `id`; `execute` claims the job, and returns False if there was nothing to do.

    A lease that has expired is taken over. `limit`: jobs that one process carries out at the same time.
    """

    def __init__(
        self,
        db: Database,
        list_due: Query,
        execute: Callable[[UUID, UUID], Awaitable[bool]],
        *,
        name: str,
        limit: int,
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        self._db, self._list_due, self._execute = db, list_due, execute
        self._name, self._limit, self._poll_seconds = name, limit, poll_seconds
        self._wake = asyncio.Event()
        self._running: dict[tuple[UUID, UUID], asyncio.Task[bool]] = {}

    def wake(self) -> None:
        """Look at the queue now: a user waits for it. Other processes see it when they look next."""
        self._wake.set()

    @contextlib.asynccontextmanager
    async def run_worker(self) -> AsyncIterator[None]:
        polling = repeat(self.dispatch, name=self._name, seconds=self._poll_seconds, wake=self._wake)
        loop = asyncio.create_task(polling, name=self._name)
        try:
            yield
        finally:
            await end_tasks([loop], grace_seconds=0)
            await end_tasks(self._running.values(), grace_seconds=SHUTDOWN_SECONDS)

    async def dispatch(self) -> None:
        """Start what is due, as far as there is room."""
        if len(self._running) >= self._limit:
            return
        async with self._db.transaction() as tx:
            due = await tx.fetch_all(self._list_due)
        for row in due[: self._limit - len(self._running)]:
            key = row["space_id"], row["id"]
            if key not in self._running:
                task = self._running[key] = asyncio.create_task(self._run(key))
                task.add_done_callback(functools.partial(self._on_end, key))

    async def _run(self, key: tuple[UUID, UUID]) -> bool:
        return await self._execute(*key)

    def _on_end(self, key: tuple[UUID, UUID], task: asyncio.Task[bool]) -> None:
        del self._running[key]
        if task.cancelled():
            return
        if (error := task.exception()) is not None:
            logger.error("a job broke off; its lease will run out", job=self._name, exc_info=error)
        elif task.result():
            self._wake.set()
