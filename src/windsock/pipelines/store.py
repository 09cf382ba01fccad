"""Pipelines: how they are read, and what people decide about them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from windsock.access.space import Space
from windsock.db import Reads, Row, Transaction, explained
from windsock.errors import NotFound
from windsock.filters import FRAGMENTS, Criticality, PipelineFilter
from windsock.pages import Paging
from windsock.pipelined import Asked
from windsock.pipelines.percentiles import percentiles
from windsock.providers.airflow import pipeline_url
from windsock.sql import load

QUERIES = load(__package__, "pipelines.sql", shared=FRAGMENTS)

DEFAULT_DAYS = 7
DOTS, RUNS_SPOKEN_OF, MOST_SAID = 500, 200, 10
"""Of a pipeline at once: runs in a picture, runs whose comments are looked at, and comments."""
NUMBERS = {"failed_count", "success_rate"}
"""Sorted by what has to be summed up for each pipeline first."""
COUNTS = ("total_runs", "success_count", "failed_count", "running_count")


@dataclass(frozen=True, slots=True)
class Window:
    """What a summary counts: the runs that ended since then, `days` days ago."""

    days: int
    since: datetime

    @classmethod
    def ending_now(cls, days: int) -> "Window":
        """To the minute, so that answers of the same minute are the same."""
        now = datetime.now(UTC).replace(second=0, microsecond=0)
        return cls(days, now - timedelta(days=days))


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
) -> tuple[list[Row], int]:
    """A page, and how many there are in all. `sort` is a column of the list, with - in front for descending.

    `never_succeeded`: those whose newest run goes on or ended in the window, and of which none in it was a success.
    """
    asked = {**which.parameters(space), "status": status, "never_succeeded": never_succeeded, "since": window.since}
    by, descending = sort.removeprefix("-"), sort.startswith("-")
    place = {"limit": paging.size, "offset": paging.offset}
    if by == "p95_duration_seconds":
        ids = await _ids_by_p95(reads, asked, paging, descending=descending)
        listed = Asked(QUERIES["list_these_pipelines"], {**asked, "ids": ids})
    elif sort == "name":
        listed = Asked(QUERIES["list_pipelines"], asked | place)
    else:
        sorted_by = "list_pipelines_sorted_by_numbers" if by in NUMBERS else "list_pipelines_sorted_by_column"
        listed = Asked(QUERIES[sorted_by], {**asked, **place, "by": by, "descending": descending})
    rows, totals = await reads.read(listed, Asked(QUERIES["count_pipelines"], asked))
    return _finished(rows, window), totals[0]["total"]


@dataclass(frozen=True, slots=True)
class Totals:
    """How many pipelines: by state, paused, and without a success as list_pipelines means it."""

    by_status: dict[str, int]
    paused: int
    never_succeeded: int


async def count_totals(reads: Reads, space: Space, which: PipelineFilter, window: Window) -> Totals:
    """Of those that `which` means, paused or not."""
    matching = replace(which, is_paused=None).parameters(space)
    unlucky = {**matching, "status": None, "never_succeeded": True, "since": window.since}
    rows, without = await reads.read(
        Asked(QUERIES["states_of_pipelines"], matching), Asked(QUERIES["count_pipelines"], unlucky)
    )
    by_status = {row["status"]: row["total"] for row in rows}
    return Totals(by_status, sum(row["paused"] for row in rows), without[0]["total"])


async def _ids_by_p95(reads: Reads, asked: dict[str, Any], paging: Paging, *, descending: bool) -> list[UUID]:
    """Of a page, in its order: nulls last either way, then by name."""
    (found,) = await reads.read(Asked(QUERIES["durations_of_pipelines"], asked, is_prepared=False))
    keyed = zip(percentiles([row["durations"] for row in found], (0.95,)), found, strict=True)
    ranked = sorted(keyed, key=lambda one: _rank(one[0][0], descending=descending))
    return [row["id"] for _, row in ranked[paging.offset : paging.offset + paging.size]]


def _rank(value: float | None, *, descending: bool) -> tuple[bool, float]:
    return value is None, (-value if descending else value) if value is not None else 0.0


async def get_pipeline(reads: Reads, space: Space, pipeline_id: UUID, *, window: Window | None = None) -> Row:
    window = window or Window.ending_now(DEFAULT_DAYS)
    which = {"space_id": space.id, "pipeline_id": pipeline_id, "user_id": space.caller.id, "since": window.since}
    (rows,) = await reads.read(Asked(QUERIES["get_pipeline"], which))
    if not rows:
        raise NotFound("pipeline")
    return _finished(rows, window)[0]


@dataclass(frozen=True, slots=True)
class Look:
    """What a page shows of a pipeline besides its facts: its days, its newest runs that ended, what was said of it."""

    days: list[Row]
    runs: list[Row]
    said: list[Row]


async def look_at_pipeline(tx: Transaction, space: Space, pipeline_id: UUID, window: Window) -> Look:
    which = {"space_id": space.id, "pipeline_id": pipeline_id}
    return Look(
        days=await tx.rows(QUERIES["days_of_pipeline"], **which, since=window.since),
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


def _finished(rows: list[Row], window: Window) -> list[Row]:
    """With the summary and the link, in place of what they are made of."""
    found = percentiles([row.pop("durations") for row in rows], (0.5, 0.95))
    for row, (p50, p95) in zip(rows, found, strict=True):
        numbers = {name: row.pop(name) for name in COUNTS}
        ended = numbers["success_count"] + numbers["failed_count"]
        row["summary"] = {
            "days": window.days,
            **numbers,
            "success_rate": numbers["success_count"] / ended if ended else None,
            "avg_duration_seconds": row.pop("avg_duration_seconds"),
            "p50_duration_seconds": p50,
            "p95_duration_seconds": p95,
        }
        row["provider_url"] = pipeline_url(row.pop("web_url"), row.pop("api_version"), row["external_id"])
    return rows
