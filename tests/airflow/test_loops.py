"""Task loops of a real Airflow 3.4: iterations, mapped tasks in them, clears that take iterations away, deletions."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

from airflow.diff import assert_mirror_equals
from airflow.harness import Windsock, beside, open_windsock
from airflow_lab import AirflowLab
from conftest import SECRET_KEY
from databases import Databases
from windsock import egress
from windsock.db.database import Row
from windsock.providers.airflow import Airflow, TokenCache
from windsock.providers.airflow.config import AirflowConfig, PasswordCredentials
from windsock.providers.scopes import TaskRunId

pytestmark = pytest.mark.anyio

DAGS = ("price_search", "stock_batches", "shop_calls", "shelves")
LIVE = (
    "SELECT t.* FROM task_runs t JOIN runs r ON r.id = t.run_id WHERE t.removed_at IS NULL AND r.external_id = 'first'"
    " AND t.external_id = %(task)s ORDER BY t.loop_iteration, t.map_index"
)


@pytest.fixture
async def windsock(make_database: Databases) -> AsyncIterator[Windsock]:
    async with open_windsock(make_database, SECRET_KEY) as new_windsock:
        yield new_windsock


async def live(windsock: Windsock, task: str) -> list[Row]:
    return await windsock.rows(LIVE, {"task": task})


def clear(lab: AirflowLab, dag_id: str, run_id: str, row: dict[str, Any]) -> None:
    body = {"dry_run": False, "dag_run_id": run_id, "task_instance_ids": [row["id"]], "only_failed": False}
    lab.api("POST", f"/dags/{dag_id}/clearTaskInstances", json=body)


def instances(lab: AirflowLab, dag_id: str, run_id: str, task_id: str) -> list[dict[str, Any]]:
    rows = lab.api("GET", f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances", params={"limit": 100})["task_instances"]
    return sorted((row for row in rows if row["task_id"] == task_id), key=lambda row: int(row["region_index"]))


async def test_mirror_equals_airflow_with_loops_after_clears_and_deletions(
    airflow34: AirflowLab, windsock: Windsock
) -> None:
    await windsock.connect(airflow34.url)
    for dag_id in DAGS:
        await beside(airflow34.trigger, dag_id, None, "first")
    ended = asyncio.create_task(beside(airflow34.wait_quiet, 240))
    statuses = Counter[str]()
    while not ended.done():
        statuses[(await windsock.sync(trigger="schedule"))["status"]] += 1
        await asyncio.sleep(1)
    await ended
    assert set(statuses) == {"complete"}
    await windsock.sync(trigger="schedule")
    compared = await assert_mirror_equals(airflow34, windsock)
    assert compared["task_runs"] >= 10 + 9 + 5 + 6, "another test may have left runs there"
    checks = await live(windsock, "halve.check")
    assert [(row["loop_iteration"], row["map_index"]) for row in checks] == [(0, -1), (1, -1), (2, -1)]
    counts = await live(windsock, "batch.count")
    assert [(row["loop_iteration"], row["map_index"]) for row in counts] == [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2)]
    assert {row["provider_metadata"]["rendered_map_index"] for row in counts} == {"shelf 1", "shelf 2", "shelf 3"}
    (visit,) = await live(windsock, "visit")
    assert (visit["status"], visit["provider_metadata"]["state_reason"]) == ("failed", "no such shop")

    # Of a loop of which a gate is cleared the later iterations are gone at once, and come anew.
    gate = (await beside(instances, airflow34, "price_search", "first", "halve.low_enough"))[1]
    await beside(clear, airflow34, "price_search", "first", gate)
    found = await windsock.sync(trigger="schedule")
    assert (found["status"], found["task_runs"]["removed"]) == ("complete", 3)
    await beside(airflow34.wait_quiet, 240)
    await windsock.sync(trigger="schedule")
    await assert_mirror_equals(airflow34, windsock)
    again = await live(windsock, "halve.check")
    assert [row["loop_iteration"] for row in again] == [0, 1, 2]
    assert [mine["id"] == other["id"] for mine, other in zip(checks, again, strict=True)] == [True, True, False]
    assert again[2]["region_id"] != checks[2]["region_id"]

    # Whole runs, seen only when all of it has happened.
    for dag_id in DAGS:
        await beside(airflow34.api, "POST", f"/dags/{dag_id}/dagRuns/first/clear", json={"dry_run": False})
    await beside(airflow34.wait_quiet, 240)
    assert (await windsock.sync(trigger="schedule"))["status"] == "complete"
    await assert_mirror_equals(airflow34, windsock)
    assert [row["status"] for row in await live(windsock, "count")] == ["success", "removed", "removed"]

    await beside(airflow34.api, "DELETE", "/dags/stock_batches/dagRuns/first")
    deleted = (await beside(instances, airflow34, "price_search", "first", "halve.compute"))[1]
    region = {"region_id": deleted["region_id"], "region_index": deleted["region_index"]}
    path = "/dags/price_search/dagRuns/first/taskInstances/halve.compute"
    await beside(airflow34.api, "DELETE", path, params=region)
    found = await windsock.sync(trigger="schedule")
    assert (found["status"], found["runs"]["removed"]) == ("complete", 1)
    # Nothing tells of a task instance that was deleted: two readings of everything find it.
    await windsock.sync(is_full=True)
    assert (await windsock.sync(is_full=True))["task_runs"]["removed"] == 1
    await assert_mirror_equals(airflow34, windsock)


async def test_draining_dag_is_mirrored(airflow34: AirflowLab, windsock: Windsock) -> None:
    await windsock.connect(airflow34.url)
    await windsock.sync()
    for state, is_draining, is_paused in (("draining", True, False), ("paused", False, True), ("active", False, False)):
        await beside(airflow34.api, "PATCH", "/dags/shelves", json={"scheduling_state": state})
        assert (await windsock.sync(trigger="schedule"))["status"] == "complete"
        (mine,) = await windsock.rows("SELECT * FROM pipelines WHERE external_id = 'shelves'")
        assert (mine["is_draining"], mine["is_paused"]) == (is_draining, is_paused)


async def test_tries_of_single_loop_iteration_are_returned(airflow34: AirflowLab) -> None:
    await beside(airflow34.trigger, "shop_calls", None, "tries")
    await beside(airflow34.wait_quiet, 240)
    (_, row) = await beside(instances, airflow34, "shop_calls", "tries", "calls.call")
    config = AirflowConfig.model_validate({"base_url": airflow34.url})
    admin = PasswordCredentials(auth_type="password", username="admin", password="admin")
    provider = Airflow(
        config, admin, policy=egress.Policy.of(loopback=True), api_version="v2", tokens=TokenCache(), key="tries"
    )
    try:
        which = TaskRunId("shop_calls", "tries", "calls.call", -1, row["region_id"], row["region_index"])
        tries = await provider.tries(which)
    finally:
        await provider.aclose()
    assert [(item.try_number, item.status, item.loop_iteration) for item in tries] == [
        (1, "failed", 1),
        (2, "success", 1),
    ]
