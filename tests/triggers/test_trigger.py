"""Triggers are sent at most once, whatever becomes of the answer; refusals are the provider's own."""

import json
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest

from checking import CheckedClient
from conftest import RolledBackDatabase
from triggers.asking import SPACE, trigger
from triggers.double import Runs
from world import World

pytestmark = pytest.mark.anyio


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


def nested(levels: int) -> str:
    return '{"a":' * levels + "1" + "}" * levels


async def trigger_with(client: CheckedClient, world: World, value: str) -> httpx2.Response:
    """`value` is JSON, and is sent as it is."""
    path = f"{SPACE}/pipelines/{world.finance.pipelines['daily_report']}/trigger"
    headers = {"Content-Type": "application/json", "Idempotency-Key": "k1"}
    body = f'{{"conf": {{"x": {value}}}}}'
    return await client.as_(world.keys["editor"], "POST", path, content=body, headers=headers)


@pytest.mark.parametrize(
    ("value", "status", "sentence"),
    [
        *(
            (nested(levels), 422, "must not be nested deeper than 32 levels")
            for levels in (31, 252, 253, 254, 255, 900)
        ),
        *((nested(levels), 400, "must not be nested deeper than 32 levels") for levels in (1_100, 20_000)),
        ("[" * 300 + "]" * 300, 422, "must not be nested deeper than 32 levels"),
        (str(2**64), 422, "must not contain whole numbers beyond 64 bits"),
        (str(-(2**63) - 1), 422, "must not contain whole numbers beyond 64 bits"),
        ("1" * 5_000, 400, "must not contain whole numbers beyond 64 bits"),
        (r'"\ud800"', 422, "must not contain half of a surrogate pair"),
        (r'{"\udc00\ud800": 1}', 422, "must not contain half of a surrogate pair"),
        (r'"\u0000"', 422, "must not contain the character U+0000"),
        ("-1e999", 422, "must not contain NaN or Infinity"),
    ],
    ids=lambda value: str(value)[:12],
)
async def test_conf_that_cannot_be_stored_is_refused_with_the_limit(
    client: CheckedClient, world: World, runs: Runs, value: str, status: int, sentence: str
) -> None:
    answer = await trigger_with(client, world, value)
    assert (answer.status_code, sentence in answer.text) == (status, True), answer.text
    assert runs.posts == []


@pytest.mark.parametrize(
    "value",
    [
        nested(28), "[" * 29 + "]" * 29, str(2**64 - 1), str(-(2**63)), "1.0", "[1.0, 1, 100.0]", "5e-324", "1e22",
        "9007199254740993", r'"\ud83d\ude00\u2028\u007f"', '{"b": 1, "a": [null, true, ""]}',
    ],
    ids=lambda value: str(value)[:12],
)  # fmt: skip
async def test_conf_is_sent_unaltered(client: CheckedClient, world: World, runs: Runs, value: str) -> None:
    first, again = await trigger_with(client, world, value), await trigger_with(client, world, value)
    assert (first.status_code, again.status_code) == (201, 201), first.text
    (sent,) = runs.posts
    expected = json.loads(value)
    assert json.dumps(sent["conf"]) == json.dumps({"x": expected})  # order and type of numbers, too
    assert first.json()["conf"] == again.json()["conf"] == {"x": expected}


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
        (
            403,
            "Forbidden",
            "Forbidden. To trigger runs the account needs can edit on DAGs and can create on DAG Runs (role User).",
        ),
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


async def test_the_next_sync_comes_soon_and_the_trail_tells(
    client: CheckedClient, world: World, runs: Runs, db: RolledBackDatabase
) -> None:
    async with db.tenant_transaction(world.finance.id):
        await db.connection.execute("UPDATE sync_states SET next_sync_at = now() + interval '1 hour'")
    answer = await trigger(client, world)
    async with db.tenant_transaction(world.finance.id):
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
