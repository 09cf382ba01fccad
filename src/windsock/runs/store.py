"""Runs as they are read."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from windsock.auth.authenticator import Space
from windsock.db.database import Reader, Row, Statement
from windsock.db.queries import load
from windsock.errors import NotFound
from windsock.http.pagination import Cursor, CursorPageParams
from windsock.pipelines.filters import FRAGMENTS as PIPELINE_FRAGMENTS
from windsock.pipelines.filters import NO_FILTER, PipelineFilter
from windsock.providers.airflow import run_url
from windsock.runs.root_failures import failure_fields, run_failures
from windsock.runs.task_runs import FRAGMENTS, LINK_PARTS, failed_task_runs, task_runs_page, with_urls

QUERIES = load(__package__, "runs.sql", shared=f"{PIPELINE_FRAGMENTS}\n{FRAGMENTS}")

MAX_RUNS_PER_LANE = 20_000
TIMELINE_SLOTS = 160
"""Of the width of a timeline: as many as have a few pixels each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFilter:
    """`…_from` is inclusive, `…_to` exclusive. `include_removed`: also runs deleted in Airflow."""

    started_from: datetime | None = None
    started_to: datetime | None = None
    ended_from: datetime | None = None
    ended_to: datetime | None = None
    status: Sequence[str] | None = None
    run_type: Sequence[str] | None = None
    include_removed: bool = False
    ids: Sequence[UUID] | None = None

    @property
    def has_stored_count(self) -> bool:
        """Without a time range, how many runs match is stored by status and type; not of those that were removed."""
        return self._is_of_any_time and self._is_of_any_kind

    @property
    def has_hourly_count(self) -> bool:
        """Whether the number of matching runs of all pipelines is stored by the hour of their start."""
        return self.ended_from is None and self.ended_to is None and self._is_of_any_kind

    @property
    def _is_of_any_kind(self) -> bool:
        return self.ids is None and not self.include_removed

    @property
    def _is_of_any_time(self) -> bool:
        return all(time is None for time in (self.started_from, self.started_to, self.ended_from, self.ended_to))

    def parameters(self) -> dict[str, Any]:
        return {
            "started_from": self.started_from,
            "started_to": self.started_to,
            "ended_from": self.ended_from,
            "ended_to": self.ended_to,
            "ids": None if self.ids is None else list(self.ids),
            "status": self.status,
            "run_type": self.run_type,
            "leave_out_removed": not self.include_removed,
        }


async def list_runs(
    reader: Reader, space_id: UUID, pipeline_id: UUID, paging: CursorPageParams, which: RunFilter
) -> tuple[list[Row], int, Cursor | None]:
    """A page of a pipeline's runs, newest first, how many there are in all, and where the next page begins."""
    matching = {"space_id": space_id, "pipeline_id": pipeline_id, **which.parameters()}
    counted = "get_pipeline_run_count" if which.has_stored_count else "count_pipeline_runs"
    found = await _page(reader, "list_pipeline_runs", counted, matching, paging, which)
    if not found[0] and not (await reader.fetch_batch(Statement(QUERIES["pipeline_exists"], matching)))[0]:
        raise NotFound("pipeline")
    return found


async def list_runs_of_space(
    reader: Reader, space: Space, paging: CursorPageParams, which: RunFilter, of: PipelineFilter
) -> tuple[list[Row], int, Cursor | None]:
    """As list_runs, of all pipelines that `of` means."""
    matching = {**of.parameters(space), **which.parameters()}
    if of == NO_FILTER and which.has_hourly_count:
        counted = "count_space_runs_in_window"
    else:
        counted = "get_space_run_count" if which.has_stored_count else "count_space_runs"
    return await _page(reader, "list_space_runs", counted, matching, paging, which)


async def iterate_runs_of_space(
    reader: Reader, space: Space, which: RunFilter, of: PipelineFilter, batch_size: int
) -> AsyncIterator[list[Row]]:
    """Yield all runs of list_runs_of_space in batches; no transaction is open between them."""
    matching = {**of.parameters(space), **which.parameters()}
    query = QUERIES["list_space_runs_sorted_by_index"]
    after: Cursor | None = None
    while True:
        paging = CursorPageParams(1, batch_size, after)
        (rows,) = await reader.fetch_batch(Statement(query, matching | _cursor_params(paging), prepare=False))
        batch, _, after = _render_page(rows, 0, paging)
        if batch:
            yield batch
        if after is None:
            return


