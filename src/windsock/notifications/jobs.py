"""Background work of notifications in every worker process: evaluation, delivery, and deletion of what is old."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from uuid import UUID

from windsock import log
from windsock.db.database import Database
from windsock.db.job_queue import JobQueue, delete_in_batches, repeat
from windsock.db.queries import Query, load
from windsock.notifications.delivery import Delivery
from windsock.notifications.queue import QUERIES, evaluate_space
from windsock.tasks import end_tasks

POLL_SECONDS = 1.0
MAX_AT_ONCE = 16
"""Recipients to whom one process sends at the same time."""
PURGE_SECONDS, PURGE_BATCH = 3_600.0, 1_000

RETENTION = load(__package__, "retention.sql")

logger = log.get(__name__)


class NotificationJobs:
    """The queues are tables; several processes share them."""

    def __init__(self, db: Database, delivery: Delivery) -> None:
        self._db, self._has_mail = db, delivery.has_mail
        self._wake_evaluation = asyncio.Event()
        self._outbox = JobQueue(
            db, QUERIES["list_due_recipients"], delivery.deliver_to, name="outbox", limit=MAX_AT_ONCE,
            poll_seconds=POLL_SECONDS,
        )  # fmt: skip

    def wake(self) -> None:
        """Look at the queues now. Other processes see what is due within POLL_SECONDS."""
        self._wake_evaluation.set()
        self._outbox.wake()

    @contextlib.asynccontextmanager
    async def run_worker(self) -> AsyncIterator[None]:
        evaluation = repeat(self.evaluate, name="notifications", seconds=POLL_SECONDS, wake=self._wake_evaluation)
        loops = [
            asyncio.create_task(evaluation, name="notifications"),
            asyncio.create_task(repeat(self.purge, name="old messages", seconds=PURGE_SECONDS), name="old messages"),
        ]
        async with self._outbox.run_worker():
            try:
                yield
            finally:
                await end_tasks(loops, grace_seconds=0)

    async def evaluate(self) -> None:
        """Decide about the events of all spaces that have some."""
        for space_id in await self._space_ids(QUERIES["list_space_ids_to_notify"]):
            try:
                count = await evaluate_space(self._db, space_id, has_mail=self._has_mail)
            except Exception:  # the edge of a job: what fails in one space must not delay the others
                logger.exception("notifications of a space were not decided; it is tried again", space_id=str(space_id))
                continue
            if count:
                self._outbox.wake()

    async def purge(self) -> None:
        """Delete messages, groups and decisions of more than 90 days."""
        for space_id in await self._space_ids(RETENTION["list_all_space_ids"]):
            for query in ("delete_old_messages", "delete_old_groups", "delete_old_decisions"):
                await delete_in_batches(self._db, space_id, RETENTION[query], most=PURGE_BATCH)

    async def _space_ids(self, query: Query) -> list[UUID]:
        async with self._db.transaction() as tx:
            return [row["space_id"] for row in await tx.fetch_all(query)]
