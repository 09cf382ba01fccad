"""Whatever breaks between Windsock, Airflow and the database: there is one run, and nobody is told otherwise."""

import asyncio
from dataclasses import replace

import pytest
from fastapi import FastAPI

from checking import CheckedClient
from conftest import RolledBackDatabase
from triggers.asking import trigger
from triggers.double import Runs
from windsock.errors import Unavailable
from windsock.sync.writer import MirrorWriter
from world import World, a_run

pytestmark = pytest.mark.anyio


async def test_a_lost_answer_is_looked_up_and_not_sent_again(client: CheckedClient, world: World, runs: Runs) -> None:
    runs.faults = ["lost"]
    answer = await trigger(client, world)
    assert answer.status_code == 201
    assert (len(runs.posts), runs.gets, len(runs.kept)) == (1, 1, 1)


async def test_what_airflow_never_got_is_sent_again_under_the_same_run_id(
    client: CheckedClient, world: World, runs: Runs
) -> None:
    runs.faults = [(503, "starting"), (502, "gateway")]
    answer = await trigger(client, world)
    assert answer.status_code == 201
    assert len({post["dag_run_id"] for post in runs.posts}) == 1
    assert (len(runs.posts), len(runs.kept)) == (3, 1)


async def test_when_nobody_knows_the_same_key_looks_first(client: CheckedClient, world: World, runs: Runs) -> None:
    runs.faults, runs.lookups_fail = ["lost"], True
    lost = await trigger(client, world, key="k1")
    assert lost.status_code == 502
    assert "Connector prod" in lost.json()["detail"]
    assert "not known" in lost.json()["detail"]
    assert lost.headers["X-Provider"] == "airflow"
    runs.lookups_fail = False
    again = await trigger(client, world, key="k1")
    assert again.status_code == 201
    assert again.headers["Idempotency-Replayed"] == "true"
    assert (len(runs.posts), len(runs.kept)) == (1, 1)
    assert again.json()["triggered_by_user"]["name"] == "Editor"


async def test_when_it_was_certainly_not_sent_the_caller_is_told(
    client: CheckedClient, world: World, runs: Runs
) -> None:
    runs.faults = ["unsent"]
    answer = await trigger(client, world)
    assert answer.status_code == 502
    assert "No run was started." in answer.json()["detail"]
    assert runs.gets == 0


async def test_when_the_database_goes_after_airflow_accepted_nobody_is_told_that_nothing_happened(
    client: CheckedClient, world: World, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> None:
        raise Unavailable("The database cannot be reached right now. Nothing was changed; try again in a moment.")

    with monkeypatch.context() as patch:
        patch.setattr("windsock.triggers.service.store_run", away)
        lost = await trigger(client, world, key="k1")
    assert lost.status_code == 503
    (run_id,) = runs.kept
    assert run_id in lost.json()["detail"]
    assert "Nothing was changed" not in lost.text
    assert lost.headers["Retry-After"] == "5"


async def test_an_earlier_refusal_is_not_taken_for_the_end_of_a_later_attempt(
    client: CheckedClient, world: World, runs: Runs, db: RolledBackDatabase
) -> None:
    """As when the process of the later attempt was killed: its lease runs out, and Airflow may have the run."""
    runs.faults = [(404, "not there yet")]
    assert (await trigger(client, world, key="k1")).status_code == 404
    async with db.tenant_transaction(world.finance.id):
        cursor = await db.connection.execute("SELECT status, outcome FROM trigger_requests")
        assert await cursor.fetchall() == [{"status": 404, "outcome": "refused"}]
    runs.faults, runs.lookups_fail = ["lost"], True
    assert (await trigger(client, world, key="k1")).status_code == 502
    runs.lookups_fail = False
    assert (await trigger(client, world, key="k1")).status_code == 201
    assert len(runs.kept) == 1


async def test_a_sync_that_finds_the_run_first_knows_who_triggered_it(
    client: CheckedClient, world: World, runs: Runs, db: RolledBackDatabase
) -> None:
    """As after a crash between Airflow's answer and the mirror."""
    runs.faults, runs.lookups_fail = ["lost"], True
    await trigger(client, world, key="k1")
    (run_id,) = runs.kept
    found = a_run("daily_report", run_id, "running", minutes=None, run_type="manual")
    async with db.tenant_transaction(world.finance.id) as tx:
        mirror = MirrorWriter(world.finance.id, world.finance.connector_id)
        await mirror.store_runs(tx, [found], {"daily_report": world.finance.pipelines["daily_report"]})
    runs.lookups_fail = False
    answer = await trigger(client, world, key="k1")
    assert answer.json()["triggered_by_user"]["name"] == "Editor"
    assert answer.json()["status"] == "running", "the mirror was newer than the look-up"


class Hanging:
    """A provider that never answers; `may_have_triggered` tells whether it got the request."""

    def __init__(self, *, may_have_triggered: bool) -> None:
        self.may_have_triggered = may_have_triggered

    async def trigger(self, _request: object, *, may_exist: bool) -> None:
        await asyncio.sleep(3600 if may_exist else 3601)

    async def aclose(self) -> None:
        """Nothing is open."""


@pytest.mark.parametrize(("was_sent", "says"), [(False, "No run was started."), (True, "is not known")])
async def test_trigger_that_takes_too_long_is_in_doubt_only_if_it_was_sent(
    client: CheckedClient,
    world: World,
    runs: Runs,
    app: FastAPI,
    monkeypatch: pytest.MonkeyPatch,
    was_sent: bool,
    says: str,
) -> None:
    monkeypatch.setattr("windsock.triggers.service.SENDING_SECONDS", 0.2)
    provider = Hanging(may_have_triggered=was_sent)
    app.state.triggers = replace(app.state.triggers, open_provider=lambda _connector, _version: provider)
    answer = await trigger(client, world, key="k1")
    assert answer.status_code == 504
    assert says in answer.json()["detail"]
    assert runs.posts == []