async def _page(
    reader: Reader, listed: str, counted: str, matching: dict[str, Any], paging: CursorPageParams, which: RunFilter
) -> tuple[list[Row], int, Cursor | None]:
    is_prepared = which.has_stored_count
    rows, totals = await reader.fetch_batch(
        Statement(QUERIES[_list_query(listed, paging)], {**matching, **_cursor_params(paging)}, prepare=is_prepared),
        Statement(QUERIES[counted], matching, prepare=is_prepared),
    )
    return _render_page(rows, totals[0]["total"], paging)


def _list_query(name: str, paging: CursorPageParams) -> str:
    """Skip the rows before a page in the index only; without an offset read each run once."""
    return name if paging.offset else f"{name}_sorted_by_index"


def _render_page(rows: list[Row], total: int, paging: CursorPageParams) -> tuple[list[Row], int, Cursor | None]:
    behind = paging.next_cursor(rows)
    return [_with_url(row) for row in rows], total, behind


def _cursor_params(paging: CursorPageParams) -> dict[str, Any]:
    after = paging.after
    return {"after": after and after.at, "after_id": after and after.id, "limit": paging.size, "offset": paging.offset}


async def list_timeline_pieces(
    reader: Reader, space: Space, pipeline_ids: Sequence[UUID], begin: datetime, end: datetime
) -> list[Row]:
    """Runs of each pipeline merged into pieces of one status, in the order of time."""
    which = {"space_id": space.id, "pipeline_ids": list(pipeline_ids), "begin": begin, "end": end}
    bounds = {"slot": (end - begin) / TIMELINE_SLOTS, "lane_limit": MAX_RUNS_PER_LANE}
    (pieces,) = await reader.fetch_batch(Statement(QUERIES["list_timeline_pieces"], which | bounds, prepare=False))
    return pieces


async def get_run_without_tasks(reader: Reader, space_id: UUID, run_id: UUID) -> Row:
    """One run without its task runs."""
    (found,) = await reader.fetch_batch(_run(space_id, run_id))
    return _with_url(_one_or_404(found, "run"))


async def get_run(reader: Reader, space_id: UUID, run_id: UUID) -> Row:
    """One run with all its task runs."""
    found, tasks, failures = await reader.fetch_batch(
        _run(space_id, run_id), task_runs_page(space_id, run_id, limit=None), run_failures(space_id, run_id)
    )
    run, address = _run_and_address(found)
    return run | failure_fields(failures) | {"task_runs": with_urls(tasks, address)}


@dataclass(frozen=True, slots=True)
class RunPage:
    """A run with a page of its task runs, the first of those that failed, and the runs before and after it."""

    run: Row
    task_runs: list[Row]
    failed: list[Row]
    previous: Row | None
    next: Row | None
    is_pending: bool


async def get_run_page(
    reader: Reader, space_id: UUID, run_id: UUID, *, limit: int, offset: int, all_failed: bool
) -> RunPage:
    """In one round trip, whose cost does not grow with what the page leaves out."""
    which = {"space_id": space_id, "run_id": run_id}
    found, tasks, failed, adjacent, pending = await reader.fetch_batch(
        _run(space_id, run_id),
        task_runs_page(space_id, run_id, limit=limit, offset=offset, leave_out_removed=True),
        failed_task_runs(space_id, run_id, show_all=all_failed),
        Statement(QUERIES["get_adjacent_runs"], which),
        Statement(QUERIES["task_runs_pending"], which),
    )
    run, address = _run_and_address(found)
    beside = {row["is_previous"]: row for row in adjacent}
    return RunPage(
        run, with_urls(tasks, address), with_urls(failed, address), beside.get(True), beside.get(False),
        is_pending=pending[0]["follow"],
    )  # fmt: skip


def _run(space_id: UUID, run_id: UUID) -> Statement:
    return Statement(QUERIES["get_run"], {"space_id": space_id, "run_id": run_id})


def _run_and_address(found: list[Row]) -> tuple[Row, Row]:
    run = _one_or_404(found, "run")
    address = {name: run[name] for name in LINK_PARTS} | {"run_external_id": run["external_id"]}
    return _with_url(run), address


async def task_runs_pending(reader: Reader, space_id: UUID, run_id: UUID) -> bool:
    """Whether the run has changed since the last sync that ended: then its task runs may be those of before."""
    (found,) = await reader.fetch_batch(
        Statement(QUERIES["task_runs_pending"], {"space_id": space_id, "run_id": run_id})
    )
    return bool(found and found[0]["follow"])


def _one_or_404(found: list[Row], kind: str) -> Row:
    if not found:
        raise NotFound(kind)
    return found[0]


def _with_url(row: Row) -> Row:
    row.pop("effective_start_at")
    web_url, api_version, dag_id = row.pop("web_url"), row.pop("api_version"), row.pop("dag_id")
    row["provider_url"] = run_url(web_url, api_version, dag_id, row["external_id"])
    return row
