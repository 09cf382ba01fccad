"""The overview: what needs attention in a space, and across all spaces of the caller."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response

from windsock.auth.authenticator import Caller, Space
from windsock.auth.permissions import IsSignedIn, PageView, open_visible_space
from windsock.connectors.store import list_connectors_of
from windsock.db.database import Row
from windsock.incidents.store import count_open_incidents, find_incidents_of_runs
from windsock.pipelines.attention import AttentionCounts, count_attention
from windsock.pipelines.stats import StatsWindow
from windsock.pipelines.store import DEFAULT_DAYS
from windsock.runs.failures import Failures, describe_failures, list_long_running, read_failures
from windsock.tasks import run_together
from windsock.web.connectors import MANY
from windsock.web.layout import account_context, list_visible_spaces, page_context
from windsock.web.pipeline_list import STALE_STATES
from windsock.web.templates import PartialETag, is_htmx_partial, redirect, render, to_jsonable
from windsock.web.zone import ViewerZone, last_midnight

router = APIRouter(include_in_schema=False)

SHOWN_FAILURES, SHOWN_LONG_RUNNING = 15, 10
SPACES_PER_PAGE = 20
SPACES_AT_A_TIME = 2
"""Of the page of all spaces; five statements of each run at the same time."""


@dataclass(frozen=True, slots=True)
class Indicator:
    """A number of the overview, and the list that it opens. `heading`: of its column in the table of spaces."""

    count: int
    label: str
    heading: str
    level: Literal["bad", "wait"]
    url: str
    title: str


@dataclass(frozen=True, slots=True)
class Overview:
    """Numbers and lists of a space that need attention."""

    attention: AttentionCounts
    failures: Failures
    long_running: list[Row]
    connectors: list[dict[str, Any]]
    stale: list[dict[str, Any]]
    indicators: list[Indicator]

    @property
    def raised(self) -> list[Indicator]:
        return [indicator for indicator in self.indicators if indicator.count]

    @property
    def quiet(self) -> list[Indicator]:
        return [indicator for indicator in self.indicators if not indicator.count]


@router.get("/spaces/{slug}")
async def show_overview(request: Request, space: PageView, etag: PartialETag, zone: ViewerZone) -> Response:
    overview, layout = await run_together(_read(space, zone), page_context(space, is_part=etag is not None))
    newest = await describe_failures(space, space, overview.failures.newest)
    return render(
        request,
        "overview_content.html" if etag else "overview.html",
        etag=etag,
        **layout,
        overview=overview,
        newest=[(space, row) for row in newest],
        incidents=await find_incidents_of_runs(space, space.id, [row["run_id"] for row in newest]),
        zone=zone,
    )


@router.get("/")
async def show_all_spaces(
    request: Request, caller: IsSignedIn, zone: ViewerZone, page: Annotated[int, Query(ge=1)] = 1
) -> Response:
    """The overview of the only space where there is one."""
    spaces = await list_visible_spaces(caller)
    if not spaces:
        return render(request, "no_space.html", caller=caller)
    if len(spaces) == 1:
        return redirect(f"/spaces/{spaces[0]['slug']}")
    pages = -(-len(spaces) // SPACES_PER_PAGE)
    page = min(page, pages)
    shown = spaces[(page - 1) * SPACES_PER_PAGE : page * SPACES_PER_PAGE]
    read_in_turn = asyncio.Semaphore(SPACES_AT_A_TIME)

    async def read(row: Row) -> Overview:
        async with read_in_turn:
            return await _read(open_visible_space(caller, row), zone)

    overviews = list(zip(shown, await run_together(*map(read, shown)), strict=True))
    failures = await _newest_failures(caller, overviews)
    return render(
        request,
        "all_spaces_content.html" if is_htmx_partial(request) else "all_spaces.html",
        **await account_context(request, caller),
        raised=[(row, overview) for row, overview in overviews if overview.raised],
        healthy=[(row, overview) for row, overview in overviews if not overview.raised],
        failures=failures,
        failed_pipelines=sum(overview.failures.pipeline_count for _, overview in overviews),
        zone=zone,
        number=page,
        pages=pages,
    )


async def _newest_failures(caller: Caller, overviews: Sequence[tuple[Row, Overview]]) -> list[tuple[Row, Row]]:
    """Return the newest failures of all spaces, each with its space."""
    found = [(row, failure) for row, overview in overviews for failure in overview.failures.newest]
    found.sort(key=lambda item: (not item[1]["is_recovered"], item[1]["ended_at"]), reverse=True)
    shown = found[:SHOWN_FAILURES]
    spaces = {row["id"]: row for row, _ in shown}
    described = await run_together(
        *(
            describe_failures(space, space, [failure for row, failure in shown if row["id"] == space.id])
            for space in (open_visible_space(caller, row) for row in spaces.values())
        )
    )
    by_run = {failure["run_id"]: failure for failures in described for failure in failures}
    return [(row, by_run[failure["run_id"]]) for row, failure in shown if failure["run_id"] in by_run]


async def _read(space: Space, zone: tzinfo) -> Overview:
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    window = StatsWindow.ending_now(DEFAULT_DAYS)
    since_midnight = last_midnight(now, zone)
    attention, failures, long_running, (rows, _), open_incidents = await run_together(
        count_attention(space, space, window),
        read_failures(space, space, since=now - timedelta(hours=24), midnight=since_midnight, limit=SHOWN_FAILURES),
        list_long_running(space, space, window),
        list_connectors_of(space, space.id, MANY),
        count_open_incidents(space, space.id),
    )
    connectors = [row for row in to_jsonable(rows) if row["freshness"]]
    stale = [row for row in connectors if row["freshness"]["state"] in STALE_STATES]
    import_errors = sum(row["import_error_count"] for row in connectors)
    incidents = Indicator(
        open_incidents, "open incident" if open_incidents == 1 else "open incidents", "Open incidents", "bad",
        f"/spaces/{space.slug}/inbox?state=open", "Incidents that nobody has acknowledged",
    )  # fmt: skip
    indicators = [incidents, *_indicators(space, attention, failures, len(long_running), import_errors, len(stale))]
    return Overview(attention, failures, long_running, connectors, stale, indicators)


def _indicators(
    space: Space, attention: AttentionCounts, failures: Failures, long_running: int, import_errors: int, stale: int
) -> list[Indicator]:
    """In the order of the page: what needs attention first."""
    runs, pipelines = f"/spaces/{space.slug}/runs", f"/spaces/{space.slug}/pipelines"
    days = DEFAULT_DAYS
    return [
        Indicator(
            failures.count_since_midnight, "failed since midnight", "Failed since midnight", "bad",
            f"{runs}?status=failed&period=today", "Runs that failed since midnight in your time zone",
        ),
        Indicator(
            failures.count, "failed in 24 h", "In 24 h", "bad",
            f"{runs}?status=failed&period=24h", "Runs that failed in the last 24 hours",
        ),
        Indicator(
            long_running, "running longer than usual", "Long-running", "wait",
            f"{runs}?longer_than_usual=true", f"Longer than 95 % of the runs of the pipeline in {days} days",
        ),
        Indicator(
            attention.overdue, "overdue", "Overdue", "wait",
            f"{pipelines}?overdue=true", "The next run should have started and did not; paused pipelines are left out",
        ),
        Indicator(
            attention.never_succeeded, f"without success in {days} days", f"No success in {days} d", "bad",
            f"{pipelines}?never_succeeded=true&days={days}", "Pipelines that ran, and no run succeeded",
        ),
        Indicator(
            import_errors, "import error" if import_errors == 1 else "import errors", "Import errors", "bad",
            f"/spaces/{space.slug}/import-errors", "Files that Airflow cannot import at present",
        ),
        Indicator(
            stale, "stale connector" if stale == 1 else "stale connectors", "Stale connectors", "wait",
            f"/spaces/{space.slug}/connectors", "Nothing new, or not everything, has been read from these Airflows",
        ),
    ]  # fmt: skip
