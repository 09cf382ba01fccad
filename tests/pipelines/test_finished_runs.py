"""How the runs of a day ended, as it is kept with the day, against the runs; and when it is kept."""

from collections import Counter, defaultdict
from datetime import UTC, datetime
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from factories import TwoTenants, make_run
from pipelines.test_days import DAYS, RUNS, live, unpacked
from pipelines.test_summary import LIST
from validating_client import ValidatingClient
from windsock.db.queries import Query
from windsock.pipelines.summaries import ENDED, NO_CODE
from windsock.sync.writer import MirrorWriter

if TYPE_CHECKING:
    from conftest import RolledBackDatabase

pytestmark = pytest.mark.anyio

HOW = {"success": 1, "failed": 2}
STORED = Query("SELECT day, ended FROM pipeline_days WHERE pipeline_id = %(id)s ORDER BY day")


@pytest.mark.parametrize("seed", range(5))
async def test_run_ends_of_day_are_stored_after_it_is_over(
    tenants: TwoTenants, db: "RolledBackDatabase", seed: int
) -> None:
    await live(db, tenants, Random(seed))  # noqa: S311 - histories, not secrets
    async with db.tenant_transaction(tenants.finance.id) as tx:
        days, runs = await tx.fetch_all(DAYS), await tx.fetch_all(RUNS)
    expected: dict[Any, list[Any]] = defaultdict(list)
    for run in runs:
        if run["ended_at"] is not None and run["removed_at"] is None:
            at, took = run["ended_at"].astimezone(UTC), run["duration_seconds"]
            second = at.hour * 3600 + at.minute * 60 + at.second
            of_day = expected[run["pipeline_id"], at.date()]
            of_day.append((second, HOW.get(run["status"], 0), took is not None, took or 0.0))
    for day in days:
        of_day = expected[day["pipeline_id"], day["day"]]
        if day["day"] >= datetime.now(UTC).date():
            assert day["ended"] is None
            continue
        stored = np.frombuffer(day["ended"], ENDED)
        assert sorted(of_day) == sorted(
            (int(how) >> 14, int(how) >> 12 & 3, int(how) & NO_CODE != NO_CODE, float(seconds))
            for how, seconds in stored
        )
        codes = Counter(int(how) & NO_CODE for how, _ in stored)
        del codes[NO_CODE]
        assert codes == dict(unpacked(day["durations"]))
    assert any(day["ended"] for day in days)


async def test_a_day_is_closed_with_the_next_run_and_read_from_its_runs_until_then(
    client: ValidatingClient, tenants: TwoTenants, db: "RolledBackDatabase"
) -> None:
    space, pipeline_id = tenants.finance, tenants.finance.pipelines["never_run"]
    mirror = MirrorWriter(space.id, space.connector_id)
    async with db.tenant_transaction(space.id) as tx:
        runs = [make_run("never_run", f"run {n}", "failed", hours_ago=48 + n, minutes=0) for n in (-1, 1)]
        await mirror.store_runs(tx, runs, space.pipelines)
        assert [row["ended"] is None for row in await tx.fetch_all(STORED, id=pipeline_id)] in ([False], [False, False])
        # As they are left by whoever counted them before they were over.
        await tx.execute(Query("UPDATE pipeline_days SET ended = NULL WHERE pipeline_id = %(id)s"), id=pipeline_id)
    path = f"{LIST}/{pipeline_id}"
    for is_closed in (False, True):
        for days, failed in ((1, 0), (2, 1), (3, 2)):
            found = (await client.as_(tenants.keys["viewer"], "GET", path, params={"days": days})).json()["summary"]
            assert found["failed_count"] == failed, (is_closed, days)
        async with db.tenant_transaction(space.id) as tx:
            await mirror.store_runs(tx, [make_run("never_run", "now", "success", hours_ago=0)], space.pipelines)
            stored = {row["day"]: row["ended"] for row in await tx.fetch_all(STORED, id=pipeline_id)}
        today = datetime.now(UTC).date()
        assert all((ended is None) == (day >= today) for day, ended in stored.items())
