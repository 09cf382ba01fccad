"""The runs of a pipeline and of the whole space, one run with its task runs, and task runs by the page."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response

from windsock.auth.permissions import ConditionalView
from windsock.http.csv_export import BATCH_SIZE, CSV_CONTENT, api_headers, csv_response
from windsock.http.media_types import prefers_csv
from windsock.http.pagination import LIST_HEADERS, LONG_LIST_HEADERS, CursorPageQuery, PageQuery20
from windsock.http.responses import json_response, page_response
from windsock.http.validation import AwareDatetime, StateName, StorableText
from windsock.pipelines.filters import PipelineFilterQuery
from windsock.runs.export import COLUMNS
from windsock.runs.models import Run, RunDetail, TaskRun
from windsock.runs.store import RunFilter, get_run, iterate_runs_of_space, list_runs, list_runs_of_space
from windsock.runs.task_runs import get_task_run, list_task_runs

router = APIRouter(prefix="/spaces/{slug}/orchestration", tags=["runs"])

LIST: dict[int | str, dict[str, Any]] = {200: {"headers": LIST_HEADERS}}
LONG_LIST: dict[int | str, dict[str, Any]] = {200: {"headers": LONG_LIST_HEADERS}}
LONG_LIST_OR_CSV: dict[int | str, dict[str, Any]] = {200: {"headers": LONG_LIST_HEADERS, "content": CSV_CONTENT}}

Words = Annotated[list[StateName] | None, Query(description="Several mean any of them.")]


async def _run_filter(
    started_from: Annotated[
        AwareDatetime | None,
        Query(description="Inclusive. A run without a start is found by when it was queued, or due."),
    ] = None,
    started_to: Annotated[AwareDatetime | None, Query(description="Exclusive.")] = None,
    ended_from: Annotated[
        AwareDatetime | None, Query(description="Inclusive. Leaves out runs that have not ended.")
    ] = None,
    ended_to: Annotated[AwareDatetime | None, Query(description="Exclusive.")] = None,
    status: Words = None,
    run_type: Words = None,
    include_removed: Annotated[bool, Query(description="Also runs that were deleted in Airflow.")] = False,  # noqa: FBT002 - a query parameter
) -> RunFilter:
    return RunFilter(
        started_from=started_from,
        started_to=started_to,
        ended_from=ended_from,
        ended_to=ended_to,
        status=status,
        run_type=run_type,
        include_removed=include_removed,
    )


WhichRuns = Annotated[RunFilter, Depends(_run_filter)]


@router.get(
    "/pipelines/{pipeline_id}/runs",
    response_model=list[Run],
    responses=LONG_LIST,
    name="list_pipeline_runs",
    summary="Runs of a pipeline, newest first",
)
async def list_runs_of_pipeline(
    request: Request, space: ConditionalView, pipeline_id: UUID, paging: CursorPageQuery, which: WhichRuns
) -> Response:
    """A run without a start is placed by when it was queued, or due."""
    rows, total, behind = await list_runs(space, space.id, pipeline_id, paging, which)
    return page_response(request, rows, total, paging, behind, etag=space.etag)


@router.get(
    "/runs",
    response_model=list[Run],
    responses=LONG_LIST_OR_CSV,
    name="list_runs",
    summary="Runs of the whole space, newest first",
)
async def list_all_runs(
    request: Request, space: ConditionalView, paging: CursorPageQuery, which: WhichRuns, of: PipelineFilterQuery
) -> Response:
    """With `Accept: text/csv`, all runs that match, as a download: `page`, `size` and `cursor` do not apply."""
    if prefers_csv(request):
        batches = iterate_runs_of_space(space, space, which, of, BATCH_SIZE)
        return await csv_response(COLUMNS, batches, "runs.csv", api_headers(space.etag))
    rows, total, behind = await list_runs_of_space(space, space, paging, which, of)
    return page_response(request, rows, total, paging, behind, etag=space.etag)


@router.get("/runs/{run_id}", response_model=RunDetail, name="get_run", summary="One run with its task runs")
async def get_one_run(request: Request, space: ConditionalView, run_id: UUID) -> Response:
    """Task runs come in the order of the DAG, the instances of a mapped task together; all of them, however many."""
    return json_response(request, await get_run(space, space.id, run_id), etag=space.etag)


@router.get(
    "/runs/{run_id}/task-runs",
    response_model=list[TaskRun],
    responses=LIST,
    name="list_task_runs",
    summary="Task runs of a run, by the page",
)
async def list_task_runs_of_run(
    request: Request,
    space: ConditionalView,
    run_id: UUID,
    paging: PageQuery20,
    status: Words = None,
    external_id: Annotated[
        list[StorableText] | None, Query(description="Airflow's task_id. Several mean any of them.")
    ] = None,
) -> Response:
    rows, total = await list_task_runs(space, space.id, run_id, paging, status=status, external_id=external_id)
    return page_response(request, rows, total, paging, etag=space.etag)


@router.get("/task-runs/{task_run_id}", response_model=TaskRun, name="get_task_run", summary="One task run")
async def get_one_task_run(request: Request, space: ConditionalView, task_run_id: UUID) -> Response:
    return json_response(request, await get_task_run(space, space.id, task_run_id), etag=space.etag)
