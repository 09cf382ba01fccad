"""Runs by time, status and type, of one pipeline and of the whole space; task runs by the page."""

from datetime import datetime, timedelta
from random import Random
from typing import Any

import pytest

from conftest import RolledBackDatabase
from factories import NOW, TwoTenants, make_run
from validating_client import ValidatingClient
from windsock.db.queries import Query
from windsock.sync.writer import MirrorWriter

pytestmark = pytest.mark.anyio
ORCHESTRATION = "/spaces/finance/orchestration"


def ago(hours: float) -> str:
    return (NOW - timedelta(hours=hours)).isoformat()


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, ["hourly_load r2", "hourly_load r1", "daily_report r2", "daily_report r1"]),
        ({"started_from": ago(2)}, ["hourly_load r2", "hourly_load r1"]),
        ({"started_to": ago(2)}, ["daily_report r2", "daily_report r1"]),
        ({"started_from": ago(6), "started_to": ago(1)}, ["hourly_load r1", "daily_report r2"]),
        ({"ended_from": ago(6)}, ["hourly_load r1", "daily_report r2"]),
        ({"ended_from": ago(6), "status": ["running", "success"]}, ["hourly_load r1", "daily_report r2"]),
        ({"ended_to": ago(5)}, ["daily_report r2", "daily_report r1"]),
        ({"started_to": ago(20), "ended_from": ago(30), "status": "failed"}, ["daily_report r1"]),
        ({"started_to": ago(20), "ended_from": ago(29)}, []),
        ({"status": ["failed", "running"]}, ["hourly_load r2", "daily_report r1"]),
        ({"run_type": "manual"}, []),
        ({"q": "report"}, ["daily_report r2", "daily_report r1"]),
        ({"owner": "bob", "status": "success"}, ["hourly_load r1"]),
        ({"watched_only": "true"}, []),
        ({"criticality": "low"}, []),
        ({"size": 1, "page": 2}, ["hourly_load r1"]),
    ],
)
async def test_run_list_of_space_applies_filters_and_pagination(
    client: ValidatingClient, tenants: TwoTenants, query: Any, expected: list[str]
) -> None:
    response = await client.as_(tenants.keys["viewer"], "GET", f"{ORCHESTRATION}/runs", params=query)
    assert [f"{row['pipeline']['name']} {row['external_id']}" for row in response.json()] == expected


async def test_run_list_of_pipeline_filters_by_start_time(client: ValidatingClient, tenants: TwoTenants) -> None:
    path = f"{ORCHESTRATION}/pipelines/{tenants.finance.pipelines['daily_report']}/runs"
    for query, expected in (({"started_from": ago(7)}, ["r2"]), ({"started_to": ago(6)}, ["r1"])):
        response = await client.as_(tenants.keys["viewer"], "GET", path, params=query)
        assert [row["external_id"] for row in response.json()] == expected


@pytest.mark.parametrize("time", ["2026-11-24T06:00:00", "2026-11-24", "1700000000", "yesterday", ""])
async def test_timestamp_without_utc_offset_is_rejected(
    client: ValidatingClient, tenants: TwoTenants, time: str
) -> None:
    response = await client.as_(tenants.keys["viewer"], "GET", f"{ORCHESTRATION}/runs", params={"started_from": time})
    assert (response.status_code, "with an offset" in response.text) == (422, True)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, 5),
        ({"status": "failed"}, 1),
        ({"external_id": ["check", "load"]}, 4),
        ({"external_id": "check", "status": "failed"}, 0),
        ({"size": 2, "page": 3}, 1),
    ],
)
async def test_task_run_list_applies_filters_and_pagination(
    client: ValidatingClient, tenants: TwoTenants, query: Any, expected: int
) -> None:
    run = f"{ORCHESTRATION}/runs/{tenants.finance.run_id}"
    whole = (await client.as_(tenants.keys["viewer"], "GET", run)).json()["task_runs"]
    rows = (await client.as_(tenants.keys["viewer"], "GET", f"{run}/task-runs", params=query)).json()
    assert len(rows) == expected
    assert all(row in whole for row in rows)
    for row in rows:
        response = await client.as_(tenants.keys["viewer"], "GET", f"{ORCHESTRATION}/task-runs/{row['id']}")
        assert response.json() == row


