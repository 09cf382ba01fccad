"""Pipelines: how they are read, and what people decide about them."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any
from uuid import UUID

from windsock.auth.authenticator import Space
from windsock.db.database import Reader, Row, Statement, Transaction, map_constraint_errors
from windsock.db.queries import load
from windsock.errors import NotFound
from windsock.http.pagination import PageParams
from windsock.pipelines.filters import FRAGMENTS, Criticality, PipelineFilter
from windsock.pipelines.stats import StatsWindow, percentiles, summarize
from windsock.providers.airflow import pipeline_url

QUERIES = load(__package__, "pipelines.sql", shared=FRAGMENTS)

DEFAULT_DAYS = 7
MAX_SCATTER_POINTS, COMMENTED_RUNS_SCANNED, MAX_COMMENTS = 500, 200, 10
"""Of a pipeline at once: runs in a picture, runs whose comments are looked at, and comments."""
STATS_BATCH = 1_000
"""Pipelines whose histograms are read together where all are compared: memory is bounded."""
COUNT_COLUMNS = {"failed_count", "success_rate"}
ORDERED_QUERIES = {"name": "list_pipelines", "attention": "list_pipelines_sorted_by_attention"}


async def list_pipelines(
    reader: Reader,
    space: Space,
    paging: PageParams,
    filters: PipelineFilter,
    *,
    status: Sequence[str] | None,
    never_succeeded: bool = False,
    window: StatsWindow,
    sort: str,
) -> tuple[list[Row], int]:
    """A page, and how many there are in all. `sort` is a column of the list, with - in front for descending.

    `never_succeeded`: those whose newest run goes on or ended in the window, and of which none in it was a success.
    `last_run` and `recent_runs` of a row are JSON, unparsed.
    """
    parameters = {
        **filters.parameters(space),
        "status": status,
        "never_succeeded": never_succeeded,
        **window.parameters,
    }
    by, descending = sort.removeprefix("-"), sort.startswith("-")
    place = {"limit": paging.size, "offset": paging.offset}
    if by == "p95_duration_seconds":
        ids = await _ids_sorted_by_p95(reader, parameters, paging, descending=descending)
        listed = Statement(QUERIES["list_pipelines_by_id"], {**parameters, "ids": ids})
    elif sort in ORDERED_QUERIES:
        listed = Statement(QUERIES[ORDERED_QUERIES[sort]], parameters | place)
    else:
        is_count = by in COUNT_COLUMNS
        name = "list_pipelines_sorted_by_count" if is_count else "list_pipelines_sorted_by_column"
        order = {"by": by, "descending": descending, "failed_only": by == "failed_count"}
        # A generic plan is made for a small space, and would read all days of a large one through an index.
        listed = Statement(QUERIES[name], {**parameters, **place, **order}, prepare=not is_count)
    rows, totals = await reader.fetch_batch(listed, Statement(QUERIES["count_pipelines"], parameters))
    return _to_pipelines(rows, window), totals[0]["total"]


async def iterate_pipelines(
    reader: Reader,
    space: Space,
    filters: PipelineFilter,
    *,
    status: Sequence[str] | None,
    never_succeeded: bool,
    window: StatsWindow,
    batch_size: int,
) -> AsyncIterator[list[Row]]:
    """Yield all pipelines of list_pipelines in batches, by name. Their ids are read first, so that none is missed."""
    parameters = {
        **filters.parameters(space),
        "status": status,
        "never_succeeded": never_succeeded,
        **window.parameters,
    }
    (found,) = await reader.fetch_batch(Statement(QUERIES["list_pipeline_ids"], parameters))
    for first in range(0, len(found), batch_size):
        ids = [row["id"] for row in found[first : first + batch_size]]
        (rows,) = await reader.fetch_batch(Statement(QUERIES["list_pipelines_by_id"], {**parameters, "ids": ids}))
        yield _to_pipelines(rows, window)


@dataclass(frozen=True, slots=True)
class StatusCounts:
    """How many pipelines: by state, paused, and without a success as list_pipelines means it."""

    by_status: dict[str, int]
    paused: int
    never_succeeded: int


async def count_by_status(reader: Reader, space: Space, filters: PipelineFilter, window: StatsWindow) -> StatusCounts:
    """Count the pipelines that match `filters` by status, paused or not."""
    matching = replace(filters, is_paused=None).parameters(space)
    never_succeeded_filter = {**matching, "status": None, "never_succeeded": True, **window.parameters}
    rows, without = await reader.fetch_batch(
        Statement(QUERIES["count_pipelines_by_status"], matching),
        Statement(QUERIES["count_pipelines"], never_succeeded_filter),
    )
    by_status = {row["status"]: row["total"] for row in rows}
    return StatusCounts(by_status, sum(row["paused"] for row in rows), without[0]["total"])


async def _ids_sorted_by_p95(
    reader: Reader, parameters: dict[str, Any], paging: PageParams, *, descending: bool
) -> list[UUID]:
    """Return the ids of a page in order: nulls last in both directions, then by name."""
    (found,) = await reader.fetch_batch(Statement(QUERIES["list_pipeline_ids"], parameters))
    ids: list[UUID] = [row["id"] for row in found]
    keys: list[float | None] = []
    for first in range(0, len(ids), STATS_BATCH):
        batch = {**parameters, "ids": ids[first : first + STATS_BATCH]}
        (rows,) = await reader.fetch_batch(Statement(QUERIES["list_window_histograms"], batch))
        keys += percentiles([row["duration_histogram"] for row in rows], 0.95)[0]
    ranked = sorted(zip(keys, ids, strict=True), key=lambda item: _nulls_last_key(item[0], descending=descending))
    return [pipeline_id for _, pipeline_id in ranked[paging.offset : paging.offset + paging.size]]


def _nulls_last_key(value: float | None, *, descending: bool) -> tuple[bool, float]:
    return value is None, (-value if descending else value) if value is not None else 0.0


async def get_pipeline(reader: Reader, space: Space, pipeline_id: UUID, *, window: StatsWindow | None = None) -> Row:
    """One pipeline as of a list, with what only its detail has."""
    window = window or StatsWindow.ending_now(DEFAULT_DAYS)
    which = {"space_id": space.id, "pipeline_id": pipeline_id, "user_id": space.caller.id, **window.parameters}
    rows, metadata = await reader.fetch_batch(
        Statement(QUERIES["get_pipeline"], which), Statement(QUERIES["get_pipeline_metadata"], which)
    )
    if not rows or not metadata:
        raise NotFound("pipeline")
    return _to_pipelines(rows, window)[0] | metadata[0]


@dataclass(frozen=True, slots=True)
class PipelineActivity:
    """Activity of a pipeline: its days, newest finished runs and recent comments."""

    days: list[Row]
    runs: list[Row]
    comments: list[Row]


async def get_activity(
    tx: Transaction, space: Space, pipeline_id: UUID, window: StatsWindow, *, days_from: date
) -> PipelineActivity:
    """`days_from`: days may be wanted from before the window."""
    which = {"space_id": space.id, "pipeline_id": pipeline_id}
    return PipelineActivity(
        days=await tx.fetch_all(QUERIES["list_daily_stats"], **which, day=days_from),
        runs=await tx.fetch_all(QUERIES["finished_runs"], **which, since=window.since, limit=MAX_SCATTER_POINTS),
        comments=await tx.fetch_all(
            QUERIES["recent_comments"], **which, runs=COMMENTED_RUNS_SCANNED, limit=MAX_COMMENTS
        ),
    )


async def set_team(tx: Transaction, space: Space, pipeline_ids: Sequence[UUID], team_id: UUID | None) -> None:
    """Assign the team to the listed pipelines of this space; those that have it stay unchanged."""
    with map_constraint_errors({"pipelines_team": NotFound("team")}):
        await tx.execute(QUERIES["set_team"], space_id=space.id, pipeline_ids=list(pipeline_ids), team_id=team_id)


async def set_criticality(
    tx: Transaction, space: Space, pipeline_ids: Sequence[UUID], criticality: Criticality
) -> None:
    """As set_team."""
    which = {"space_id": space.id, "pipeline_ids": list(pipeline_ids)}
    await tx.execute(QUERIES["set_criticality"], **which, criticality=criticality)


async def set_watch(tx: Transaction, space: Space, pipeline_id: UUID, *, is_watched: bool) -> None:
    """Whether the caller watches the pipeline; asking twice changes nothing."""
    which = {"space_id": space.id, "pipeline_id": pipeline_id}
    if not await tx.fetch_one(QUERIES["pipeline_exists"], **which):
        raise NotFound("pipeline")
    await tx.execute(QUERIES["watch" if is_watched else "unwatch"], **which, user_id=space.caller.id)


def _to_pipelines(rows: list[Row], window: StatsWindow) -> list[Row]:
    """Turn rows of {pipeline_rows} into windsock.pipelines.models.Pipeline."""
    for row, summary in zip(rows, summarize(rows, window), strict=True):
        connector_name, team_name = row.pop("connector_name"), row.pop("team_name")
        row["connector"] = {"id": row["connector_id"], "name": connector_name}
        row["team"] = row["team_id"] and {"id": row["team_id"], "name": team_name}
        row["summary"] = summary
        row["provider_url"] = pipeline_url(row.pop("web_url"), row.pop("api_version"), row["external_id"])
    return rows
