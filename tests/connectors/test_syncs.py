"""Asking for a sync, following it, and the history of syncs."""

from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from fastapi import FastAPI

from factories import TwoTenants
from validating_client import ValidatingClient
from windsock.db.queries import Query

if TYPE_CHECKING:
    from conftest import RolledBackDatabase

pytestmark = pytest.mark.anyio
SPACE = "/spaces/finance/orchestration"
CATALOG = "/catalog/spaces/finance"
HISTORY = f"{CATALOG}/sync-history"
NEW: dict[str, Any] = {"connector_type": "airflow", "config": {"base_url": "http://127.0.0.1:9"}}
COUNTS = {"created": 0, "updated": 0, "unchanged": 0, "removed": 0}


async def create(client: ValidatingClient, tenants: TwoTenants, name: str = "new") -> str:
    response = await client.as_(tenants.keys["editor"], "POST", f"{CATALOG}/connectors", json=NEW | {"name": name})
    body: str = response.json()["id"]
    return body


@pytest.mark.parametrize("base", [SPACE, CATALOG])
async def test_requested_sync_is_queued_and_returned_at_its_location(
    client: ValidatingClient, tenants: TwoTenants, app: FastAPI, base: str
) -> None:
    connector_id = await create(client, tenants)
    response = await client.as_(tenants.keys["editor"], "POST", f"{base}/connectors/{connector_id}/sync")
    assert response.status_code == 202
    queued = response.json()
    assert (
        queued
        | {
            "connector_id": connector_id,
            "status": "queued",
            "trigger": "manual",
            "is_full": False,
            "started_at": None,
            "finished_at": None,
            "pipelines": COUNTS,
            "runs": COUNTS,
            "task_runs": COUNTS,
            "provider_requests": 0,
            "coverage": {"expected": 0, "read": 0, "skipped": 0},
            "warnings": [],
            "error": None,
        }
        == queued
    )
    location = response.headers["location"]
    assert location == f"/api/v1.0{SPACE}/syncs/{queued['id']}"
    followed = await client.as_(tenants.keys["viewer"], "GET", location.removeprefix("/api/v1.0"))
    assert followed.json() == queued
    assert app.state.jobs.woken == 1


async def test_double_click_returns_same_sync(client: ValidatingClient, tenants: TwoTenants, app: FastAPI) -> None:
    connector_id = await create(client, tenants)
    responses = [
        await client.as_(tenants.keys["editor"], "POST", f"{base}/connectors/{connector_id}/sync", json=body)
        for base, body in ((SPACE, None), (CATALOG, {}), (SPACE, {"is_full": False}))
    ]
    assert [response.status_code for response in responses] == [202] * 3
    assert responses[0].json() == responses[1].json() == responses[2].json()
    assert len({response.headers["location"] for response in responses}) == 1
    assert app.state.jobs.woken == 1


async def test_full_request_makes_a_queued_sync_full(
    client: ValidatingClient, tenants: TwoTenants, app: FastAPI, db: "RolledBackDatabase"
) -> None:
    path = f"{SPACE}/connectors/{tenants.finance.connector_id}/sync"
    response = await client.as_(tenants.keys["editor"], "POST", path, json={"is_full": True})
    assert response.status_code == 202
    full = response.json()
    assert (full["id"], full["is_full"], full["trigger"]) == (str(tenants.finance.sync_id), True, "manual")
    assert response.headers["location"].endswith(full["id"])
    assert (await client.as_(tenants.keys["editor"], "POST", path)).json() == full, "a normal request does not undo it"
    assert app.state.jobs.woken == 0
    async with db.tenant_transaction(tenants.finance.id) as tx:
        found = await tx.fetch_all(
            Query("SELECT before, after FROM audit_events WHERE target_id = %(id)s AND after ? 'is_full'"),
            id=full["id"],
        )
    assert [(row["before"], row["after"]) for row in found] == [({"is_full": False}, {"is_full": True})]


