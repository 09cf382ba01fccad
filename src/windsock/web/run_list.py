"""The runs of a space, newest first, with filters and keyset pagination."""

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Depends, Query, Request, Response

from windsock.auth.authenticator import Space
from windsock.auth.permissions import PageView
from windsock.connectors.store import list_connectors_of
from windsock.db.database import Reader, Row
from windsock.http.pagination import CursorPageQuery
from windsock.pipelines.filters import PipelineFilterQuery
from windsock.pipelines.stats import StatsWindow
from windsock.pipelines.store import DEFAULT_DAYS
from windsock.runs.failures import list_long_running, list_run_context
from windsock.runs.routes import WhichRuns
from windsock.runs.store import RunFilter, list_runs_of_space
from windsock.tasks import run_together
from windsock.web.bulk_edit import team_options
from windsock.web.connectors import MANY
from windsock.web.layout import page_context
from windsock.web.templates import PartialETag, render
from windsock.web.zone import ViewerZone, last_midnight

router = APIRouter(include_in_schema=False, prefix="/spaces/{slug}")

Period = Literal["today", "24h", "7d", "30d"]
PERIODS: dict[str, str] = {"today": "since midnight", "24h": "24 hours", "7d": "7 days", "30d": "30 days"}
DAYS = {"24h": 1, "7d": 7, "30d": 30}
OPTIONS = {
    "period": list(PERIODS.items()),
    **{
        name: [(value, value) for value in values]
        for name, values in (
            ("status", ("failed", "running", "queued", "success")),
            ("run_type", ("scheduled", "manual", "backfill", "asset_triggered")),
            ("criticality", ("critical", "high", "medium", "low")),
        )
    },
}
"""Values and texts of the choices that are the same in every space."""
SHORTCUTS: list[tuple[str, str | None, str | None, str | None]] = [
    ("All", None, None, None),
    ("Failed since midnight", "failed", "today", None),
    ("Failed in 24 h", "failed", "24h", None),
    ("Running", "running", None, None),
    ("Longer than usual", None, None, "true"),
]
"""Text, status, period and longer_than_usual."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunListFilter:
    """Filters that only the page has; times of day are in the viewer's zone, and `day_to` is inclusive.

    A period limits the end of failed runs, as they failed then, and the start of others.
    """

    period: Period | None
    day_from: date | None
    day_to: date | None
    longer_than_usual: bool
    zone: tzinfo

    async def apply(self, reader: Reader, space: Space, runs: RunFilter) -> RunFilter:
        """Return `runs` with these filters; one statement more where only long-running runs are meant."""
        begin = self._begin_of_period()
        if begin is not None and runs.status == ["failed"]:
            runs = replace(runs, ended_from=_latest(begin, runs.ended_from))
        elif begin is not None:
            runs = replace(runs, started_from=_latest(begin, runs.started_from))
        if self.day_from is not None:
            runs = replace(runs, started_from=_latest(self._midnight_of(self.day_from), runs.started_from))
        if self.day_to is not None:
            end = self._midnight_of(self.day_to + timedelta(days=1))
            runs = replace(runs, started_to=end if runs.started_to is None else min(end, runs.started_to))
        if self.longer_than_usual:
            rows = await list_long_running(reader, space, StatsWindow.ending_now(DEFAULT_DAYS))
            runs = replace(runs, ids=[row["id"] for row in rows])
        return runs

    def _begin_of_period(self) -> datetime | None:
        now = datetime.now(UTC).replace(second=0, microsecond=0)
        if self.period is None:
            return None
        return last_midnight(now, self.zone) if self.period == "today" else now - timedelta(days=DAYS[self.period])

    def _midnight_of(self, day: date) -> datetime:
        return datetime.combine(day, time(), self.zone).astimezone(UTC)


def _latest(begin: datetime, other: datetime | None) -> datetime:
    return begin if other is None else max(begin, other)


FIRST_DAY, LAST_DAY = date(1970, 1, 2), date(9000, 1, 1)
Day = Annotated[date | None, Query(ge=FIRST_DAY, le=LAST_DAY)]


async def _run_list_filter(
    zone: ViewerZone,
    period: Annotated[Period | None, Query()] = None,
    day_from: Day = None,
    day_to: Day = None,
    longer_than_usual: Annotated[bool, Query()] = False,  # noqa: FBT002 - a query parameter
) -> RunListFilter:
    return RunListFilter(
        period=period, day_from=day_from, day_to=day_to, longer_than_usual=longer_than_usual, zone=zone
    )


RunListFilterQuery = Annotated[RunListFilter, Depends(_run_list_filter)]


@router.get("/runs")
async def show_run_list(
    request: Request,
    space: PageView,
    etag: PartialETag,
    paging: CursorPageQuery,
    which: WhichRuns,
    of: PipelineFilterQuery,
    only: RunListFilterQuery,
) -> Response:
    """With the filters of the API's list."""
    runs = await only.apply(space, space, which)
    (rows, total, behind), (teams,), (connectors, _), layout = await run_together(
        list_runs_of_space(space, space, paging, runs, of),
        space.fetch_batch(team_options(space)),
        list_connectors_of(space, space.id, MANY),
        page_context(space, is_part=etag is not None),
    )
    context = await list_run_context(space, space, [row["id"] for row in rows])
    return render(
        request,
        "run_list_rows.html" if etag else "run_list.html",
        etag=etag,
        **layout,
        runs=[_to_line(row, context[row["id"]]) for row in rows if row["id"] in context],
        total=total,
        behind=behind and str(behind),
        number=paging.page,
        is_first=paging.page == 1,
        which=which,
        of=of,
        only=only,
        zone=only.zone,
        periods=PERIODS,
        shortcuts=SHORTCUTS,
        options={
            **OPTIONS,
            "team": [(str(row["id"]), row["name"]) for row in teams],
            "connector": [(str(row["id"]), row["name"]) for row in connectors],
        },
    )


def _to_line(run: Row, context: Row) -> dict[str, Any]:
    return {**run, "pipeline": orjson.loads(run["pipeline"]), **context}
