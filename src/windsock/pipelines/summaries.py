"""Statistics of many pipelines: from daily roll-ups, and from runs of the partial first day."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windsock.db.database import Row
from windsock.http.responses import json_fragments
from windsock.pipelines.percentiles import BUCKET, CODE, Buckets, percentiles

DAY = np.dtype(
    [("day", ">i4"), ("total", ">i4"), ("success", ">i4"), ("failed", ">i4"), ("timed", ">i4"), ("seconds", ">f8"),
     ("codes", ">i4")]
)  # fmt: skip
"""As in pipeline_days.packed. `codes`: how many bytes of them."""
ENDED = np.dtype([("how", ">u4"), ("seconds", ">f8")])
"""As in pipeline_days.ended."""
SUCCESS, FAILED, NO_CODE = 1, 2, 0xFFF
"""In `how`: see ended_run()."""
EPOCH = date(1970, 1, 1)
RECENT_DAYS = 35
"""So long a window is within pipeline_recent_days, however old the row of a pipeline is: see recent_days()."""


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
    def first_full_day(self) -> date:
        """In which it begins, in UTC."""
        return self.since.astimezone(UTC).date()

    @property
    def offset_in_first_day(self) -> int:
        """Of that day, in which it begins."""
        return int((self.since - datetime.combine(self.first_full_day, time(), UTC)).total_seconds())

    @property
    def parameters(self) -> dict[str, Any]:
        """Parameters of queries in pipelines.sql, computed once: PostgreSQL would compute them per pipeline."""
        return {
            "since": self.since,
            "day": self.first_full_day,
            "midnight": datetime.combine(self.first_full_day + timedelta(days=1), time(), UTC),
            "monday": self.first_full_day + timedelta(days=7 - self.first_full_day.weekday()),
            "is_recent": self.days <= RECENT_DAYS,
        }


ID_BYTES = 16
LENGTH = np.dtype(">i4")
"""As int4send() has it."""
Integers = NDArray[np.integer[Any]]


def split_uuids(together: bytes | None) -> list[bytes]:
    """Split the result of string_agg(uuid_send(id), '')."""
    return [together[at : at + ID_BYTES] for at in range(0, len(together), ID_BYTES)] if together else []


class WindowStats:
    """Of these pipelines in their order, what is within the window of what `{numbers}` found, in any order."""

    def __init__(self, row: Row, ids: Sequence[bytes], window: StatsWindow) -> None:
        self._kept, self._number = row, len(ids)
        places = {key: place for place, key in enumerate(ids)}
        self._whose_days, self._whose_ended = (
            np.array([places[key] for key in split_uuids(row[f"ids_of_{name}"])], np.int64)
            for name in ("days", "ended")
        )
        self._days, ended = np.frombuffer(row["days"] or b"", DAY), np.frombuffer(row["ended"] or b"", ENDED)
        self._row_of_days = np.repeat(np.arange(len(self._whose_days)), _lengths(row, "days", DAY))
        self._is_within = self._days["day"] > (window.first_full_day - EPOCH).days
        is_later = ended["how"] >> 14 >= window.offset_in_first_day
        self._row_of_ended = np.repeat(np.arange(len(self._whose_ended)), _lengths(row, "ended", ENDED))[is_later]
        self._ended = ended[is_later]
        self._status, self._code = self._ended["how"] >> 12 & 3, self._ended["how"] & NO_CODE
        self._owners = np.concatenate(
            (self._whose_days[self._row_of_days[self._is_within]], self._whose_ended[self._row_of_ended])
        )

    @cached_property
    def success(self) -> list[float]:
        return self._sum("success", self._status == SUCCESS)

    @cached_property
    def failed(self) -> list[float]:
        return self._sum("failed", self._status == FAILED)

    @cached_property
    def total(self) -> list[float]:
        return self._sum("total", np.ones(len(self._ended)))

    @cached_property
    def timed(self) -> list[float]:
        return self._sum("timed", self._code != NO_CODE)

    @cached_property
    def seconds(self) -> list[float]:
        return self._sum("seconds", self._ended["seconds"])

    def percentiles(self, *shares: float) -> list[list[float | None]]:
        """For each share that of each pipeline."""
        codes_each, is_timed = self._days["codes"] // CODE.itemsize, self._code != NO_CODE
        of_days, within = len(self._whose_days), self._is_within
        parts = [
            _Part(
                Buckets.of_codes(np.frombuffer(self._kept["codes"] or b"", CODE).astype(np.uint16)),
                self._whose_days,
                _sums(self._row_of_days, codes_each, of_days),
                _sums(self._row_of_days[within], codes_each[within], of_days),  # the newest days come first
            ),
            _Part(
                Buckets.of_codes(self._code[is_timed].astype(np.uint16) | 1 << 12),
                self._whose_ended,
                *[_sums(self._row_of_ended, is_timed, len(self._whose_ended))] * 2,
            ),
        ]
        if self._kept["durations"]:
            parts = [replace(part, buckets=part.buckets.wide()) for part in parts]
            merged = Buckets.of_durations(np.frombuffer(self._kept["durations"], BUCKET))
            parts.append(_Part(merged, self._whose_days, *[_lengths(self._kept, "durations", BUCKET)] * 2))
        return percentiles(*_together(parts, self._number), shares)

    def _sum(self, name: str, of_runs: NDArray[Any]) -> list[float]:
        of_all = np.concatenate((self._days[name][self._is_within], of_runs))
        found: list[float] = np.bincount(self._owners, of_all, self._number).tolist()
        return found


@dataclass(frozen=True, slots=True)
class _Part:
    """Lists of buckets behind each other: whose each is, how long it is, how many are taken from its first on."""

    buckets: Buckets
    owners: Integers
    lengths: Integers
    taken: Integers


def _together(parts: Sequence[_Part], number: int) -> tuple[Buckets, list[int]]:
    """Parts of the pipelines' lists in sequence, and the number of buckets of each."""
    lists: list[list[Integers]] = [[parts[0].buckets.numbers[:0]] for _ in range(number)]
    for part in parts:
        begins = np.cumsum(part.lengths) - part.lengths
        ends = begins + part.taken
        for owner, begin, end in zip(part.owners.tolist(), begins.tolist(), ends.tolist(), strict=True):
            lists[owner].append(part.buckets.numbers[begin:end])
    together = np.concatenate([part_row for of_one in lists for part_row in of_one])
    return Buckets(together, parts[0].buckets.bits), [sum(map(len, of_one)) for of_one in lists]


