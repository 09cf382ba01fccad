"""Triggers on a real Airflow: they run, are refused in Airflow's words, and are sent once however the line breaks."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import UUID

import httpx2
import pytest

from airflow.direct_api import ask_airflow, assert_relayed, runs_of, words_of
from airflow.harness import Windsock, beside, open_client, open_windsock, quiet
from airflow.proxy import Proxy, open_proxy
from airflow_lab import AirflowLab
from conftest import SECRET_KEY
from databases import Databases
from validating_client import ValidatingClient
from windsock.providers.base import ProviderPipeline
from windsock.sync.writer import MirrorWriter

pytestmark = pytest.mark.anyio

SPACE = "/spaces/finance/orchestration"
CUTS, AT_ONCE = 50, 200


class Person:
    """An editor of the space, at the API."""

    def __init__(self, windsock: Windsock, client: ValidatingClient, key: str) -> None:
        self.windsock, self.client, self.key = windsock, client, key

    async def ask(self, method: str, path: str, **more: Any) -> httpx2.Response:
        return await self.client.as_(self.key, method, path, **more)

    async def pipeline(self, dag_id: str) -> UUID:
        (row,) = await self.windsock.rows("SELECT id FROM pipelines WHERE external_id = %(id)s", {"id": dag_id})
        found: UUID = row["id"]
        return found

    async def trigger(self, dag_id: str, body: Any = None, key: str | None = None) -> httpx2.Response:
        headers = {} if key is None else {"Idempotency-Key": key}
        path = f"{SPACE}/pipelines/{await self.pipeline(dag_id)}/trigger"
        return await self.ask("POST", path, json=body or {}, headers=headers)

    async def use(self, airflow: AirflowLab, **connector: Any) -> None:
        path = f"/catalog/spaces/finance/connectors/{self.windsock.connector_id}"
        credentials = {"auth_type": "password", "username": "admin", "password": airflow.password}
        response = await self.ask("PATCH", path, json={"credentials": credentials} | connector)
        assert response.status_code == 200, response.text


@pytest.fixture
async def windsock(make_database: Databases) -> AsyncIterator[Windsock]:
    async with open_windsock(make_database, SECRET_KEY) as new_windsock:
        yield new_windsock


@pytest.fixture
async def ada(airflow: AirflowLab, windsock: Windsock) -> AsyncIterator[Person]:
    await beside(quiet, airflow)
    await windsock.connect(airflow.url)
    assert (await windsock.sync())["status"] == "complete"
    async with open_client(windsock) as (client, key):
        yield Person(windsock, client, key)


@pytest.fixture
def proxy(airflow: AirflowLab) -> Iterator[Proxy]:
    with open_proxy(airflow.url) as created:
        yield created


@pytest.fixture
def paused(airflow: AirflowLab) -> Iterator[str]:
    """A paused DAG, whose runs are accepted and never move; what the test starts is deleted."""
    yield "legacy_backup"
    for run in runs_of(airflow, "legacy_backup"):
        airflow.api("DELETE", f"/dags/legacy_backup/dagRuns/{run['dag_run_id']}")


async def test_trigger_runs_in_airflow_and_success_is_mirrored(airflow: AirflowLab, ada: Person) -> None:
    body = {"conf": {"campaign": "autumn", "country": "FR"}, "note": "Ana asked for it"}
    response = await ada.trigger("campaign_report", body)
    assert response.status_code == 201, response.text
    run = response.json()
    newest = (await ada.ask("GET", f"{SPACE}/pipelines/{run['pipeline_id']}/runs")).json()[0]
    assert newest["id"] == run["id"]
    assert run["status"] in {"queued", "running"}
    assert run["triggered_by_user"]["name"] == "Ada"

    theirs = await beside(airflow.api, "GET", f"/dags/campaign_report/dagRuns/{run['external_id']}")
    assert theirs["note"] == "Ana asked for it\n\nTriggered through Windsock by Ada <ada@example.com>"
    assert theirs["conf"] == body["conf"]
    await beside(airflow.wait_quiet)
    assert (await ada.windsock.sync(trigger="schedule"))["status"] == "complete"
    detail = (await ada.ask("GET", f"{SPACE}/runs/{run['id']}")).json()
    assert detail["status"] == "success"
    assert detail["triggered_by_user"]["name"] == "Ada"
    assert [task["external_id"] for task in detail["task_runs"]] == ["read_clicks", "render_report"]


async def test_trigger_of_paused_dag_is_accepted_and_stays_queued(
    airflow: AirflowLab, ada: Person, paused: str
) -> None:
    response = await ada.trigger(paused)
    assert (response.status_code, response.json()["status"]) == (201, "queued")
    pipeline = (await ada.ask("GET", f"{SPACE}/pipelines/{response.json()['pipeline_id']}")).json()
    assert pipeline["is_paused"] is True
    assert [run["state"] for run in await beside(runs_of, airflow, paused)] == ["queued"]


async def test_refused_trigger_relays_airflow_status_and_message(airflow: AirflowLab, ada: Person, paused: str) -> None:
    ghost = ProviderPipeline(
        external_id="no_such_dag", name="no_such_dag", description=None, owner=None, owners=[], tags=[],
        schedule=None, schedule_description=None, next_run_at=None, is_paused=False, is_active=True,
        has_import_errors=False, provider_metadata={},
    )  # fmt: skip
    async with ada.windsock.db.tenant_transaction(ada.windsock.space_id) as tx:
        await MirrorWriter(ada.windsock.space_id, ada.windsock.connector_id).store_pipelines(tx, [ghost])
    at = {"logical_date": "2026-11-01T00:00:00Z"}
    assert (await ada.trigger(paused, at)).status_code == 201
    cases: list[tuple[str, Any, int]] = [
        ("no_such_dag", {}, 404),
        ("campaign_report", {"conf": {}}, 400),
        ("campaign_report", {"conf": {"campaign": "x"}}, 400),
        ("campaign_report", {"conf": {"campaign": "autumn", "days": 1000}}, 400),
        (paused, at, 409),
    ]
    for dag_id, body, status in cases:
        theirs = await beside(ask_airflow, airflow, dag_id, body)
        assert theirs.status_code == status, theirs.text
        ours = await ada.trigger(dag_id, body)
        if status == 409 and airflow.major == "3":  # an object, with another log id each time
            assert (ours.status_code, ours.headers["X-Provider"]) == (409, "airflow")
            assert ours.json()["detail"].startswith(theirs.json()["detail"]["reason"])
        else:
            assert_relayed(ours, theirs)
    assert len(await beside(runs_of, airflow, paused)) == 1


async def test_trigger_with_refused_credentials_or_permissions_relays_refusal(
    airflow: AirflowLab, ada: Person, paused: str
) -> None:
    as_viewer = {"auth_type": "password", "username": "viewer", "password": "viewer"}
    await ada.use(airflow, credentials=as_viewer)
    theirs, ours = await beside(ask_airflow, airflow, paused, {}, "viewer"), await ada.trigger(paused)
    assert ours.status_code == theirs.status_code == 403
    assert any(ours.json()["detail"].startswith(words) for words in words_of(theirs.json()) if words), ours.text

    await ada.use(airflow, credentials={"auth_type": "password", "username": "admin", "password": "not-this-one"})
    ours = await ada.trigger(paused)
    assert ours.status_code == (401 if airflow.major == "3" else 403)
    assert "refuses the account of the connector under test" in ours.json()["detail"]
    assert ours.headers["X-Provider"] == "airflow"
    assert "not-this-one" not in ours.text
    assert await beside(runs_of, airflow, paused) == []


async def test_unreachable_or_slow_airflow_is_reported_to_caller(
    airflow: AirflowLab, ada: Person, paused: str, proxy: Proxy
) -> None:
    await ada.use(airflow, config={"base_url": "http://127.0.0.1:9"})
    ours = await ada.trigger(paused)
    assert ours.status_code == 502
    assert "Connector under test" in ours.json()["detail"]
    assert "No run was started." in ours.json()["detail"]

    await ada.use(
        airflow, config={"base_url": proxy.url, "timeout_seconds": 2, "api_version": f"v{int(airflow.major) - 1}"}
    )
    assert (await ada.trigger(paused, key="slow")).status_code == 201
    proxy.delay = 4
    late = await ada.trigger(paused, {"note": "late"}, key="late")
    assert late.status_code == 504, late.text
    assert "not known" in late.json()["detail"]
    proxy.delay = 0
    again = await ada.trigger(paused, {"note": "late"}, key="late")
    assert again.status_code == 201
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.json()["external_id"] in late.json()["detail"]
    assert len(await beside(runs_of, airflow, paused)) == 2


async def test_fifty_truncated_trigger_responses_create_fifty_runs(
    airflow: AirflowLab, ada: Person, paused: str, proxy: Proxy
) -> None:
    await ada.use(airflow, config={"base_url": proxy.url})
    started = []
    for number in range(CUTS):
        proxy.misbehave(lambda _: None, where="/dagRuns", method="POST")
        response = await ada.trigger(paused, {"conf": {"number": number}})
        assert response.status_code == 201, response.text
        assert proxy.seen == 1, "looked up, not sent again"
        started.append(response.json()["external_id"])
    theirs = await beside(runs_of, airflow, paused)
    assert len(theirs) == CUTS
    assert sorted(run["dag_run_id"] for run in theirs) == sorted(started)
    assert sorted(run["conf"]["number"] for run in theirs) == list(range(CUTS))


async def test_concurrent_triggers_with_one_key_create_one_run_and_equal_responses(
    airflow: AirflowLab, ada: Person, paused: str
) -> None:
    responses = await asyncio.gather(
        *[ada.trigger(paused, {"conf": {"a": 1}}, key="all at once") for _ in range(AT_ONCE)]
    )
    assert {response.status_code for response in responses} == {201}
    assert len({response.content for response in responses}) == 1
    assert sum("Idempotency-Replayed" not in response.headers for response in responses) == 1
    (run,) = await beside(runs_of, airflow, paused)
    assert run["dag_run_id"] == responses[0].json()["external_id"]


async def test_task_runs_are_ordered_by_task_graph(airflow: AirflowLab, ada: Person) -> None:
    for dag_id in ("web_sessions", "invoice_export", "churn_scoring"):
        await beside(airflow.trigger, dag_id)
    await beside(airflow.wait_quiet)
    assert (await ada.windsock.sync())["status"] == "complete"
    for dag_id in ("web_sessions", "invoice_export", "churn_scoring"):
        tasks = (await beside(airflow.api, "GET", f"/dags/{dag_id}/tasks"))["tasks"]
        run = (await ada.ask("GET", f"{SPACE}/pipelines/{await ada.pipeline(dag_id)}/runs")).json()[0]
        detail = (await ada.ask("GET", f"{SPACE}/runs/{run['id']}")).json()
        order = [task["external_id"] for task in detail["task_runs"]]
        assert set(order) == {task["task_id"] for task in tasks}
        for task in tasks:
            for behind in task["downstream_task_ids"]:
                last = len(order) - 1 - order[::-1].index(task["task_id"])
                assert last < order.index(behind), (dag_id, order)
