"""The jobs on Procrastinate, and the dispatcher that starts what is due and looks after what was left behind."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from uuid import UUID

import procrastinate
import psycopg
from procrastinate.exceptions import AlreadyEnqueued, ConnectorException
from procrastinate.jobs import Status

from windsock import log
from windsock.db import Database
from windsock.errors import Unavailable
from windsock.sync.execution import Execution
from windsock.sync.progress import QUERIES
from windsock.sync.retention import tidy
from windsock.sync.store import queue_sync

DISPATCH_SECONDS = 1.0
STALLED_JOBS_EVERY = 60
MANUAL_PRIORITY, SCHEDULED_PRIORITY = 10, 0
SHUTDOWN_SECONDS = 10.0
QUEUE, DOUBTFUL = "syncs", "doubtful"
"""Connectors whose last sync failed, or that answer slowly, have a lane of their own: nobody else waits for them."""
MOST_DOUBTFUL = 4
TIDY_SECONDS = 600.0

logger = log.get(__name__)


def open_jobs(database_url: str) -> procrastinate.App:
    """Procrastinate on the same database, in its own schema; open it (`open_async`) before use."""
    return procrastinate.App(
        connector=procrastinate.PsycopgConnector(
            conninfo=database_url,
            kwargs={"options": "-c search_path=procrastinate", "application_name": "windsock jobs"},
            min_size=1,
            max_size=4,
        )
    )


async def abandon_sync(db: Database, space_id: UUID, sync_id: UUID) -> None:
    """Give up a running sync whose lease has run out: its worker is gone."""
    async with db.in_space(space_id) as tx:
        if await tx.run(QUERIES["abandon_sync"], space_id=space_id, sync_id=sync_id):
            logger.warning("gave up a sync whose worker is gone", sync_id=str(sync_id))


class SyncJobs:
    """Defers syncs; with `execution`, also carries them out."""

    def __init__(self, app: procrastinate.App, db: Database, execution: Execution | None = None) -> None:
        self._app, self._db, self._execution = app, db, execution

        @app.task(name="sync", queue=QUEUE, pass_context=False)
        async def sync(space_id: str, sync_id: str) -> None:
            if execution is None:
                raise RuntimeError("this process does not carry out syncs")
            await execution.run(UUID(space_id), UUID(sync_id))

        self._sync = sync

    async def defer(self, space_id: UUID, sync_id: UUID, *, is_manual: bool, is_doubtful: bool = False) -> None:
        """Ask the workers for it, once. When that fails, the dispatcher does it a moment later."""
        job = self._sync.configure(
            queue=DOUBTFUL if is_doubtful else QUEUE,
            queueing_lock=f"sync:{sync_id}",
            priority=MANUAL_PRIORITY if is_manual else SCHEDULED_PRIORITY,
        )
        with contextlib.suppress(AlreadyEnqueued):
            try:
                await job.defer_async(space_id=str(space_id), sync_id=str(sync_id))
            except ConnectorException:
                logger.warning("could not defer a sync; the dispatcher will", exc_info=True)

    @contextlib.asynccontextmanager
    async def working(self, concurrency: int) -> AsyncIterator[None]:
        """Carry out and dispatch while the body runs. At its end running syncs store their page and hand over."""
        tasks = [
            asyncio.create_task(self._work(QUEUE, concurrency)),
            asyncio.create_task(self._work(DOUBTFUL, min(concurrency, MOST_DOUBTFUL))),
            asyncio.create_task(self._dispatch_forever()),
            asyncio.create_task(self._tidy_forever()),
        ]
        try:
            yield
        finally:
            if self._execution is not None:
                self._execution.stopping.set()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _work(self, queue: str, concurrency: int) -> None:
        while True:
            try:
                await self._app.run_worker_async(
                    queues=[queue],
                    concurrency=concurrency,
                    fetch_job_polling_interval=0.5,
                    install_signal_handlers=False,
                    delete_jobs="always",
                    shutdown_graceful_timeout=SHUTDOWN_SECONDS,
                )
            except (ConnectorException, psycopg.Error):
                logger.warning("the worker lost the database; it starts again", exc_info=True)
            await asyncio.sleep(1)

    async def _dispatch_forever(self) -> None:
        """Every worker process does this; the database lets only one of them queue each sync."""
        rounds = 0
        while True:
            try:
                await self.dispatch()
                if rounds % STALLED_JOBS_EVERY == 0:
                    await self._drop_stalled_jobs()
            except (Unavailable, ConnectorException, psycopg.Error):
                logger.warning("the dispatcher could not reach the database; it tries again", exc_info=True)
            rounds += 1
            await asyncio.sleep(DISPATCH_SECONDS)

    async def _tidy_forever(self) -> None:
        while True:
            await asyncio.sleep(TIDY_SECONDS)
            try:
                await tidy(self._db)
            except (Unavailable, psycopg.Error):
                logger.warning("could not delete what is past the retention; it is tried again", exc_info=True)

    async def dispatch(self) -> None:
        """Queue the syncs that are due, defer queued ones that lost their job, give up those whose worker is gone."""
        async with self._db.transaction() as tx:
            due = await tx.rows(QUERIES["syncs_to_start"])
            left = await tx.rows(QUERIES["syncs_to_look_after"])
        for row in due:
            async with self._db.in_space(row["space_id"]) as tx:
                sync_id = await queue_sync(tx, row["space_id"], row["connector_id"], trigger="schedule")
            if sync_id is not None:
                await self.defer(row["space_id"], sync_id, is_manual=False, is_doubtful=row["is_doubtful"])
        for row in left:
            if row["status"] == "queued":
                await self.defer(row["space_id"], row["sync_id"], is_manual=False, is_doubtful=row["is_doubtful"])
            else:
                await abandon_sync(self._db, row["space_id"], row["sync_id"])

    async def _drop_stalled_jobs(self) -> None:
        """Jobs of killed workers; their syncs are given up by their lease, so the jobs have nothing left to do."""
        for queue in (QUEUE, DOUBTFUL):
            for job in await self._app.job_manager.get_stalled_jobs(queue=queue, seconds_since_heartbeat=60):
                await self._app.job_manager.finish_job(job, Status.FAILED, delete_job=True)
