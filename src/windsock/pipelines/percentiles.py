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

_codes = np.arange(LAST_CODE + 1)
VALUES: NDArray[np.float64] = (SMALLEST_SECONDS * GROWTH**_codes * 2 / (1 + GROWTH)).astype(np.float64)
"""Seconds for which each bucket stands: at most 0.5 % from any duration in it."""
VALUES[0] = 0.0


FEW_BITS, MANY_BITS = 4, 32
"""How many are in a bucket, of those of a day and of those of many days."""


@dataclass(frozen=True, slots=True)
class Buckets:
    """Buckets in any order, one number each: its code, and behind it in so many bits how many are in it."""

    numbers: NDArray[np.integer[Any]]
    bits: int

    @classmethod
    def of_codes(cls, codes: NDArray[np.uint16]) -> "Buckets":
        """As they are in pipeline_days.codes."""
        return cls(codes << FEW_BITS | codes >> 16 - FEW_BITS, FEW_BITS)

    @classmethod
    def of_durations(cls, durations: NDArray[np.void]) -> "Buckets":
        """As they are in pipeline_days.durations."""
        return cls(durations["code"].astype(np.uint64) << MANY_BITS | durations["many"], MANY_BITS)

    @property
    def many(self) -> NDArray[np.integer[Any]]:
        return self.numbers & ((1 << self.bits) - 1)

    @property
    def codes(self) -> NDArray[np.integer[Any]]:
        return self.numbers >> self.bits

    def wide(self) -> "Buckets":
        """The same, with room for as many as those of many days."""
        return Buckets(self.codes.astype(np.uint64) << MANY_BITS | self.many, MANY_BITS)


def percentiles(buckets: Buckets, lengths: Sequence[int], shares: Sequence[float]) -> list[list[float | None]]:
    """For each share that of each list; None where a list has no duration. Sorts `buckets`, each list in its place.

    `lengths`: how many buckets each list has, one list behind the other. Between the two nearest ranks, as PostgreSQL's
    percentile_cont does it.
    """
    if not len(buckets.numbers):
        return [[None] * len(lengths) for _ in shares]
    ends = np.cumsum(lengths)
    begin = 0
    for end in ends.tolist():
        buckets.numbers[begin:end].sort(kind="stable")  # of 16 bits by radix, in a third of the time
        begin = end
    below = np.concatenate(([0], buckets.many.cumsum(dtype=np.int64)))
    upto = below[ends]
    before = np.concatenate(([0], upto[:-1]))
    last = upto - before - 1
    columns = []
    for share in shares:
        rank = share * np.maximum(last, 0)
        low = np.floor(rank)
        at_low = _of_rank(buckets, below, before + low)
        at_high = _of_rank(buckets, below, before + np.minimum(low + 1, np.maximum(last, 0)))
        found = at_low + (at_high - at_low) * (rank - low)
        columns.append(
            [value if many >= 0 else None for value, many in zip(found.tolist(), last.tolist(), strict=True)]
        )
    return columns


def _of_rank(buckets: Buckets, below: NDArray[np.int64], rank: NDArray[np.float64]) -> NDArray[np.float64]:
    """The durations that have so many smaller ones, those of the lists before counted too.

    That is the last bucket with no more below it; of an empty list, which has none, any.
    """
    at = np.searchsorted(below, rank.astype(np.int64), side="right") - 1
    found: NDArray[np.float64] = VALUES[np.minimum(buckets.numbers.take(at, mode="clip") >> buckets.bits, LAST_CODE)]
    return found