def _lengths(row: Row, name: str, each: "np.dtype[Any]") -> Integers:
    return np.frombuffer(row[f"lengths_of_{name}"] or b"", LENGTH) // each.itemsize


def _sums(rows: Integers, values: NDArray[Any], number: int) -> Integers:
    return np.bincount(rows, values, number).astype(np.int64)


def render_summaries(found: WindowStats, window: StatsWindow) -> list[str]:
    """Of each of them, as windsock.pipelines.models.Summary in JSON, without braces and without running_count."""
    averages = [of_all / many if many else None for of_all, many in zip(found.seconds, found.timed, strict=True)]
    columns = (json_fragments(values) for values in (_success_rates(found), averages, *found.percentiles(0.5, 0.95)))
    return [
        f'"days":{window.days},"total_runs":{runs:.0f},"success_count":{successes:.0f},"failed_count":{failures:.0f},'
        f'"success_rate":{rate},"avg_duration_seconds":{average},"p50_duration_seconds":{p50},'
        f'"p95_duration_seconds":{p95}'
        for runs, successes, failures, rate, average, p50, p95 in zip(
            found.total, found.success, found.failed, *columns, strict=True
        )
    ]


def _success_rates(found: WindowStats) -> list[float | None]:
    each = zip(found.success, found.failed, strict=True)
    return [success / (success + failed) if success + failed else None for success, failed in each]


STAT_SORT_KEYS: dict[str, Callable[[WindowStats], Sequence[float | None]]] = {
    "failed_count": lambda found: found.failed,
    "success_rate": _success_rates,
    "p95_duration_seconds": lambda found: found.percentiles(0.95)[0],
}
"""What lists are sorted by that the server works out."""
