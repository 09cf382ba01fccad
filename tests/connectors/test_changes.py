"""Changing a connector: only what is sent changes, and what is read differently is read anew."""

from typing import TYPE_CHECKING, Any

import pytest

from factories import TwoTenants
from validating_client import ValidatingClient
from windsock.db.database import Row
from windsock.db.queries import Query
from windsock.sync.lease import LEASE, QUERIES, LeaseLost
from windsock.sync.progress import Progress

if TYPE_CHECKING:
    from conftest import RolledBackDatabase

pytestmark = pytest.mark.anyio
CONNECTORS = "/catalog/spaces/finance/connectors"
NEW_CREDENTIALS = {"auth_type": "api_token", "token": "planted-token"}


async def patch(client: ValidatingClient, tenants: TwoTenants, **body: Any) -> dict[str, Any]:
    path = f"{CONNECTORS}/{tenants.finance.connector_id}"
    response = await client.as_(tenants.keys["editor"], "PATCH", path, json=body)
    assert response.status_code == 200, response.text
    changed: dict[str, Any] = response.json()
    return changed


async def begin(db: "RolledBackDatabase", tenants: TwoTenants) -> None:
    """As after some syncs."""
    async with db.tenant_transaction(tenants.finance.id) as tx:
        await tx.execute(
            Query(
                "UPDATE sync_states SET watermark = now(), api_version = 'v2', provider_version = '3.1.0',"
                " failures = 4, checkpoint = '{}', pipelines_listed_at = now(),"
                " next_sync_at = now() + interval '1 hour'"
            )
        )


async def state(db: "RolledBackDatabase", tenants: TwoTenants) -> Row:
    async with db.tenant_transaction(tenants.finance.id) as tx:
        row = await tx.fetch_one(
            Query("SELECT *, next_sync_at <= now() AS is_due FROM sync_states WHERE connector_id = %(connector_id)s"),
            connector_id=tenants.finance.connector_id,
        )
    assert row is not None
    return row


async def test_empty_change_leaves_connector_unchanged(client: ValidatingClient, tenants: TwoTenants) -> None:
    path = f"{CONNECTORS}/{tenants.finance.connector_id}"
    before = (await client.as_(tenants.keys["viewer"], "GET", path)).json()
    after = await patch(client, tenants)
    for response in (before, after):  # the next sync comes soon, whatever was sent
        del response["updated_at"], response["freshness"]["next_sync_at"]
    assert after == before


async def test_config_change_affects_only_sent_keys(client: ValidatingClient, tenants: TwoTenants) -> None:
    before = await patch(client, tenants)
    first = await patch(client, tenants, config={"history_days": 30, "include_dags": ["a*"]})
    assert first["config"] == before["config"] | {"history_days": 30, "include_dags": ["a*"]}
    second = await patch(client, tenants, config={"verify_tls": False})
    assert second["config"] == first["config"] | {"verify_tls": False}


async def test_null_resets_config_key_to_default(client: ValidatingClient, tenants: TwoTenants) -> None:
    before = await patch(client, tenants)
    await patch(client, tenants, config={"history_days": 30, "web_url": "https://a.example.com", "include_tags": ["x"]})
    after = await patch(client, tenants, config={"history_days": None, "web_url": None, "include_tags": None})
    assert after["config"] == before["config"]


async def test_source_system_is_cleared_by_null_and_retained_when_omitted(
    client: ValidatingClient, tenants: TwoTenants
) -> None:
    system = "00000000-0000-7000-8000-000000000001"
    assert (await patch(client, tenants, source_system_id=system))["source_system_id"] == system
    assert (await patch(client, tenants, name="renamed"))["source_system_id"] == system
    assert (await patch(client, tenants, source_system_id=None))["source_system_id"] is None


async def test_connector_can_be_renamed_deactivated_and_reactivated(
    client: ValidatingClient, tenants: TwoTenants
) -> None:
    assert (await patch(client, tenants, name=" renamed "))["name"] == "renamed"
    assert (await patch(client, tenants, is_active=False))["is_active"] is False
    changed = await patch(client, tenants, is_active=True)
    assert (changed["name"], changed["is_active"]) == ("renamed", True)


