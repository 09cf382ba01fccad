"""A run: its tasks over time, and what is said about it."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Form, Query, Request, Response
from pydantic import ValidationError

from windsock.auth.authenticator import Space
from windsock.auth.permissions import PageComment, PageView
from windsock.comments.models import CommentIn
from windsock.comments.store import create_comment, list_run_and_task_comments
from windsock.db.database import Row
from windsock.http.responses import dump_json
from windsock.runs.store import get_run, get_run_without_tasks, task_runs_pending
from windsock.web.forms import with_newlines
from windsock.web.layout import layout_context
from windsock.web.templates import HEADERS, is_htmx_partial, redirect, render, to_jsonable
from windsock.web.tries import PreviousTriesCache

router = APIRouter(include_in_schema=False, prefix="/spaces/{slug}/runs/{run_id}")

SHOWN_COMMENTS = 500
GOES_ON = {"queued", "running", "restarting"}
SHOWN_TASKS = 500
"""Task runs on the page itself; with JavaScript all of them are in the grid that takes its place."""
OF_A_TASK = (
    "id", "external_id", "map_index", "rendered_map_index", "loop", "status", "state_reason", "try_number", "queued_at",
    "started_at", "ended_at", "duration_seconds", "operator", "provider_url", "comment_count",
)  # fmt: skip


@router.get("")
async def show_run(
    request: Request, space: PageView, run_id: UUID, about: Annotated[UUID | None, Query()] = None
) -> Response:
    """`about`: the task run of a new comment. Only the head of the page is refreshed while the run is active."""
    if is_htmx_partial(request):
        run = to_jsonable(await get_run_without_tasks(space, space.id, run_id))
        return render(request, "run_header.html", run=run, goes_on=await _goes_on(space, run))
    return await _page(request, space, run_id, about)


@router.get("/tasks")
async def get_tasks(request: Request, space: PageView, run_id: UUID) -> Response:
    """All task runs as JSON, for the grid: the names of the columns once, then the rows; and their earlier tries."""
    run = await get_run(space, space.id, run_id)
    goes_on = await _goes_on(space, run)
    known: PreviousTriesCache = request.app.state.tries
    tasks = [task for task in run["task_runs"] if task["removed_at"] is None]
    earlier = await known.get(space, run, tasks)
    rows = [[task[name] for name in OF_A_TASK] for task in tasks]
    body = dump_json({"goes_on": goes_on, "columns": OF_A_TASK, "tasks": rows, "earlier": earlier})
    return Response(body, headers=HEADERS, media_type="application/json")


@router.post("/comments")
async def comment_on_run(
    request: Request, space: PageComment, run_id: UUID, content: Annotated[str, Form()] = ""
) -> Response:
    return await _comment(request, space, run_id, None, content)


@router.post("/task-runs/{task_run_id}/comments")
async def comment_on_task_run(
    request: Request, space: PageComment, run_id: UUID, task_run_id: UUID, content: Annotated[str, Form()] = ""
) -> Response:
    return await _comment(request, space, run_id, task_run_id, content)


async def _comment(request: Request, space: Space, run_id: UUID, task_run_id: UUID | None, content: str) -> Response:
    try:
        body = CommentIn(content=with_newlines(content), parent_id=None)
    except ValidationError:
        complaint = "A comment has 1 to 10,000 characters."
        return await _page(request, space, run_id, task_run_id, complaint=complaint, draft=content, status=422)
    async with space.transaction() as tx:
        if task_run_id is None:
            await create_comment(tx, space, "run", run_id, body)
        else:
            await create_comment(tx, space, "task run", task_run_id, body)
    return redirect(f"/spaces/{space.slug}/runs/{run_id}#comments")


async def _goes_on(space: Space, run: Row) -> bool:
    """Whether there may soon be more to see: a run that has just ended may have task runs that are still to come."""
    return run["status"] in GOES_ON or await task_runs_pending(space, space.id, run["id"])


async def _page(
    request: Request,
    space: Space,
    run_id: UUID,
    about: UUID | None,
    *,
    complaint: str | None = None,
    draft: str = "",
    status: int = 200,
) -> Response:
    run = to_jsonable(await get_run(space, space.id, run_id))
    goes_on = await _goes_on(space, run)
    async with space.transaction() as tx:
        recent = to_jsonable(await list_run_and_task_comments(tx, space, run_id, SHOWN_COMMENTS))
    of_tasks: dict[str, list[dict[str, Any]]] = {}
    for row in recent:
        if row["resource_type"] == "task_run":
            of_tasks.setdefault(row["resource_id"], []).append(row)
    every = run.pop("task_runs")
    tasks = [task for task in every if task["removed_at"] is None]
    return render(
        request, "run.html", status_code=status, **await layout_context(space), run=run, tasks=tasks[:SHOWN_TASKS],
        many=len(tasks), comments=[row for row in recent if row["resource_type"] == "pipeline_run"], of_tasks=of_tasks,
        spoken_of=[task for task in every if task["id"] in of_tasks],
        about=next((task for task in every if task["id"] == str(about)), None),
        goes_on=goes_on, complaint=complaint, draft=draft,
    )  # fmt: skip
