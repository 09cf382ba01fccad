"""The errors of a failed run on its page: excerpts of logs, how often they occurred, and comments on them."""

from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request, Response

from windsock.auth.permissions import PageView
from windsock.failures.on_demand import get_read_state, list_failures, request_read
from windsock.web.templates import is_htmx_partial, redirect, render, to_jsonable

router = APIRouter(include_in_schema=False, prefix="/spaces/{slug}/runs/{run_id}/errors")


async def read_errors(space: PageView, run_id: UUID) -> dict[str, Any]:
    """Context of run_errors.html. The page asks for errors while `state` is `reading`."""
    async with space.transaction() as tx:
        failures = await list_failures(tx, space, run_id)
        state = await get_read_state(tx, space, run_id)
    return {"errors": to_jsonable(failures), "error_state": state}


@router.get("")
async def show_errors(request: Request, space: PageView, run_id: UUID) -> Response:
    if not is_htmx_partial(request):
        return redirect(f"/spaces/{space.slug}/runs/{run_id}")
    context = await read_errors(space, run_id)
    return render(request, "run_errors.html", space=space, run={"id": run_id}, is_requested=True, **context)


@router.post("")
async def request_errors(request: Request, space: PageView, run_id: UUID) -> Response:
    """Have the logs read. A browser sends this when it has opened the page."""
    async with space.transaction() as tx:
        has_work = await request_read(tx, space, run_id)
    if has_work:
        request.app.state.failure_jobs.wake()
    return await show_errors(request, space, run_id)
