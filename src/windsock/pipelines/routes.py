"""The pipeline list, one pipeline, and what people decide about it: team, criticality, watching."""

from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from windsock.auth.permissions import CanAssign, CanWatch, ConditionalViewByMinute
from windsock.http.csv_export import BATCH_SIZE, CSV_CONTENT, api_headers, csv_response
from windsock.http.media_types import prefers_csv
from windsock.http.pagination import LIST_HEADERS, PageQuery100
from windsock.http.responses import json_response, page_response
from windsock.http.validation import StateName
from windsock.pipelines.export import COLUMNS
from windsock.pipelines.filters import PipelineFilterQuery
from windsock.pipelines.models import CriticalityChange, Pipeline, PipelineDetail, TeamAssignment
from windsock.pipelines.stats import StatsWindow
from windsock.pipelines.store import (
    DEFAULT_DAYS,
    get_pipeline,
    iterate_pipelines,
    list_pipelines,
    set_criticality,
    set_team,
    set_watch,
)

router = APIRouter(prefix="/spaces/{slug}/orchestration/pipelines", tags=["pipelines"])

LIST: dict[int | str, dict[str, Any]] = {200: {"headers": LIST_HEADERS}}
LIST_OR_CSV: dict[int | str, dict[str, Any]] = {200: {"headers": LIST_HEADERS, "content": CSV_CONTENT}}

Days = Annotated[int, Query(ge=1, le=365, description="The window of the summary, in days.")]
NeverSucceeded = Annotated[
    bool,
    Query(
        description="Only those whose newest run goes on or ended within `days`, and of which no run succeeded then."
    ),
]
Sort = Literal[
    "name", "-name", "last_run_at", "-last_run_at", "failed_count", "-failed_count", "success_rate", "-success_rate",
    "p95_duration_seconds", "-p95_duration_seconds", "criticality", "-criticality", "attention",
]  # fmt: skip


@router.get("", response_model=list[Pipeline], responses=LIST_OR_CSV, name="list_pipelines", summary="List pipelines")
async def list_all_pipelines(
    request: Request,
    space: ConditionalViewByMinute,
    paging: PageQuery100,
    which: PipelineFilterQuery,
    status: Annotated[list[StateName] | None, Query(description="Of the newest run. Several mean any of them.")] = None,
    never_succeeded: NeverSucceeded = False,  # noqa: FBT002 - a query parameter
    days: Days = DEFAULT_DAYS,
    sort: Annotated[Sort, Query(description="A leading - means descending; nulls come last either way.")] = "name",
) -> Response:
    """By name, or by `sort`.

    `attention` puts first what somebody should look at: failed, then overdue, then with import errors, then queued or
    running; in each of these classes the most critical ones first, then by name.

    `summary` counts the runs that ended in the last `days` days, whenever they began; `running_count` is what is queued
    or running now. `recent_runs` are the newest 14, oldest first.

    With `Accept: text/csv`, all pipelines that match, by name, as a download: `page`, `size` and `sort` do not apply.
    """
    window = StatsWindow.ending_now(days)
    if prefers_csv(request):
        batches = iterate_pipelines(
            space, space, which, status=status, never_succeeded=never_succeeded, window=window, batch_size=BATCH_SIZE
        )
        return await csv_response(COLUMNS, batches, "pipelines.csv", api_headers(space.etag))
    rows, total = await list_pipelines(
        space, space, paging, which, status=status, never_succeeded=never_succeeded, window=window, sort=sort
    )
    return page_response(request, rows, total, paging, etag=space.etag)


@router.get("/{pipeline_id}", response_model=PipelineDetail, name="get_pipeline", summary="One pipeline")
async def get_one_pipeline(
    request: Request, space: ConditionalViewByMinute, pipeline_id: UUID, days: Days = DEFAULT_DAYS
) -> Response:
    window = StatsWindow.ending_now(days)
    return json_response(request, await get_pipeline(space, space, pipeline_id, window=window), etag=space.etag)


@router.patch(
    "/{pipeline_id}/team",
    response_model=PipelineDetail,
    name="update_pipeline_team",
    summary="Assign or clear the owning team",
)
async def change_team(request: Request, space: CanAssign, pipeline_id: UUID, body: TeamAssignment) -> Response:
    """`null` clears it. The key must be there; a sync never changes it."""
    async with space.transaction() as tx:
        await set_team(tx, space, [pipeline_id], body.team_id)
        row = await get_pipeline(tx, space, pipeline_id)
    return json_response(request, row)


@router.patch(
    "/{pipeline_id}/criticality",
    response_model=PipelineDetail,
    name="update_pipeline_criticality",
    summary="Change the criticality",
)
async def change_criticality(
    request: Request, space: CanAssign, pipeline_id: UUID, body: CriticalityChange
) -> Response:
    """Every pipeline starts as medium; a sync never changes it."""
    async with space.transaction() as tx:
        await set_criticality(tx, space, [pipeline_id], body.criticality)
        row = await get_pipeline(tx, space, pipeline_id)
    return json_response(request, row)


@router.put("/{pipeline_id}/watch", status_code=204, summary="Watch a pipeline")
async def watch_pipeline(space: CanWatch, pipeline_id: UUID) -> Response:
    """For the caller alone; asking twice changes nothing. `watched_only` lists what is watched."""
    async with space.transaction() as tx:
        await set_watch(tx, space, pipeline_id, is_watched=True)
    return Response(status_code=204)


@router.delete("/{pipeline_id}/watch", status_code=204, summary="Stop watching a pipeline")
async def unwatch_pipeline(space: CanWatch, pipeline_id: UUID) -> Response:
    async with space.transaction() as tx:
        await set_watch(tx, space, pipeline_id, is_watched=False)
    return Response(status_code=204)