@pytest.mark.parametrize("body", [{"connector_type": "other"}, {"id": "x"}, {"name": ""}, {"is_active": "perhaps"}])
async def test_read_only_or_invalid_fields_are_refused(
    client: ValidatingClient, tenants: TwoTenants, body: dict[str, Any]
) -> None:
    path = f"{CONNECTORS}/{tenants.finance.connector_id}"
    assert (await client.as_(tenants.keys["editor"], "PATCH", path, json=body)).status_code == 422


async def test_base_url_change_requires_credentials(client: ValidatingClient, tenants: TwoTenants) -> None:
    path = f"{CONNECTORS}/{tenants.finance.connector_id}"
    config = {"base_url": "https://evil.example.com"}
    refused = await client.as_(tenants.keys["editor"], "PATCH", path, json={"config": config})
    assert refused.status_code == 422
    assert refused.json()["detail"] == [
        {
            "loc": ["body", "credentials"],
            "msg": "Send the credentials too when base_url changes: those kept are only for the old address.",
            "type": "value_error",
        }
    ]
    same = await patch(client, tenants, config={"base_url": "http://127.0.0.1:9/api/v2/"})
    assert same["config"]["base_url"] == "http://127.0.0.1:9"
    moved = await patch(client, tenants, config=config, credentials=NEW_CREDENTIALS)
    assert moved["config"]["base_url"] == "https://evil.example.com"


@pytest.mark.parametrize(
    "body",
    [
        {"config": {"history_days": 30}},
        {"config": {"include_dags": ["a*"]}},
        {"config": {"exclude_dags": ["a*"]}},
        {"config": {"include_tags": ["a*"]}},
        {"config": {"api_version": "v1"}},
        {"config": {"base_url": "https://other.example.com"}, "credentials": NEW_CREDENTIALS},
    ],
)
async def test_connector_change_affecting_reads_triggers_resync(
    client: ValidatingClient, tenants: TwoTenants, db: "RolledBackDatabase", body: dict[str, Any]
) -> None:
    await begin(db, tenants)
    await patch(client, tenants, **body)
    after = await state(db, tenants)
    for name in ("watermark", "api_version", "provider_version", "pipelines_listed_at", "checkpoint"):
        assert after[name] is None, name
    assert (after["failures"], after["is_due"]) == (0, True)


@pytest.mark.parametrize(
    "body",
    [
        {"name": "renamed"},
        {"credentials": NEW_CREDENTIALS},
        {"is_active": True},
        {"config": {"timeout_seconds": 5, "verify_tls": False, "sync_interval_seconds": 300}},
        {"config": {"history_days": 14, "web_url": "https://a.example.com"}},
    ],
)
async def test_connector_change_not_affecting_reads_retains_watermark(
    client: ValidatingClient, tenants: TwoTenants, db: "RolledBackDatabase", body: dict[str, Any]
) -> None:
    await begin(db, tenants)
    await patch(client, tenants, **body)
    after = await state(db, tenants)
    assert after["watermark"] is not None
    assert after["api_version"] == "v2"
    # Somebody who repairs a connector does not wait for a stretched interval.
    assert (after["failures"], after["is_due"]) == (0, True)


async def test_sync_started_before_connector_change_loses_its_lease(
    client: ValidatingClient, tenants: TwoTenants, db: "RolledBackDatabase"
) -> None:
    """Else it would leave its watermark behind, and what the new filters let in would never be read."""
    names = {"space_id": tenants.finance.id, "sync_id": tenants.finance.sync_id}
    async with db.tenant_transaction(tenants.finance.id) as tx:
        claim = await tx.fetch_one(QUERIES["claim_sync"], **names, holder="this test", lease=LEASE)
        assert claim is not None
    progress = Progress(
        tenants.finance.id,
        claim["connector_id"],
        tenants.finance.sync_id,
        "this test",
        "schedule",
        False,
        claim["started_at"],
    )
    async with db.tenant_transaction(tenants.finance.id) as tx:
        await progress.save(tx)
    await patch(client, tenants, config={"history_days": 99})
    async with db.tenant_transaction(tenants.finance.id) as tx:
        with pytest.raises(LeaseLost):
            await progress.save(tx)
    path = f"/spaces/finance/orchestration/syncs/{tenants.finance.sync_id}"
    body = (await client.as_(tenants.keys["viewer"], "GET", path)).json()
    assert body["status"] == "failed"
    assert "reads anew" in body["error"]
