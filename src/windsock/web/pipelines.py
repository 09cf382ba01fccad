"""The pipeline list and the page of one pipeline."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Form, Query, Request, Response

from windsock.auth.permissions import PageView, PageWatch
from windsock.connectors.store import list_connectors_of
from windsock.http.pagination import CursorPageQuery, PageQuery100
from windsock.http.validation import StateName
from windsock.pipelines.filters import PipelineFilterQuery
from windsock.pipelines.routes import Days, NeverSucceeded, Sort
from windsock.pipelines.stats import StatsWindow
from windsock.pipelines.store import (
    DEFAULT_DAYS,
    count_by_status,
    get_activity,
    get_pipeline,
    list_pipelines,
    set_watch,
)
from windsock.runs.routes import WhichRuns
from windsock.runs.store import list_runs
from windsock.web import bulk_edit, connectors
from windsock.web.layout import layout_context
from windsock.web.templates import (
    PartialETag,
    is_htmx_partial,
    parse_stored_json,
    redirect_back,
    render,
    to_jsonable,
)

router = APIRouter(include_in_schema=False)

STALE_STATES = {"late", "partial", "failing", "held"}
"""States of a connector in which what it shows may be old; the list says so."""
LATE = {"late", "failing"}
"""Of these, those in which nothing new has come for too long."""


@router.get("/spaces/{slug}/pipelines")
async def pipeline_list(
    request: Request,
    space: PageView,
    etag: PartialETag,
    paging: PageQuery100,
    which: PipelineFilterQuery,
    status: Annotated[list[StateName] | None, Query()] = None,
    never_succeeded: NeverSucceeded = False,  # noqa: FBT002 - a query parameter
    days: Days = DEFAULT_DAYS,
    sort: Annotated[Sort, Query()] = "name",
) -> Response:
    """With the parameters of the API's list."""
    window = StatsWindow.ending_now(days)
    rows, total = await list_pipelines(
        space, space, paging, which, status=status, never_succeeded=never_succeeded, window=window, sort=sort
    )
    totals = await count_by_status(space, space, which, window)
    sources, _ = await list_connectors_of(space, space.id, connectors.MANY)
    teams = [] if etag else await bulk_edit.teams_to_choose(space, space)
    stale = [
        connector
        for connector in to_jsonable(sources)
        if connector["freshness"] and connector["freshness"]["state"] in STALE_STATES
    ]
    pages = max(1, -(-total // paging.size))
    return render(
        request,
        "pipelines_list.html" if etag else "pipelines.html",
        etag=etag,
        **({"space": space} if etag else await layout_context(space)),
        pipelines=[parse_stored_json(row) for row in rows],
        total=total,
        totals=totals,
        which=which,
        status=status or [],
        days=days,
        sort=sort,
        teams=teams,
        number=paging.page,
        pages=pages,
        size=paging.size,
        never_succeeded=never_succeeded,
        stale=stale,
        late=[connector for connector in stale if connector["freshness"]["state"] in LATE],
    )


@router.post("/spaces/{slug}/pipelines/{pipeline_id}/watch")
async def watch(
    request: Request,
    space: PageWatch,
    pipeline_id: UUID,
    watched: Annotated[bool, Form()] = False,  # noqa: FBT002 - a form field
) -> Response:
    async with space.transaction() as tx:
        await set_watch(tx, space, pipeline_id, is_watched=watched)
    if is_htmx_partial(request):
        return render(request, "star.html", space=space, pipeline={"id": str(pipeline_id), "is_watched": watched})
    return redirect_back(request, f"/spaces/{space.slug}/pipelines/{pipeline_id}")


@router.get("/spaces/{slug}/pipelines/{pipeline_id}")
async def show_pipeline(
    request: Request,
    space: PageView,
    pipeline_id: UUID,
    paging: CursorPageQuery,
    which: WhichRuns,
    days: Days = DEFAULT_DAYS,
) -> Response:
    window = StatsWindow.ending_now(days)
    async with space.transaction() as tx:
        pipeline = await get_pipeline(tx, space, pipeline_id, window=window)
        activity = await get_activity(tx, space, pipeline_id, window)
        rows, total, behind = await list_runs(tx, space.id, pipeline_id, paging, which)
        teams = await bulk_edit.teams_to_choose(tx, space)
    return render(
        request,
        "pipeline.html",
        **await layout_context(space),
        pipeline=to_jsonable(pipeline),
        runs=to_jsonable(rows),
        total=total,
        behind=behind and str(behind),
        days=days,
        status=which.status or [],
        teams=teams,
        since=window.since,
        daily=to_jsonable(activity.days),
        ended=to_jsonable(activity.runs),
        said=to_jsonable(activity.comments),
    )
