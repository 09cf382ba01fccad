"""The runs of a space over time: a lane for each pipeline, runs that overlap as one piece with their number."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response

from windsock.auth.permissions import PageView
from windsock.http.pagination import PageParams
from windsock.http.validation import AwareDatetime
from windsock.pipelines.filters import PipelineFilterQuery
from windsock.pipelines.stats import StatsWindow
from windsock.pipelines.store import list_pipelines
from windsock.runs.store import list_timeline_runs
from windsock.web.charts import status_class
from windsock.web.layout import layout_context
from windsock.web.templates import PartialETag, render, to_jsonable

router = APIRouter(include_in_schema=False, prefix="/spaces/{slug}/timeline")

LANES = 50
HOURS = (1, 6, 24, 72, 168)
AHEAD = 0.15
"""Of the window lies ahead of now, for the runs that are expected."""
MERGE_GAP = 0.004
"""Of the width: what is nearer than this to the piece before is one with it."""
WORST = ("failed", "upstream_failed", "running", "queued")
FIRST, LAST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Span:
    """The displayed period; `begin` and `end` in UTC."""

    begin: datetime
    end: datetime

    @classmethod
    def of(cls, hours: int, until: datetime | None, now: datetime) -> "Span":
        """Up to `until`, or around now."""
        width = timedelta(hours=hours)
        end = min(LAST, max(FIRST, until)) if until else now + width * AHEAD
        return cls(end - width, end)

    def share(self, time: datetime) -> float:
        """0 at its begin, 1 at its end; what lies outside is at the edge."""
        return min(1.0, max(0.0, (time - self.begin) / (self.end - self.begin)))


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
    span = Span.of(hours, until, now)
    async with space.transaction() as tx:
        rows, total = await list_pipelines(
            tx, space, paging, which, status=None, window=StatsWindow.ending_now(1), sort="-last_run_at"
        )
        pipelines = to_jsonable(rows)
        found = await list_timeline_runs(
            tx, space, [UUID(pipeline["id"]) for pipeline in pipelines], span.begin, span.end
        )
    runs = {of: list(some) for of, some in groupby(found, key=lambda run: str(run["pipeline_id"]))}
    lanes = [_lane(pipeline, runs.get(pipeline["id"], []), span, now) for pipeline in pipelines]
    lanes.sort(key=lambda lane: (lane["group"][by] is None, lane["group"][by] or ""))
    half = timedelta(hours=hours) / 2
    return render(
        request, "timeline_lanes.html" if etag else "timeline.html", etag=etag,
        **({"space": space} if etag else await layout_context(space)),
        groups=[(name, list(some)) for name, some in groupby(lanes, key=lambda lane: lane["group"][by])], by=by,
        hours=hours, is_live=until is None, span=span, at_now=span.share(now) if span.begin < now < span.end else None,
        earlier=_text(span.end - half), later=_text(span.end + half) if span.end < now else None, scale=HOURS,
        ticks=_ticks(span), which=which, total=total, number=paging.page, pages=max(1, -(-total // LANES)),
    )  # fmt: skip


def _lane(pipeline: dict[str, Any], runs: Iterable[dict[str, Any]], span: Span, now: datetime) -> dict[str, Any]:
    is_held = pipeline["is_paused"] or pipeline["is_draining"]
    expected = pipeline["next_run_at"] and datetime.fromisoformat(pipeline["next_run_at"])
    is_expected = expected and not is_held and max(now, span.begin) <= expected < span.end
    return {
        "id": pipeline["id"],
        "name": pipeline["name"],
        "criticality": pipeline["criticality"],
        "group": {"team": (pipeline["team"] or {}).get("name"), "connector": pipeline["connector"]["name"]},
        "pieces": merge_overlapping(runs, span, now),
        "ghost": span.share(expected) if is_expected else None,
        "expected": pipeline["next_run_at"],
    }


def merge_overlapping(runs: Iterable[dict[str, Any]], span: Span, now: datetime) -> list[dict[str, Any]]:
    """Where something ran: `left` and `width` as shares, the number of runs, the worst state; one run has an id."""
    bars: list[dict[str, Any]] = []
    for run in sorted(runs, key=lambda bar: bar["began"]):
        left = span.share(run["began"])
        right = max(left, span.share(run["ended_at"] or now))
        if bars and left <= bars[-1]["right"] + MERGE_GAP:
            bars[-1]["right"] = max(bars[-1]["right"], right)
            bars[-1]["runs"].append(run)
        else:
            bars.append({"left": left, "right": right, "runs": [run]})
    return [_bar(bar) for bar in bars]


def _bar(bar: dict[str, Any]) -> dict[str, Any]:
    runs, states = bar["runs"], {run["status"] for run in bar["runs"]}
    status = next((state for state in WORST if state in states), runs[-1]["status"])
    failed = sum(status_class(run["status"]) == "bad" for run in runs)
    return {
        "left": round(bar["left"] * 1000, 1),
        "width": max(3.0, round((bar["right"] - bar["left"]) * 1000, 1)),
        "kind": status_class(status),
        "status": status,
        "many": len(runs),
        "failed": failed,
        "run_id": runs[-1]["id"],
        "name": runs[-1]["external_id"],
    }


def _ticks(span: Span) -> list[dict[str, Any]]:
    """Six moments, evenly."""
    return [{"at": _text(span.begin + (span.end - span.begin) * place / 6)} for place in range(6)]


def _text(time: datetime) -> str:
    return time.replace(microsecond=0).isoformat().replace("+00:00", "Z")
