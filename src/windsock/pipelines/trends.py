"""Compares pipelines with earlier: their p50 with the previous window, and their last success."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from windsock.auth.authenticator import Space
from windsock.db.database import Reader, Row, Statement
from windsock.db.queries import load
from windsock.pipelines.stats import StatsWindow, percentiles

QUERIES = load(__package__, "trends.sql")

MIN_RUNS = 5
"""In each of the two windows: the median of fewer runs says little."""
MAX_DAYS = 90
"""Of a window that is compared; the cost grows with its days."""
MAX_RECENT_RUNS = 14
MAX_VALUES = 500


@dataclass(frozen=True, slots=True)
class Trend:
    """`p50_change`: 0.35 where the median run takes 35 % longer than in the previous window; None: too few runs."""

    p50_change: float | None
    last_success_at: datetime | None


@dataclass(frozen=True, slots=True)
class TrendQuery:
    """The statements of the trends of some rows of list_pipelines, whose JSON is parsed; for one batch with others."""

    statements: tuple[Statement, Statement]
    _pipelines: Sequence[dict[str, Any]]
    _recent: Sequence[datetime | None]

    @classmethod
    def of(cls, space: Space, pipelines: Sequence[dict[str, Any]], window: StatsWindow) -> "TrendQuery":
        recent = [_last_recent_success(pipeline["recent_runs"]) for pipeline in pipelines]
        without_success = [
            pipeline["id"]
            for pipeline, success in zip(pipelines, recent, strict=True)
            if success is None and len(pipeline["recent_runs"]) >= MAX_RECENT_RUNS
        ]
        previous = {
            "space_id": space.id,
            "ids": [pipeline["id"] for pipeline in pipelines] if window.days <= MAX_DAYS else [],
            "previous_day": window.first_day - timedelta(days=window.days),
            "first_day": window.first_day,
        }
        statements = (
            Statement(QUERIES["list_previous_histograms"], previous),
            Statement(QUERIES["list_last_successes"], {"space_id": space.id, "ids": without_success}),
        )
        return cls(statements, pipelines, recent)

    def trends(self, histograms: list[Row], successes: list[Row]) -> list[Trend]:
        """Return the trend of each row, from the rows of the two statements."""
        older = {row["id"]: row["ended_at"] for row in successes}
        counts = [row["duration_count"] for row in histograms] or [0] * len(self._pipelines)
        medians = percentiles([row["duration_histogram"] for row in histograms], 0.5)[0] or [None] * len(counts)
        return [
            Trend(_p50_change(pipeline["summary"], median, count), success or older.get(pipeline["id"]))
            for pipeline, median, count, success in zip(self._pipelines, medians, counts, self._recent, strict=True)
        ]


def _p50_change(summary: dict[str, Any], previous: float | None, previous_runs: int) -> float | None:
    current = summary["p50_duration_seconds"]
    if not current or not previous or min(summary["total_runs"], previous_runs) < MIN_RUNS:
        return None
    return float(current / previous - 1)


def _last_recent_success(runs: list[dict[str, Any]]) -> datetime | None:
    ends = (run["ended_at"] for run in reversed(runs) if run["status"] == "success" and run["ended_at"])
    end = next(ends, None)
    return datetime.fromisoformat(end) if end else None


async def list_values(reader: Reader, space: Space, field: Literal["owner", "tag"]) -> list[str]:
    """List the owners or tags that pipelines of the space have: the first MAX_VALUES in alphabetical order."""
    query = QUERIES["distinct_owners" if field == "owner" else "distinct_tags"]
    (rows,) = await reader.fetch_batch(Statement(query, {"space_id": space.id, "limit": MAX_VALUES}))
    return [row["value"] for row in rows]