async def test_full_request_while_a_normal_sync_runs_is_queued_behind_it(
    client: ValidatingClient, tenants: TwoTenants, app: FastAPI, db: "RolledBackDatabase"
) -> None:
    path = f"{SPACE}/connectors/{await create(client, tenants)}/sync"
    running = (await client.as_(tenants.keys["editor"], "POST", path)).json()
    await set_status(db, tenants, running["id"], "running")
    responses = [await client.as_(tenants.keys["editor"], "POST", path, json={"is_full": True}) for _ in range(3)]
    assert [response.status_code for response in responses] == [202] * 3
    queued = responses[0].json()
    assert queued["id"] != running["id"]
    assert (queued["status"], queued["is_full"], queued["trigger"]) == ("queued", True, "manual")
    assert queued["phase"] == "waiting for the sync that is under way"
    assert [response.json() for response in responses[1:]] == [queued] * 2
    assert responses[0].headers["location"] == f"/api/v1.0{SPACE}/syncs/{queued['id']}"
    assert app.state.jobs.woken == 2, "once for each sync that was queued"
    normal = (await client.as_(tenants.keys["editor"], "POST", path)).json()
    assert normal["id"] == running["id"], "a normal request is served by the one that runs"
    await set_status(db, tenants, running["id"], "complete")
    assert (await client.as_(tenants.keys["editor"], "POST", path)).json()["id"] == queued["id"]


async def test_full_sync_request_while_full_sync_runs_returns_it(
    client: ValidatingClient, tenants: TwoTenants, db: "RolledBackDatabase"
) -> None:
    path = f"{SPACE}/connectors/{await create(client, tenants)}/sync"
    running = (await client.as_(tenants.keys["editor"], "POST", path, json={"is_full": True})).json()
    await set_status(db, tenants, running["id"], "running")
    again = (await client.as_(tenants.keys["editor"], "POST", path, json={"is_full": True})).json()
    assert again["id"] == running["id"]


async def set_status(db: "RolledBackDatabase", tenants: TwoTenants, sync_id: str, status: str) -> None:
    async with db.tenant_transaction(tenants.finance.id) as tx:
        update = "UPDATE sync_runs SET status = %(status)s, started_at = coalesce(started_at, now()) WHERE id = %(id)s"
        await tx.execute(Query(update), id=sync_id, status=status)


async def test_sync_request_while_scheduled_sync_waits_returns_it(
    client: ValidatingClient, tenants: TwoTenants, app: FastAPI
) -> None:
    path = f"{SPACE}/connectors/{tenants.finance.connector_id}/sync"
    response = await client.as_(tenants.keys["editor"], "POST", path)
    assert (response.json()["id"], response.json()["trigger"]) == (str(tenants.finance.sync_id), "schedule")
    assert app.state.jobs.woken == 0


async def test_sync_request_after_finished_sync_queues_new_sync(
    client: ValidatingClient, tenants: TwoTenants, db: "RolledBackDatabase"
) -> None:
    path = f"{SPACE}/connectors/{await create(client, tenants)}/sync"
    first = (await client.as_(tenants.keys["editor"], "POST", path)).json()
    async with db.tenant_transaction(tenants.finance.id) as tx:
        await tx.execute(Query("UPDATE sync_runs SET status = 'running' WHERE id = %(id)s"), id=first["id"])
        assert (await client.as_(tenants.keys["editor"], "POST", path)).json()["id"] == first["id"]
    async with db.tenant_transaction(tenants.finance.id) as tx:
        await tx.execute(Query("UPDATE sync_runs SET status = 'failed' WHERE id = %(id)s"), id=first["id"])
    second = (await client.as_(tenants.keys["editor"], "POST", path, json={"is_full": True})).json()
    assert second["id"] != first["id"]
    assert second["is_full"] is True


