"""Pipelines: how they are read, and what people decide about them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import orjson

from windsock.access.space import Space
from windsock.db import Reads, Row, Transaction, explained
from windsock.errors import NotFound
from windsock.filters import EVERY_PIPELINE, FRAGMENTS, Criticality, PipelineFilter
from windsock.pages import Paging, to_json
from windsock.pipelined import Asked
from windsock.pipelines.summaries import Summary, Window, p95s, summaries
from windsock.providers.airflow import pipeline_url
from windsock.sql import load

QUERIES = load(__package__, "pipelines.sql", shared=FRAGMENTS)

DEFAULT_DAYS = 7
DOTS, RUNS_SPOKEN_OF, MOST_SAID = 500, 200, 10
"""Of a pipeline at once: runs in a picture, runs whose comments are looked at, and comments."""
NUMBERS = {"failed_count", "success_rate"}
"""Sorted by what has to be summed up for each pipeline first."""


async def list_pipelines(
    reads: Reads,
    space: Space,
    paging: Paging,
    which: PipelineFilter,
    *,
    status: Sequence[str] | None,
    never_succeeded: bool = False,
    window: Window,
    sort: str,
) -> tuple[list[orjson.Fragment], int]:
    """A page, as JSON, and how many there are in all. `sort` is a column of the list, with - in front for descending.

    `never_succeeded`: those whose newest run goes on or ended in the window, and of which none in it was a success.
    """
    asked = {**which.parameters(space), "status": status, "never_succeeded": never_succeeded, **window.parameters}
    by, descending = sort.removeprefix("-"), sort.startswith("-")
    place = {"limit": paging.size, "offset": paging.offset}
    if by == "p95_duration_seconds":
        ids = await _ids_by_p95(reads, asked, window, paging, descending=descending)
        listed = Asked(QUERIES["list_these_pipelines"], {**asked, "ids": ids})
    elif sort == "name":
        listed = Asked(QUERIES["list_pipelines"], asked | place)
    else:
        sorted_by = "list_pipelines_sorted_by_numbers" if by in NUMBERS else "list_pipelines_sorted_by_column"
        listed = Asked(QUERIES[sorted_by], {**asked, **place, "by": by, "descending": descending})
    is_filtered = which != EVERY_PIPELINE or status is not None or never_succeeded
    counted = Asked(QUERIES["count_pipelines" if is_filtered else "known_number_of_pipelines"], asked)
    rows, totals = await reads.read(listed, counted)
    return _told(rows, window), totals[0]["total"]


@dataclass(frozen=True, slots=True)
class Totals:
    """How many pipelines: by state, paused, and without a success as list_pipelines means it."""

    by_status: dict[str, int]
    paused: int
    never_succeeded: int


async def count_totals(reads: Reads, space: Space, which: PipelineFilter, window: Window) -> Totals:
    """Of those that `which` means, paused or not."""
    matching = replace(which, is_paused=None).parameters(space)
    unlucky = {**matching, "status": None, "never_succeeded": True, **window.parameters}
    rows, without = await reads.read(
        Asked(QUERIES["states_of_pipelines"], matching), Asked(QUERIES["count_pipelines"], unlucky)
    )
    by_status = {row["status"]: row["total"] for row in rows}
    return Totals(by_status, sum(row["paused"] for row in rows), without[0]["total"])


async def _ids_by_p95(
    reads: Reads, asked: dict[str, Any], window: Window, paging: Paging, *, descending: bool
) -> list[UUID]:
    """Of a page, in its order: nulls last either way, then by name."""
    (found,) = await reads.read(Asked(QUERIES["durations_of_pipelines"], asked, is_prepared=False))
    keyed = zip(p95s(found, window), found, strict=True)
    ranked = sorted(keyed, key=lambda one: _rank(one[0], descending=descending))
    return [row["id"] for _, row in ranked[paging.offset : paging.offset + paging.size]]


def _rank(value: float | None, *, descending: bool) -> tuple[bool, float]:
    return value is None, (-value if descending else value) if value is not None else 0.0


async def get_pipeline(
    reads: Reads, space: Space, pipeline_id: UUID, *, window: Window | None = None
) -> orjson.Fragment:
    window = window or Window.ending_now(DEFAULT_DAYS)
    which = {"space_id": space.id, "pipeline_id": pipeline_id, "user_id": space.caller.id, **window.parameters}
    (rows,) = await reads.read(Asked(QUERIES["get_pipeline"], which))
    if not rows:
        raise NotFound("pipeline")
    return _told(rows, window)[0]


@dataclass(frozen=True, slots=True)
class Look:
    """What a page shows of a pipeline besides its facts: its days, its newest runs that ended, what was said of it."""

    days: list[Row]
    runs: list[Row]
    said: list[Row]


async def look_at_pipeline(tx: Transaction, space: Space, pipeline_id: UUID, window: Window) -> Look:
    which = {"space_id": space.id, "pipeline_id": pipeline_id}
    return Look(
        days=await tx.rows(QUERIES["days_of_pipeline"], **which, day=window.day),
        runs=await tx.rows(QUERIES["ended_runs_of_pipeline"], **which, since=window.since, limit=DOTS),
        said=await tx.rows(QUERIES["said_about_pipeline"], **which, runs=RUNS_SPOKEN_OF, limit=MOST_SAID),
    )


async def set_team(tx: Transaction, space: Space, pipeline_ids: Sequence[UUID], team_id: UUID | None) -> None:
    """Of those that are of this space; who has it already stays as it is."""
    with explained({"pipelines_team": NotFound("team")}):
        await tx.run(QUERIES["set_team"], space_id=space.id, pipeline_ids=list(pipeline_ids), team_id=team_id)


async def set_criticality(
    tx: Transaction, space: Space, pipeline_ids: Sequence[UUID], criticality: Criticality
) -> None:
    """As set_team."""
    which = {"space_id": space.id, "pipeline_ids": list(pipeline_ids)}
    await tx.run(QUERIES["set_criticality"], **which, criticality=criticality)


async def set_watch(tx: Transaction, space: Space, pipeline_id: UUID, *, is_watched: bool) -> None:
    """Whether the caller watches the pipeline; asking twice changes nothing."""
    which = {"space_id": space.id, "pipeline_id": pipeline_id}
    if not await tx.row(QUERIES["has_pipeline"], **which):
        raise NotFound("pipeline")
    await tx.run(QUERIES["watch" if is_watched else "unwatch"], **which, user_id=space.caller.id)


def _told(rows: list[Row], window: Window) -> list[orjson.Fragment]:
    """As the API answers: what is ready, with what others say of it and the numbers behind it."""
    return [_row(row, summary) for row, summary in zip(rows, summaries(rows, window), strict=True)]


def _row(row: Row, summary: Summary) -> orjson.Fragment:
    url = pipeline_url(row["web_url"], row["api_version"], row["external_id"])
    more = f'"provider_metadata":{row["provider_metadata"]},' if "provider_metadata" in row else ""
    last = {"summary": summary, "provider_url": url, "last_synced_at": row["last_synced_at"]}
    return orjson.Fragment(
        f'{row["shown"][:-1]},"connector":{row["connector"]},"team":{row["team"] or "null"},'
        f'"is_watched":{"true" if row["is_watched"] else "false"},"recent_runs":{row["recent_runs"]},'
        f"{more}"
        f"{to_json(last)[1:].decode()}"
    )
