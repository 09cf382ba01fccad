"""The page of one pipeline: facts, tasks, charts, calendar, runs."""

from datetime import UTC, date, datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Form, Request, Response

from windsock.auth.permissions import PageView, PageWatch
from windsock.db.database import Transaction
from windsock.http.pagination import CursorPageQuery
from windsock.incidents.store import list_incidents_of_pipeline
from windsock.pipelines.routes import Days
from windsock.pipelines.stats import StatsWindow
from windsock.pipelines.store import DEFAULT_DAYS, get_activity, get_pipeline, set_watch
from windsock.pipelines.task_history import get_task_history
from windsock.runs.routes import WhichRuns
from windsock.runs.store import list_runs
from windsock.spaces.teams import QUERIES as TEAMS
from windsock.web import bulk_edit
from windsock.web.charts import daily_runs_chart, daily_values, duration_scatter
from windsock.web.layout import layout_context
from windsock.web.run_calendar import build_calendar, first_day
from windsock.web.task_graph import task_graph_svg
from windsock.web.task_grid import build_task_grid
from windsock.web.templates import is_htmx_partial, redirect_back, render, to_jsonable
from windsock.web.zone import ViewerZone, utc_day_begin

router = APIRouter(include_in_schema=False)


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
    zone: ViewerZone,
    days: Days = DEFAULT_DAYS,
) -> Response:
    """`days`: of the charts. The filters are those of the API's list of runs."""
    window, today = StatsWindow.ending_now(days), datetime.now(UTC).date()
    async with space.transaction() as tx:
        pipeline = to_jsonable(await get_pipeline(tx, space, pipeline_id, window=window))
        activity = await get_activity(tx, space, pipeline_id, window, days_from=min(window.first_day, first_day(today)))
        rows, total, behind = await list_runs(tx, space.id, pipeline_id, paging, which)
        history = await get_task_history(tx, space, pipeline_id)
        incidents = await list_incidents_of_pipeline(tx, space.id, pipeline_id)
        team = await _get_team(tx, space.id, pipeline["team_id"])
        teams = await bulk_edit.teams_to_choose(tx, space)
    stats, ended = to_jsonable(activity.days), to_jsonable(activity.runs)
    charted = [row for row in stats if date.fromisoformat(row["day"]) >= window.first_day]
    percentiles = {name: pipeline["summary"][f"{name}_duration_seconds"] for name in ("p50", "p95")}
    now = datetime.now(UTC)
    return render(
        request,
        "pipeline.html",
        **await layout_context(space),
        pipeline=pipeline,
        incidents=to_jsonable(incidents),
        team=team,
        teams=teams,
        days=days,
        zone=zone,
        day_begin=utc_day_begin(now, zone),
        ended=ended,
        scatter=duration_scatter(ended, space.slug, window.since, now, percentiles, zone) if ended else None,
        daily_chart=daily_runs_chart(charted, window.since, now),
        values=daily_values(charted, ended),
        calendar=build_calendar(stats, today),
        history=history,
        grid=build_task_grid(history),
        graph=task_graph_svg(history),
        comments=to_jsonable(activity.comments),
        runs=to_jsonable(rows),
        total=total,
        behind=behind and str(behind),
        which=which,
    )


async def _get_team(tx: Transaction, space_id: UUID, team_id: str | None) -> dict[str, Any] | None:
    """Return the owning team with its contact and members."""
    if team_id is None:
        return None
    team: dict[str, Any] | None = to_jsonable(
        await tx.fetch_one(TEAMS["get_team"], space_id=space_id, team_id=UUID(team_id))
    )
    return team
