"""Durations in buckets, as the database keeps them, and the percentiles that are made of them."""

import struct
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from typing import TYPE_CHECKING

import numpy as np
import pytest

from factories import TwoTenants
from pipelines.test_summary import percentile
from windsock.db.database import Row
from windsock.db.queries import Query
from windsock.pipelines.percentiles import BUCKET, CODE, LAST_CODE, VALUES, Buckets, percentiles
from windsock.pipelines.summaries import EPOCH, NO_CODE, StatsWindow, WindowStats

if TYPE_CHECKING:
    from conftest import RolledBackDatabase

pytestmark = pytest.mark.anyio


async def test_a_bucket_of_many_comes_several_times_among_the_codes(
    tenants: TwoTenants, db: "RolledBackDatabase"
) -> None:
    buckets = {0: 1, 7: 14, 700: 15, 701: 16, LAST_CODE - 1: 30, LAST_CODE: 150_000}
    blob = b"".join(struct.pack(">HI", code, many) for code, many in buckets.items())
    async with db.tenant_transaction(tenants.finance.id) as tx:
        row = await tx.fetch_one(
            Query("SELECT duration_codes(%(it)s) AS codes, merged_durations(%(it)s::bytea || %(it)s::bytea) AS twice"),
            it=blob,
        )
    assert row is not None
    assert dict(struct.iter_unpack(">HI", row["twice"])) == {code: 2 * many for code, many in buckets.items()}
    as_codes = Buckets.of_codes(np.frombuffer(row["codes"], CODE).astype(np.uint16))
    as_durations = Buckets.of_durations(np.frombuffer(blob, BUCKET))
    assert len(row["codes"]) == 2 * (1 + 1 + 1 + 2 + 2 + 10_000)
    assert as_codes.many.sum() == as_durations.many.sum() == sum(buckets.values())
    shares = (0.0, 0.01, 0.03, 0.05, 0.5, 1.0)
    of_codes = percentiles(as_codes, [len(as_codes.numbers), 0], shares)
    assert of_codes == percentiles(as_durations, [len(as_durations.numbers), 0], shares)
    assert [of_none for _, of_none in of_codes] == [None] * len(shares)


async def test_a_bucket_stands_for_its_durations_within_half_a_percent(
    tenants: TwoTenants, db: "RolledBackDatabase"
) -> None:
    lengths = [0.0, 0.0009, 0.001, 0.00101, 0.5, 1.0, 59.99, 3600.0, 86400.0, 3e7, 1.2e9]
    async with db.tenant_transaction(tenants.finance.id) as tx:
        rows = await tx.fetch_all(Query("SELECT s, duration_code(s) AS code FROM unnest(%(s)s::float8[]) s"), s=lengths)
    for row in rows:
        assert float(VALUES[row["code"]]) == pytest.approx(row["s"], rel=0.005, abs=0.001)
    assert [row["code"] for row in rows] == sorted(row["code"] for row in rows)
    assert rows[0]["code"] == 0
    assert max(row["code"] for row in rows) <= LAST_CODE


SINCE = datetime(2026, 5, 4, 10, 30, tzinfo=UTC)


@dataclass
class StoredDay:
    """Of one pipeline what the database keeps: by day the buckets of its runs, and of the first day its runs."""

    days: dict[int, list[int]]
    runs: list[tuple[int, int, int]]  # second of the day, 1 for success and 2 for failed, bucket

    def packed_days(self) -> tuple[bytes, bytes]:
        first = (SINCE.date() - EPOCH).days
        days = [(first + day, codes) for day, codes in sorted(self.days.items(), reverse=True)]
        packed = (
            struct.pack(">iiiiidi", day, len(codes) + 3, len(codes), 1, len(codes), sum(codes) / 8, 2 * len(codes))
            for day, codes in days
        )
        return b"".join(packed), b"".join(struct.pack(">H", code | 1 << 12) for _, codes in days for code in codes)

    def packed_runs(self) -> bytes:
        return b"".join(struct.pack(">id", at << 14 | how << 12 | code, code / 8) for at, how, code in self.runs)


def found(stored: list[StoredDay], ids: list[bytes], random: Random, *, merged: bool) -> Row:
    """As a query finds it, in any order; `merged`: as of a long window, whose days are added up before."""
    by_days, by_runs = random.sample(range(len(stored)), len(stored)), random.sample(range(len(stored)), len(stored))
    days = [stored[day].packed_days() for day in by_days]
    runs = [stored[run].packed_runs() for run in by_runs]
    blobs = [
        b"".join(struct.pack(">HI", code, 1) for day, codes in stored[item].days.items() if day > 0 for code in codes)
        for item in by_days
    ]
    return {
        "ids_of_days": b"".join(ids[day] for day in by_days),
        "days": b"".join(item for item, _ in days),
        "lengths_of_days": b"".join(struct.pack(">i", len(item)) for item, _ in days),
        "codes": None if merged else b"".join(codes for _, codes in days),
        "durations": b"".join(blobs) if merged else b"",
        "lengths_of_durations": b"".join(struct.pack(">i", len(blob) if merged else 0) for blob in blobs),
        "ids_of_ended": b"".join(ids[run] for run in by_runs),
        "ended": b"".join(runs),
        "lengths_of_ended": b"".join(struct.pack(">i", len(run)) for run in runs),
    }


@pytest.mark.parametrize("merged", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_the_numbers_of_many_are_those_of_each(seed: int, *, merged: bool) -> None:
    random = Random(seed)  # noqa: S311 - lengths, not secrets
    stored = [
        StoredDay(
            {
                day: [random.randint(0, LAST_CODE) for _ in range(random.choice([0, 1, 20]))]
                for day in random.sample(range(-5, 30), random.choice([0, 0, 1, 20]))
            },
            [
                (random.randrange(86_400), random.randrange(3), random.choice([NO_CODE, random.randint(0, LAST_CODE)]))
                for _ in range(random.choice([0, 0, 1, 10]))
            ],
        )
        for _ in range(450)
    ]
    ids = [random.randbytes(16) for _ in stored]
    row = found(stored, ids, random, merged=merged)
    counted = WindowStats(row, ids, StatsWindow(30, SINCE))
    at_50, at_95 = counted.percentiles(0.5, 0.95)
    begins_at = 10 * 3600 + 30 * 60
    for place, item in enumerate(stored):
        days = [codes for day, codes in item.days.items() if day > 0]
        runs = [run for run in item.runs if run[0] >= begins_at]
        codes = [code for of_day in days for code in of_day] + [code for _, _, code in runs if code != NO_CODE]
        assert counted.total[place] == sum(len(of_day) + 3 for of_day in days) + len(runs)
        assert counted.success[place] == sum(map(len, days)) + sum(how == 1 for _, how, _ in runs)
        assert counted.failed[place] == len(days) + sum(how == 2 for _, how, _ in runs)
        assert counted.timed[place] == len(codes)
        assert counted.seconds[place] == sum(sum(of_day) / 8 for of_day in days) + sum(code / 8 for _, _, code in runs)
        lengths = [float(VALUES[code]) for code in codes]
        expected = percentile(lengths, 0.5), percentile(lengths, 0.95)
        assert (at_50[place], at_95[place]) == tuple(entry and pytest.approx(entry) for entry in expected)
