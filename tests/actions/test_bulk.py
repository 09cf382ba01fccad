"""All failed runs of a fingerprint cleared: two at a time, each once, by a worker that any other one can replace."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest
from fastapi import FastAPI

from conftest import RolledBackDatabase
from factories import TwoTenants, make_run, make_task_run
from fake_airflow.faults import FakeAirflow
from validating_client import ValidatingClient
from windsock.actions import bulk
from windsock.actions.bulk import QUERIES, BulkClearService
from windsock.sync.writer import MirrorWriter

pytestmark = pytest.mark.anyio
RUNS = 6
FAILURES: Any = """
INSERT INTO task_failures (space_id, run_id, task_run_id, try_number, place, failed_at, summary, algorithm_version,
                           fingerprint_id, computed_fingerprint_id, message_hash)
SELECT t.space_id, t.run_id, t.id, 1, 0, t.ended_at, 'no rows', 1, %(fingerprint_id)s, %(fingerprint_id)s, ''
FROM task_runs t JOIN runs r ON r.id = t.run_id
WHERE r.external_id LIKE 'f_' AND t.external_id = 'load'
"""


class BulkClears:
    """Requests of an editor about the failed runs f0 to f5 of daily_report, in Airflow and in the mirror."""

    def __init__(
        self, app: FastAPI, client: ValidatingClient, db: RolledBackDatabase, tenants: TwoTenants, airflow: FakeAirflow
    ) -> None:
        self.client, self.db, self.tenants, self.airflow = client, db, tenants, airflow
        self.service: BulkClearService = app.state.bulk_clears
        self.path = f"/spaces/finance/orchestration/fingerprints/{tenants.finance.fingerprint_id}/clear"

    async def fail_runs(self) -> None:
        finance, model = self.tenants.finance, self.airflow.model
        mirror = MirrorWriter(finance.id, finance.connector_id)
        await self.execute("DELETE FROM task_failures")
        for number in range(RUNS):
            mirrored = make_run("daily_report", f"f{number}", "failed", hours_ago=50 - number)
            run = model.start_run("daily_report", f"f{number}", at=mirrored.run_after)
            run.state, run.queued_at, run.ended_at = "failed", run.run_after, run.run_after
            for task in model.tasks_of(("daily_report", f"f{number}")):
                task.state, task.try_number = "failed", 1
            tasks = [
                make_task_run("daily_report", f"f{number}", name, "failed") for name in ("extract", "load", "send")
            ]
            async with self.db.tenant_transaction(finance.id) as tx:
                await mirror.store_runs(tx, [mirrored], finance.pipelines)
                await mirror.store_task_runs(tx, tasks, finance.pipelines)
        await self.execute(FAILURES, fingerprint_id=finance.fingerprint_id)

    async def execute(self, statement: str, **parameters: Any) -> None:
        async with self.db.tenant_transaction(self.tenants.finance.id):
            await self.db.connection.execute(statement.encode(), parameters)

    async def send(self, method: str, path: str, *, status: int, caller: str = "editor", **sent: Any) -> Any:
        response = await self.client.as_(self.tenants.keys[caller], method, path, **sent)
        assert response.status_code == status, response.text
        return response.json()

    async def start(self, key: str = "k", *, status: int = 202, **body: Any) -> Any:
        return await self.send("POST", self.path, status=status, json=body, headers={"Idempotency-Key": key})

    async def get(self, bulk_clear: Any) -> Any:
        return await self.send("GET", f"{self.path}/{bulk_clear['id']}", status=200, caller="viewer")

    async def work(self) -> int:
        """What a worker does with what is due; how many bulk clears that were."""
        async with self.db.transaction() as tx:
            due = await tx.fetch_all(QUERIES["list_due_bulk_clears"])
        for row in due:
            await self.service.execute(row["space_id"], row["id"])
        return len(due)

    def executions(self) -> list[int]:
        return list(self.airflow.model.executions.values())


@pytest.fixture
async def clears(
    app: FastAPI, client: ValidatingClient, db: RolledBackDatabase, tenants: TwoTenants, airflow: FakeAirflow
) -> BulkClears:
    created = BulkClears(app, client, db, tenants, airflow)
    await created.fail_runs()
    return created


async def test_dry_run_lists_runs_with_tasks_and_sends_nothing(clears: BulkClears, airflow: FakeAirflow) -> None:
    planned = await clears.start(dry_run=True, status=200)
    assert (planned["id"], planned["status"], planned["total"], planned["left_out"]) == (None, "planned", RUNS, 0)
    assert [run["run_external_id"] for run in planned["runs"]] == [f"f{number}" for number in range(RUNS)]
    first = planned["runs"][0]
    assert (first["outcome"], first["task_run_count"], first["task_ids"]) == ("pending", 3, ["extract", "load", "send"])
    assert airflow.requests == []
    assert await clears.work() == 0


async def test_failed_runs_are_cleared_once_two_at_a_time_with_progress(
    clears: BulkClears, airflow: FakeAirflow
) -> None:
    running = most = 0
    seen = []

    async def slow() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001)
        running -= 1

    started = await clears.start(reason="all at once")
    assert (started["status"], started["cleared"], started["user"]["name"]) == ("queued", 0, "Editor")
    airflow.meanwhile = slow
    airflow.faults.plan = [None, "drop after", "drop"]
    working = asyncio.create_task(clears.work())
    while not working.done():
        seen.append(await clears.get(started))
    await working
    assert "running" in {progress["status"] for progress in seen}
    assert len({progress["cleared"] for progress in seen}) > 2
    done = await clears.get(started)
    assert (done["status"], done["cleared"], done["failed"]) == ("done", RUNS, 0)
    assert {(run["outcome"], run["task_run_count"], run["run_status"]) for run in done["runs"]} == {
        ("cleared", 3, "queued")
    }
    assert most == 2
    again = await clears.start(reason="all at once")
    assert (again["id"], again["status"]) == (started["id"], "done")
    assert (await clears.work(), clears.executions()) == (0, [1] * RUNS * 3)
    await clears.start(reason="another", status=409)
    assert "nothing to clear" in (await clears.start("another key", status=409))["detail"]


async def test_bulk_clear_of_killed_worker_is_continued_and_clears_no_run_twice(
    clears: BulkClears, airflow: FakeAirflow
) -> None:
    """The worker dies after Airflow has cleared the second run, before it could store that."""
    started = await clears.start()
    stopped, killed = 0, asyncio.Event()

    async def kill() -> None:
        nonlocal stopped
        if len(clears.executions()) >= 6:
            stopped += 1
            if stopped == bulk.CLEARS_AT_A_TIME:
                killed.set()
            await asyncio.Event().wait()

    airflow.meanwhile = kill
    worker = asyncio.create_task(clears.work())
    await killed.wait()
    worker.cancel()
    await asyncio.gather(worker, return_exceptions=True)
    airflow.meanwhile = None
    half = await clears.get(started)
    assert half["status"] == "running"
    assert half["cleared"] < RUNS
    assert await clears.work() == 0, "its lease has not expired"
    await clears.execute("UPDATE bulk_clears SET lease_until = now() - interval '1 second'")
    await clears.execute("UPDATE actions SET lease_until = now() - interval '1 second'")
    assert await clears.work() == 1
    done = await clears.get(started)
    assert (done["status"], done["cleared"], done["failed"]) == ("done", RUNS, 0), done
    assert clears.executions() == [1] * RUNS * 3


async def test_run_that_airflow_refuses_has_its_words_and_does_not_stop_the_others(
    clears: BulkClears, airflow: FakeAirflow
) -> None:
    airflow.model.delete_run(("daily_report", "f2"))
    started = await clears.start()
    await clears.work()
    done = await clears.get(started)
    assert [run["outcome"] for run in done["runs"]] == ["failed" if at == 2 else "cleared" for at in range(RUNS)]
    assert "not found" in done["runs"][2]["error"]
    assert (done["cleared"], done["failed"]) == (RUNS - 1, 1)


async def test_runs_beyond_the_limit_are_counted_and_left_for_the_next_bulk_clear(
    clears: BulkClears, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "MAX_RUNS", 4)
    for key, expected in (("a", (4, 2)), ("b", (2, 0))):
        started = await clears.start(key)
        assert (started["total"], started["left_out"]) == expected
        await clears.work()
    assert clears.executions() == [1] * RUNS * 3


async def test_runs_with_a_newer_failure_or_removed_are_not_cleared(clears: BulkClears) -> None:
    """Another try failed, another failure has taken its place, the run was removed, archived, or succeeded."""
    changes = (
        "UPDATE task_runs SET try_number = 2 WHERE run_id = (SELECT id FROM runs WHERE external_id = %(run)s)",
        "UPDATE task_failures SET place = NULL WHERE run_id = (SELECT id FROM runs WHERE external_id = %(run)s)",
        "UPDATE runs SET removed_at = now() WHERE external_id = %(run)s",
        "UPDATE runs SET archived_at = now() WHERE external_id = %(run)s",
        "UPDATE runs SET status = 'success' WHERE external_id = %(run)s",
    )
    for number, change in enumerate(changes):
        await clears.execute(change, run=f"f{number}")
    planned = await clears.start(dry_run=True, status=200)
    assert [run["run_external_id"] for run in planned["runs"]] == ["f5"]


async def test_one_bulk_clear_at_a_time_per_connector(clears: BulkClears, airflow: FakeAirflow) -> None:
    first, second = await clears.start("a"), await clears.start("b")
    await clears.execute(
        "UPDATE bulk_clears SET status = 'running', lease_until = now() + interval '1 hour' WHERE id = %(id)s",
        id=first["id"],
    )
    assert await clears.work() == 0
    await clears.service.execute(clears.tenants.finance.id, UUID(second["id"]))
    assert ((await clears.get(second))["status"], airflow.requests) == ("queued", [])


async def test_user_who_may_not_act_any_more_clears_nothing(clears: BulkClears, airflow: FakeAirflow) -> None:
    started = await clears.start()
    await clears.execute("UPDATE memberships SET role = 'viewer' WHERE role = 'editor'")
    await clears.work()
    done = await clears.get(started)
    assert (done["status"], done["failed"], airflow.requests) == ("done", RUNS, [])
    assert "Only the role editor" in done["runs"][0]["error"]


async def test_missing_required_reason_queues_nothing(clears: BulkClears) -> None:
    await clears.execute("UPDATE pipelines SET criticality = 'critical'")
    await clears.execute("UPDATE spaces SET requires_reason = true")
    assert (await clears.start(status=422))["detail"][0]["loc"] == ["body", "reason"]
    assert (await clears.start(reason="the bank is back"))["total"] == RUNS


async def test_merged_fingerprint_clears_its_group_and_others_are_not_found(clears: BulkClears) -> None:
    finance, marketing = clears.tenants.finance, clears.tenants.marketing
    await clears.execute(
        "UPDATE fingerprints SET merged_into = %(into)s WHERE id = %(id)s",
        into=finance.fingerprint_id, id=finance.other_fingerprint_id,
    )  # fmt: skip
    base = "/spaces/finance/orchestration/fingerprints"
    path = f"{base}/{finance.other_fingerprint_id}/clear"
    started = await clears.send("POST", path, status=202, json={})
    assert (started["fingerprint_id"], started["total"]) == (str(finance.fingerprint_id), RUNS)
    await clears.send("GET", f"{path}/{started['id']}", status=200)
    await clears.send("GET", f"{clears.path}/{uuid4()}", status=404)
    await clears.send("GET", f"{clears.path}/{marketing.bulk_clear_id}", status=404)
    await clears.send("POST", f"{base}/{marketing.fingerprint_id}/clear", status=404, json={})
    await clears.send("POST", clears.path, status=403, caller="viewer", json={})
