"""A calendar of the runs of a pipeline by day in UTC: weeks are columns, as on a wall planner turned by 90 degrees."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from windsock.web.filters import utc_midnight

DAYS, WEEK = 90, 7


@dataclass(frozen=True, slots=True)
class Day:
    """`total` and `failed` are the runs that ended on it."""

    day: date
    total: int
    failed: int

    @property
    def begin(self) -> datetime:
        return utc_midnight(self.day)

    @property
    def end(self) -> datetime:
        return utc_midnight(self.day + timedelta(days=1))

    @property
    def kind(self) -> str:
        if not self.total:
            return "none"
        return "ok" if not self.failed else "all-bad" if self.failed == self.total else "bad"


@dataclass(frozen=True, slots=True)
class RunCalendar:
    """`months`: names with the number of their columns. `rows`: Monday to Sunday, None outside of the calendar."""

    months: list[tuple[str, int]]
    rows: list[list[Day | None]]
    total: int
    failed: int


def first_day(today: date) -> date:
    return today - timedelta(days=DAYS - 1)


def build_calendar(stats: Sequence[dict[str, Any]], today: date) -> RunCalendar:
    """`stats`: rows of pipeline_daily_stats as JSON."""
    of_day = {date.fromisoformat(row["day"]): row for row in stats}
    first = first_day(today)
    monday = first - timedelta(days=first.weekday())
    weeks = (today - monday).days // WEEK + 1
    months: list[tuple[str, int]] = []
    for week in range(weeks):
        name = f"{max(first, monday + timedelta(weeks=week)):%b}"
        months = [*months[:-1], (name, months[-1][1] + 1)] if months and months[-1][0] == name else [*months, (name, 1)]
    rows: list[list[Day | None]] = []
    for weekday in range(WEEK):
        days = [monday + timedelta(weeks=week, days=weekday) for week in range(weeks)]
        rows.append([_day(day, of_day.get(day)) if first <= day <= today else None for day in days])
    shown = [day for row in rows for day in row if day]
    return RunCalendar(months, rows, sum(day.total for day in shown), sum(day.failed for day in shown))


def _day(day: date, row: dict[str, Any] | None) -> Day:
    return Day(day, row["total"], row["failed"]) if row else Day(day, 0, 0)
