"""Marks, pauses and notes through the API; the reason that a space may require; the list of actions."""

import pytest

from actions.connected_fake import executions, failed_run
from actions.test_clear import Person
from conftest import RolledBackDatabase
from factories import TwoTenants
from fake_airflow.faults import FakeAirflow
from validating_client import ValidatingClient

pytestmark = pytest.mark.anyio


@pytest.fixture
def person(client: ValidatingClient, tenants: TwoTenants) -> Person:
    return Person(client, tenants)


@pytest.mark.parametrize("cut", [None, "drop", "drop after", "drop during", "503"])
async def test_marked_run_is_mirrored_at_once(person: Person, airflow: FakeAirflow, cut: str | None) -> None:
    airflow.faults.plan = [cut]
    response = await person.ask("POST", f"/runs/{person.run}/mark", {"status": "success", "reason": "by hand"})
    assert (response.status_code, response.json()["status"]) == (200, "success"), response.text
    assert failed_run(airflow).state == "success"
    assert failed_run(airflow).note == "Marked success through Windsock by Editor <editor@example.com>: by hand"
    assert executions(airflow) == {}


async def test_marked_task_run_is_mirrored_at_once(person: Person, airflow: FakeAirflow) -> None:
    path = f"/task-runs/{person.tenants.finance.task_run_id}/mark"
    response = await person.ask("POST", path, {"status": "skipped"}, key="k1")
    assert (response.status_code, response.json()["status"]) == (200, "skipped"), response.text
    again = await person.ask("POST", path, {"status": "skipped"}, key="k1")
    assert again.headers["Idempotency-Replayed"] == "true"
    assert "Marked load skipped through Windsock" in (failed_run(airflow).note or "")


@pytest.mark.parametrize("status", ["running", "queued", "", None])
async def test_unknown_mark_is_rejected(person: Person, airflow: FakeAirflow, status: str | None) -> None:
    assert (await person.ask("POST", f"/runs/{person.run}/mark", {"status": status})).status_code == 422
    assert airflow.requests == []


async def test_paused_pipeline_is_mirrored_at_once(person: Person, airflow: FakeAirflow) -> None:
    for is_paused in (True, False):
        response = await person.ask("PUT", f"/pipelines/{person.pipeline}/paused", {"is_paused": is_paused})
        assert (response.status_code, response.json()["is_paused"]) == (200, is_paused), response.text
        assert airflow.model.dags["daily_report"].is_paused is is_paused
    kinds = [row["parameters"] for row in (await person.ask("GET", "/actions", params={"kind": "pause"})).json()]
    assert kinds == [{"is_paused": False}, {"is_paused": True}]


async def test_note_is_signed_mirrored_and_removed(person: Person, airflow: FakeAirflow) -> None:
    response = await person.ask("PUT", f"/runs/{person.run}/note", {"note": " known "})
    note = "known\n\nNoted through Windsock by Editor <editor@example.com>"
    assert response.json()["note"] == failed_run(airflow).note == note
    await person.ask("PUT", f"/runs/{person.run}/note", {"note": None})
    assert not failed_run(airflow).note
    path = f"/task-runs/{person.tenants.finance.task_run_id}/note"
    assert (await person.ask("PUT", path, {"note": "flaky"})).json()["note"].startswith("flaky\n\nNoted through")


async def test_refusals_are_relayed(person: Person, airflow: FakeAirflow) -> None:
    airflow.api.is_viewer = True
    task = person.tenants.finance.task_run_id
    for method, path, body in (
        ("POST", f"/runs/{person.run}/mark", {"status": "success"}),
        ("POST", f"/task-runs/{task}/mark", {"status": "success"}),
        ("PUT", f"/pipelines/{person.pipeline}/paused", {"is_paused": True}),
        ("PUT", f"/runs/{person.run}/note", {"note": "x"}),
        ("PUT", f"/task-runs/{task}/note", {"note": "x"}),
    ):
        response = await person.ask(method, path, body)
        assert (response.status_code, response.headers.get("X-Provider")) == (403, "airflow"), response.text
        assert response.json()["detail"].startswith("Forbidden"), response.text


async def test_space_may_require_a_reason_for_critical_pipelines(
    person: Person, airflow: FakeAirflow, db: RolledBackDatabase
) -> None:
    space = {"requires_reason": True}
    response = await person.client.as_(person.tenants.keys["admin"], "PATCH", "/spaces/finance", json=space)
    assert (response.status_code, response.json()["requires_reason"]) == (200, True)
    assert (await person.clear({"dry_run": True})).status_code == 200
    await person.ask("PATCH", f"/pipelines/{person.pipeline}/criticality", {"criticality": "high"})
    for method, path, body in (
        ("POST", f"/runs/{person.run}/clear", {}),
        ("POST", f"/runs/{person.run}/mark", {"status": "success"}),
        ("PUT", f"/pipelines/{person.pipeline}/paused", {"is_paused": True}),
        ("POST", f"/pipelines/{person.pipeline}/trigger", {}),
    ):
        response = await person.ask(method, path, body)
        assert response.status_code == 422, response.text
        assert "requires a reason for actions on pipelines of high criticality" in response.text
    assert not any(not request.startswith("GET") for request in airflow.requests[2:])
    assert (await person.clear({"reason": "agreed with Ana"})).status_code == 200
    events = await person.client.as_(
        person.tenants.keys["admin"], "GET", "/spaces/finance/audit-events", params={"target_type": "action"}
    )
    assert [event["after"].get("reason") for event in events.json()] == [None, "agreed with Ana"]
    assert {event["actor"]["name"] for event in events.json()} == {"Editor"}
    assert db is not None


async def test_task_run_that_airflow_lacks_is_refused_in_airflows_words(person: Person, airflow: FakeAirflow) -> None:
    airflow.model.tasks = {key: task for key, task in airflow.model.tasks.items() if task.task_id != "load"}
    path = f"/task-runs/{person.tenants.finance.task_run_id}"
    for method, what, body in (("POST", "mark", {"status": "success"}), ("PUT", "note", {"note": "x"})):
        response = await person.ask(method, f"{path}/{what}", body)
        assert (response.status_code, response.headers["X-Provider"]) == (404, "airflow"), response.text
        words = (
            "Task instance not found" if airflow.model.api == "v1" else "The Task Instance with dag_id: `daily_report`"
        )
        assert response.json()["detail"].startswith(words)
