"""Pipelines: how they are read, and what people decide about them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from psycopg.abc import Buffer

from windsock.auth.authenticator import Space
from windsock.db.database import Reader, Row, Statement, Transaction, map_constraint_errors
from windsock.db.queries import load
from windsock.errors import NotFound
from windsock.filters import FRAGMENTS, NO_FILTER, Criticality, PipelineFilter
from windsock.http.pagination import PageParams
from windsock.http.responses import json_fragments
from windsock.pipelines.summaries import STAT_SORT_KEYS, StatsWindow, WindowStats, render_summaries, split_uuids
from windsock.providers.airflow import pipeline_url

QUERIES = load(__package__, "pipelines.sql", shared=FRAGMENTS)

DEFAULT_DAYS = 7
MAX_SCATTER_POINTS, COMMENTED_RUNS_SCANNED, MAX_COMMENTS = 500, 200, 10
"""Of a pipeline at once: runs in a picture, runs whose comments are looked at, and comments."""
STATS_BATCH = 1_000
"""Pipelines whose numbers are read together where all are compared: memory is bounded."""


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
) -> tuple[bytes, int]:
    """A page in JSON, and how many there are in all. `sort` is a column of the list, with - in front for descending.

    `never_succeeded`: those whose newest run goes on or ended in the window, and of which none in it was a success.
    """
    parameters = {
        **filters.parameters(space),
        "status": status,
        "never_succeeded": never_succeeded,
        **window.parameters,
    }
    parameters["with_durations"] = True
    by, descending = sort.removeprefix("-"), sort.startswith("-")
    place = {"limit": paging.size, "offset": paging.offset}
    if by in STAT_SORT_KEYS:
        ids = await _ids_sorted_by_stat(reader, parameters, window, paging, by=by, descending=descending)
        listed = Statement(QUERIES["list_pipelines_by_id"], {**parameters, "ids": ids})
    elif sort == "name":
        listed = Statement(QUERIES["list_pipelines"], parameters | place)
    else:
        values = {**parameters, **place, "by": by, "descending": descending}
        listed = Statement(QUERIES["list_pipelines_sorted_by_column"], values)
    is_filtered = filters != NO_FILTER or status is not None or never_succeeded
    counted = Statement(QUERIES["count_pipelines" if is_filtered else "get_pipeline_count"], parameters)
    found, totals = await reader.fetch_batch(listed, counted)
    body = _render_page(found[0], window)
    return b"".join((b"[", *body[:-1], b"}]")) if body else b"[]", totals[0]["total"]


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


async def _ids_sorted_by_stat(
    reader: Reader, parameters: dict[str, Any], window: StatsWindow, paging: PageParams, *, by: str, descending: bool
) -> list[UUID]:
    """Return the ids of a page in order: nulls last in both directions, then by name."""
    (found,) = await reader.fetch_batch(Statement(QUERIES["list_pipeline_ids"], parameters))
    ids: list[UUID] = [row["id"] for row in found]
    keys: list[float | None] = []
    for some in (ids[first : first + STATS_BATCH] for first in range(0, len(ids), STATS_BATCH)):
        batch = {**parameters, "ids": some, "with_durations": by == "p95_duration_seconds"}
        ((stats,),) = await reader.fetch_batch(Statement(QUERIES["list_window_stats"], batch))
        keys += STAT_SORT_KEYS[by](WindowStats(stats, [pipeline_id.bytes for pipeline_id in some], window))
    ranked = sorted(
        zip(keys, ids, strict=True), key=lambda pipeline_id: _nulls_last_key(pipeline_id[0], descending=descending)
    )
    return [pipeline_id for _, pipeline_id in ranked[paging.offset : paging.offset + paging.size]]


def _nulls_last_key(value: float | None, *, descending: bool) -> tuple[bool, float]:
    return value is None, (-value if descending else value) if value is not None else 0.0


async def get_pipeline(reader: Reader, space: Space, pipeline_id: UUID, *, window: StatsWindow | None = None) -> bytes:
    window = window or StatsWindow.ending_now(DEFAULT_DAYS)
    which = {"space_id": space.id, "pipeline_id": pipeline_id, "user_id": space.caller.id, **window.parameters}
    which["with_durations"] = True
    (found,) = await reader.fetch_batch(Statement(QUERIES["get_pipeline"], which))
    if not found:
        raise NotFound("pipeline")
    body = _render_page(found[0], window)
    return b"".join((*body[:-1], b"}"))


@dataclass(frozen=True, slots=True)
class PipelineActivity:
    """Activity of a pipeline: its days, newest finished runs and recent comments."""

    days: list[Row]
    runs: list[Row]
    comments: list[Row]


async def get_activity(tx: Transaction, space: Space, pipeline_id: UUID, window: StatsWindow) -> PipelineActivity:
    which = {"space_id": space.id, "pipeline_id": pipeline_id}
    return PipelineActivity(
        days=await tx.fetch_all(QUERIES["list_daily_stats"], **which, day=window.first_full_day),
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


def _render_page(page: Row, window: StatsWindow) -> list[Buffer]:
    """As the API answers, each in a few pieces: what is ready, and what others say of it between. See {of_page}."""
    if page["shown"] is None:
        return []
    ids = split_uuids(page["ids"])
    of_connectors, connectors = split_uuids(page["of_connectors"]), _by_id(page, "connectors", page["connectors"])
    of_teams, teams = split_uuids(page["of_teams"]), _by_id(page, "teams", page["teams"])
    recent_runs, running = _by_id(page, "strips", page["strips"]), _by_id(page, "running", page["running"])
    watched = set(split_uuids(page["watched"]))
    metadata = _of_one(page) if "provider_metadata" in page else ""
    behind = (
        f',"connector":{connectors[of_connector].decode()},"team":{teams.get(of_team, b"null").decode()},'
        f'"is_watched":{"true" if key in watched else "false"},'
        f'"is_next_run_due":{"true" if is_due else "false"},{metadata}'
        f'"summary":{{{summary},"running_count":{running.get(key, 0)}}},"provider_url":{url},'
        f'"last_synced_at":{synced_at},"recent_runs":'
        for key, of_connector, of_team, summary, url, synced_at, is_due in zip(
            ids,
            of_connectors,
            of_teams,
            render_summaries(WindowStats(page, ids, window), window),
            json_fragments(_urls(page, of_connectors)),
            json_fragments(page["last_synced_at"]),
            page["is_next_run_due"],
            strict=True,
        )
    )
    each = zip(page["shown"], behind, ids, strict=True)
    return [
        piece for shown, more, key in each for piece in (shown[:-1], more.encode(), recent_runs.get(key, b"[]"), b"},")
    ]


def _of_one(page: Row) -> str:
    """Return the fields that only the detail of a pipeline has."""
    suggested = page["suggested_team"]
    return (
        f'"suggested_team":{"null" if suggested is None else suggested.decode()},'
        f'"provider_metadata":{page["provider_metadata"].decode()},'
    )


def _urls(page: Row, of_connectors: Sequence[bytes]) -> list[str]:
    links = _by_id(page, "connectors", list(zip(page["web_urls"], page["api_versions"], strict=True)))
    each = ((*links[of_connector], key) for of_connector, key in zip(of_connectors, page["external_ids"], strict=True))
    return [pipeline_url(web_url, api_version, external_id) for web_url, api_version, external_id in each]


def _by_id(page: Row, name: str, values: Sequence[Any] | None) -> dict[bytes, Any]:
    return dict(zip(split_uuids(page[f"ids_of_{name}"]), values or (), strict=True))
