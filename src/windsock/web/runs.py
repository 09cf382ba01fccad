"""A run: what failed in it, its tasks over time, what it was started with, and comments."""

from collections.abc import Iterable
from typing import Annotated, Any, Literal
from uuid import UUID

import orjson
from fastapi import APIRouter, Query, Request, Response

from windsock.actions.trigger import TriggerService
from windsock.auth.authenticator import Space
from windsock.auth.permissions import PageView
from windsock.db.database import Row
from windsock.errors import NotFound, ProviderFailed
from windsock.http.responses import dump_json
from windsock.http.validation import StorableText
from windsock.incidents.store import list_incidents_of_run
from windsock.runs.store import RunPage, get_run_page, get_run_without_tasks, task_runs_pending
from windsock.runs.task_runs import MAX_ALL_FAILED, get_task_run, list_instances, list_tasks
from windsock.web.comment_threads import CommentForm, read_threads
from windsock.web.layout import layout_context
from windsock.web.run_errors import read_errors
from windsock.web.templates import HEADERS, is_htmx_partial, render, to_jsonable
from windsock.web.tries import PreviousTriesCache

router = APIRouter(include_in_schema=False, prefix="/spaces/{slug}/runs/{run_id}")

ACTIVE_STATES = {"queued", "running", "restarting"}
PAGE_SIZE = 100
"""Task runs of a page without JavaScript; with it, all tasks are in the grid that takes their place."""
GRID_LINES = 20
"""Lines of the grid that are visible at once."""
MAX_CONF_CHARACTERS, SHORT_CONF_LINES = 20_000, 12
GRID_COLUMNS = (
    "id", "external_id", "counts", "map_index", "rendered_map_index", "loop", "status", "state_reason", "try_number",
    "queued_at", "started_at", "ended_at", "duration_seconds", "operator", "provider_url", "comment_count",
)  # fmt: skip

OpenForm = Annotated[UUID | None, Query()]
All = Annotated[Literal["all"] | None, Query()]


@router.get("")
async def show_run(
    request: Request,
    space: PageView,
    run_id: UUID,
    about: OpenForm = None,
    reply: OpenForm = None,
    edit: OpenForm = None,
    delete: OpenForm = None,
    comments: All = None,
    failed: All = None,
    page: Annotated[int, Query(ge=1, le=10_000)] = 1,
) -> Response:
    """`about`: the task run of a new comment. Only the head of the page is refreshed while the run is active."""
    if is_htmx_partial(request):
        run = to_jsonable(await get_run_without_tasks(space, space.id, run_id))
        return render(request, "run_header.html", run=run, goes_on=await _goes_on(space, run))
    return await render_run_page(
        request, space, run_id, form=CommentForm.of(reply, edit, delete), about=about, page=page,
        all_failed=failed == "all", all_comments=comments == "all",
    )  # fmt: skip


@router.get("/tasks")
async def get_tasks(
    request: Request,
    space: PageView,
    run_id: UUID,
    task_id: Annotated[StorableText | None, Query(max_length=1_000)] = None,
) -> Response:
    """The tasks of a run, or the instances of one, as JSON for the grid: column names once, then rows.

    With the earlier tries of the task runs among them.
    """
    run = await get_run_without_tasks(space, space.id, run_id)
    if task_id is None:
        found = await list_tasks(space, space.id, run_id)
    else:
        found = await list_instances(space, space.id, run_id, task_id)
    cache: PreviousTriesCache = request.app.state.tries
    body = {
        "goes_on": await _goes_on(space, run),
        "columns": GRID_COLUMNS,
        "tasks": [[row.get(name) for name in GRID_COLUMNS] for row in found],
        "earlier": await cache.get(space, run, [row for row in found if "id" in row]),
    }
    return Response(dump_json(body), headers=HEADERS, media_type="application/json")


@router.get("/params")
async def show_params(request: Request, space: PageView, run_id: UUID) -> Response:
    """The DAG's params with the values of this run, read from Airflow."""
    run = await get_run_without_tasks(space, space.id, run_id)
    conf, params, failure = orjson.loads(run["conf"]), [], None
    triggers: TriggerService = request.app.state.triggers
    try:
        params = [
            param_row(param.name, param.value, conf) for param in await triggers.params(space, run["pipeline_id"])
        ]
    except ProviderFailed as error:
        failure = str(error)
    context = {"run": to_jsonable(run), "params": params, "failure": failure}
    if is_htmx_partial(request):
        return render(request, "run_params.html", **context)
    return render(request, "run_params_page.html", **await layout_context(space), **context)


