"""Tasks of a real Airflow 3 that wait for a person: listed, answered once however the line breaks, and going on."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from airflow.added_dags import added_dags
from airflow.harness import Windsock, beside, open_client
from airflow.proxy import Proxy
from airflow.test_trigger import SPACE, Person, proxy, windsock  # noqa: F401 - fixtures
from airflow_lab import AirflowLab

pytestmark = pytest.mark.anyio

DAG = "payment"
SECONDS = 90
CUTS = ("before", "after", "during")


@pytest.fixture(scope="module")
def payments(airflow3: AirflowLab) -> Iterator[list[str]]:
    """Runs that wait for an approval, one for each place of a cut, and one."""
    with added_dags(airflow3, "approval.py", [DAG]):
        yield [airflow3.trigger(DAG) for _ in range(1 + len(CUTS))]
        airflow3.wait_quiet()


@pytest.fixture
async def ada(airflow3: AirflowLab, windsock: Windsock) -> AsyncIterator[Person]:  # noqa: F811 - a fixture
    """As that of the triggers, while runs go on."""
    await windsock.connect(airflow3.url)
    async with open_client(windsock) as (client, key):
        yield Person(windsock, client, key)


class Approvals:
    """Those that wait in one run."""

    def __init__(self, person: Person, run_id: str) -> None:
        self.person, self.run_id = person, run_id

    async def wait_for(self, task_id: str) -> dict[str, Any]:
        for _ in range(SECONDS):
            assert (await self.person.windsock.sync())["status"] == "complete"
            response = await self.person.ask("GET", f"{SPACE}/approvals", params={"size": "100"})
            assert response.status_code == 200, response.text
            for row in response.json():
                run = (await self.person.ask("GET", f"{SPACE}/runs/{row['run_id']}")).json()
                if (run["external_id"], row["external_id"]) == (self.run_id, task_id):
                    found: dict[str, Any] = row
                    return found
            await asyncio.sleep(1)
        raise AssertionError(f"{task_id} did not wait")

    async def respond(self, approval: dict[str, Any], *options: str, **more: Any) -> Any:
        body = {"chosen_options": options, "requested_at": approval["requested_at"], **more}
        return await self.person.ask("POST", f"{SPACE}/task-runs/{approval['task_run_id']}/answer", json=body)


async def test_approvals_are_listed_and_responses_let_the_run_go_on(
    airflow3: AirflowLab, payments: list[str], ada: Person
) -> None:
    approvals = Approvals(ada, payments[0])
    approval = await approvals.wait_for("approve")
    assert (approval["subject"], approval["body"]) == ("Pay 1,000 EUR?", "To the supplier **Acme**.")
    assert approval["options"] == ["Approve", "Reject"]
    refused = await approvals.respond(approval, "Perhaps")
    assert (refused.status_code, refused.headers["X-Provider"]) == (400, "airflow"), refused.text
    response = await approvals.respond(approval, "Approve", reason="the invoice is right")
    assert response.status_code == 200, response.text
    late = await approvals.respond(approval, "Reject")
    assert (late.status_code, late.headers["X-Provider"]) == (409, "airflow"), late.text

    choice = await approvals.wait_for("choose")
    assert (choice["options"], choice["params"].keys()) == (["DE-44", "DE-45"], {"days"})
    assert (await approvals.respond(choice, "DE-45", params={"days": 5})).status_code == 200
    path = f"/dags/{DAG}/dagRuns/{payments[0]}"
    for _ in range(SECONDS):
        run = await beside(airflow3.api, "GET", path)
        if run["state"] != "running":
            break
        await asyncio.sleep(1)
    tasks = (await beside(airflow3.api, "GET", f"{path}/taskInstances"))["task_instances"]
    assert run["state"] == "success", [(task["task_id"], task["state"], task["try_number"]) for task in tasks]
    assert (
        "Answered approve with Approve through Windsock by Ada <ada@example.com>: the invoice is right" in run["note"]
    )
    details = await beside(airflow3.api, "GET", f"{path}/taskInstances/choose/-1/hitlDetails")
    assert (details["chosen_options"], details["params_input"]) == (["DE-45"], {"days": 5})


async def test_lost_responses_of_airflow_cause_lookups(
    airflow3: AirflowLab,
    payments: list[str],
    ada: Person,
    proxy: Proxy,  # noqa: F811 - a fixture
) -> None:
    await ada.use(airflow3, config={"base_url": proxy.url})
    for cut, run_id in zip(CUTS, payments[1:], strict=True):
        approvals = Approvals(ada, run_id)
        approval = await approvals.wait_for("approve")
        proxy.requests.clear()
        proxy.cuts = [cut]
        response = await approvals.respond(approval, "Reject")
        assert response.status_code == 200, (cut, response.text)
        assert proxy.cuts == []
        sent = [request for request in proxy.requests if request.startswith("PATCH") and "hitlDetails" in request]
        assert len(sent) == (2 if cut == "before" else 1), "sent again only where it never arrived"
        path = f"/dags/{DAG}/dagRuns/{run_id}/taskInstances/approve/-1/hitlDetails"
        details = await beside(airflow3.api, "GET", path)
        assert (details["response_received"], details["chosen_options"]) == (True, ["Reject"])
