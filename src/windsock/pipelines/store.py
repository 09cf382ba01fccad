"""Pipelines: how they are read, and what people decide about them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from psycopg.abc import Buffer

from windsock.access.space import Space
from windsock.db import Reads, Row, Transaction, explained
from windsock.errors import NotFound
from windsock.filters import EVERY_PIPELINE, FRAGMENTS, Criticality, PipelineFilter
from windsock.pages import Paging, in_json
from windsock.pipelined import Asked
from windsock.pipelines.summaries import NUMBERS, Numbers, Window, ids_in, summaries
from windsock.providers.airflow import pipeline_url
from windsock.sql import load

QUERIES = load(__package__, "pipelines.sql", shared=FRAGMENTS)

DEFAULT_DAYS = 7
DOTS, RUNS_SPOKEN_OF, MOST_SAID = 500, 200, 10
"""Of a pipeline at once: runs in a picture, runs whose comments are looked at, and comments."""
AT_ONCE = 1_000
"""Pipelines whose numbers are read together where all are compared: memory is bounded."""


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
) -> tuple[bytes, int]:
    """A page in JSON, and how many there are in all. `sort` is a column of the list, with - in front for descending.

    `never_succeeded`: those whose newest run goes on or ended in the window, and of which none in it was a success.
    """
    asked = {**which.parameters(space), "status": status, "never_succeeded": never_succeeded, **window.parameters}
    asked["with_durations"] = True
    by, descending = sort.removeprefix("-"), sort.startswith("-")
    place = {"limit": paging.size, "offset": paging.offset}
    if by in NUMBERS:
        ids = await _ids_by_number(reads, asked, window, paging, by=by, descending=descending)
        listed = Asked(QUERIES["list_these_pipelines"], {**asked, "ids": ids})
    elif sort == "name":
        listed = Asked(QUERIES["list_pipelines"], asked | place)
    else:
        given = {**asked, **place, "by": by, "descending": descending}
        listed = Asked(QUERIES["list_pipelines_sorted_by_column"], given)
    is_filtered = which != EVERY_PIPELINE or status is not None or never_succeeded
    counted = Asked(QUERIES["count_pipelines" if is_filtered else "known_number_of_pipelines"], asked)
    found, totals = await reads.read(listed, counted)
    told = _told(found[0], window)
    return b"".join((b"[", *told[:-1], b"}]")) if told else b"[]", totals[0]["total"]


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


async def _ids_by_number(
    reads: Reads, asked: dict[str, Any], window: Window, paging: Paging, *, by: str, descending: bool
) -> list[UUID]:
    """Of a page, in its order: nulls last either way, then by name."""
    (found,) = await reads.read(Asked(QUERIES["ids_of_pipelines"], asked))
    ids: list[UUID] = [row["id"] for row in found]
    keys: list[float | None] = []
    for some in (ids[first : first + AT_ONCE] for first in range(0, len(ids), AT_ONCE)):
        given = {**asked, "ids": some, "with_durations": by == "p95_duration_seconds"}
        ((kept,),) = await reads.read(Asked(QUERIES["numbers_of_pipelines"], given))
        keys += NUMBERS[by](Numbers(kept, [one.bytes for one in some], window))
    ranked = sorted(zip(keys, ids, strict=True), key=lambda one: _rank(one[0], descending=descending))
    return [one for _, one in ranked[paging.offset : paging.offset + paging.size]]


def _rank(value: float | None, *, descending: bool) -> tuple[bool, float]:
    return value is None, (-value if descending else value) if value is not None else 0.0


async def get_pipeline(reads: Reads, space: Space, pipeline_id: UUID, *, window: Window | None = None) -> bytes:
    window = window or Window.ending_now(DEFAULT_DAYS)
    which = {"space_id": space.id, "pipeline_id": pipeline_id, "user_id": space.caller.id, **window.parameters}
    which["with_durations"] = True
    (found,) = await reads.read(Asked(QUERIES["get_pipeline"], which))
    if not found:
        raise NotFound("pipeline")
    told = _told(found[0], window)
    return b"".join((*told[:-1], b"}"))


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


def _told(page: Row, window: Window) -> list[Buffer]:
    """As the API answers, each in a few pieces: what is ready, and what others say of it between. See {of_page}."""
    if page["shown"] is None:
        return []
    ids = ids_in(page["ids"])
    of_connectors, connectors = ids_in(page["of_connectors"]), _by_id(page, "connectors", page["connectors"])
    of_teams, teams = ids_in(page["of_teams"]), _by_id(page, "teams", page["teams"])
    strips, running = _by_id(page, "strips", page["strips"]), _by_id(page, "running", page["running"])
    watched = set(ids_in(page["watched"]))
    metadata = _of_one(page) if "provider_metadata" in page else ""
    behind = (
        f',"connector":{connectors[of_connector].decode()},"team":{teams.get(of_team, b"null").decode()},'
        f'"is_watched":{"true" if one in watched else "false"},'
        f'"is_next_run_due":{"true" if is_due else "false"},{metadata}'
        f'"summary":{{{summary},"running_count":{running.get(one, 0)}}},"provider_url":{url},'
        f'"last_synced_at":{synced_at},"recent_runs":'
        for one, of_connector, of_team, summary, url, synced_at, is_due in zip(
            ids,
            of_connectors,
            of_teams,
            summaries(Numbers(page, ids, window), window),
            in_json(_urls(page, of_connectors)),
            in_json(page["last_synced_at"]),
            page["is_next_run_due"],
            strict=True,
        )
    )
    each = zip(page["shown"], behind, ids, strict=True)
    return [piece for shown, more, one in each for piece in (shown[:-1], more.encode(), strips.get(one, b"[]"), b"},")]


def _of_one(page: Row) -> str:
    """What only the answer about one pipeline has."""
    suggested = page["suggested_team"]
    return (
        f'"suggested_team":{"null" if suggested is None else suggested.decode()},'
        f'"provider_metadata":{page["provider_metadata"].decode()},'
    )


def _urls(page: Row, of_connectors: Sequence[bytes]) -> list[str]:
    links = _by_id(page, "connectors", list(zip(page["web_urls"], page["api_versions"], strict=True)))
    each = ((*links[of_connector], one) for of_connector, one in zip(of_connectors, page["external_ids"], strict=True))
    return [pipeline_url(web_url, api_version, external_id) for web_url, api_version, external_id in each]


def _by_id(page: Row, name: str, values: Sequence[Any] | None) -> dict[bytes, Any]:
    return dict(zip(ids_in(page[f"ids_of_{name}"]), values or (), strict=True))
