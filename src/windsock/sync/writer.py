"""Stores pages of what the provider gave: writes what differs, and keeps what is derived from it."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from operator import attrgetter
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from windsock.db.database import Row, Transaction
from windsock.db.queries import load
from windsock.providers.base import ProviderImportError, ProviderPipeline, ProviderRun, ProviderTaskRun
from windsock.providers.scopes import NO_REGION, NO_REGION_INDEX, NOT_MAPPED

QUERIES = load(__package__, "writer.sql")
REFRESH = load(__package__, "refresh.sql")
IMPORT_ERRORS = load(__package__, "import_errors.sql")

TASK_RUN = {
    "pipeline_id": "uuid", "run_external_id": "text", "external_id": "text", "region_id": "text",
    "region_index": "bigint", "map_index": "bigint", "loop_id": "text", "loop_iteration": "bigint", "name": "text",
    "operator": "text", "status": "text", "try_number": "bigint", "max_tries": "bigint", "queued_at": "timestamptz",
    "started_at": "timestamptz", "ended_at": "timestamptz", "pool": "text", "queue": "text", "hostname": "text",
    "note": "text", "provider_metadata": "jsonb",
}  # fmt: skip
"""The columns of staging_task_runs, and their types."""
STAGING_COLUMNS = attrgetter(*list(TASK_RUN)[1:-1])

MAX_MISSING_PARENT_RUNS = 10_000
PIPELINES_AT_ONCE = 500
"""In one statement: ten thousand as text, in several copies, are what a worker would need most memory for."""


@dataclass(frozen=True, slots=True)
class UpsertResult:
    """Result of storing a page: ids of all its rows, and how many were created, updated, unchanged.

    `created`: (pipeline, external id) of the runs that were not here before. `replaced`: those of runs of which task
    runs may be gone, because a loop was cleared: then its later iterations come anew, in another region.
    """

    ids: set[UUID] = field(default_factory=set)
    outcomes: Counter[str] = field(default_factory=Counter)
    created: set[tuple[UUID, str]] = field(default_factory=set)
    replaced: set[tuple[UUID, str]] = field(default_factory=set)


def merged(parts: Iterable[UpsertResult]) -> UpsertResult:
    """Merge the results of a page that was stored in parts."""
    whole = UpsertResult()
    for part in parts:
        whole.ids.update(part.ids)
        whole.outcomes.update(part.outcomes)
        whole.created.update(part.created)
        whole.replaced.update(part.replaced)
    return whole


@dataclass(frozen=True, slots=True)
class TimeWindow:
    """A span of time whose runs were read whole: [start, end), or open when end is None."""

    start: datetime
    end: datetime | None


class MirrorWriter:
    """One connector's part of the mirror."""

    def __init__(self, space_id: UUID, connector_id: UUID) -> None:
        self._names = {"space_id": space_id, "connector_id": connector_id}
        self._space = {"space_id": space_id}

    async def known_pipelines(self, tx: Transaction) -> dict[str, UUID]:
        rows = await tx.fetch_all(QUERIES["list_mirrored_pipelines"], **self._names)
        return {row["external_id"]: row["id"] for row in rows}

    async def store_pipelines(
        self, tx: Transaction, pipelines: Sequence[ProviderPipeline], *, backfill_started: bool = False
    ) -> tuple[UpsertResult, dict[str, UUID]]:
        """The outcome, and the id of each DAG. `backfill_started`: part of the history was read without new ones."""
        unique = list({pipeline.external_id: pipeline for pipeline in pipelines}.values())
        rows: list[Row] = []
        for first in range(0, len(unique), PIPELINES_AT_ONCE):
            part = Jsonb([_columns(row) for row in unique[first : first + PIPELINES_AT_ONCE]])
            rows += await tx.fetch_all(
                QUERIES["upsert_pipelines"], **self._names, rows=part, backfill_started=backfill_started
            )
        return _stored(rows), {row["external_id"]: row["id"] for row in rows}

    async def replace_import_errors(self, tx: Transaction, errors: Sequence[ProviderImportError]) -> None:
        """Store them, and remove those of files that are imported again."""
        rows = Jsonb([_columns(row) for row in errors])
        await tx.execute(IMPORT_ERRORS["replace_import_errors"], **self._names, rows=rows)

    async def store_runs(
        self,
        tx: Transaction,
        runs: Sequence[ProviderRun],
        pipelines: Mapping[str, UUID],
        oldest: datetime | None = None,
    ) -> UpsertResult:
        """Store the runs of known pipelines, and bring those pipelines' status and newest runs up to date.

        Runs before `oldest` that are not here have been deleted here, or would be.
        """
        unique = {
            (run.pipeline_external_id, run.external_id): _row(run, pipelines)
            for run in runs
            if run.pipeline_external_id in pipelines
        }
        if not unique:
            return UpsertResult()
        rows = await self._store(tx, list(unique.values()), oldest)
        replaced = {row["id"]: (row["pipeline_id"], row["external_id"]) for row in rows if row["outcome"] == "another"}
        if replaced:
            # Proven at the first look: Airflow has another run with that id.
            await tx.execute(QUERIES["replace_runs"], **self._space, ids=list(replaced))
            again = [row for row in unique.values() if (row["pipeline_id"], row["external_id"]) in replaced.values()]
            rows = [row for row in rows if row["id"] not in replaced] + await self._store(tx, again, oldest)
        touched = {row["pipeline_id"] for row in rows if row["outcome"] != "unchanged"}
        touched |= {pipeline_id for pipeline_id, _ in replaced.values()}
        await refresh_pipelines(tx, self._names["space_id"], touched)
        created = {(row["pipeline_id"], row["external_id"]) for row in rows if row["outcome"] == "created"}
        stored = _stored(rows)
        if replaced:
            stored.outcomes["removed"] += len(replaced)
        return replace(stored, created=created)

    async def _store(self, tx: Transaction, rows: list[dict[str, Any]], oldest: datetime | None) -> list[Row]:
        return await tx.fetch_all(QUERIES["upsert_runs"], **self._names, rows=Jsonb(rows), oldest=oldest)

    async def list_pipelines_to_backfill(self, tx: Transaction, most: int) -> list[Row]:
        return await tx.fetch_all(QUERIES["list_pipelines_to_backfill"], **self._names, most=most)

    async def mark_backfilled(self, tx: Transaction, pipeline_id: UUID) -> None:
        await tx.execute(QUERIES["mark_backfilled"], **self._space, pipeline_id=pipeline_id)

    async def missing_parent_runs(
        self, tx: Transaction, task_runs: Sequence[ProviderTaskRun], pipelines: Mapping[str, UUID]
    ) -> list[tuple[str, str]]:
        """(dag_id, run_id) of the runs that these task runs need and that are not stored yet."""
        keys = {
            (task.pipeline_external_id, task.run_external_id)
            for task in task_runs
            if task.pipeline_external_id in pipelines
        }
        wanted = [{"pipeline_id": pipelines[dag_id], "run_external_id": run_id} for dag_id, run_id in keys]
        if not wanted:
            return []
        dag_ids = {pipeline_id: dag_id for dag_id, pipeline_id in pipelines.items()}
        rows = await tx.fetch_all(QUERIES["list_missing_parent_runs"], **self._space, keys=Jsonb(wanted))
        return [(dag_ids[row["pipeline_id"]], row["run_external_id"]) for row in rows]

    async def store_task_runs(
        self, tx: Transaction, task_runs: Sequence[ProviderTaskRun], pipelines: Mapping[str, UUID]
    ) -> UpsertResult:
        """Store the task runs of stored runs, without the placeholders of tasks that have been expanded."""
        mine = [task for task in task_runs if task.pipeline_external_id in pipelines]
        expanded = {_expansion(task) for task in mine if task.map_index != NOT_MAPPED}
        of_any_region = {(*expansion[:3], NO_REGION) for expansion in expanded}
        unique = {
            (*_expansion(task), task.region_index, task.map_index): (
                pipelines[task.pipeline_external_id],
                *STAGING_COLUMNS(task),
                Jsonb(task.provider_metadata),
            )
            for task in mine
            if task.map_index != NOT_MAPPED
            or task.region_index != NO_REGION_INDEX
            or _expansion(task) not in expanded | of_any_region
        }
        if not unique:
            return UpsertResult()
        if expanded:
            keys = Jsonb(
                [
                    {
                        "pipeline_id": pipelines[dag_id],
                        "run_external_id": run_id,
                        "external_id": task_id,
                        "region_id": region_id,
                    }
                    for dag_id, run_id, task_id, region_id in expanded
                ]
            )
            await tx.execute(QUERIES["expand_placeholders"], **self._space, keys=keys)
            await tx.execute(QUERIES["move_placeholder_comments"], **self._space, keys=keys)
            await tx.execute(QUERIES["drop_placeholders"], **self._space, keys=keys)
        await tx.execute(QUERIES["create_staging"])
        await tx.execute(QUERIES["truncate_staging"])
        await tx.copy_rows(QUERIES["copy_into_staging"], tuple(TASK_RUN.values()), unique.values())
        replaced = await self._replaced(tx) if any(task.loop_id for task in mine) else set()
        rows = await tx.fetch_all(QUERIES["upsert_task_runs"], **self._space)
        touched = {row["run_id"] for row in rows if row["outcome"] != "unchanged"}
        await refresh_task_counts(tx, self._names["space_id"], touched)
        return replace(_stored(rows), replaced=replaced)

    async def _replaced(self, tx: Transaction) -> set[tuple[UUID, str]]:
        rows = await tx.fetch_all(QUERIES["list_runs_with_replaced_iterations"], **self._space)
        return {(row["pipeline_id"], row["run_external_id"]) for row in rows}


