"""The timeline of a space: a lane for each pipeline, with its runs merged into pieces of a few pixels."""

from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request, Response

from windsock.auth.permissions import PageView
from windsock.http.pagination import PageParams
from windsock.http.validation import AwareDatetime
from windsock.pipelines.filters import NO_FILTER, PipelineFilterQuery
from windsock.pipelines.stats import StatsWindow
from windsock.pipelines.store import list_pipelines
from windsock.runs.store import list_timeline_pieces
from windsock.tasks import run_together
from windsock.web.filters import iso
from windsock.web.lanes import ExpectedRun, Span, axis_svg, count_runs, lane_svg, runs_url
from windsock.web.layout import page_context
from windsock.web.scales import time_ticks
from windsock.web.templates import PartialETag, redirect_past_end, render

router = APIRouter(include_in_schema=False, prefix="/spaces/{slug}/timeline")

LANES = 50
HOURS = (1, 6, 24, 72, 168)
AHEAD = 0.15
"""Of the window lies ahead of now, for the runs that are expected."""
OVERDUE_AFTER = timedelta(minutes=5)
"""The scheduler and the sync are that late every time."""
FIRST, LAST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)


async def _lanes_page(page: Annotated[int, Query(ge=1)] = 1) -> PageParams:
    return PageParams(page, LANES)


@router.get("")
async def show_timeline(
    request: Request,
    space: PageView,
    etag: PartialETag,
    paging: Annotated[PageParams, Depends(_lanes_page)],
    which: PipelineFilterQuery,
    hours: Annotated[int, Query(ge=1, le=168)] = 24,
    until: Annotated[AwareDatetime | None, Query()] = None,
    by: Literal["team", "connector"] = "team",
) -> Response:
    """The pipelines that ran last come first."""
    now = datetime.now(UTC)
    span = window_until(until, hours, now)
    (pipelines, total), layout = await run_together(
        list_pipelines(space, space, paging, which, status=None, window=StatsWindow.ending_now(1), sort="-last_run_at"),
        page_context(space, is_part=etag is not None),
    )
    found = await list_timeline_pieces(space, space, [row["id"] for row in pipelines], span.begin, span.end)
    pages = paging.last_page(total)
    if last_page := redirect_past_end(request, paging.page, pages):
        return last_page
    pieces = {key: list(some) for key, some in groupby(found, key=lambda piece: piece["pipeline_id"])}
    lanes = [_lane(row, pieces.get(row["id"], []), space.slug, span, now) for row in pipelines]
    lanes.sort(key=lambda lane: (lane["group"][by] is None, lane["group"][by] or ""))
    half = timedelta(hours=hours) / 2
    return render(
        request, "timeline_lanes.html" if etag else "timeline.html", etag=etag,
        **layout,
        groups=[(name, list(some)) for name, some in groupby(lanes, key=lambda lane: lane["group"][by])], by=by,
        hours=hours, is_live=until is None, span=span, axis=axis_svg(time_ticks(span.begin, span.end)),
        earlier=_to_second(span.end - half), later=_to_second(span.end + half) if span.end < now else None,
        scale=HOURS, which=which, no_filter=NO_FILTER, total=total, number=paging.page, pages=pages,
    )  # fmt: skip


def window_until(until: datetime | None, hours: int, now: datetime) -> Span:
    """Up to `until`, or around now."""
    width = timedelta(hours=hours)
    end = min(LAST, max(FIRST, until.astimezone(UTC))) if until else now + width * AHEAD
    return Span(end - width, end)


def _lane(
    pipeline: dict[str, Any], pieces: list[dict[str, Any]], slug: str, span: Span, now: datetime
) -> dict[str, Any]:
    expected = expected_run(pipeline, span, now)
    total, failed = count_runs(pieces)
    return {
        "id": pipeline["id"],
        "name": pipeline["name"],
        "group": {"team": (pipeline["team"] or {}).get("name"), "connector": pipeline["connector"]["name"]},
        "svg": lane_svg(pipeline, pieces, expected, slug, span, now),
        "total": total,
        "failed": failed,
        "failed_url": runs_url(slug, pipeline["id"], span.begin, span.end, "failed"),
        "overdue_since": expected.at if expected and expected.is_overdue else None,
    }


def expected_run(pipeline: dict[str, Any], span: Span, now: datetime) -> ExpectedRun | None:
    """The next run, if it is in the window, or overdue and the window reaches to now."""
    at: datetime | None = pipeline["next_run_at"]
    if at is None or pipeline["is_paused"] or pipeline["is_draining"] or not pipeline["is_active"] or at >= span.end:
        return None
    if now - at > OVERDUE_AFTER:
        return ExpectedRun(at, is_overdue=True) if span.begin < now else None
    return ExpectedRun(at, is_overdue=False) if at >= span.begin else None


def _to_second(time: datetime) -> str:
    return iso(time.replace(microsecond=0))
