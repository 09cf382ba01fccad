"""Clears through the API: once where they were accepted, refused in Airflow's words, mirrored at once."""

import asyncio
from typing import Any

import httpx2
import pytest

from actions.connected_fake import executions, failed_run
from actions.helpers import SPACE
from conftest import RolledBackDatabase
from factories import TwoTenants
from fake_airflow.faults import FakeAirflow
from validating_client import ValidatingClient

pytestmark = pytest.mark.anyio

FAILED = {"load": 1, "send": 1}


class Person:
    """A caller of one kind, and what there is in finance."""

    def __init__(self, client: ValidatingClient, tenants: TwoTenants) -> None:
        self.client, self.tenants = client, tenants
        self.run, self.pipeline = tenants.finance.run_id, tenants.finance.pipelines["daily_report"]

    async def ask(self, method: str, path: str, body: Any = None, **more: Any) -> httpx2.Response:
        headers = {"Idempotency-Key": more["key"]} if "key" in more else {}
        sent = {} if body is None else {"json": body}
        key = self.tenants.keys[more.get("kind", "editor")]
        return await self.client.as_(key, method, f"{SPACE}{path}", headers=headers, params=more.get("params"), **sent)

    async def clear(self, body: Any = None, **more: Any) -> httpx2.Response:
        return await self.ask("POST", f"/runs/{self.run}/clear", body, **more)


@pytest.fixture
def person(client: ValidatingClient, tenants: TwoTenants) -> Person:
    return Person(client, tenants)


async def test_clear_runs_failed_tasks_again_and_is_mirrored_at_once(person: Person, airflow: FakeAirflow) -> None:
    response = await person.clear({"reason": "the source is back"})
    assert response.status_code == 200, response.text
    result = response.json()
    assert [(row["external_id"], row["status"]) for row in result["task_runs"]] == [
        ("load", "failed"),
        ("send", "upstream_failed"),
    ]
    assert executions(airflow) == FAILED
    note = "Cleared failed tasks through Windsock by Editor <editor@example.com>: the source is back"
    assert failed_run(airflow).note == note
    assert (result["run"]["status"], result["run"]["note"]) == ("queued", note)
    detail = (await person.ask("GET", f"/runs/{person.run}", kind="viewer")).json()
    assert (detail["status"], detail["note"]) == ("queued", note)
    assert {row["external_id"]: row["status"] for row in detail["task_runs"]}["load"] == "none"


async def test_dry_run_lists_tasks_and_changes_nothing(person: Person, airflow: FakeAirflow) -> None:
    response = await person.clear({"dry_run": True, "only_failed": False})
    assert [row["external_id"] for row in response.json()["task_runs"]] == ["extract", "load", "send"]
    assert executions(airflow) == {}
    assert (await person.ask("GET", "/actions")).json() == []


@pytest.mark.parametrize("cut", ["drop", "drop after", "drop during", "cut", "503"])
async def test_clear_with_lost_response_causes_lookup(person: Person, airflow: FakeAirflow, cut: str) -> None:
    airflow.faults.plan = [cut]
    assert (await person.clear()).status_code == 200
    airflow.model.let_pass(60)
    assert executions(airflow) == FAILED


async def test_clear_that_never_reaches_airflow_changes_nothing_and_may_be_repeated(
    person: Person, airflow: FakeAirflow
) -> None:
    airflow.faults.plan = ["drop"] * 3
    lost = await person.clear(key="k1")
    assert (lost.status_code, lost.headers["X-Provider"]) == (502, "airflow")
    assert "Nothing was changed." in lost.json()["detail"]
    assert [row["outcome"] for row in (await person.ask("GET", "/actions")).json()] == ["failed"]
    assert (await person.clear(key="k1")).status_code == 200
    assert executions(airflow) == FAILED


async def test_clear_of_unknown_outcome_repeated_with_same_key_causes_lookup(
    person: Person, airflow: FakeAirflow
) -> None:
    airflow.faults.plan = ["slow"]
    lost = await person.clear(key="k1")
    assert lost.status_code == 504
    assert "not known" in lost.json()["detail"]
    assert (await person.ask("GET", "/actions", params={"outcome": "unknown"})).json()[0]["task_run_count"] == 2
    again = await person.clear(key="k1")
    assert (again.status_code, again.headers["Idempotency-Replayed"]) == (200, "true")
    third = await person.clear(key="k1")
    assert [row["external_id"] for row in third.json()["task_runs"]] == ["load", "send"]
    assert executions(airflow) == FAILED
    other = await person.clear({"only_failed": False}, key="k1")
    assert (other.status_code, "another body" in other.json()["detail"]) == (409, True)


