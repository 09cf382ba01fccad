"""Queues the syncs that are due, and carries out what is queued: slow connectors apart, with fair shares of spaces."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from uuid import UUID

import psycopg

from windsock import log
from windsock.db.database import Database
from windsock.errors import DatabaseFailed
from windsock.sync.lease import QUERIES
from windsock.sync.retention import purge_expired
from windsock.sync.runner import SyncRunner
from windsock.sync.store import queue_sync
from windsock.tasks import end_tasks

DISPATCH_SECONDS = 1.0
POLL_SECONDS = 0.5
"""Between two looks for a queued sync that another process has queued."""
CLAIM_SECONDS, SHUTDOWN_SECONDS = 2.0, 10.0
MAX_SLOW_QUEUE = 4
"""At the same time, of connectors whose last sync failed or that answer slowly: nobody else waits for them."""
PURGE_SECONDS = 600.0

logger = log.get(__name__)


async def expire_sync(db: Database, space_id: UUID, sync_id: UUID) -> None:
    """Give up a running sync whose lease has run out: its worker is gone."""
    async with db.tenant_transaction(space_id) as tx:
        if await tx.execute(QUERIES["expire_sync"], space_id=space_id, sync_id=sync_id):
            logger.warning("gave up a sync whose worker is gone", sync_id=str(sync_id))


class SyncJobs:
    """The queue is the table sync_runs; every process with `execution` takes from it what its free workers can do."""

    def __init__(self, db: Database, execution: SyncRunner | None = None) -> None:
        self._db, self._execution = db, execution
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Look at the queue now: a person waits for what was put into it. Other processes see it within a moment."""
        self._wake.set()

    @contextlib.asynccontextmanager
    async def run_workers(self, concurrency: int) -> AsyncIterator[None]:
        """Carry out and dispatch while the body runs. At its end running syncs store their page and hand over."""
        if self._execution is None:
            raise RuntimeError("this process does not carry out syncs")
        queues = [
            _Queue(self._db, self._execution, self._wake, concurrency, is_slow_or_failing=False),
            _Queue(self._db, self._execution, self._wake, min(concurrency, MAX_SLOW_QUEUE), is_slow_or_failing=True),
        ]
        worker = asyncio.create_task(self._work_until_stopped(queues, self._execution.stopping), name="worker")
        loops = [
            asyncio.create_task(self._dispatch_forever(), name="dispatcher"),
            asyncio.create_task(self._purge_forever(), name="retention"),
        ]
        try:
            yield
        finally:
            self._execution.stopping.set()
            self.wake()
            await end_tasks(loops, grace_seconds=0)
            await end_tasks([worker], grace_seconds=CLAIM_SECONDS)  # what it is just claiming is handed over, too
            await end_tasks([task for queue in queues for task in queue.running], grace_seconds=SHUTDOWN_SECONDS)

    async def _work_until_stopped(self, queues: "list[_Queue]", stopping: asyncio.Event) -> None:
        while not stopping.is_set():
            self._wake.clear()
            try:
                for queue in queues:
                    await queue.fill()
            except (DatabaseFailed, psycopg.Error):
                logger.warning("the worker could not reach the database; it tries again", exc_info=True)
                await asyncio.sleep(DISPATCH_SECONDS)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await self._wake.wait()

    async def _dispatch_forever(self) -> None:
        """Every worker process does this; the database lets only one of them queue each sync."""
        while True:
            try:
                await self.dispatch()
            except (DatabaseFailed, psycopg.Error):
                logger.warning("the dispatcher could not reach the database; it tries again", exc_info=True)
            await asyncio.sleep(DISPATCH_SECONDS)

    async def _purge_forever(self) -> None:
        while True:
            await asyncio.sleep(PURGE_SECONDS)
            try:
                await purge_expired(self._db)
            except (DatabaseFailed, psycopg.Error):
                logger.warning("could not delete what is past the retention; it is tried again", exc_info=True)

    async def dispatch(self) -> None:
        """Queue the syncs that are due, and give up those whose worker is gone."""
        async with self._db.transaction() as tx:
            due = await tx.fetch_all(QUERIES["list_syncs_to_start"])
            abandoned = await tx.fetch_all(QUERIES["list_orphaned_syncs"])
        for row in due:
            async with self._db.tenant_transaction(row["space_id"]) as tx:
                await queue_sync(tx, row["space_id"], row["connector_id"], trigger="schedule")
        for row in abandoned:
            await expire_sync(self._db, row["space_id"], row["sync_id"])
        if due:
            self.wake()


class _Queue:
    """One of the two queues as this process works on it: up to `slots` syncs at the same time."""

    def __init__(
        self, db: Database, execution: SyncRunner, wake: asyncio.Event, slots: int, *, is_slow_or_failing: bool
    ) -> None:
        self._db, self._execution, self._wake = db, execution, wake
        self._slots, self._is_slow_or_failing = slots, is_slow_or_failing
        self.running: set[asyncio.Task[None]] = set()

    async def fill(self) -> None:
        """Begin syncs until there is none left or no room."""
        while len(self.running) < self._slots and not self._execution.stopping.is_set():
            async with self._db.transaction() as tx:
                row = await tx.fetch_one(
                    QUERIES["next_sync"],
                    slow_queue=self._is_slow_or_failing,
                    holder=self._execution.worker_id,
                    slots=self._slots,
                )
            if row is None:
                return
            claim = await self._execution.claim(
                row["space_id"], row["sync_id"], is_slow_or_failing=self._is_slow_or_failing
            )
            if claim is not None:  # else another process was faster
                task = asyncio.create_task(self._execution.carry_out(claim))
                self.running.add(task)
                task.add_done_callback(self._note_end)

    def _note_end(self, task: asyncio.Task[None]) -> None:
        self.running.discard(task)
        self._wake.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("a sync broke off; its lease will run out", exc_info=error)
