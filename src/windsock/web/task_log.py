"""The log of a task as a panel of the run page, and as a page for links and for browsers without JavaScript."""

from dataclasses import dataclass
from typing import Annotated, Any
from uuid import UUID

import orjson
from fastapi import APIRouter, Query, Request, Response

from windsock.auth.authenticator import Space
from windsock.auth.permissions import PageView
from windsock.errors import Conflict, ProviderFailed
from windsock.failures.log_models import LEVELS, Level
from windsock.failures.log_reader import LogReader
from windsock.runs.store import get_run_without_tasks
from windsock.runs.task_runs import get_task_run
from windsock.web.layout import layout_context
from windsock.web.templates import is_htmx_partial, render, to_jsonable

router = APIRouter(include_in_schema=False, prefix="/spaces/{slug}/task-runs/{task_run_id}/log")

MAX_LINES = 2_000
MAX_TRIES = 20
"""Links to the newest tries."""

TryNumber = Annotated[int | None, Query(alias="try", ge=1, le=1_000_000)]
MinLevel = Annotated[Level | None, Query()]


@dataclass(frozen=True, slots=True)
class ShownLog:
    """A TaskLogPage, or why the log could not be read (`failure`)."""

    page: dict[str, Any]
    failure: str | None = None


@router.get("")
async def show_log(
    request: Request, space: PageView, task_run_id: UUID, try_number: TryNumber = None, level: MinLevel = None
) -> Response:
    """The end of the log; htmx gets the panel alone."""
    task = to_jsonable(await get_task_run(space, space.id, task_run_id))
    run = to_jsonable(await get_run_without_tasks(space, space.id, UUID(task["run_id"])))
    log = await _read(request, space, task_run_id, try_number, level)
    context = {
        "run": run,
        "task": task,
        "log": log.page,
        "failure": log.failure,
        "number": try_number or task["try_number"],
        "tries": range(max(1, task["try_number"] - MAX_TRIES + 1), task["try_number"] + 1),
        "level": level,
        "levels": LEVELS,
        "is_partial": is_htmx_partial(request),
    }
    if is_htmx_partial(request):
        return render(request, "task_log_panel.html", space=space, **context)
    return render(request, "task_log.html", **await layout_context(space), **context)


@router.get("/lines")
async def get_lines(
    request: Request,
    space: PageView,
    task_run_id: UUID,
    cursor: Annotated[int, Query(ge=0, lt=10**12)] = 0,
    try_number: TryNumber = None,
) -> Response:
    """The lines behind the cursor, for a panel that follows a try; headers: the next cursor, and whether it ended."""
    log = await _read(request, space, task_run_id, try_number, None, after=cursor)
    headers = {
        "X-Log-Cursor": str(log.page.get("cursor", cursor)),
        "X-Log-Finished": "true" if log.page.get("is_finished") else "false",
    }
    return render(request, "task_log_lines.html", log=log.page, failure=log.failure, headers=headers)


async def _read(
    request: Request, space: Space, task_run_id: UUID, try_number: int | None, level: Level | None, after: int = 0
) -> ShownLog:
    reader: LogReader = request.app.state.logs
    try:
        snapshot = await reader.read(space, task_run_id, try_number)
    except (ProviderFailed, Conflict) as failure:
        hints = failure.hints if isinstance(failure, ProviderFailed) else ()
        return ShownLog({"lines": []}, " ".join((str(failure), *hints)))
    page = snapshot.page(tail=MAX_LINES, level=level, after=after)
    return ShownLog({**page, "lines": [orjson.loads(line) for line in page["lines"]]})
