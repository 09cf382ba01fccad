"""Triggers are sent at most once, whatever becomes of the answer; refusals are the provider's own."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx2
import pytest
from fastapi import FastAPI

from checking import CheckedClient
from conftest import RolledBackDatabase
from triggers.double import Runs, install
from windsock.errors import Unavailable
from windsock.process import Process
from windsock.sync.mirror import Mirror
from world import World, a_run

pytestmark = pytest.mark.anyio

SPACE = "/spaces/finance/orchestration"


@pytest.fixture
def runs(app: FastAPI, process: Process) -> Runs:
    return install(app, process)


async def trigger(client: CheckedClient, world: World, body: Any = None, **more: Any) -> httpx2.Response:
    path = f"{SPACE}/pipelines/{world.finance.pipelines['daily_report']}/trigger"
    headers = {"Idempotency-Key": more["key"]} if "key" in more else {}
    sent = {} if body is None else {"json": body}
    return await client.as_(world.keys[more.get("kind", "editor")], "POST", path, headers=headers, **sent)


async def test_without_a_body_a_run_is_started_and_listed_at_once(
    client: CheckedClient, world: World, runs: Runs
) -> None:
    answer = await trigger(client, world)
    assert answer.status_code == 201, answer.text
    run = answer.json()
    assert run["status"] == "queued"
    assert run["conf"] == {}
    assert run["triggered_by_user"] == {"id": str(world.users["editor"]), "name": "Editor"}
    assert run["note"] == "Triggered through Windsock by Editor <editor@example.com>"
    assert answer.headers["Location"] == f"/api/v1.0{SPACE}/runs/{run['id']}"
    assert "Idempotency-Replayed" not in answer.headers
    (sent,) = runs.posts
    assert sent == {"dag_run_id": run["external_id"], "logical_date": None, "conf": {}, "note": run["note"]}
    assert run["external_id"].startswith("windsock__")
    path = f"{SPACE}/pipelines/{world.finance.pipelines['daily_report']}"
    listed = (await client.as_(world.keys["viewer"], "GET", f"{path}/runs", params={"status": "queued"})).json()
    assert run["id"] in [one["id"] for one in listed]
    assert {key: value for key, value in listed[0].items() if key in run} | run == run | listed[0]
    assert (await client.as_(world.keys["viewer"], "GET", path)).json()["summary"]["running_count"] >= 1


async def test_conf_logical_date_and_note_are_handed_on(client: CheckedClient, world: World, runs: Runs) -> None:
    body = {"conf": {"day": "monday", "n": [1, 2]}, "logical_date": "2026-11-20T02:00:00+02:00", "note": "  again  "}
    run = (await trigger(client, world, body)).json()
    (sent,) = runs.posts
    assert sent["conf"] == body["conf"] == run["conf"]
    assert sent["logical_date"] == "2026-11-20T00:00:00Z"
    assert sent["note"] == "again\n\nTriggered through Windsock by Editor <editor@example.com>"
    assert run["logical_date"] == "2026-11-20T00:00:00Z"


@pytest.mark.parametrize(
    "body",
    [
        {"conf": [1]},
        {"conf": "x"},
        {"logical_date": "2026-11-20"},
        {"logical_date": "2026-11-20T02:00:00"},
        {"logical_date": "0001-01-01T00:00:00Z"},
        {"logical_date": 1764000000},
        {"note": "x" * 601},
        {"run_id": "mine"},
        [],
        "run",
    ],
)
async def test_a_body_that_makes_no_sense_sends_nothing(
    client: CheckedClient, world: World, runs: Runs, body: Any
) -> None:
    answer = await trigger(client, world, body)
    assert answer.status_code == 422, answer.text
    assert runs.posts == []


async def test_numbers_that_are_no_json_are_refused(client: CheckedClient, world: World, runs: Runs) -> None:
    path = f"{SPACE}/pipelines/{world.finance.pipelines['daily_report']}/trigger"
    for word in (b"NaN", b"Infinity", b"1e999"):
        answer = await client.as_(
            world.keys["editor"],
            "POST",
            path,
            content=b'{"conf": {"x": ' + word + b"}}",
            headers={"Content-Type": "application/json"},
        )
        assert answer.status_code == 422, word
    assert runs.posts == []


@pytest.mark.parametrize("key", ["", "x" * 256])
async def test_an_idempotency_key_has_1_to_255_characters(
    client: CheckedClient, world: World, runs: Runs, key: str
) -> None:
    assert (await trigger(client, world, key=key)).status_code == 422
    assert (await trigger(client, world, key="x" * 255)).status_code == 201
    assert len(runs.posts) == 1


async def test_the_same_key_and_body_answer_the_first_run_again(
    client: CheckedClient, world: World, runs: Runs
) -> None:
    body = {"conf": {"a": 1, "b": 2}}
    first = await trigger(client, world, body, key="k1")
    again = await trigger(client, world, {"conf": {"b": 2, "a": 1}, "note": None}, key="k1")
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    assert again.headers["Idempotency-Replayed"] == "true"
    assert len(runs.posts) == 1


async def test_no_body_and_an_empty_one_are_the_same(client: CheckedClient, world: World, runs: Runs) -> None:
    first, again = await trigger(client, world, key="k1"), await trigger(client, world, {"conf": None}, key="k1")
    assert first.json() == again.json()
    assert len(runs.posts) == 1


async def test_the_same_key_with_another_body_is_a_conflict(client: CheckedClient, world: World, runs: Runs) -> None:
    await trigger(client, world, {"conf": {"a": 1}}, key="k1")
    answer = await trigger(client, world, {"conf": {"a": 2}}, key="k1")
    assert answer.status_code == 409
    assert "another body" in answer.json()["detail"]
    assert "X-Provider" not in answer.headers
    assert len(runs.posts) == 1


async def test_the_same_key_for_another_pipeline_is_another_trigger(
    client: CheckedClient, world: World, runs: Runs
) -> None:
    await trigger(client, world, key="k1")
    path = f"{SPACE}/pipelines/{world.finance.pipelines['hourly_load']}/trigger"
    other = await client.as_(world.keys["editor"], "POST", path, headers={"Idempotency-Key": "k1"})
    assert other.status_code == 201
    assert "Idempotency-Replayed" not in other.headers
    assert len(runs.kept) == 2


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


@pytest.mark.parametrize(
    ("status", "detail", "said"),
    [
        (404, "Dag 'daily_report' was not found", "Dag 'daily_report' was not found"),
        (400, "Invalid input for param day:\n'x' is too short", "Invalid input for param day: 'x' is too short"),
        (422, [{"loc": ["body", "conf"], "msg": "Input should be an object"}], "Input should be an object"),
        (
            409,
            {"reason": "Unique constraint violation", "message": "logical date"},
            "Unique constraint violation: logical date",
        ),
        (403, "Forbidden", "Forbidden"),
        (429, "Slow down", "Slow down"),
    ],
)
async def test_a_refusal_is_relayed_with_its_status_and_words(
    client: CheckedClient, world: World, runs: Runs, status: int, detail: Any, said: str
) -> None:
    runs.faults = [(status, detail)]
    answer = await trigger(client, world, key="k1")
    assert (answer.status_code, answer.json()) == (status, {"detail": said})
    assert answer.headers["X-Provider"] == "airflow"
    assert len(runs.posts) == 1
    mended = await trigger(client, world, key="k1")
    assert mended.status_code == 201, "nothing was started, so the same key may try again"


async def test_when_the_database_goes_after_airflow_accepted_nobody_is_told_that_nothing_happened(
    client: CheckedClient, world: World, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> None:
        raise Unavailable("The database cannot be reached right now. Nothing was changed; try again in a moment.")

    with monkeypatch.context() as patch:
        patch.setattr("windsock.triggers.sending.store_run", away)
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
    async with db.in_space(world.finance.id):
        cursor = await db.connection.execute("SELECT status, outcome FROM trigger_requests")
        assert await cursor.fetchall() == [{"status": 404, "outcome": "refused"}]
    runs.faults, runs.lookups_fail = ["lost"], True
    assert (await trigger(client, world, key="k1")).status_code == 502
    runs.lookups_fail = False
    assert (await trigger(client, world, key="k1")).status_code == 201
    assert len(runs.kept) == 1


async def test_a_failure_of_airflow_itself_keeps_its_status(client: CheckedClient, world: World, runs: Runs) -> None:
    runs.faults = [(500, "Database error")] * 3
    answer = await trigger(client, world)
    assert (answer.status_code, answer.json()) == (500, {"detail": "Database error"})
    assert answer.headers["X-Provider"] == "airflow"


async def test_an_inactive_connector_is_not_asked(client: CheckedClient, world: World, runs: Runs) -> None:
    path = f"/catalog/spaces/finance/connectors/{world.finance.connector_id}"
    await client.as_(world.keys["editor"], "PATCH", path, json={"is_active": False})
    answer = await trigger(client, world)
    assert answer.status_code == 409
    assert "switched off" in answer.json()["detail"]
    assert runs.posts == []


async def test_a_sync_that_finds_the_run_first_knows_who_triggered_it(
    client: CheckedClient, world: World, runs: Runs, db: RolledBackDatabase
) -> None:
    """As after a crash between Airflow's answer and the mirror."""
    runs.faults, runs.lookups_fail = ["lost"], True
    await trigger(client, world, key="k1")
    (run_id,) = runs.kept
    found = a_run("daily_report", run_id, "running", minutes=None, run_type="manual")
    async with db.in_space(world.finance.id) as tx:
        mirror = Mirror(world.finance.id, world.finance.connector_id, UUID(int=1))
        await mirror.store_runs(tx, [found], {"daily_report": world.finance.pipelines["daily_report"]})
    runs.lookups_fail = False
    answer = await trigger(client, world, key="k1")
    assert answer.json()["triggered_by_user"]["name"] == "Editor"
    assert answer.json()["status"] == "running", "the mirror was newer than the look-up"


async def test_the_next_sync_comes_soon_and_the_trail_tells(
    client: CheckedClient, world: World, runs: Runs, db: RolledBackDatabase
) -> None:
    async with db.in_space(world.finance.id):
        await db.connection.execute("UPDATE sync_states SET next_sync_at = now() + interval '1 hour'")
    answer = await trigger(client, world)
    async with db.in_space(world.finance.id):
        cursor = await db.connection.execute(
            "SELECT next_sync_at FROM sync_states WHERE connector_id = %s", (world.finance.connector_id,)
        )
        (state,) = await cursor.fetchall()
    assert (state["next_sync_at"] - datetime.now(UTC)).total_seconds() < 10
    events = await client.as_(
        world.keys["admin"], "GET", "/spaces/finance/audit-events", params={"target_type": "trigger"}
    )
    changed, created = events.json()
    assert created["actor"]["name"] == "Editor"
    assert created["target_name"] == answer.json()["external_id"] == runs.posts[0]["dag_run_id"]
    assert (changed["before"], changed["after"]) == ({"outcome": None}, {"outcome": "created"})