async def test_sync_of_inactive_connector_is_refused(
    client: ValidatingClient, tenants: TwoTenants, app: FastAPI
) -> None:
    path = f"{CATALOG}/connectors/{tenants.finance.connector_id}"
    await client.as_(tenants.keys["editor"], "PATCH", path, json={"is_active": False})
    response = await client.as_(tenants.keys["editor"], "POST", f"{path}/sync")
    assert response.status_code == 409
    assert response.json() == {
        "detail": "This connector is switched off (is_active is false). Switch it on to sync it."
    }
    assert app.state.jobs.woken == 0


@pytest.mark.parametrize("body", [{"full": True}, {"is_full": "perhaps"}, []])
async def test_sync_request_with_invalid_body_queues_nothing(
    client: ValidatingClient, tenants: TwoTenants, app: FastAPI, body: object
) -> None:
    path = f"{SPACE}/connectors/{await create(client, tenants)}/sync"
    assert (await client.as_(tenants.keys["editor"], "POST", path, json=body)).status_code == 422
    assert app.state.jobs.woken == 0


async def test_sync_of_connector_of_another_space_is_not_found(client: ValidatingClient, tenants: TwoTenants) -> None:
    for connector_id in (tenants.marketing.connector_id, uuid4()):
        response = await client.as_(tenants.keys["editor"], "POST", f"{SPACE}/connectors/{connector_id}/sync")
        assert (response.status_code, response.json()) == (404, {"detail": "There is no such connector in this space."})


@pytest.fixture
async def past(client: ValidatingClient, tenants: TwoTenants, db: "RolledBackDatabase") -> dict[str, str]:
    """Syncs numbered by age, the newest 1; and the connectors' ids."""
    ids = {"prod": str(tenants.finance.connector_id), "new": await create(client, tenants)}
    rows = [("prod", "complete"), ("new", "failed"), ("prod", "partial"), ("new", "complete"), ("prod", "complete")]
    async with db.tenant_transaction(tenants.finance.id) as tx:
        await tx.execute(Query("DELETE FROM sync_runs"))
        for age, (name, status) in enumerate(rows, start=1):
            await tx.execute(
                Query(
                    "INSERT INTO sync_runs (space_id, connector_id, status, trigger, queued_at, provider_requests)"
                    " VALUES (%(space_id)s, %(connector_id)s, %(status)s, 'schedule',"
                    " now() - make_interval(mins => %(age)s), %(age)s)"
                ),
                space_id=tenants.finance.id,
                connector_id=ids[name],
                status=status,
                age=age,
            )
    return ids


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({}, [1, 2, 3, 4, 5]),
        ({"connector_id": "prod"}, [1, 3, 5]),
        ({"connector_id": ["prod", "new"]}, [1, 2, 3, 4, 5]),
        ({"connector_id": "unknown"}, []),
        ({"status": "complete"}, [1, 4, 5]),
        ({"status": ["partial", "failed"]}, [2, 3]),
        ({"status": "queued"}, []),
        ({"status": "complete", "connector_id": "new"}, [4]),
        ({"page": 2, "size": 2}, [3, 4]),
    ],
)
async def test_sync_history_is_newest_first_and_filtered(
    client: ValidatingClient, tenants: TwoTenants, past: dict[str, str], params: dict[str, Any], expected: list[int]
) -> None:
    names = params.get("connector_id", [])
    ids = [past.get(name, str(uuid4())) for name in ([names] if isinstance(names, str) else names)]
    sent = params | ({"connector_id": ids} if ids else {})
    response = await client.as_(tenants.keys["viewer"], "GET", HISTORY, params=sent)
    assert [row["provider_requests"] for row in response.json()] == expected


async def test_sync_history_with_malformed_filter_is_refused(client: ValidatingClient, tenants: TwoTenants) -> None:
    for params in ({"connector_id": "prod"}, {"status": "Complete"}, {"size": 0}, {"page": 0}):
        response = await client.as_(tenants.keys["viewer"], "GET", HISTORY, params=params)
        assert response.status_code == 422
