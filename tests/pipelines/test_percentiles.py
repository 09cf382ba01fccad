"""Histograms of durations, as the database stores them, and the percentiles computed from them."""

import struct
from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING

import numpy as np
import pytest

from factories import NOW, TwoTenants, make_run
from pipelines.test_summary import percentile
from windsock.db.queries import Query
from windsock.pipelines.stats import HISTOGRAM, RATIO, SMALLEST_SECONDS, percentiles
from windsock.sync.writer import MirrorWriter

if TYPE_CHECKING:
    from conftest import RolledBackDatabase

pytestmark = pytest.mark.anyio

SHARES = (0.0, 0.05, 0.5, 0.95, 1.0)
STATS = Query("SELECT * FROM run_stats(%(space_id)s, %(pipeline_id)s, '-infinity', 'infinity')")


async def test_percentiles_of_stored_histogram_are_within_two_percent(
    tenants: TwoTenants, db: "RolledBackDatabase"
) -> None:
    space, random = tenants.finance, Random(1)  # noqa: S311 - durations, not secrets
    seconds = [0.0, 0.0009, 0.001, 0.00101, 0.5, 1.0, 1.0, 59.99, 3600.0, 86400.0, 3e7, 1.2e9]
    seconds += [round(random.lognormvariate(4, 2), 3) for _ in range(300)]
    runs = [
        make_run("never_run", f"run {number}", "success", started_at=NOW - timedelta(seconds=duration), ended_at=NOW)
        for number, duration in enumerate(seconds)
    ]
    async with db.tenant_transaction(space.id) as tx:
        await MirrorWriter(space.id, space.connector_id).store_runs(tx, runs, space.pipelines)
        (stats,) = await tx.fetch_all(STATS, space_id=space.id, pipeline_id=space.pipelines["never_run"])
    stored = np.frombuffer(stats["duration_histogram"], HISTOGRAM)
    assert stats["duration_count"] == len(seconds) == stored["count"].sum()
    assert len(set(stored["bucket"].tolist())) == len(stored), "each bucket occurs once"
    for share, (found,) in zip(SHARES, percentiles([stats["duration_histogram"]], *SHARES), strict=True):
        assert found == pytest.approx(percentile(seconds, share), rel=0.02, abs=0.001), share


async def test_bucket_of_database_and_ratio_of_python_agree(tenants: TwoTenants, db: "RolledBackDatabase") -> None:
    lengths = [0.0, 0.0009, 0.001, *(SMALLEST_SECONDS * RATIO**power for power in np.arange(0.5, 800, 7.3).tolist())]
    async with db.tenant_transaction(tenants.finance.id) as tx:
        rows = await tx.fetch_all(
            Query("SELECT s, duration_bucket(s) AS bucket FROM unnest(%(s)s::float8[]) s"), s=lengths
        )
    assert [row["bucket"] for row in rows] == sorted(row["bucket"] for row in rows)
    for row in rows:
        ((middle,),) = percentiles([struct.pack(">HI", row["bucket"], 1)], 0.5)
        assert middle == pytest.approx(row["s"], rel=0.02, abs=0.001)


@pytest.mark.parametrize("seed", range(5))
def test_percentiles_of_many_histograms_are_those_of_each(seed: int) -> None:
    random = Random(seed)  # noqa: S311 - durations, not secrets
    histograms = [
        [(random.randint(0, 700), random.choice([1, 1, 2, 500])) for _ in range(random.choice([0, 0, 1, 20, 200]))]
        for _ in range(300)
    ]
    packed = [b"".join(struct.pack(">HI", *entry) for entry in entries) for entries in histograms]
    columns = percentiles(packed, *SHARES)
    for place, entries in enumerate(histograms):
        middles = [
            0.0 if bucket == 0 else SMALLEST_SECONDS * RATIO**bucket * 2 / (1 + RATIO)
            for bucket, count in entries
            for _ in range(count)
        ]
        for share, column in zip(SHARES, columns, strict=True):
            expected = percentile(middles, share)
            assert column[place] == (expected if expected is None else pytest.approx(expected))


def test_percentiles_of_no_runs_are_none() -> None:
    assert percentiles([], 0.5) == [[]]
    assert percentiles([b"", b""], 0.5, 0.95) == [[None, None], [None, None]]
