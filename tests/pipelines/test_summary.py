"""The summary of a pipeline, against the same numbers computed here over histories made up at random."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from factories import NOW, TwoTenants, make_run
from validating_client import ValidatingClient
from windsock.db.queries import Query
from windsock.providers.base import ProviderRun
from windsock.sync.writer import MirrorWriter

if TYPE_CHECKING:
    from conftest import RolledBackDatabase

pytestmark = pytest.mark.anyio
LIST = "/spaces/finance/orchestration/pipelines"
EMPTY = {
    "days": 7,
    "total_runs": 0,
    "success_count": 0,
    "failed_count": 0,
    "running_count": 0,
    "success_rate": None,
    "avg_duration_seconds": None,
    "p50_duration_seconds": None,
    "p95_duration_seconds": None,
}


async def summary(client: ValidatingClient, tenants: TwoTenants, name: str = "never_run") -> dict[str, Any]:
    path = f"{LIST}/{tenants.finance.pipelines[name]}"
    found: dict[str, Any] = (await client.as_(tenants.keys["viewer"], "GET", path)).json()["summary"]
    return found


async def store(db: "RolledBackDatabase", tenants: TwoTenants, runs: Sequence[ProviderRun]) -> None:
    space = tenants.finance
    async with db.tenant_transaction(space.id) as tx:
        await MirrorWriter(space.id, space.connector_id).store_runs(tx, runs, space.pipelines)


async def remove(db: "RolledBackDatabase", tenants: TwoTenants, run_ids: Sequence[str]) -> None:
    """As when two complete passes did not find them in Airflow any more."""
    async with db.tenant_transaction(tenants.finance.id) as tx:
        query = Query("UPDATE runs SET removed_at = now() WHERE pipeline_id = %(id)s AND external_id = ANY (%(runs)s)")
        touched = await tx.execute(query, id=tenants.finance.pipelines["never_run"], runs=list(run_ids))
    assert touched == len(run_ids)


def within(seconds: float | None) -> Any:
    """Percentiles are wrong by two percent at most, as docs/guides/api.md promises."""
    return None if seconds is None else pytest.approx(seconds, rel=0.02)


def percentile(values: Sequence[float], share: float) -> float | None:
    """Between the two nearest ranks, as everybody's spreadsheet does."""
    if not values:
        return None
    ranked = sorted(values)
    below = int(share * (len(ranked) - 1))
    above = min(below + 1, len(ranked) - 1)
    return ranked[below] + (ranked[above] - ranked[below]) * (share * (len(ranked) - 1) - below)


def a_history(random: Random, number: int) -> list[ProviderRun]:
    """Runs of every status that ended within seven days or before (never near the border), or have not ended."""
    runs = []
    for index in range(number):
        status = random.choice(["success", "success", "failed", "running", "queued", "state_of_tomorrow"])
        has_ended = status not in {"running", "queued"}
        hours_ago = random.choice([random.uniform(0.1, 160), random.uniform(180, 400)])
        ended = NOW - timedelta(hours=hours_ago)
        has_started = status != "queued" and random.random() > 0.1
        started = ended - timedelta(seconds=random.randint(0, 30_000))
        runs.append(
            make_run(
                "never_run",
                f"run {index}",
                status,
                hours_ago=hours_ago,
                started_at=started if has_started else None,
                ended_at=ended if has_ended else None,
            )
        )
    return runs


