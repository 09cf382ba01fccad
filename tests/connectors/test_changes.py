"""Changing a connector: only what is sent changes, and what is read differently is read anew."""

from typing import TYPE_CHECKING, Any

import pytest

from checking import CheckedClient
from windsock.db import Row
from windsock.sql import Query
from windsock.sync.progress import LEASE, QUERIES, LeaseLost, Progress
from world import World

if TYPE_CHECKING:
    from conftest import RolledBackDatabase

pytestmark = pytest.mark.anyio
CONNECTORS = "/catalog/spaces/finance/connectors"
NEW_CREDENTIALS = {"auth_type": "api_token", "token": "planted-token"}


async def patch(client: CheckedClient, world: World, **body: Any) -> dict[str, Any]:
    path = f"{CONNECTORS}/{world.finance.connector_id}"
    answer = await client.as_(world.keys["editor"], "PATCH", path, json=body)
    assert answer.status_code == 200, answer.text
    changed: dict[str, Any] = answer.json()
    return changed


async def begin(db: "RolledBackDatabase", world: World) -> None:
    """As after some syncs."""
    async with db.tenant_transaction(world.finance.id) as tx:
        await tx.execute(
            Query(
                "UPDATE sync_states SET watermark = now(), api_version = 'v2', provider_version = '3.1.0',"
                " failures = 4, checkpoint = '{}', pipelines_listed_at = now(),"
                " next_sync_at = now() + interval '1 hour'"
            )
        )


async def state(db: "RolledBackDatabase", world: World) -> Row:
    async with db.tenant_transaction(world.finance.id) as tx:
        row = await tx.fetch_one(
            Query("SELECT *, next_sync_at <= now() AS is_due FROM sync_states WHERE connector_id = %(connector_id)s"),
            connector_id=world.finance.connector_id,
        )
    assert row is not None
    return row


async def test_an_empty_change_changes_nothing(client: CheckedClient, world: World) -> None:
    path = f"{CONNECTORS}/{world.finance.connector_id}"
    before = (await client.as_(world.keys["viewer"], "GET", path)).json()
    after = await patch(client, world)
    for answer in (before, after):  # the next sync comes soon, whatever was sent
        del answer["updated_at"], answer["freshness"]["next_sync_at"]
    assert after == before


async def test_only_the_config_keys_that_are_sent_change(client: CheckedClient, world: World) -> None:
    before = await patch(client, world)
    first = await patch(client, world, config={"history_days": 30, "include_dags": ["a*"]})
    assert first["config"] == before["config"] | {"history_days": 30, "include_dags": ["a*"]}
    second = await patch(client, world, config={"verify_tls": False})
    assert second["config"] == first["config"] | {"verify_tls": False}


async def test_null_sets_a_config_key_back_to_its_default(client: CheckedClient, world: World) -> None:
    before = await patch(client, world)
    await patch(client, world, config={"history_days": 30, "web_url": "https://a.example.com", "include_tags": ["x"]})
    after = await patch(client, world, config={"history_days": None, "web_url": None, "include_tags": None})
    assert after["config"] == before["config"]


async def test_null_clears_the_source_system_and_leaving_it_out_does_not(client: CheckedClient, world: World) -> None:
    system = "00000000-0000-7000-8000-000000000001"
    assert (await patch(client, world, source_system_id=system))["source_system_id"] == system
    assert (await patch(client, world, name="renamed"))["source_system_id"] == system
    assert (await patch(client, world, source_system_id=None))["source_system_id"] is None


async def test_a_connector_is_renamed_and_switched_off_and_on(client: CheckedClient, world: World) -> None:
    assert (await patch(client, world, name=" renamed "))["name"] == "renamed"
    assert (await patch(client, world, is_active=False))["is_active"] is False
    changed = await patch(client, world, is_active=True)
    assert (changed["name"], changed["is_active"]) == ("renamed", True)


@pytest.mark.parametrize("body", [{"connector_type": "other"}, {"id": "x"}, {"name": ""}, {"is_active": "perhaps"}])
async def test_anything_else_cannot_be_changed(client: CheckedClient, world: World, body: dict[str, Any]) -> None:
    path = f"{CONNECTORS}/{world.finance.connector_id}"
    assert (await client.as_(world.keys["editor"], "PATCH", path, json=body)).status_code == 422


async def test_another_address_needs_the_credentials_again(client: CheckedClient, world: World) -> None:
    path = f"{CONNECTORS}/{world.finance.connector_id}"
    config = {"base_url": "https://evil.example.com"}
    refused = await client.as_(world.keys["editor"], "PATCH", path, json={"config": config})
    assert refused.status_code == 422
    assert refused.json()["detail"] == [
        {
            "loc": ["body", "credentials"],
            "msg": "Send the credentials too when base_url changes: those kept are only for the old address.",
            "type": "value_error",
        }
    ]
    same = await patch(client, world, config={"base_url": "http://127.0.0.1:9/api/v2/"})
    assert same["config"]["base_url"] == "http://127.0.0.1:9"
    moved = await patch(client, world, config=config, credentials=NEW_CREDENTIALS)
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
async def test_what_is_asked_of_airflow_differently_is_read_anew_and_soon(
    client: CheckedClient, world: World, db: "RolledBackDatabase", body: dict[str, Any]
) -> None:
    await begin(db, world)
    await patch(client, world, **body)
    after = await state(db, world)
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
async def test_what_changes_nothing_of_that_keeps_the_watermark(
    client: CheckedClient, world: World, db: "RolledBackDatabase", body: dict[str, Any]
) -> None:
    await begin(db, world)
    await patch(client, world, **body)
    after = await state(db, world)
    assert after["watermark"] is not None
    assert after["api_version"] == "v2"
    # Somebody who repairs a connector does not wait for a stretched interval.
    assert (after["failures"], after["is_due"]) == (0, True)


async def test_a_sync_of_what_the_connector_was_before_can_write_no_more(
    client: CheckedClient, world: World, db: "RolledBackDatabase"
) -> None:
    """Else it would leave its watermark behind, and what the new filters let in would never be read."""
    names = {"space_id": world.finance.id, "sync_id": world.finance.sync_id}
    async with db.tenant_transaction(world.finance.id) as tx:
        claim = await tx.fetch_one(QUERIES["claim_sync"], **names, holder="this test", lease=LEASE)
        assert claim is not None
    progress = Progress(
        world.finance.id,
        claim["connector_id"],
        world.finance.sync_id,
        "this test",
        "schedule",
        False,
        claim["started_at"],
    )
    async with db.tenant_transaction(world.finance.id) as tx:
        await progress.save(tx)
    await patch(client, world, config={"history_days": 99})
    async with db.tenant_transaction(world.finance.id) as tx:
        with pytest.raises(LeaseLost):
            await progress.save(tx)
    path = f"/spaces/finance/orchestration/syncs/{world.finance.sync_id}"
    told = (await client.as_(world.keys["viewer"], "GET", path)).json()
    assert told["status"] == "failed"
    assert "reads anew" in told["error"]