async def refresh_pipelines(tx: Transaction, space_id: UUID, pipeline_ids: set[UUID]) -> None:
    """Bring status, last_run and recent_runs up to date."""
    if pipeline_ids:
        await tx.execute(REFRESH["refresh_pipelines"], space_id=space_id, pipeline_ids=sorted(pipeline_ids))


async def refresh_task_counts(tx: Transaction, space_id: UUID, run_ids: set[UUID]) -> None:
    if run_ids:
        await tx.execute(REFRESH["refresh_task_counts"], space_id=space_id, run_ids=sorted(run_ids))


def _expansion(task: ProviderTaskRun) -> tuple[str, str, str, str]:
    """Return the key that the placeholder of a mapped task shares with its instances."""
    return task.pipeline_external_id, task.run_external_id, task.external_id, task.region_id


def _row(value: ProviderRun, pipelines: Mapping[str, UUID]) -> dict[str, Any]:
    row = _columns(value)
    row["pipeline_id"] = pipelines[row.pop("pipeline_external_id")]
    return row


def _columns(value: ProviderPipeline | ProviderRun | ProviderImportError) -> dict[str, Any]:
    """Not dataclasses.asdict, which copies every nested value."""
    return {name: getattr(value, name) for name in value.__slots__}


def _stored(rows: Sequence[Row]) -> UpsertResult:
    return UpsertResult({row["id"] for row in rows}, Counter(row["outcome"] for row in rows))