@pytest.mark.parametrize("seed", range(12))
async def test_summary_of_random_history_equals_computed_stats(
    client: ValidatingClient, tenants: TwoTenants, db: "RolledBackDatabase", seed: int
) -> None:
    random = Random(seed)  # noqa: S311 - histories, not secrets
    runs = a_history(random, random.choice([1, 2, 3, 20, 60]))
    await store(db, tenants, runs)
    removed = {run.external_id for run in runs if random.random() < 0.2}
    await remove(db, tenants, sorted(removed))
    runs = [run for run in runs if run.external_id not in removed]
    counted = [run for run in runs if run.ended_at and run.ended_at > NOW - timedelta(days=7)]
    took = [(run.ended_at - run.started_at).total_seconds() for run in counted if run.started_at and run.ended_at]
    success = sum(run.status == "success" for run in counted)
    failed = sum(run.status == "failed" for run in counted)
    now = [run for run in runs if run.status in {"queued", "running"}]
    rate = success / (success + failed) if success + failed else None
    average = sum(took) / len(took) if took else None
    assert await summary(client, tenants) == {
        "days": 7,
        "total_runs": len(counted),
        "success_count": success,
        "failed_count": failed,
        "running_count": len(now),
        "success_rate": rate if rate is None else pytest.approx(rate),
        "avg_duration_seconds": average if average is None else pytest.approx(average),
        "p50_duration_seconds": within(percentile(took, 0.5)) if took else None,
        "p95_duration_seconds": within(percentile(took, 0.95)) if took else None,
    }


async def test_never_succeeded_filter_matches_row_field(
    client: ValidatingClient, tenants: TwoTenants, db: "RolledBackDatabase"
) -> None:
    space, found = tenants.finance, []
    for seed in range(30):
        random = Random(seed)  # noqa: S311 - histories, not secrets
        async with db.tenant_transaction(space.id) as tx:
            await tx.execute(Query("DELETE FROM runs WHERE pipeline_id = %(id)s"), id=space.pipelines["never_run"])
            runs = [
                replace(run, status="failed") if run.status == "success" and random.random() < 0.9 else run
                for run in a_history(random, random.choice([1, 2, 3, 8]))
            ]
            await MirrorWriter(space.id, space.connector_id).store_runs(tx, runs, space.pipelines)
        for days in (1, 7, 30):
            query = {"days": days, "q": "never_run"}
            (row,) = (await client.as_(tenants.keys["viewer"], "GET", LIST, params=query)).json()
            ended = row["last_run"]["ended_at"]
            is_of_now = row["status"] in {"queued", "running"} or (
                ended is not None and datetime.fromisoformat(ended) >= NOW - timedelta(days=days)
            )
            never_succeeded = await client.as_(
                tenants.keys["viewer"], "GET", LIST, params=query | {"never_succeeded": "true"}
            )
            found.append(is_of_now and row["summary"]["success_count"] == 0)
            assert (len(never_succeeded.json()), never_succeeded.headers["x-total-count"]) == (
                found[-1],
                str(int(found[-1])),
            )
    assert 10 < sum(found) < 80, "both happen"


async def test_summary_without_runs_is_zero_or_null(client: ValidatingClient, tenants: TwoTenants) -> None:
    assert await summary(client, tenants) == EMPTY


async def test_running_runs_count_regardless_of_age_and_yield_no_rate(
    client: ValidatingClient, tenants: TwoTenants, db: "RolledBackDatabase"
) -> None:
    ages = [("running", 24 * 90), ("queued", 24 * 8), ("running", 1)]
    await store(db, tenants, [make_run("never_run", f"{h}", status, hours_ago=h, minutes=None) for status, h in ages])
    assert await summary(client, tenants) == EMPTY | {"running_count": 3}


async def test_run_is_counted_by_end_not_start(
    client: ValidatingClient, tenants: TwoTenants, db: "RolledBackDatabase"
) -> None:
    await store(
        db,
        tenants,
        [
            make_run("never_run", "ended inside", "success", hours_ago=24 * 7 + 5, minutes=15 * 60),
            make_run("never_run", "ended before", "failed", hours_ago=24 * 7 + 5, minutes=4 * 60),
        ],
    )
    found = await summary(client, tenants)
    assert (found["total_runs"], found["success_rate"], found["avg_duration_seconds"]) == (1, 1.0, 15 * 3600.0)


async def test_runs_deleted_in_airflow_are_not_counted(
    client: ValidatingClient, tenants: TwoTenants, db: "RolledBackDatabase"
) -> None:
    runs = [make_run("never_run", "done", "failed"), make_run("never_run", "on", "running", minutes=None)]
    await store(db, tenants, [*runs, make_run("never_run", "stays", "success")])
    await remove(db, tenants, ["done", "on"])
    found = await summary(client, tenants)
    assert (found["total_runs"], found["failed_count"], found["running_count"]) == (1, 0, 0)
    await store(db, tenants, runs)  # it is there again
    found = await summary(client, tenants)
    assert (found["total_runs"], found["failed_count"], found["running_count"]) == (2, 1, 1)


