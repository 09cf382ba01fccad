"""Numbers kept by the day, against the same numbers counted from the runs; whatever happens to the runs."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg
import pytest

from conftest import SECRET_KEY
from databases import Databases
from factories import NOW, TwoTenants, create_two_tenants, make_run
from pipelines.test_summary import LIST, percentile
from validating_client import ValidatingClient
from windsock.db.database import Database, Row
from windsock.db.queries import Query
from windsock.providers.base import ProviderRun
from windsock.sync.writer import MirrorWriter

if TYPE_CHECKING:
    from conftest import RolledBackDatabase

pytestmark = pytest.mark.anyio

RUNS = Query("SELECT p.name, r.* FROM runs r JOIN pipelines p ON p.id = r.pipeline_id")
DAYS = Query("SELECT * FROM pipeline_daily_stats")
COUNTS = Query("SELECT * FROM pipeline_run_counters")
BY_HOUR = Query("SELECT hour, status, run_type, sum(total) AS total FROM space_hourly_run_counters GROUP BY 1, 2, 3")
SORTS = ("failed_count", "success_rate", "p95_duration_seconds", "last_run_at")


def a_random_run(random: Random, name: str, run_id: str) -> ProviderRun:
    """Ended somewhere in two years, often at a border of days; or not at all."""
    status = random.choice(["success", "success", "failed", "running", "state_of_tomorrow"])
    ended = NOW - timedelta(
        hours=random.choice([random.uniform(0, 60), random.uniform(60, 900), random.uniform(900, 17000)])
    )
    if random.random() < 0.2:
        ended = ended.replace(hour=0, minute=0, second=0, microsecond=random.choice([0, 1, 999_999]))
    started = ended - timedelta(
        # The clocks of two machines may differ: some end before they start.
        seconds=random.choice([0, 0.0004, -0.02, -18_000, random.uniform(0.001, 9), random.uniform(1, 90_000)])
    )
    return make_run(
        name,
        run_id,
        status,
        run_at=started,
        started_at=None if random.random() < 0.1 else started,
        ended_at=None if status == "running" else ended,
    )


async def live(db: "RolledBackDatabase", tenants: TwoTenants, random: Random) -> None:
    """Runs come, change, are cleared, run again, move to another day, are removed in Airflow and deleted here."""
    space = tenants.finance
    known: dict[tuple[str, str], ProviderRun] = {}
    for _ in range(random.randint(1, 6)):
        for number in range(random.choice([1, 4, 25])):
            name = random.choice(sorted(space.pipelines))
            run = a_random_run(random, name, f"run {random.randint(0, 40)} {number % 3}")
            known[name, run.external_id] = run
        for key in random.sample(sorted(known), k=len(known) // 4):
            known[key] = replace(known[key], status="queued", started_at=None, ended_at=None)
        async with db.tenant_transaction(space.id) as tx:
            await MirrorWriter(space.id, space.connector_id).store_runs(tx, list(known.values()), space.pipelines)
            share = {"share": random.choice([0.0, 0.1])}
            await tx.execute(Query("SELECT setseed(%(seed)s)"), seed=random.random())  # PostgreSQL's random() below
            await tx.execute(Query("UPDATE runs SET removed_at = now() WHERE random() < %(share)s"), **share)
            await tx.execute(Query("DELETE FROM runs WHERE random() < %(share)s"), **share)


def counted(runs: list[Row], days: int, now: datetime) -> dict[str, Any]:
    since = now.replace(second=0, microsecond=0) - timedelta(days=days)
    runs = [run for run in runs if run["removed_at"] is None]
    ended = [run for run in runs if run["ended_at"] is not None and run["ended_at"] >= since]
    took = [run["duration_seconds"] for run in ended if run["duration_seconds"] is not None]
    success, failed = (sum(run["status"] == status for run in ended) for status in ("success", "failed"))
    return {
        "days": days,
        "total_runs": len(ended),
        "success_count": success,
        "failed_count": failed,
        "running_count": sum(run["status"] in {"queued", "running"} for run in runs),
        "success_rate": pytest.approx(success / (success + failed)) if success + failed else None,
        "avg_duration_seconds": pytest.approx(sum(took) / len(took), abs=1e-6) if took else None,
        # What is shorter than a millisecond counts as nothing.
        "p50_duration_seconds": pytest.approx(percentile(took, 0.5), rel=0.02, abs=0.001) if took else None,
        "p95_duration_seconds": pytest.approx(percentile(took, 0.95), rel=0.02, abs=0.001) if took else None,
    }


@pytest.mark.parametrize("seed", range(8))
async def test_window_summary_equals_aggregation_of_runs(
    client: ValidatingClient, tenants: TwoTenants, db: "RolledBackDatabase", seed: int
) -> None:
    random = Random(seed)  # noqa: S311 - histories, not secrets
    await live(db, tenants, random)
    async with db.tenant_transaction(tenants.finance.id) as tx:
        runs = await tx.fetch_all(RUNS)
    for days in (1, 7, 35, random.randint(2, 364), 365):
        rows = (await client.as_(tenants.keys["viewer"], "GET", LIST, params={"days": days})).json()
        assert len(rows) == len(tenants.finance.pipelines)
        for row in rows:
            mine = [run for run in runs if run["name"] == row["name"]]
            assert row["summary"] == counted(mine, days, datetime.now(UTC)), row["name"]
        for sort in SORTS:
            await assert_sorted(client, tenants, sort, days, rows)


async def assert_sorted(client: ValidatingClient, tenants: TwoTenants, sort: str, days: int, rows: list[Row]) -> None:
    started = {row["id"]: (row["last_run"] or {}).get("started_at") for row in rows}
    key = {row["id"]: started[row["id"]] if sort == "last_run_at" else row["summary"][sort] for row in rows}
    for prefix in ("", "-"):
        parameters = {"days": days, "sort": prefix + sort, "size": 3}
        found = []
        for page in range(1, 9):
            part = await client.as_(tenants.keys["viewer"], "GET", LIST, params=parameters | {"page": page})
            found += part.json()
        assert {row["id"] for row in found} == key.keys()
        values: list[Any] = [key[row["id"]] for row in found if key[row["id"]] is not None]
        if sort != "last_run_at" or all(started.values()):
            assert values == sorted(values, reverse=bool(prefix)), sort
            assert [key[row["id"]] for row in found[: len(values)]] == values, "nulls come last"


@pytest.mark.parametrize("seed", range(3))
async def test_daily_stats_exist_for_finished_runs_only(
    tenants: TwoTenants, db: "RolledBackDatabase", seed: int
) -> None:
    await live(db, tenants, Random(seed))  # noqa: S311 - histories, not secrets
    async with db.tenant_transaction(tenants.finance.id) as tx:
        runs, days = await tx.fetch_all(RUNS), await tx.fetch_all(DAYS)
    ended = [run for run in runs if run["ended_at"] is not None and run["removed_at"] is None]
    assert {(day["pipeline_id"], day["day"]) for day in days} == {
        (run["pipeline_id"], run["ended_at"].astimezone(UTC).date()) for run in ended
    }
    assert sum(day["total"] for day in days) == len(ended)
    assert sum(day["duration_count"] for day in days) == sum(run["duration_seconds"] is not None for run in ended)


@pytest.mark.parametrize("seed", range(3))
async def test_run_counters_equal_count_of_runs_by_status_and_type(
    tenants: TwoTenants, db: "RolledBackDatabase", seed: int
) -> None:
    await live(db, tenants, Random(seed))  # noqa: S311 - histories, not secrets
    async with db.tenant_transaction(tenants.finance.id) as tx:
        await tx.execute(Query("UPDATE runs SET run_type = 'backfill' WHERE id::text < '8' OR status = 'failed'"))
        runs, counts = await tx.fetch_all(RUNS), await tx.fetch_all(COUNTS)
        by_hour = await tx.fetch_all(BY_HOUR)
    runs = [run for run in runs if run["removed_at"] is None]
    known = {
        (count["pipeline_id"], count["status"], count["run_type"]): count["total"] for count in counts if count["total"]
    }
    assert known == Counter((run["pipeline_id"], run["status"], run["run_type"]) for run in runs)
    assert {
        (item["hour"], item["status"], item["run_type"]): item["total"] for item in by_hour if item["total"]
    } == Counter(
        (run["effective_start_at"].replace(minute=0, second=0, microsecond=0), run["status"], run["run_type"])
        for run in runs
    )


async def test_concurrent_writers_lose_no_runs_in_daily_stats(make_database: Databases) -> None:
    url = make_database(f"days_{uuid4().hex}")
    db = Database(url, pool_size=3)
    await db.open()
    try:
        space = (await create_two_tenants(db, SECRET_KEY)).finance
        mirror = MirrorWriter(space.id, space.connector_id)
        async with db.tenant_transaction(space.id) as tx:
            runs = [make_run("never_run", f"run {n}", "running", minutes=None) for n in range(2)]
            await mirror.store_runs(tx, runs, space.pipelines)
        ended = Query("UPDATE runs SET status = 'success', ended_at = run_at WHERE external_id = %(id)s")
        async with db.tenant_transaction(space.id) as first:
            await first.execute(ended, id="run 0")
            # The second one begins before the first is committed, and waits for it, also with another day of it.
            with psycopg.connect(url, options="-c search_path=windsock -c lock_timeout=300ms") as second:
                second.execute("SELECT set_config('windsock.space_id', %s, true)", (str(space.id),))
                with pytest.raises(psycopg.errors.LockNotAvailable):
                    second.execute(
                        "UPDATE runs SET status = 'failed', ended_at = date_trunc('week', run_at)"
                        " + CASE WHEN extract(isodow FROM run_at) = 1 THEN interval '3 days' ELSE interval '0' END"
                        " WHERE external_id = 'run 1'"
                    )
        async with db.tenant_transaction(space.id) as tx:
            await tx.execute(ended, id="run 1")
            (day,) = await tx.fetch_all(
                Query("SELECT * FROM pipeline_daily_stats WHERE pipeline_id = %(id)s"), id=space.pipelines["never_run"]
            )
        assert (day["total"], day["success"]) == (2, 2)
    finally:
        await db.close()


async def test_connector_deletion_removes_daily_stats_and_counters(
    tenants: TwoTenants, db: "RolledBackDatabase"
) -> None:
    async with db.tenant_transaction(tenants.finance.id) as tx:
        assert await tx.fetch_all(DAYS)
        await tx.execute(Query("DELETE FROM connectors WHERE id = %(id)s"), id=tenants.finance.connector_id)
        assert not await tx.fetch_all(DAYS)
        assert not await tx.fetch_all(COUNTS)
        assert not any(row["total"] for row in await tx.fetch_all(BY_HOUR))
