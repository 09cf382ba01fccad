"""Runs and task runs as they are read."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from windsock.access.space import Space
from windsock.db import Reads, Row, Transaction
from windsock.errors import NotFound
from windsock.filters import EVERY_PIPELINE, FRAGMENTS, PipelineFilter
from windsock.pages import LongPaging, Paging, Place
from windsock.pipelined import Asked
from windsock.providers.airflow import run_url, task_run_url
from windsock.providers.scopes import NO_REGION, NO_REGION_INDEX, NOT_MAPPED
from windsock.sql import load

QUERIES = load(__package__, "runs.sql", shared=FRAGMENTS)

MOST_IN_A_LANE = 300


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
    reads: Reads, space_id: UUID, pipeline_id: UUID, paging: LongPaging, which: RunFilter
) -> tuple[list[Row], int, Place | None]:
    """A page of a pipeline's runs, newest first, how many there are in all, and where the next page begins."""
    matching = {"space_id": space_id, "pipeline_id": pipeline_id, **which.parameters()}
    counted = "known_number_of_runs_of_pipeline" if which.has_stored_count else "count_runs_of_pipeline"
    found = await _page(reads, "list_runs_of_pipeline", counted, matching, paging, which)
    if not found[0] and not (await reads.read(Asked(QUERIES["has_pipeline"], matching)))[0]:
        raise NotFound("pipeline")
    return found


async def list_runs_of_space(
    reads: Reads, space: Space, paging: LongPaging, which: RunFilter, of: PipelineFilter
) -> tuple[list[Row], int, Place | None]:
    """As list_runs, of all pipelines that `of` means."""
    matching = {**of.parameters(space), **which.parameters()}
    if which.has_stored_count:
        counted = "known_number_of_all_runs_of_space" if of == EVERY_PIPELINE else "known_number_of_runs_of_space"
    else:
        is_by_hour = of == EVERY_PIPELINE and not which.include_removed
        counted = "count_all_runs_of_space" if is_by_hour else "count_runs_of_space"
    return await _page(reads, "list_runs_of_space", counted, matching, paging, which)


async def _page(
    reads: Reads, listed: str, counted: str, matching: dict[str, Any], paging: LongPaging, which: RunFilter
) -> tuple[list[Row], int, Place | None]:
    is_prepared = which.has_stored_count
    rows, totals = await reads.read(
        Asked(QUERIES[_listed(listed, paging)], {**matching, **_place(paging)}, is_prepared=is_prepared),
        Asked(QUERIES[counted], matching, is_prepared=is_prepared),
    )
    return _told(rows, totals[0]["total"], paging)


def _listed(name: str, paging: LongPaging) -> str:
    """What lies before a page is counted off in the index alone; where nothing does, each run is read but once."""
    return name if paging.offset else f"{name}_sorted_already"


def _told(rows: list[Row], total: int, paging: LongPaging) -> tuple[list[Row], int, Place | None]:
    behind = paging.place_behind(rows)
    return [_with_url(row) for row in rows], total, behind


def _place(paging: LongPaging) -> dict[str, Any]:
    after = paging.after
    return {"after": after and after.at, "after_id": after and after.id, "limit": paging.size, "offset": paging.offset}


async def runs_in_window(
    tx: Transaction, space: Space, pipeline_ids: Sequence[UUID], begin: datetime, end: datetime
) -> list[Row]:
    """When they ran, of each at most MOST_IN_A_LANE, in the order of time."""
    which = {"space_id": space.id, "pipeline_ids": list(pipeline_ids), "begin": begin, "end": end}
    return await tx.rows(QUERIES["runs_in_window"], **which, most=MOST_IN_A_LANE)


async def get_run_alone(reads: Reads, space_id: UUID, run_id: UUID) -> Row:
    """One run without its task runs."""
    (found,) = await reads.read(Asked(QUERIES["get_run"], {"space_id": space_id, "run_id": run_id}))
    return _with_url(_only(found, "run"))


async def get_run(reads: Reads, space_id: UUID, run_id: UUID) -> Row:
    """One run with all its task runs."""
    which = {"space_id": space_id, "run_id": run_id}
    of_tasks = {**which, "status": None, "external_id": None, "limit": None, "offset": 0}
    found, tasks = await reads.read(Asked(QUERIES["get_run"], which), Asked(QUERIES["list_task_runs"], of_tasks))
    run = _only(found, "run")
    address = {name: run[name] for name in ("web_url", "api_version", "dag_id")}
    run = _with_url(run)
    address["run_external_id"] = run["external_id"]
    return run | {"task_runs": [_task_with_url(task, address) for task in tasks]}


async def task_runs_follow(reads: Reads, space_id: UUID, run_id: UUID) -> bool:
    """Whether the run has changed since the last sync that ended: then its task runs may be those of before."""
    (found,) = await reads.read(Asked(QUERIES["task_runs_follow"], {"space_id": space_id, "run_id": run_id}))
    return bool(found and found[0]["follow"])


async def list_task_runs(
    reads: Reads,
    space_id: UUID,
    run_id: UUID,
    paging: Paging,
    *,
    status: Sequence[str] | None,
    external_id: Sequence[str] | None,
) -> tuple[list[Row], int]:
    """A page of a run's task runs in the order of the run's detail, and how many there are in all."""
    matching = {"space_id": space_id, "run_id": run_id, "status": status, "external_id": external_id}
    of, rows, totals = await reads.read(
        Asked(QUERIES["get_run_address"], matching),
        Asked(QUERIES["list_task_runs"], {**matching, "limit": paging.size, "offset": paging.offset}),
        Asked(QUERIES["count_task_runs"], matching),
    )
    address = _only(of, "run")
    return [_task_with_url(row, address) for row in rows], totals[0]["total"]


async def get_task_run(reads: Reads, space_id: UUID, task_run_id: UUID) -> Row:
    (found,) = await reads.read(Asked(QUERIES["get_task_run"], {"space_id": space_id, "task_run_id": task_run_id}))
    task = _only(found, "task run")
    address = {name: task.pop(name) for name in ("web_url", "api_version", "dag_id", "run_external_id")}
    return _task_with_url(task, address)


def _only(found: list[Row], kind: str) -> Row:
    if not found:
        raise NotFound(kind)
    return found[0]


def _with_url(row: Row) -> Row:
    row.pop("begun_at")
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
