"""The numbers of many pipelines at once: what is kept of whole days, and the runs of the day a window begins in."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windsock.db import Row
from windsock.pipelines.percentiles import AT_ONCE, Buckets

SUMMED = ("total", "success", "failed", "timed", "seconds")
DAY = np.dtype(
    [("day", ">i4"), ("total", ">i4"), ("success", ">i4"), ("failed", ">i4"), ("timed", ">i4"), ("seconds", ">f8"),
     ("codes", ">i4")]
)  # fmt: skip
"""As in pipeline_days.packed. `codes`: how many bytes of them."""
EPOCH = date(1970, 1, 1)
RECENT_DAYS = 35
"""So long a window is within pipeline_recent_days, however old the row of a pipeline is: see recent_days()."""

Summary = dict[str, Any]
"""As windsock.pipelines.models.Summary."""


@dataclass(frozen=True, slots=True)
class Window:
    """What a summary counts: the runs that ended since then, `days` days ago."""

    days: int
    since: datetime

    @classmethod
    def ending_now(cls, days: int) -> "Window":
        """To the minute, so that answers of the same minute are the same."""
        now = datetime.now(UTC).replace(second=0, microsecond=0)
        return cls(days, now - timedelta(days=days))

    @property
    def day(self) -> date:
        """In which it begins, in UTC."""
        return self.since.astimezone(UTC).date()

    @property
    def parameters(self) -> dict[str, Any]:
        """What queries of pipelines.sql need. Said here, once: PostgreSQL would look for it with each pipeline."""
        return {
            "since": self.since,
            "day": self.day,
            "midnight": datetime.combine(self.day + timedelta(days=1), time(), UTC),
            "monday": self.day + timedelta(days=7 - self.day.weekday()),
            "is_recent": self.days <= RECENT_DAYS,
        }


def summaries(rows: Sequence[Row], window: Window) -> Iterator[Summary]:
    """Of rows with what `{window}`, `{first_day}` and `running` give."""
    for some in _parts(rows):
        yield from _summaries(some, window)


def p95s(rows: Sequence[Row], window: Window) -> Iterator[float | None]:
    """Of rows with what `{window}` and `{first_day}` give, without the rest."""
    for some in _parts(rows):
        days, owners = _days(some, window)
        buckets = _buckets(some, _sums(days["codes"], owners, some))
        yield from (of_one[0] for of_one in buckets.percentiles((0.95,)))


def _parts(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    return (rows[first : first + AT_ONCE] for first in range(0, len(rows), AT_ONCE))


def _summaries(rows: Sequence[Row], window: Window) -> Iterator[Summary]:
    days, owners = _days(rows, window)
    sums = (
        [of_days + row[name] for of_days, row in zip(_sums(days[name], owners, rows), rows, strict=True)]
        for name in SUMMED
    )
    buckets = _buckets(rows, _sums(days["codes"], owners, rows))
    return (
        {
            "days": window.days,
            "total_runs": int(total),
            "success_count": int(success),
            "failed_count": int(failed),
            "running_count": row["running"],
            "success_rate": success / (success + failed) if success + failed else None,
            "avg_duration_seconds": seconds / timed if timed else None,
            "p50_duration_seconds": p50,
            "p95_duration_seconds": p95,
        }
        for row, (p50, p95), total, success, failed, timed, seconds in zip(
            rows, buckets.percentiles((0.5, 0.95)), *sums, strict=True
        )
    )


def _days(rows: Sequence[Row], window: Window) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """The whole days within the window, and whose each is."""
    kept = [row["days"] or b"" for row in rows]
    days = np.frombuffer(b"".join(kept), DAY)
    owners = np.repeat(np.arange(len(rows)), [len(one) // DAY.itemsize for one in kept])
    within = days["day"] > (window.day - EPOCH).days
    return days[within], owners[within]


def _sums(values: NDArray[Any], owners: NDArray[np.int64], rows: Sequence[Row]) -> list[float]:
    """Of each row."""
    found: list[float] = np.bincount(owners, weights=values, minlength=len(rows)).tolist()
    return found


def _buckets(rows: Sequence[Row], lengths: Sequence[float]) -> Buckets:
    """Those of the days, of which so many bytes are within the window, and those of the day before."""
    codes = [
        (row["codes"] or b"")[: int(length)] + row["more_codes"] for row, length in zip(rows, lengths, strict=True)
    ]
    more = [row["durations"] or b"" for row in rows]
    return Buckets.of_codes(codes) + Buckets.of_durations(more) if any(more) else Buckets.of_codes(codes)
