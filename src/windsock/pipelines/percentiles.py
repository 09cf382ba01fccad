"""Percentiles of many pipelines' durations at once, from counted buckets, each half a percent wide on either side."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

GROWTH = 1.01
"""Each bucket reaches so many times further than the one before, as the database's duration_code has it."""
LAST_CODE = 2800
SMALLEST_SECONDS = 0.001
BUCKET = np.dtype([("code", ">u2"), ("many", ">u4")])
"""As in pipeline_days.durations."""
CODE = np.dtype(">u2")
"""As in pipeline_days.codes."""
AT_ONCE = 200
"""Pipelines in one table of counts: 4.5 MB at most; and of so few, all runs together can be counted in 32 bits."""

Integers = NDArray[np.integer[Any]]

_codes = np.arange(LAST_CODE + 1)
VALUES: NDArray[np.float64] = (SMALLEST_SECONDS * GROWTH**_codes * 2 / (1 + GROWTH)).astype(np.float64)
"""Seconds for which each bucket stands: at most 0.5 % from any duration in it."""
VALUES[0] = 0.0


@dataclass(frozen=True, slots=True)
class Buckets:
    """Of `lists` lists, at most AT_ONCE: whose each bucket is, its code, and how many are in it. One may come twice."""

    lists: int
    owners: NDArray[np.int64]
    codes: Integers
    many: Integers

    @classmethod
    def of_durations(cls, lists: Sequence[bytes]) -> "Buckets":
        """As they are in pipeline_days.durations."""
        found = np.frombuffer(b"".join(lists), BUCKET)
        return cls(len(lists), _owners(lists, BUCKET), found["code"].astype(np.uint16), found["many"].astype(np.uint32))

    @classmethod
    def of_codes(cls, lists: Sequence[bytes]) -> "Buckets":
        """As they are in pipeline_days.codes."""
        found = np.frombuffer(b"".join(lists), CODE).astype(np.uint16)
        return cls(len(lists), _owners(lists, CODE), found & 0xFFF, found >> 12)

    def __add__(self, other: "Buckets") -> "Buckets":
        """Of the same lists."""
        return Buckets(
            self.lists,
            np.concatenate((self.owners, other.owners)),
            np.concatenate((self.codes, other.codes)),
            np.concatenate((self.many, other.many)),
        )

    def percentiles(self, shares: Sequence[float]) -> list[list[float | None]]:
        """Of each list; None where there is no duration.

        Between the two nearest ranks, as PostgreSQL's percentile_cont does it.
        """
        if not len(self.codes):
            return [[None] * len(shares) for _ in range(self.lists)]
        codes = np.minimum(self.codes, LAST_CODE)
        first, last = int(codes.min()), int(codes.max())
        width = last - first + 1
        places = self.owners * width
        places += codes
        places -= first
        counts = np.bincount(places, weights=self.many, minlength=self.lists * width)
        below = counts.astype(np.uint32).cumsum(dtype=np.uint32)  # one list after the other: a rank is found by halving
        ends = below[width - 1 :: width].astype(np.int64)
        starts = np.concatenate(([0], ends[:-1]))
        totals = ends - starts
        values, columns = VALUES[first : first + width], []
        for share in shares:
            rank = share * np.maximum(totals - 1, 0)
            low, high = np.floor(rank), np.minimum(np.floor(rank) + 1, np.maximum(totals - 1, 0))
            at_low, at_high = _of_rank(values, below, starts + low), _of_rank(values, below, starts + high)
            columns.append(at_low + (at_high - at_low) * (rank - low))
        found = zip(totals.tolist(), *(column.tolist() for column in columns), strict=True)
        return [of_one if total else [None] * len(shares) for total, *of_one in found]


def _owners(lists: Sequence[bytes], each: np.dtype[np.void] | np.dtype[np.uint16]) -> NDArray[np.int64]:
    return np.repeat(np.arange(len(lists)), [len(one) // each.itemsize for one in lists])


def _of_rank(values: NDArray[np.float64], below: NDArray[np.uint32], rank: NDArray[np.float64]) -> NDArray[np.float64]:
    """The durations that have so many smaller ones: of the first bucket with which there are more than that."""
    found: NDArray[np.float64] = values[np.searchsorted(below, rank.astype(np.uint32), side="right") % len(values)]
    return found
