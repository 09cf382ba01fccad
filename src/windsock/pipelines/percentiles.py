"""Percentiles of many pipelines' durations at once, from counted buckets, each half a percent wide on either side."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

GROWTH = 1.01
"""Each bucket reaches so many times further than the one before, as the database's duration_code has it."""
LAST_CODE = 2800
SMALLEST_SECONDS = 0.001
BUCKET = np.dtype([("code", ">u2"), ("many", ">u4")])
"""As in pipeline_days.durations."""
AT_ONCE = 200
"""Pipelines in one table of counts: 4.5 MB at most; and of so few, all runs together can be counted in 32 bits."""

_codes = np.arange(LAST_CODE + 1)
VALUES: NDArray[np.float64] = (SMALLEST_SECONDS * GROWTH**_codes * 2 / (1 + GROWTH)).astype(np.float64)
"""Seconds for which each bucket stands: at most 0.5 % from any duration in it."""
VALUES[0] = 0.0


def percentiles(durations: Sequence[bytes | None], shares: Sequence[float]) -> list[list[float | None]]:
    """Of each list of buckets (in which one may come several times) the percentiles; None where there is no duration.

    Between the two nearest ranks, as PostgreSQL's percentile_cont does it.
    """
    return [
        row for first in range(0, len(durations), AT_ONCE) for row in _part(durations[first : first + AT_ONCE], shares)
    ]


def _part(durations: Sequence[bytes | None], shares: Sequence[float]) -> Iterator[list[float | None]]:
    buckets = np.frombuffer(b"".join(one or b"" for one in durations), BUCKET)
    if not len(buckets):
        nothing: list[float | None] = [None] * len(shares)
        yield from (nothing for _ in durations)
        return
    codes = np.minimum(buckets["code"].astype(np.int64), LAST_CODE)
    first, width = codes.min(), codes.max() - codes.min() + 1
    owners = np.repeat(np.arange(len(durations)), [len(one or b"") // BUCKET.itemsize for one in durations])
    counts = np.bincount(owners * width + codes - first, weights=buckets["many"], minlength=len(durations) * width)
    below = counts.astype(np.uint32).cumsum(dtype=np.uint32)  # one list after the other: so a rank is found by halving
    ends = below[width - 1 :: width].astype(np.int64)
    starts = np.concatenate(([0], ends[:-1]))
    totals = ends - starts
    values, columns = VALUES[first : first + width], []
    for share in shares:
        rank = share * np.maximum(totals - 1, 0)
        low, high = np.floor(rank), np.minimum(np.floor(rank) + 1, np.maximum(totals - 1, 0))
        at_low, at_high = _of_rank(values, below, starts + low), _of_rank(values, below, starts + high)
        columns.append(at_low + (at_high - at_low) * (rank - low))
    for total, *found in zip(totals.tolist(), *(column.tolist() for column in columns), strict=True):
        yield found if total else [None] * len(shares)


def _of_rank(values: NDArray[np.float64], below: NDArray[np.uint32], rank: NDArray[np.float64]) -> NDArray[np.float64]:
    """The durations that have so many smaller ones: of the first bucket with which there are more than that."""
    found: NDArray[np.float64] = values[np.searchsorted(below, rank.astype(np.uint32), side="right") % len(values)]
    return found
