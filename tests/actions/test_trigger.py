"""Triggers are sent at most once, whatever becomes of the answer; refusals are the provider's own."""

import json
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest

from actions.fake_runs import Runs
from actions.helpers import SPACE, trigger
from conftest import RolledBackDatabase
from factories import TwoTenants
from validating_client import ValidatingClient

pytestmark = pytest.mark.anyio


async def test_trigger_without_body_starts_run_listed_immediately(
    client: ValidatingClient, tenants: TwoTenants, runs: Runs
) -> None:
    response = await trigger(client, tenants)
    assert response.status_code == 201, response.text
    run = response.json()
    assert run["status"] == "queued"
    assert run["conf"] == {}
    assert run["triggered_by_user"] == {"id": str(tenants.users["editor"]), "name": "Editor"}
    assert run["note"] == "Triggered through Windsock by Editor <editor@example.com>"
    assert response.headers["Location"] == f"/api/v1.0{SPACE}/runs/{run['id']}"
    assert "Idempotency-Replayed" not in response.headers
    (sent,) = runs.posts
    assert sent == {"dag_run_id": run["external_id"], "logical_date": None, "conf": {}, "note": run["note"]}
    assert run["external_id"].startswith("windsock__")
    path = f"{SPACE}/pipelines/{tenants.finance.pipelines['daily_report']}"
    listed = (await client.as_(tenants.keys["viewer"], "GET", f"{path}/runs", params={"status": "queued"})).json()
    assert run["id"] in [row["id"] for row in listed]
    assert {key: value for key, value in listed[0].items() if key in run} | run == run | listed[0]
    assert (await client.as_(tenants.keys["viewer"], "GET", path)).json()["summary"]["running_count"] >= 1


async def test_conf_logical_date_and_note_are_sent_to_airflow(
    client: ValidatingClient, tenants: TwoTenants, runs: Runs
) -> None:
    body = {"conf": {"day": "monday", "n": [1, 2]}, "logical_date": "2026-11-20T02:00:00+02:00", "note": "  again  "}
    run = (await trigger(client, tenants, body)).json()
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
async def test_invalid_body_is_rejected_without_request(
    client: ValidatingClient, tenants: TwoTenants, runs: Runs, body: Any
) -> None:
    response = await trigger(client, tenants, body)
    assert response.status_code == 422, response.text
    assert runs.posts == []


async def test_non_finite_number_in_conf_is_rejected(client: ValidatingClient, tenants: TwoTenants, runs: Runs) -> None:
    path = f"{SPACE}/pipelines/{tenants.finance.pipelines['daily_report']}/trigger"
    for word in (b"NaN", b"Infinity", b"1e999"):
        response = await client.as_(
            tenants.keys["editor"],
            "POST",
            path,
            content=b'{"conf": {"x": ' + word + b"}}",
            headers={"Content-Type": "application/json"},
        )
        assert response.status_code == 422, word
    assert runs.posts == []


def nested(levels: int) -> str:
    return '{"a":' * levels + "1" + "}" * levels


async def trigger_with(client: ValidatingClient, tenants: TwoTenants, value: str) -> httpx2.Response:
    """`value` is JSON, and is sent as it is."""
    path = f"{SPACE}/pipelines/{tenants.finance.pipelines['daily_report']}/trigger"
    headers = {"Content-Type": "application/json", "Idempotency-Key": "k1"}
    body = f'{{"conf": {{"x": {value}}}}}'
    return await client.as_(tenants.keys["editor"], "POST", path, content=body, headers=headers)


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
async def test_unstorable_conf_is_rejected_with_violated_limit(
    client: ValidatingClient, tenants: TwoTenants, runs: Runs, value: str, status: int, sentence: str
) -> None:
    response = await trigger_with(client, tenants, value)
    assert (response.status_code, sentence in response.text) == (status, True), response.text
    assert runs.posts == []


@pytest.mark.parametrize(
    "value",
    [
        nested(28), "[" * 29 + "]" * 29, str(2**64 - 1), str(-(2**63)), "1.0", "[1.0, 1, 100.0]", "5e-324", "1e22",
        "9007199254740993", r'"\ud83d\ude00\u2028\u007f"', '{"b": 1, "a": [null, true, ""]}',
    ],
    ids=lambda value: str(value)[:12],
)  # fmt: skip
async def test_conf_is_sent_unaltered(client: ValidatingClient, tenants: TwoTenants, runs: Runs, value: str) -> None:
    first, again = await trigger_with(client, tenants, value), await trigger_with(client, tenants, value)
    assert (first.status_code, again.status_code) == (201, 201), first.text
    (sent,) = runs.posts
    expected = json.loads(value)
    assert json.dumps(sent["conf"]) == json.dumps({"x": expected})  # order and type of numbers, too
    assert first.json()["conf"] == again.json()["conf"] == {"x": expected}