@pytest.mark.parametrize("minutes", [-20 / 60_000, -5 * 60, -24 * 60 * 365])
async def test_run_that_ends_before_start_has_no_duration(
    client: ValidatingClient, tenants: TwoTenants, db: "RolledBackDatabase", minutes: float
) -> None:
    await store(db, tenants, [make_run("never_run", "odd", "success", minutes=minutes, hours_ago=1)])
    page = await client.as_(tenants.keys["viewer"], "GET", LIST, params={"days": 365, "q": "never_run"})
    (row,) = page.json()
    assert row["last_run"]["duration_seconds"] is None
    assert row["recent_runs"][0]["duration_seconds"] is None
    of_durations = ("avg_duration_seconds", "p50_duration_seconds", "p95_duration_seconds")
    is_counted = minutes > -24 * 60 * 300
    assert (row["summary"]["total_runs"], *(row["summary"][name] for name in of_durations)) == (
        int(is_counted), None, None, None,
    )  # fmt: skip


@pytest.mark.parametrize("logical_date", [NOW - timedelta(days=400), NOW + timedelta(days=1_900)])
@pytest.mark.parametrize("status", ["queued", "running", "failed"])
async def test_newest_run_is_last_queued_or_started_regardless_of_logical_date(
    client: ValidatingClient, tenants: TwoTenants, db: "RolledBackDatabase", logical_date: datetime, status: str
) -> None:
    """As Airflow 2 tells it: without run_after and queued_at."""
    of_airflow_2: dict[str, Any] = {"run_after": None, "queued_at": None}
    started = None if status == "queued" else NOW - timedelta(minutes=2)
    odd = make_run(
        "never_run", "odd", status, minutes=None, **of_airflow_2, started_at=started,
        ended_at=NOW - timedelta(minutes=1) if status == "failed" else None,
        run_at=logical_date, logical_date=logical_date,
    )  # fmt: skip
    await store(db, tenants, [make_run("never_run", "before", "success", hours_ago=2, **of_airflow_2), odd])
    pipeline = (await client.as_(tenants.keys["viewer"], "GET", LIST, params={"q": "never_run"})).json()[0]
    assert (pipeline["status"], pipeline["last_run"]["external_id"]) == (status, "odd")
    path = f"{LIST}/{tenants.finance.pipelines['never_run']}/runs"
    runs = (await client.as_(tenants.keys["viewer"], "GET", path)).json()
    assert [run["external_id"] for run in runs] == ["odd", "before"]
    started_later = replace(odd, external_id="after", status="success", started_at=NOW, ended_at=NOW, run_at=NOW)
    await store(db, tenants, [started_later, replace(odd, status="failed", started_at=NOW - timedelta(minutes=1))])
    pipeline = (await client.as_(tenants.keys["viewer"], "GET", LIST, params={"q": "never_run"})).json()[0]
    assert (pipeline["status"], pipeline["last_run"]["external_id"]) == ("success", "after")


async def test_list_and_detail_summaries_agree_within_each_space(
    client: ValidatingClient, tenants: TwoTenants, db: "RolledBackDatabase"
) -> None:
    await store(db, tenants, [make_run("daily_report", f"more {n}", "success", hours_ago=n + 1) for n in range(5)])
    for row in (await client.as_(tenants.keys["viewer"], "GET", LIST)).json():
        assert row["summary"] == await summary(client, tenants, row["name"])
    path = f"/spaces/marketing/orchestration/pipelines/{tenants.marketing.pipelines['daily_report']}"
    other = (await client.as_(tenants.keys["stranger"], "GET", path)).json()
    assert other["summary"]["total_runs"] == 2
    assert (await summary(client, tenants, "daily_report"))["total_runs"] == 7