@pytest.mark.parametrize("seed", [0, 100_000])
async def test_window_contains_and_counts_runs_started_in_it(
    client: ValidatingClient, tenants: TwoTenants, db: RolledBackDatabase, seed: int
) -> None:
    """In whatever way it is counted, which depends on where it begins and ends."""
    random, space = Random(seed), tenants.finance  # noqa: S311 - histories, not secrets
    runs = [
        make_run(
            random.choice(["daily_report", "hourly_load"]), f"of {number}",
            random.choice(["success", "failed", "queued"]), hours_ago=(due := random.uniform(0, 100)),
            started_at=None if random.random() < 0.2 else NOW - timedelta(hours=due - random.uniform(-5, 5)),
        )
        for number in range(60)
    ]  # fmt: skip
    async with db.tenant_transaction(space.id) as tx:
        await MirrorWriter(space.id, space.connector_id).store_runs(tx, runs, space.pipelines)

    async def listed(**query: Any) -> tuple[list[str], str]:
        found = await client.as_(tenants.keys["viewer"], "GET", f"{ORCHESTRATION}/runs", params={"size": 500} | query)
        return [row["id"] for row in found.json()], found.headers["x-total-count"]

    every = (await client.as_(tenants.keys["viewer"], "GET", f"{ORCHESTRATION}/runs", params={"size": 500})).json()
    assert len(every) == 64
    for _ in range(40):
        ends = [NOW - timedelta(hours=random.uniform(-6, 106)) for _ in range(2)]
        if random.random() < 0.3:  # within an hour, or nearly
            ends[1] = ends[0] + timedelta(minutes=random.uniform(0, 70))
        ends = sorted(e.replace(minute=0, second=0, microsecond=0) if random.random() < 0.3 else e for e in ends)
        query = dict(zip(("started_from", "started_to"), (end.isoformat() for end in ends), strict=True))
        for name in random.choice([["started_from"], ["started_to"], [], []]):
            del query[name]
        query |= random.choice([{}, {}, {"status": "failed"}, {"run_type": "scheduled"}, {"q": "report"}])
        expected = [
            row["id"]
            for row in every
            if query.get("status", row["status"]) == row["status"]
            and query.get("q", "") in row["pipeline"]["name"]
            and ("started_from" not in query or started_at(row) >= datetime.fromisoformat(query["started_from"]))
            and ("started_to" not in query or started_at(row) < datetime.fromisoformat(query["started_to"]))
        ]
        assert await listed(**query) == (expected, str(len(expected))), query
        assert await listed(**query, size=7, page=2) == (expected[7:14], str(len(expected))), query


async def test_long_window_total_uses_hourly_counters_for_whole_hours(
    client: ValidatingClient, tenants: TwoTenants, db: RolledBackDatabase
) -> None:
    """A number that no count of runs would give tells that it was not counted."""
    space, hour = tenants.finance, (NOW - timedelta(hours=50)).replace(minute=0, second=0, microsecond=0)
    async with db.tenant_transaction(space.id) as tx:
        await tx.execute(
            Query(
                "INSERT INTO space_hourly_run_counters"
                " VALUES (%(space)s, %(hour)s, gen_random_uuid(), 'success', 'manual', 1000)"
            ),
            space=space.id, hour=hour,
        )  # fmt: skip

    async def total(begin: timedelta | None = None, end: timedelta | None = None) -> int:
        edges = {"started_from": begin, "started_to": end}
        query = {name: (hour + edge).isoformat() for name, edge in edges.items() if edge is not None}
        found = await client.as_(tenants.keys["viewer"], "GET", f"{ORCHESTRATION}/runs", params=query)
        return int(found.headers["x-total-count"])

    minute, whole = timedelta(minutes=1), timedelta(hours=1)
    assert await total(-minute, whole + minute) == await total(timedelta(), whole) == 1000
    assert await total(minute, whole + minute) == await total(-minute, whole - minute) == 0
    assert await total() == 1004, "without a window: all hours"


def started_at(row: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(row["started_at"] or row["queued_at"] or row["run_after"])
