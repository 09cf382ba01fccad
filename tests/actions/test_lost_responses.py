"""Whatever breaks between Windsock, Airflow and the database: there is one run, and nobody is told otherwise."""

import asyncio
from dataclasses import replace

import pytest
from fastapi import FastAPI

from actions.fake_runs import Runs
from actions.helpers import trigger
from conftest import RolledBackDatabase
from factories import TwoTenants, make_run
from validating_client import ValidatingClient
from windsock.errors import Unavailable
from windsock.sync.writer import MirrorWriter

pytestmark = pytest.mark.anyio


async def test_trigger_with_lost_response_causes_lookup_not_resend(
    client: ValidatingClient, tenants: TwoTenants, runs: Runs
) -> None:
    runs.faults = ["lost"]
    response = await trigger(client, tenants)
    assert response.status_code == 201
    assert (len(runs.posts), runs.gets, len(runs.stored)) == (1, 1, 1)


async def test_undelivered_trigger_is_resent_with_same_run_id(
    client: ValidatingClient, tenants: TwoTenants, runs: Runs
) -> None:
    runs.faults = [(503, "starting"), (502, "gateway")]
    response = await trigger(client, tenants)
    assert response.status_code == 201
    assert len({post["dag_run_id"] for post in runs.posts}) == 1
    assert (len(runs.posts), len(runs.stored)) == (3, 1)


async def test_ambiguous_trigger_repeated_with_same_key_does_lookup_before_resend(
    client: ValidatingClient, tenants: TwoTenants, runs: Runs
) -> None:
    runs.faults, runs.lookups_fail = ["lost"], True
    lost = await trigger(client, tenants, key="k1")
    assert lost.status_code == 502
    assert "Connector prod" in lost.json()["detail"]
    assert "not known" in lost.json()["detail"]
    assert lost.headers["X-Provider"] == "airflow"
    runs.lookups_fail = False
    again = await trigger(client, tenants, key="k1")
    assert again.status_code == 201
    assert again.headers["Idempotency-Replayed"] == "true"
    assert (len(runs.posts), len(runs.stored)) == (1, 1)
    assert again.json()["triggered_by_user"]["name"] == "Editor"


async def test_unsent_trigger_is_502_without_lookup(client: ValidatingClient, tenants: TwoTenants, runs: Runs) -> None:
    runs.faults = ["unsent"]
    response = await trigger(client, tenants)
    assert response.status_code == 502
    assert "No run was started." in response.json()["detail"]
    assert runs.gets == 0


async def test_database_outage_after_accepted_trigger_is_reported_as_ambiguous(
    client: ValidatingClient, tenants: TwoTenants, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> None:
        raise Unavailable("The database cannot be reached right now. Nothing was changed; try again in a moment.")

    with monkeypatch.context() as patch:
        patch.setattr("windsock.actions.trigger.store_run", away)
        lost = await trigger(client, tenants, key="k1")
    assert lost.status_code == 503
    (run_id,) = runs.stored
    assert run_id in lost.json()["detail"]
    assert "Nothing was changed" not in lost.text
    assert lost.headers["Retry-After"] == "5"


async def test_earlier_rejection_does_not_conclude_later_attempt(
    client: ValidatingClient, tenants: TwoTenants, runs: Runs, db: RolledBackDatabase
) -> None:
    """As when the process of the later attempt was killed: its lease runs out, and Airflow may have the run."""
    runs.faults = [(404, "not there yet")]
    assert (await trigger(client, tenants, key="k1")).status_code == 404
    async with db.tenant_transaction(tenants.finance.id):
        cursor = await db.connection.execute("SELECT status, outcome FROM actions")
        assert await cursor.fetchall() == [{"status": 404, "outcome": "refused"}]
    runs.faults, runs.lookups_fail = ["lost"], True
    assert (await trigger(client, tenants, key="k1")).status_code == 502
    runs.lookups_fail = False
    assert (await trigger(client, tenants, key="k1")).status_code == 201
    assert len(runs.stored) == 1


async def test_run_mirrored_before_trigger_response_has_its_trigger_user(
    client: ValidatingClient, tenants: TwoTenants, runs: Runs, db: RolledBackDatabase
) -> None:
    """As after a crash between Airflow's answer and the mirror."""
    runs.faults, runs.lookups_fail = ["lost"], True
    await trigger(client, tenants, key="k1")
    (run_id,) = runs.stored
    found = make_run("daily_report", run_id, "running", minutes=None, run_type="manual")
    async with db.tenant_transaction(tenants.finance.id) as tx:
        mirror = MirrorWriter(tenants.finance.id, tenants.finance.connector_id)
        await mirror.store_runs(tx, [found], {"daily_report": tenants.finance.pipelines["daily_report"]})
    runs.lookups_fail = False
    response = await trigger(client, tenants, key="k1")
    assert response.json()["triggered_by_user"]["name"] == "Editor"
    assert response.json()["status"] == "running", "the mirror was newer than the look-up"


class Hanging:
    """A provider that never answers; `may_have_triggered` tells whether it got the request."""

    def __init__(self, *, may_have_triggered: bool) -> None:
        self.may_have_triggered = may_have_triggered

    async def trigger(self, _request: object, *, may_exist: bool) -> None:
        await asyncio.sleep(3600 if may_exist else 3601)

    async def aclose(self) -> None:
        """Nothing is open."""


@pytest.mark.parametrize(("request_sent", "message"), [(False, "No run was started."), (True, "is not known")])
async def test_trigger_timeout_is_ambiguous_only_if_request_sent(
    client: ValidatingClient,
    tenants: TwoTenants,
    runs: Runs,
    app: FastAPI,
    monkeypatch: pytest.MonkeyPatch,
    request_sent: bool,
    message: str,
) -> None:
    monkeypatch.setattr("windsock.actions.trigger.SENDING_SECONDS", 0.2)
    provider = Hanging(may_have_triggered=request_sent)
    app.state.triggers = replace(app.state.triggers, open_provider=lambda _connector, _version: provider)
    response = await trigger(client, tenants, key="k1")
    assert response.status_code == 504
    assert message in response.json()["detail"]
    assert runs.posts == []