async def render_run_page(
    request: Request,
    space: Space,
    run_id: UUID,
    *,
    form: CommentForm,
    about: UUID | None = None,
    page: int = 1,
    all_failed: bool = False,
    all_comments: bool = False,
    status: int = 200,
) -> Response:
    offset = (page - 1) * PAGE_SIZE
    found = await get_run_page(space, space.id, run_id, limit=PAGE_SIZE, offset=offset, all_failed=all_failed)
    threads = await read_threads(space, run_id, form, show_all=all_comments)
    run, tasks = to_jsonable(found.run), to_jsonable(found.task_runs)
    total = sum(run["task_counts"].values()) or offset + len(tasks)
    return render(
        request, "run.html", status_code=status, **await layout_context(space), run=run, tasks=tasks, number=page,
        pages=max(1, -(-total // PAGE_SIZE)), lines=_grid_lines(tasks), threads=threads, is_partial=False,
        about=about and await _find_task(space, run_id, about), conf=conf_text(run["conf"]),
        goes_on=run["status"] in ACTIVE_STATES or found.is_pending, **_failures(found, run, total),
        previous=to_jsonable(found.previous), next=to_jsonable(found.next), is_requested=False,
        incidents=to_jsonable(await list_incidents_of_run(space, space.id, run_id)), **await read_errors(space, run_id),
    )  # fmt: skip


def _failures(found: RunPage, run: Row, total: int) -> dict[str, Any]:
    """The failed task runs that are shown, those around them, and how many there are of each."""
    rows: list[dict[str, Any]] = to_jsonable(found.failed)
    by_status: dict[str, list[dict[str, Any]]] = {"failed": [], "up_for_retry": [], "upstream_failed": []}
    for row in rows:
        by_status[row["status"]].append(row)
    # Rows of a sync in progress may be ahead of the counts.
    counts = {name: max(run["task_counts"].get(name, 0), len(listed)) for name, listed in by_status.items()}
    return {"failures": by_status, "failure_counts": counts, "task_total": total, "max_failed": MAX_ALL_FAILED}


async def _find_task(space: Space, run_id: UUID, task_run_id: UUID) -> Row | None:
    """The task run of this run that a comment is about; None for any other id."""
    try:
        task = to_jsonable(await get_task_run(space, space.id, task_run_id))
    except NotFound:
        return None
    return task if task["run_id"] == str(run_id) else None


async def _goes_on(space: Space, run: Row) -> bool:
    """Whether there may soon be more to see: a run that has just ended may have task runs that are still to come."""
    return run["status"] in ACTIVE_STATES or await task_runs_pending(space, space.id, run["id"])


def _grid_lines(tasks: Iterable[dict[str, Any]]) -> int:
    """How many lines the grid begins with, so that nothing moves when it is filled."""
    names = {task["external_id"] for task in tasks}
    groups = {name[:place] for name in names for place, letter in enumerate(name) if letter == "."}
    return min(GRID_LINES, len(names | groups))


def conf_text(conf: object) -> dict[str, Any] | None:
    """`conf` as indented JSON, cut to a readable size; None when it is empty."""
    if conf in ({}, None):
        return None
    text = orjson.dumps(conf, option=orjson.OPT_INDENT_2).decode()
    lines = text.count("\n") + 1
    return {
        "text": text[:MAX_CONF_CHARACTERS],
        "lines": lines,
        "is_long": lines > SHORT_CONF_LINES,
        "is_cut": len(text) > MAX_CONF_CHARACTERS,
    }


def param_row(name: str, default: object, conf: object) -> dict[str, Any]:
    """The value of a param in a run: that of conf, else the default."""
    is_overridden = isinstance(conf, dict) and name in conf
    value = conf[name] if isinstance(conf, dict) and is_overridden else default
    return {"name": name, "value": orjson.dumps(value).decode()[:MAX_CONF_CHARACTERS], "is_overridden": is_overridden}