async def test_eight_people_who_clear_one_run_cause_one_clear(person: Person, airflow: FakeAirflow) -> None:
    for only_failed in (True, False):
        responses = await asyncio.gather(
            *[
                person.clear({"only_failed": only_failed}, kind=("editor", "admin", "superadmin")[number % 3])
                for number in range(8)
            ]
        )
        expected = [200] + [409] * 7 if only_failed else [409] * 8
        assert sorted(response.status_code for response in responses) == expected
        for task in airflow.model.tasks_of(("daily_report", "r1")):
            task.state = task.state or "queued"
    assert executions(airflow) == FAILED


async def test_clear_of_running_tasks_is_refused(person: Person, airflow: FakeAirflow) -> None:
    for task in airflow.model.tasks_of(("daily_report", "r1")):
        task.state = "running" if task.task_id == "load" else task.state
    response = await person.clear({"only_failed": False})
    assert (response.status_code, "These tasks go on: load." in response.json()["detail"]) == (409, True)
    assert executions(airflow) == {}
    (action,) = (await person.ask("GET", "/actions", params={"kind": "clear"})).json()
    assert (action["outcome"], action["status"], action["user"]["name"]) == ("refused", 409, "Editor")


async def test_refused_clear_relays_airflows_status_and_words(person: Person, airflow: FakeAirflow) -> None:
    airflow.api.is_viewer = True
    response = await person.clear()
    assert (response.status_code, response.headers["X-Provider"]) == (403, "airflow")
    assert response.json()["detail"].startswith("Forbidden")
    airflow.api.is_viewer = False
    airflow.model.delete_run(("daily_report", "r1"))
    response = await person.clear()
    assert response.status_code == 404
    assert response.json()["detail"] == "Dag Run id r1 not found in dag daily_report"


async def test_viewer_may_not_clear_and_gets_missing_permission(person: Person, airflow: FakeAirflow) -> None:
    response = await person.clear(kind="viewer")
    assert response.status_code == 403
    assert response.json()["detail"] == (
        "Only the role editor or above may clear, mark, pause, note and answer in Airflow in this space; "
        "yours is viewer."
    )
    assert airflow.requests == []


async def test_one_task_run_is_cleared_alone_or_with_what_is_behind(person: Person, airflow: FakeAirflow) -> None:
    task = person.tenants.finance.task_run_id
    dry = await person.ask("POST", f"/task-runs/{task}/clear", {"dry_run": True, "include_downstream": True})
    assert [row["external_id"] for row in dry.json()["task_runs"]] == ["load", "send"]
    assert dry.json()["task_runs"][0]["id"] == str(task)
    assert (await person.ask("POST", f"/task-runs/{task}/clear")).status_code == 200
    assert executions(airflow) == {"load": 1}
    (action,) = (await person.ask("GET", "/actions", params={"run_id": str(person.run)})).json()
    assert (action["task_run_id"], action["outcome"]) == (str(task), "done")


async def test_task_run_of_another_run_is_not_found(person: Person, airflow: FakeAirflow) -> None:
    other = person.tenants.marketing.task_run_id
    assert (await person.clear({"task_run_ids": [str(other)]})).status_code == 404
    assert airflow.requests == []


@pytest.mark.parametrize(
    "body",
    [{"only_failed": "yes"}, {"task_run_ids": []}, {"task_run_ids": ["x"]}, {"reason": "x" * 601}, {"force": True}, []],
)
async def test_invalid_clear_is_rejected_without_request(person: Person, airflow: FakeAirflow, body: Any) -> None:
    assert (await person.clear(body)).status_code == 422
    assert airflow.requests == []


async def test_action_of_dead_process_does_not_block_run(
    person: Person, airflow: FakeAirflow, db: RolledBackDatabase
) -> None:
    async with db.tenant_transaction(person.tenants.finance.id):
        await db.connection.execute(
            "INSERT INTO actions (space_id, kind, pipeline_id, run_id, body_hash, lease_until)"
            " VALUES (%s, 'clear', %s, %s, '', now() + interval '1 minute')",
            (person.tenants.finance.id, person.pipeline, person.run),
        )
    busy = await person.clear()
    assert (busy.status_code, busy.json()["detail"]) == (
        409,
        "Somebody is clearing this run right now. Wait until that is done.",
    )
    async with db.tenant_transaction(person.tenants.finance.id):
        await db.connection.execute("UPDATE actions SET lease_until = now() - interval '1 second'")
    assert (await person.clear()).status_code == 200
    outcomes = [row["outcome"] for row in (await person.ask("GET", "/actions")).json()]
    assert sorted(outcomes) == ["done", "unknown"]
    assert executions(airflow) == FAILED