@pytest.mark.parametrize("key", ["", "x" * 256])
async def test_idempotency_key_length_is_limited_to_255(
    client: ValidatingClient, tenants: TwoTenants, runs: Runs, key: str
) -> None:
    assert (await trigger(client, tenants, key=key)).status_code == 422
    assert (await trigger(client, tenants, key="x" * 255)).status_code == 201
    assert len(runs.posts) == 1


async def test_same_idempotency_key_and_body_return_first_run(
    client: ValidatingClient, tenants: TwoTenants, runs: Runs
) -> None:
    body = {"conf": {"a": 1, "b": 2}}
    first = await trigger(client, tenants, body, key="k1")
    again = await trigger(client, tenants, {"conf": {"b": 2, "a": 1}, "note": None}, key="k1")
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    assert again.headers["Idempotency-Replayed"] == "true"
    assert len(runs.posts) == 1


async def test_missing_and_empty_body_are_equivalent(client: ValidatingClient, tenants: TwoTenants, runs: Runs) -> None:
    first, again = await trigger(client, tenants, key="k1"), await trigger(client, tenants, {"conf": None}, key="k1")
    assert first.json() == again.json()
    assert len(runs.posts) == 1


async def test_same_idempotency_key_with_different_body_is_409(
    client: ValidatingClient, tenants: TwoTenants, runs: Runs
) -> None:
    await trigger(client, tenants, {"conf": {"a": 1}}, key="k1")
    response = await trigger(client, tenants, {"conf": {"a": 2}}, key="k1")
    assert response.status_code == 409
    assert "another body" in response.json()["detail"]
    assert "X-Provider" not in response.headers
    assert len(runs.posts) == 1


async def test_same_idempotency_key_for_other_pipeline_starts_new_run(
    client: ValidatingClient, tenants: TwoTenants, runs: Runs
) -> None:
    await trigger(client, tenants, key="k1")
    path = f"{SPACE}/pipelines/{tenants.finance.pipelines['hourly_load']}/trigger"
    other = await client.as_(tenants.keys["editor"], "POST", path, headers={"Idempotency-Key": "k1"})
    assert other.status_code == 201
    assert "Idempotency-Replayed" not in other.headers
    assert len(runs.stored) == 2


@pytest.mark.parametrize(
    ("status", "detail", "text"),
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
async def test_airflow_rejection_is_relayed_with_status_and_detail(
    client: ValidatingClient, tenants: TwoTenants, runs: Runs, status: int, detail: Any, text: str
) -> None:
    runs.faults = [(status, detail)]
    response = await trigger(client, tenants, key="k1")
    assert (response.status_code, response.json()) == (status, {"detail": text})
    assert response.headers["X-Provider"] == "airflow"
    assert len(runs.posts) == 1
    mended = await trigger(client, tenants, key="k1")
    assert mended.status_code == 201, "nothing was started, so the same key may try again"


async def test_airflow_server_error_is_relayed_with_status(
    client: ValidatingClient, tenants: TwoTenants, runs: Runs
) -> None:
    runs.faults = [(500, "Database error")] * 3
    response = await trigger(client, tenants)
    assert (response.status_code, response.json()) == (500, {"detail": "Database error"})
    assert response.headers["X-Provider"] == "airflow"


async def test_trigger_on_inactive_connector_is_409_without_request(
    client: ValidatingClient, tenants: TwoTenants, runs: Runs
) -> None:
    path = f"/catalog/spaces/finance/connectors/{tenants.finance.connector_id}"
    await client.as_(tenants.keys["editor"], "PATCH", path, json={"is_active": False})
    response = await trigger(client, tenants)
    assert response.status_code == 409
    assert "switched off" in response.json()["detail"]
    assert runs.posts == []


async def test_trigger_expedites_next_sync_and_is_audited(
    client: ValidatingClient, tenants: TwoTenants, runs: Runs, db: RolledBackDatabase
) -> None:
    async with db.tenant_transaction(tenants.finance.id):
        await db.connection.execute("UPDATE sync_states SET next_sync_at = now() + interval '1 hour'")
    response = await trigger(client, tenants)
    async with db.tenant_transaction(tenants.finance.id):
        cursor = await db.connection.execute(
            "SELECT next_sync_at FROM sync_states WHERE connector_id = %s", (tenants.finance.connector_id,)
        )
        (state,) = await cursor.fetchall()
    assert (state["next_sync_at"] - datetime.now(UTC)).total_seconds() < 10
    events = await client.as_(
        tenants.keys["admin"], "GET", "/spaces/finance/audit-events", params={"target_type": "trigger"}
    )
    changed, created = events.json()
    assert created["actor"]["name"] == "Editor"
    assert created["target_name"] == response.json()["external_id"] == runs.posts[0]["dag_run_id"]
    assert (changed["before"], changed["after"]) == ({"outcome": None}, {"outcome": "done"})
