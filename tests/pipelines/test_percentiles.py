"""Durations in buckets, as the database keeps them, and the percentiles that are made of them."""

import struct
from random import Random
from typing import TYPE_CHECKING

import pytest

from pipelines.test_summary import percentile, within
from windsock.db import Row
from windsock.pipelines.percentiles import LAST_CODE, VALUES, Buckets
from windsock.pipelines.summaries import SUMMED, Window, p95s, summaries
from windsock.sql import Query
from world import World

if TYPE_CHECKING:
    from conftest import RolledBackDatabase

pytestmark = pytest.mark.anyio


async def test_a_bucket_of_many_comes_several_times_among_the_codes(world: World, db: "RolledBackDatabase") -> None:
    buckets = {0: 1, 7: 14, 700: 15, 701: 16, LAST_CODE - 1: 30, LAST_CODE: 150_000}
    blob = b"".join(struct.pack(">HI", code, many) for code, many in buckets.items())
    async with db.in_space(world.finance.id) as tx:
        row = await tx.row(
            Query("SELECT duration_codes(%(it)s) AS codes, merged_durations(%(it)s::bytea || %(it)s::bytea) AS twice"),
            it=blob,
        )
    assert row is not None
    assert dict(struct.iter_unpack(">HI", row["twice"])) == {code: 2 * many for code, many in buckets.items()}
    as_codes, as_durations = Buckets.of_codes([row["codes"], b""]), Buckets.of_durations([blob, b""])
    assert len(row["codes"]) == 2 * (1 + 1 + 1 + 2 + 2 + 10_000)
    assert as_codes.many.sum() == as_durations.many.sum() == sum(buckets.values())
    shares = (0.0, 0.01, 0.03, 0.05, 0.5, 1.0)
    assert as_codes.percentiles(shares) == as_durations.percentiles(shares)


async def test_a_bucket_stands_for_its_durations_within_half_a_percent(world: World, db: "RolledBackDatabase") -> None:
    lengths = [0.0, 0.0009, 0.001, 0.00101, 0.5, 1.0, 59.99, 3600.0, 86400.0, 3e7, 1.2e9]
    async with db.in_space(world.finance.id) as tx:
        rows = await tx.rows(Query("SELECT s, duration_code(s) AS code FROM unnest(%(s)s::float8[]) s"), s=lengths)
    for row in rows:
        assert float(VALUES[row["code"]]) == pytest.approx(row["s"], rel=0.005, abs=0.001)
    assert [row["code"] for row in rows] == sorted(row["code"] for row in rows)
    assert rows[0]["code"] == 0
    assert max(row["code"] for row in rows) <= LAST_CODE


@pytest.mark.parametrize("seed", range(10))
def test_percentiles_of_many_are_those_of_each(seed: int) -> None:
    random = Random(seed)  # noqa: S311 - lengths, not secrets
    many = [[random.uniform(1, 5000) for _ in range(random.choice([0, 1, 2, 3, 20, 500]))] for _ in range(450)]
    blobs = []
    for lengths in many:
        codes = [next(i for i in range(700, LAST_CODE) if VALUES[i] * 1.005 >= one) for one in lengths[:20]]
        blobs.append(b"".join(code.to_bytes(2) + (1).to_bytes(4) for code in codes))
    none = {"days": None, "codes": None, "more_codes": b"", "running": 0, **dict.fromkeys(SUMMED, 0)}
    rows: list[Row] = [{**none, "durations": blob} for blob in blobs]
    for lengths, found in zip(many, summaries(rows, Window.ending_now(90)), strict=True):
        assert found["p50_duration_seconds"] == within(percentile(lengths[:20], 0.5))
        assert found["p95_duration_seconds"] == within(percentile(lengths[:20], 0.95))
    assert list(p95s(rows, Window.ending_now(90))) == [
        of_one["p95_duration_seconds"] for of_one in summaries(rows, Window.ending_now(90))
    ]
