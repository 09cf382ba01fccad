"""Keeps incidents up to date in every worker process."""

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta

from windsock import log
from windsock.db.database import Row
from windsock.db.job_queue import delete_in_batches, repeat
from windsock.db.queries import load
from windsock.incidents.updater import QUERIES, IncidentUpdater
from windsock.tasks import end_tasks

POLL_SECONDS = 0.5
"""Between two looks for transitions: an incident is there less than a second after the sync stored the run."""
CONDITIONS_SECONDS = 2.0
PURGE_SECONDS, PURGE_BATCH = 600.0, 5_000
INCIDENTS_BATCH = 100
"""Smaller, since the events and decisions of each are deleted with it."""

RETENTION = load(__package__, "retention.sql")

logger = log.get(__name__)


class IncidentJobs:
    """The queue is the table run_transitions. What a killed process has not committed is done again by another one."""

    def __init__(self, updater: IncidentUpdater) -> None:
        self._updater, self._db = updater, updater.db
        self._watching_since = datetime.now(UTC)

    @contextlib.asynccontextmanager
    async def run_worker(self) -> AsyncIterator[None]:
        self._watching_since = datetime.now(UTC)
        conditions = functools.partial(self.follow_conditions, self._watching_since)
        loops = [
            asyncio.create_task(repeat(work, name=name, seconds=seconds), name=name)
            for name, work, seconds in (
                ("incidents", self.apply_transitions, POLL_SECONDS),
                ("conditions of incidents", conditions, CONDITIONS_SECONDS),
                ("old incidents", self.purge, PURGE_SECONDS),
            )
        ]
        try:
            yield
        finally:
            await end_tasks(loops, grace_seconds=0)

    async def apply_transitions(self) -> None:
        """Apply all that are due."""
        async with self._db.transaction() as tx:
            due = await tx.fetch_all(QUERIES["list_connectors_with_transitions"])
        for row in due:
            with _log_failure(row):
                await self._updater.apply_transitions(row["space_id"], row["connector_id"])

    async def follow_conditions(self, watching_since: datetime) -> None:
        """Open and resolve the incidents of conditions that have begun or ended, and end what has expired."""
        async with self._db.transaction() as tx:
            due = await tx.fetch_all(QUERIES["list_connectors_with_changes"], watching_since=watching_since)
        for row in due:
            with _log_failure(row):
                await self._updater.follow_conditions(row["space_id"], row["connector_id"], watching_since)

    async def purge(self) -> None:
        """Delete what was applied or resolved long ago."""
        async with self._db.transaction() as tx:
            applied = await tx.fetch_all(QUERIES["list_spaces_with_old_transitions"])
            retained = await tx.fetch_all(RETENTION["list_spaces_with_retention"])
        for row in applied:
            await delete_in_batches(self._db, row["space_id"], QUERIES["delete_old_transitions"], most=PURGE_BATCH)
        for row in retained:
            before = datetime.now(UTC) - timedelta(days=row["retention_days"])
            await delete_in_batches(
                self._db, row["space_id"], RETENTION["delete_old_incidents"], most=INCIDENTS_BATCH, before=before
            )


@contextlib.contextmanager
def _log_failure(connector: Row) -> Iterator[None]:
    """The incidents of one connector that cannot be updated now must not delay those of others."""
    try:
        yield
    except Exception:  # the edge of a job: what fails for one connector must not delay the others
        names = {"space_id": str(connector["space_id"]), "connector_id": str(connector["connector_id"])}
        logger.exception("the incidents of a connector could not be updated; it is tried again", **names)
