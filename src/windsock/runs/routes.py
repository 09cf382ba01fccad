"""The runs of a pipeline, and one run with its task runs."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from windsock.access.space import CanView
from windsock.inputs import Word
from windsock.pages import LIST_HEADERS, LargePage, answer, answer_page
from windsock.runs.models import Run, RunDetail
from windsock.runs.store import get_run, list_runs

router = APIRouter(prefix="/spaces/{slug}/orchestration", tags=["runs"])

LIST: dict[int | str, dict[str, Any]] = {200: {"headers": LIST_HEADERS}}


@router.get(
    "/pipelines/{pipeline_id}/runs",
    response_model=list[Run],
    responses=LIST,
    summary="Runs of a pipeline, newest first",
)
async def list_runs_of_pipeline(
    request: Request,
    space: CanView,
    pipeline_id: UUID,
    paging: LargePage,
    status: Annotated[list[Word] | None, Query(description="Several mean any of them.")] = None,
) -> Response:
    async with space.transaction() as tx:
        rows, total = await list_runs(tx, space.id, pipeline_id, paging, status=status)
    return answer_page(request, rows, total, paging)


@router.get("/runs/{run_id}", response_model=RunDetail, summary="One run with its task runs")
async def get_one_run(request: Request, space: CanView, run_id: UUID) -> Response:
    async with space.transaction() as tx:
        row = await get_run(tx, space.id, run_id)
    return answer(request, row)
