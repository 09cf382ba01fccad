"""Detects deletions: marks rows at the first miss, removes them at the second, archives what was cleaned up."""

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from windsock.db.database import Row, Transaction
from windsock.db.queries import load
from windsock.providers.scopes import RunRange
from windsock.sync.writer import TimeWindow, refresh_pipelines, refresh_task_counts

QUERIES = load(__package__, "deletions.sql")
REMOVED = ("pipelines", "runs", "task_runs")


class DeletionTracker:
    """One connector's losses, as one sync finds them; of no sync, all that are marked."""

    def __init__(self, space_id: UUID, connector_id: UUID, sync_id: UUID | None) -> None:
        self._space_id = space_id
        self._names = {"space_id": space_id, "connector_id": connector_id}
        self._sync = {"sync_id": sync_id}

    async def mark_missing_pipelines(self, tx: Transaction, seen: Iterable[UUID], deleted: Iterable[str] = ()) -> int:
        """Mark the pipelines that a complete listing did not hold; `deleted` are those whose deletion was logged."""
        return await tx.execute(
            QUERIES["mark_missing_pipelines"], **self._names, **self._sync, seen=list(seen), deleted=list(deleted)
        )

    async def mark_missing_in_window(
        self,
        tx: Transaction,
        window: TimeWindow,
        runs: Iterable[UUID],
        task_runs: Iterable[UUID],
        scan_started_at: datetime,
        *,
        pipeline_id: UUID | None = None,
    ) -> int:
        """Mark runs and task runs of a window that a complete scan, begun at `scan_started_at`, did not find. How many.

        With `pipeline_id`, only that pipeline was read.
        """
        names = {
            **self._names,
            **self._sync,
            "start": window.start,
            "end": window.end,
            "scan_started_at": scan_started_at,
        }
        names["pipeline_id"] = pipeline_id
        missing = await tx.execute(QUERIES["mark_missing_runs"], **names, seen=list(runs))
        return missing + await tx.execute(QUERIES["mark_missing_task_runs"], **names, seen=list(task_runs))

    async def position_of(self, tx: Transaction, dag_id: str, run_id: str) -> datetime | None:
        """Where the provider's lists have a mirrored run in time (see RunRange)."""
        row = await tx.fetch_one(QUERIES["position_of_run"], **self._names, dag_id=dag_id, run_id=run_id)
        return row["position"] if row else None

    async def mark_deleted(self, tx: Transaction, dag_id: str, run_id: str) -> None:
        """A run that the provider no longer has, as its log says, or as a sync before this one found too."""
        await tx.execute(QUERIES["mark_run_deleted"], **self._names, **self._sync, dag_id=dag_id, run_id=run_id)

    async def mark_missing_run(self, tx: Transaction, dag_id: str, run_id: str) -> int:
        """Mark a requested run that does not exist; the second time, in another sync, it is deleted."""
        return await tx.execute(QUERIES["mark_missing_run"], **self._names, **self._sync, dag_id=dag_id, run_id=run_id)

    async def mark_task_runs_deleted(
        self,
        tx: Transaction,
        dag_id: str,
        run_id: str,
        seen: Iterable[UUID],
        scan_started_at: datetime,
        *,
        is_proven: bool,
    ) -> None:
        """The task runs of a run that the log has an entry about, but not among all that the provider has of it.

        Unless that is proven, only those in a loop: of those a new try in it is the other witness.
        """
        await tx.execute(
            QUERIES["mark_task_runs_deleted"],
            **self._names,
            **self._sync,
            dag_id=dag_id,
            run_id=run_id,
            seen=list(seen),
            scan_started_at=scan_started_at,
            is_proven=is_proven,
        )

    async def archive(self, tx: Transaction) -> None:
        """Keep what the provider has cleaned up with all that was older."""
        await tx.execute(QUERIES["archive_runs"], **self._names, **self._sync)
        await tx.execute(QUERIES["archive_task_runs"], **self._names, **self._sync)

    async def pending_deletions(self, tx: Transaction, since: datetime) -> Row:
        """Count rows marked as deleted, and all rows; for pipelines, those that existed at `since`."""
        found = await tx.fetch_one(QUERIES["get_pending_deletions"], **self._names, since=since)
        return found or {}

    async def count_recent_runs(self, tx: Transaction) -> int:
        found = await tx.fetch_one(QUERIES["count_recent_runs"], **self._names)
        return int(found["total"]) if found else 0

    async def tombstone(self, tx: Transaction) -> dict[str, int]:
        """Take away what this sync found gone. How many of each."""
        names = {**self._names, **self._sync}
        removed = {kind: await tx.fetch_all(QUERIES[f"remove_{kind}"], **names) for kind in REMOVED}
        await refresh_pipelines(tx, self._space_id, {row["pipeline_id"] for row in removed["runs"]})
        await refresh_task_counts(tx, self._space_id, {row["run_id"] for row in removed["task_runs"]})
        return {kind: len(rows) for kind, rows in removed.items()}

    async def count(self, tx: Transaction, kind: str, window: RunRange, *, pipeline_id: UUID | None = None) -> int:
        """Runs or task runs of a window, both ends included, that the provider should have too."""
        names = {**self._names, "start": window.start, "end": window.end, "pipeline_id": pipeline_id}
        found = await tx.fetch_one(QUERIES[f"count_{kind}"], **names)
        return int(found["total"]) if found else 0

    async def identity_samples(self, tx: Transaction, since: datetime) -> list[Row]:
        return await tx.fetch_all(QUERIES["list_identity_samples"], **self._names, since=since)
