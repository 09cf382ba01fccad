"""The audit trail: what is written down of each change, and who may read it."""

from typing import Any

import pytest

from conftest import RolledBackDatabase
from factories import TwoTenants
from validating_client import ValidatingClient

pytestmark = pytest.mark.anyio

SPACE = "/spaces/finance"
PIPELINES = f"{SPACE}/orchestration/pipelines"
CONNECTORS = "/catalog/spaces/finance/connectors"


async def events(client: ValidatingClient, tenants: TwoTenants, **which: Any) -> list[dict[str, Any]]:
    response = await client.as_(tenants.keys["admin"], "GET", f"{SPACE}/audit-events", params=which)
    assert response.status_code == 200, response.text
    found: list[dict[str, Any]] = response.json()
    return found


async def test_change_event_records_actor_object_and_previous_values(
    client: ValidatingClient, tenants: TwoTenants
) -> None:
    pipeline = str(tenants.finance.pipelines["daily_report"])
    changed = await client.as_(
        tenants.keys["editor"], "PATCH", f"{PIPELINES}/{pipeline}/criticality", json={"criticality": "critical"}
    )
    (event,) = await events(client, tenants, target_id=pipeline)
    assert event | {"id": 0, "created_at": 0, "api_key_id": 0} == {
        "id": 0,
        "created_at": 0,
        "action": "changed",
        "target_type": "pipeline",
        "target_id": pipeline,
        "target_name": "daily_report",
        "actor_id": str(tenants.users["editor"]),
        "actor": {"id": str(tenants.users["editor"]), "name": "Editor"},
        "api_key_id": 0,
        "before": {"criticality": "medium"},
        "after": {"criticality": "critical"},
        "request_id": changed.headers["X-Request-ID"],
    }


async def test_update_without_change_records_no_event(client: ValidatingClient, tenants: TwoTenants) -> None:
    pipeline = str(tenants.finance.pipelines["daily_report"])
    path = f"{PIPELINES}/{pipeline}/criticality"
    await client.as_(tenants.keys["editor"], "PATCH", path, json={"criticality": "medium"})
    assert await events(client, tenants, target_id=pipeline) == []


async def test_credentials_change_event_omits_secret_values(client: ValidatingClient, tenants: TwoTenants) -> None:
    path = f"{CONNECTORS}/{tenants.finance.connector_id}"
    secret = {"auth_type": "api_token", "token": "planted-token-0815"}
    await client.as_(tenants.keys["editor"], "PATCH", path, json={"credentials": secret, "name": "moved"})
    (event,) = await events(client, tenants, target_id=str(tenants.finance.connector_id), action="changed")
    assert event["before"] == {"name": "prod", "credentials": "kept"}
    assert event["after"] == {"name": "moved", "credentials": "written"}
    assert "planted" not in str(event)


async def test_comment_events_preserve_content_before_edit_and_deletion(
    client: ValidatingClient, tenants: TwoTenants
) -> None:
    path = f"{SPACE}/orchestration/comments/{tenants.finance.comment_id}"
    await client.as_(tenants.keys["viewer"], "PUT", path, json={"content": "it was the bank"})
    await client.as_(tenants.keys["viewer"], "DELETE", path)
    deleted, edited = await events(
        client,
        tenants,
        target_id=str(tenants.finance.comment_id),
        actor_id=str(tenants.users["viewer"]),
        action=["changed", "deleted"],
    )
    assert (edited["before"], edited["after"]) == ({"content": "the first load"}, {"content": "it was the bank"})
    assert deleted["action"] == "deleted"
    assert deleted["before"]["content"] == "it was the bank"
    assert deleted["after"] is None


async def test_connector_deletion_records_single_event_without_cascaded_rows(
    client: ValidatingClient, tenants: TwoTenants
) -> None:
    before = {event["id"] for event in await events(client, tenants, size=100)}
    await client.as_(tenants.keys["admin"], "DELETE", f"{CONNECTORS}/{tenants.finance.connector_id}")
    new = [event for event in await events(client, tenants, size=100) if event["id"] not in before]
    assert [(event["action"], event["target_type"], event["target_name"]) for event in new] == [
        ("deleted", "connector", "prod")
    ]


async def test_key_event_is_recorded_in_each_space_of_user_without_key_name(
    client: ValidatingClient, tenants: TwoTenants
) -> None:
    body = {"name": "for the marketing project"}
    payload = (await client.as_(tenants.keys["viewer"], "POST", "/api-keys/me/api-keys", json=body)).json()
    await client.as_(tenants.keys["viewer"], "DELETE", f"/api-keys/me/api-keys/{payload['id']}")
    revoked, created = await events(client, tenants, target_id=payload["id"])
    assert (created["target_type"], created["target_name"]) == ("api_key", payload["key_prefix"])
    assert revoked["after"]["revoked_at"]
    assert "marketing" not in str([created, revoked])
    assert payload["full_key"] not in str([created, revoked])
    other = await client.as_(
        tenants.keys["superadmin"], "GET", "/spaces/marketing/audit-events", params={"target_id": payload["id"]}
    )
    assert other.json() == []


async def test_audit_events_can_be_filtered_by_time_action_type_and_actor(
    client: ValidatingClient, tenants: TwoTenants
) -> None:
    pipeline = tenants.finance.pipelines["daily_report"]
    await client.as_(tenants.keys["editor"], "PUT", f"{PIPELINES}/{pipeline}/watch")
    await client.as_(tenants.keys["admin"], "POST", f"{SPACE}/teams", json={"name": "night shift"})
    table: list[tuple[dict[str, Any], list[str]]] = [
        ({"target_type": "team", "actor_id": str(tenants.users["admin"])}, ["team"]),
        ({"actor_id": [str(tenants.users["admin"]), str(tenants.users["editor"])]}, ["team", "watch"]),
        ({"actor_id": str(tenants.users["editor"]), "action": "deleted"}, []),
        ({"actor_id": str(tenants.users["editor"]), "created_to": "2020-01-01T00:00:00Z"}, []),
        ({"actor_id": str(tenants.users["editor"]), "created_from": "2020-01-01T00:00:00Z"}, ["watch"]),
    ]
    for which, expected in table:
        assert [event["target_type"] for event in await events(client, tenants, **which)] == expected, which
    path = f"{SPACE}/audit-events"
    for unknown in ({"action": "renamed"}, {"target_type": "run"}, {"created_from": "yesterday"}):
        assert (await client.as_(tenants.keys["admin"], "GET", path, params=unknown)).status_code == 422


async def test_audit_log_cannot_be_edited(db: RolledBackDatabase, tenants: TwoTenants) -> None:
    for statement in ("UPDATE audit_events SET actor_name = 'somebody else'", "DELETE FROM audit_events"):
        with pytest.raises(Exception, match="permission denied"):
            async with db.tenant_transaction(tenants.finance.id):
                await db.connection.execute(statement.encode())
