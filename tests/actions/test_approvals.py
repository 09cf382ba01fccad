"""Task runs that wait for input: listed from Airflow, answered once, and no request to an Airflow without them."""

import pytest

from actions.test_clear import Person
from conftest import RolledBackDatabase
from factories import TwoTenants
from fake_airflow.changes import request_approval
from fake_airflow.faults import FakeAirflow
from validating_client import ValidatingClient

pytestmark = pytest.mark.anyio


@pytest.fixture
def person(client: ValidatingClient, tenants: TwoTenants) -> Person:
    return Person(client, tenants)


@pytest.fixture
async def waiting(person: Person, airflow: FakeAirflow, db: RolledBackDatabase) -> FakeAirflow:
    """The task run `load` waits for an answer, in Airflow 3 and in the mirror."""
    if airflow.model.api == "v1":
        pytest.skip("Airflow 2 has no such tasks")
    task = next(task for task in airflow.model.tasks_of(("daily_report", "r1")) if task.task_id == "load")
    request_approval(airflow.api, task, "Pay 1,000?", ["Approve", "Reject"])
    async with db.tenant_transaction(person.tenants.finance.id):
        await db.connection.execute("UPDATE sync_states SET api_version = 'v2'")
        await db.connection.execute("UPDATE runs SET status = 'running' WHERE id = %s", (person.run,))
        await db.connection.execute(
            "UPDATE task_runs SET status = 'awaiting_input' WHERE id = %s", (person.tenants.finance.task_run_id,)
        )
    return airflow


async def test_approvals_without_waiting_task_runs_send_no_request(person: Person, airflow: FakeAirflow) -> None:
    assert (await person.ask("GET", "/approvals", kind="viewer")).json() == []
    assert airflow.requests == []


@pytest.mark.parametrize("cut", [None, "drop", "drop after", "drop during"])
async def test_approval_is_listed_and_gets_one_response(person: Person, waiting: FakeAirflow, cut: str | None) -> None:
    (approval,) = (await person.ask("GET", "/approvals", kind="viewer")).json()
    task = str(person.tenants.finance.task_run_id)
    assert (approval["task_run_id"], approval["external_id"], approval["pipeline"]["name"]) == (
        task,
        "load",
        "daily_report",
    )
    beyond = await person.ask("GET", "/approvals", params={"page": "2"})
    assert (beyond.json(), beyond.headers["X-Total-Count"]) == ([], "1")
    assert (approval["subject"], approval["options"]) == ("Pay 1,000?", ["Approve", "Reject"])
    waiting.faults.plan = [cut]
    path, body = f"/task-runs/{task}/answer", {"chosen_options": ["Approve"], "requested_at": approval["requested_at"]}
    response = await person.ask("POST", path, body, key="k1")
    assert (response.status_code, response.json()["status"]) == (200, "scheduled"), response.text
    assert [row["chosen_options"] for row in waiting.api.approvals.values()] == [["Approve"]]
    again = await person.ask("POST", path, body, key="k1")
    assert again.headers["Idempotency-Replayed"] == "true"
    late = await person.ask("POST", path, {"chosen_options": ["Reject"]})
    assert (late.status_code, late.headers["X-Provider"]) == (409, "airflow")
    assert "already been updated" in late.json()["detail"]


async def test_unknown_option_is_refused_in_airflows_words(person: Person, waiting: FakeAirflow) -> None:
    path = f"/task-runs/{person.tenants.finance.task_run_id}/answer"
    response = await person.ask("POST", path, {"chosen_options": ["Maybe"]})
    assert (response.status_code, "Invalid options ['Maybe']" in response.json()["detail"]) == (400, True)
    assert waiting.api.approvals


async def test_airflow_that_does_not_respond_fails_the_list(person: Person, waiting: FakeAirflow) -> None:
    waiting.faults.only_changes, waiting.faults.where, waiting.faults.plan = False, "hitlDetails", ["drop"] * 5
    response = await person.ask("GET", "/approvals")
    assert (response.status_code, "Connector prod" in response.json()["detail"]) == (502, True)
