"""Runs and task runs as they are read."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from windsock.auth.authenticator import Space
from windsock.db.database import Reader, Row, Statement, Transaction
from windsock.db.queries import load
from windsock.errors import NotFound
from windsock.http.pagination import Cursor, CursorPageParams, PageParams
from windsock.pipelines.filters import FRAGMENTS, NO_FILTER, PipelineFilter
from windsock.providers.airflow import run_url, task_run_url
from windsock.providers.scopes import NO_REGION, NO_REGION_INDEX, NOT_MAPPED

QUERIES = load(__package__, "runs.sql", shared=FRAGMENTS)

MAX_RUNS_PER_LANE = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFilter:
    """`started_from` is inclusive, `started_to` exclusive. `include_removed`: also runs deleted in Airflow."""

    started_from: datetime | None = None
    started_to: datetime | None = None
    status: Sequence[str] | None = None
    run_type: Sequence[str] | None = None
    include_removed: bool = False

    @property
    def has_stored_count(self) -> bool:
        """Without a time range, how many runs match is stored by status and type; not of those that were removed."""
        return self.started_from is None and self.started_to is None and not self.include_removed

    def parameters(self) -> dict[str, Any]:
        return {
            "started_from": self.started_from,
            "started_to": self.started_to,
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
    if of == NO_FILTER and not which.include_removed:
        counted = "count_space_runs_in_window"
    else:
        counted = "get_space_run_count" if which.has_stored_count else "count_space_runs"
    return await _page(reader, "list_space_runs", counted, matching, paging, which)


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


async def list_timeline_runs(
    tx: Transaction, space: Space, pipeline_ids: Sequence[UUID], begin: datetime, end: datetime
) -> list[Row]:
    """When they ran, of each at most MAX_RUNS_PER_LANE, in the order of time."""
    which = {"space_id": space.id, "pipeline_ids": list(pipeline_ids), "begin": begin, "end": end}
    return await tx.fetch_all(QUERIES["list_timeline_runs"], **which, most=MAX_RUNS_PER_LANE)


async def get_run_without_tasks(reader: Reader, space_id: UUID, run_id: UUID) -> Row:
    """One run without its task runs."""
    (found,) = await reader.fetch_batch(Statement(QUERIES["get_run"], {"space_id": space_id, "run_id": run_id}))
    return _with_url(_one_or_404(found, "run"))


async def get_run(reader: Reader, space_id: UUID, run_id: UUID) -> Row:
    """One run with all its task runs."""
    which = {"space_id": space_id, "run_id": run_id}
    of_tasks = {**which, "status": None, "external_id": None, "limit": None, "offset": 0}
    found, tasks = await reader.fetch_batch(
        Statement(QUERIES["get_run"], which), Statement(QUERIES["list_task_runs"], of_tasks)
    )
    run = _one_or_404(found, "run")
    address = {name: run[name] for name in ("web_url", "api_version", "dag_id")}
    run = _with_url(run)
    address["run_external_id"] = run["external_id"]
    return run | {"task_runs": [_task_with_url(task, address) for task in tasks]}


async def task_runs_pending(reader: Reader, space_id: UUID, run_id: UUID) -> bool:
    """Whether the run has changed since the last sync that ended: then its task runs may be those of before."""
    (found,) = await reader.fetch_batch(
        Statement(QUERIES["task_runs_pending"], {"space_id": space_id, "run_id": run_id})
    )
    return bool(found and found[0]["follow"])


async def list_task_runs(
    reader: Reader,
    space_id: UUID,
    run_id: UUID,
    paging: PageParams,
    *,
    status: Sequence[str] | None,
    external_id: Sequence[str] | None,
) -> tuple[list[Row], int]:
    """A page of a run's task runs in the order of the run's detail, and how many there are in all."""
    matching = {"space_id": space_id, "run_id": run_id, "status": status, "external_id": external_id}
    of, rows, totals = await reader.fetch_batch(
        Statement(QUERIES["get_run_link_parts"], matching),
        Statement(QUERIES["list_task_runs"], {**matching, "limit": paging.size, "offset": paging.offset}),
        Statement(QUERIES["count_task_runs"], matching),
    )
    address = _one_or_404(of, "run")
    return [_task_with_url(row, address) for row in rows], totals[0]["total"]


async def get_task_run(reader: Reader, space_id: UUID, task_run_id: UUID) -> Row:
    (found,) = await reader.fetch_batch(
        Statement(QUERIES["get_task_run"], {"space_id": space_id, "task_run_id": task_run_id})
    )
    task = _one_or_404(found, "task run")
    address = {name: task.pop(name) for name in ("web_url", "api_version", "dag_id", "run_external_id")}
    return _task_with_url(task, address)


def _one_or_404(found: list[Row], kind: str) -> Row:
    if not found:
        raise NotFound(kind)
    return found[0]


def _with_url(row: Row) -> Row:
    row.pop("effective_start_at")
    web_url, api_version, dag_id = row.pop("web_url"), row.pop("api_version"), row.pop("dag_id")
    row["provider_url"] = run_url(web_url, api_version, dag_id, row["external_id"])
    return row


def _task_with_url(task: Row, address: Row) -> Row:
    map_index = NOT_MAPPED if task["map_index"] is None else task["map_index"]
    task["provider_url"] = task_run_url(
        address["web_url"],
        address["api_version"],
        address["dag_id"],
        address["run_external_id"],
        task["external_id"],
        map_index,
        region_id=task["region_id"] or NO_REGION,
        region_index=NO_REGION_INDEX if task["region_index"] is None else task["region_index"],
    )
    return task
