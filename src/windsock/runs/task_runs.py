"""Task runs as they are read: by the page, one, and the tasks of a run for its grid."""

from collections.abc import Iterable, Sequence
from uuid import UUID

import orjson

from windsock.db.database import Reader, Row, Statement
from windsock.db.queries import load, read_fragments
from windsock.errors import NotFound
from windsock.http.pagination import PageParams
from windsock.providers.airflow import task_run_url
from windsock.providers.scopes import NO_REGION, NO_REGION_INDEX, NOT_MAPPED

FRAGMENTS = read_fragments(__package__, "fragments.sql")
QUERIES = load(__package__, "task_runs.sql", shared=FRAGMENTS)

MAX_FAILED, MAX_ALL_FAILED, MAX_OTHER = 20, 1_000, 12
"""Failed task runs that are listed of a run, also where all are wanted; those that did not run because of them."""
MAX_INSTANCES = 5_000
LINK_PARTS = ("web_url", "api_version", "dag_id")


def task_runs_page(
    space_id: UUID,
    run_id: UUID,
    *,
    limit: int | None,
    offset: int = 0,
    leave_out_removed: bool = False,
    **which: object,
) -> Statement:
    """The statement that lists task runs in the order of the graph; `which`: `status` and `external_id`."""
    matching = {"status": None, "external_id": None, **which, "leave_out_removed": leave_out_removed}
    page = {"space_id": space_id, "run_id": run_id, "limit": limit, "offset": offset}
    return Statement(QUERIES["list_task_runs"], {**page, **matching})


def failed_task_runs(space_id: UUID, run_id: UUID, *, show_all: bool) -> Statement:
    limit = MAX_ALL_FAILED if show_all else MAX_FAILED
    which = {"space_id": space_id, "run_id": run_id, "limit": limit, "other_limit": MAX_OTHER}
    return Statement(QUERIES["first_failed_task_runs"], which)


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
    listed = task_runs_page(
        space_id, run_id, limit=paging.size, offset=paging.offset, status=status, external_id=external_id
    )
    address, rows, totals = await reader.fetch_batch(
        Statement(QUERIES["get_run_link_parts"], listed.parameters),
        listed,
        Statement(QUERIES["count_task_runs"], listed.parameters),
    )
    return with_urls(rows, _one_or_404(address, "run")), totals[0]["total"]


async def get_task_run(reader: Reader, space_id: UUID, task_run_id: UUID) -> Row:
    (found,) = await reader.fetch_batch(
        Statement(QUERIES["get_task_run"], {"space_id": space_id, "task_run_id": task_run_id})
    )
    task = _one_or_404(found, "task run")
    address = {name: task.pop(name) for name in (*LINK_PARTS, "run_external_id")}
    return with_url(task, address)


async def list_tasks(reader: Reader, space_id: UUID, run_id: UUID) -> list[Row]:
    """The tasks of a run in the order of the graph.

    A task with one task run is that; one that is mapped or in a loop has the `counts` of its instances by state, and no
    `id`.
    """
    which = {"space_id": space_id, "run_id": run_id}
    names = ("get_run_link_parts", "list_single_task_runs", "list_repeated_tasks", "count_comments_by_task_run",
             "get_task_depths")  # fmt: skip
    address, single, repeated, comments, depths = await reader.fetch_batch(
        *(Statement(QUERIES[name], which) for name in names)
    )
    with_comment_counts(with_urls(single, _one_or_404(address, "run")), comments)
    levels: dict[str, int] = orjson.loads(depths[0]["task_depths"])

    def place(row: Row) -> tuple[bool, int, bool, float, str]:
        level, start = levels.get(row["external_id"]), row["started_at"]
        return level is None, level or 0, start is None, start.timestamp() if start else 0.0, row["external_id"]

    return sorted((*single, *repeated), key=place)


async def list_instances(reader: Reader, space_id: UUID, run_id: UUID, task_id: str) -> list[Row]:
    """The iterations and mapped instances of one task, at most MAX_INSTANCES."""
    which = {"space_id": space_id, "run_id": run_id, "task_id": task_id, "limit": MAX_INSTANCES}
    names = ("get_run_link_parts", "instances_of_task", "count_comments_by_task_run")
    address, rows, comments = await reader.fetch_batch(*(Statement(QUERIES[name], which) for name in names))
    return with_comment_counts(with_urls(rows, _one_or_404(address, "run")), comments)


def with_urls(tasks: list[Row], address: Row) -> list[Row]:
    return [with_url(task, address) for task in tasks]


def with_url(task: Row, address: Row) -> Row:
    """`address` has LINK_PARTS and `run_external_id`."""
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


def with_comment_counts(tasks: list[Row], counts: Iterable[Row]) -> list[Row]:
    by_id = {row["task_run_id"]: row["total"] for row in counts}
    for task in tasks:
        task["comment_count"] = by_id.get(task["id"], 0)
    return tasks


def _one_or_404(found: list[Row], kind: str) -> Row:
    if not found:
        raise NotFound(kind)
    return found[0]
