"""Statistics of the runs that ended in a window: its bounds, percentiles from histograms, and summaries."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import numpy as np

from windsock.db.database import Row

RATIO = 1.04
"""Of the upper bounds of neighbouring buckets, as in the database's duration_bucket()."""
SMALLEST_SECONDS = 0.001
"""Upper bound of bucket 0."""
HISTOGRAM = np.dtype([("bucket", ">u2"), ("count", ">u4")])
"""Layout of pipeline_daily_stats.duration_histogram, in any order; a bucket may occur several times."""


@dataclass(frozen=True, slots=True)
class StatsWindow:
    """Time window of a summary: runs that ended in the last `days` days."""

    days: int
    since: datetime

    @classmethod
    def ending_now(cls, days: int) -> "StatsWindow":
        """To the minute, so that answers of the same minute are the same."""
        now = datetime.now(UTC).replace(second=0, microsecond=0)
        return cls(days, now - timedelta(days=days))

    @property
    def first_day(self) -> date:
        """The day, in UTC, in which the window begins."""
        return self.since.astimezone(UTC).date()

    @property
    def parameters(self) -> dict[str, Any]:
        """Parameters of the queries in pipelines.sql; `second_day` is the moment at which it begins."""
        return {
            "since": self.since,
            "first_day": self.first_day,
            "second_day": datetime.combine(self.first_day + timedelta(days=1), time(), UTC),
        }


def percentiles(histograms: Sequence[bytes], *shares: float) -> list[list[float | None]]:
    """For each share the percentile of each histogram, within 2 %; None for an empty one.

    Interpolates between the two nearest ranks, as PostgreSQL's percentile_cont does.
    """
    entries = np.frombuffer(b"".join(histograms), HISTOGRAM)
    if not len(entries):
        return [[None] * len(histograms) for _ in shares]
    first = int(entries["bucket"].min())
    buckets = int(entries["bucket"].max()) - first + 1  # only those that occur: the matrix stays in the CPU's cache
    middles = SMALLEST_SECONDS * RATIO ** np.arange(first, first + buckets) * 2 / (1 + RATIO)
    if first == 0:
        middles[0] = 0.0
    owners = np.repeat(np.arange(len(histograms)), [len(item) // HISTOGRAM.itemsize for item in histograms])
    counts = np.bincount(owners * buckets + entries["bucket"] - first, entries["count"], len(histograms) * buckets)
    cumulative = counts.reshape(-1, buckets).cumsum(axis=1)
    last = np.maximum(cumulative[:, -1] - 1, 0)
    is_empty = cumulative[:, -1] == 0
    columns = []
    for share in shares:
        rank = share * last
        low = np.floor(rank)
        below, above = (
            middles[np.minimum((cumulative <= place[:, None]).sum(axis=1), buckets - 1)]
            for place in (low, np.minimum(low + 1, last))
        )
        values = (below + (above - below) * (rank - low)).tolist()
        columns.append([None if empty else value for value, empty in zip(values, is_empty.tolist(), strict=True)])
    return columns


def summarize(rows: Sequence[Row], window: StatsWindow) -> list[dict[str, Any]]:
    """Move the columns of {window_stats} out of each row into a windsock.pipelines.models.Summary."""
    medians, p95s = percentiles([row.pop("duration_histogram") for row in rows], 0.5, 0.95)
    summaries = []
    for row, p50, p95 in zip(rows, medians, p95s, strict=True):
        success, failed = row.pop("success_count"), row.pop("failed_count")
        timed, seconds = row.pop("duration_count"), row.pop("duration_sum")
        summaries.append(
            {
                "days": window.days,
                "total_runs": row.pop("total_runs"),
                "success_count": success,
                "failed_count": failed,
                "running_count": row.pop("running_count"),
                "success_rate": success / (success + failed) if success + failed else None,
                "avg_duration_seconds": seconds / timed if timed else None,
                "p50_duration_seconds": p50,
                "p95_duration_seconds": p95,
            }
        )
    return summaries
