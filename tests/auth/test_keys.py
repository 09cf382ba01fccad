"""API keys: shown once, kept as a hash, and dead at once when revoked or expired."""

import hashlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from factories import TwoTenants
from validating_client import ValidatingClient
from windsock.context import AppContext

if TYPE_CHECKING:
    from conftest import RolledBackDatabase

pytestmark = pytest.mark.anyio
KEYS = "/api-keys/me/api-keys"


async def make(client: ValidatingClient, key: str, **body: Any) -> dict[str, Any]:
    response = await client.as_(key, "POST", KEYS, json={"name": "mine"} | body)
    assert response.status_code == 201
    payload: dict[str, Any] = response.json()
    return payload


async def status_of(client: ValidatingClient, key: str) -> int:
    return (await client.as_(key, "GET", "/users/me")).status_code


async def test_new_key_authenticates_its_creator_immediately(client: ValidatingClient, tenants: TwoTenants) -> None:
    created = await make(client, tenants.keys["viewer"], name="  for the dashboard ")
    assert created["full_key"].startswith("wsk_")
    assert created["full_key"].startswith(created["key_prefix"])
    assert len(created["key_prefix"]) == 10
    assert (created["name"], created["expires_at"], created["last_used_at"]) == ("for the dashboard", None, None)
    me = (await client.as_(created["full_key"], "GET", "/users/me")).json()
    assert me["id"] == str(tenants.users["viewer"])
    assert [space["role"] for space in me["spaces"]] == ["viewer"]


async def test_full_key_is_returned_only_on_creation_and_not_cached(
    client: ValidatingClient, tenants: TwoTenants
) -> None:
    response = await client.as_(tenants.keys["viewer"], "POST", KEYS, json={"name": "once"})
    assert response.headers["cache-control"] == "no-store"
    body = response.json()
    listed = await client.as_(tenants.keys["viewer"], "GET", KEYS)
    assert {key["name"] for key in listed.json()} == {"of the world", "once"}
    mine = next(key for key in listed.json() if key["name"] == "once")
    assert mine["key_prefix"] == body["key_prefix"]
    assert "full_key" not in mine
    assert body["full_key"] not in listed.text


async def test_database_stores_only_hash_of_key(
    client: ValidatingClient, tenants: TwoTenants, db: "RolledBackDatabase"
) -> None:
    created = await make(client, tenants.keys["viewer"])
    cursor = await db.connection.execute("SELECT k.*, k::text AS whole FROM api_keys k WHERE id = %s", (created["id"],))
    row = await cursor.fetchone()
    assert row is not None
    assert row["key_hash"] == hashlib.sha256(created["full_key"].encode()).digest()
    assert created["full_key"] not in row["whole"]
    assert created["full_key"][len(created["key_prefix"]) :] not in row["whole"]


async def test_created_keys_are_unique_with_256_bits(client: ValidatingClient, tenants: TwoTenants) -> None:
    keys = {(await make(client, tenants.keys["viewer"]))["full_key"] for _ in range(5)}
    assert len(keys) == 5
    assert {len(key) for key in keys} == {4 + 43}  # 32 bytes in base64


async def test_expired_key_is_401(client: ValidatingClient, tenants: TwoTenants, db: "RolledBackDatabase") -> None:
    created = await make(client, tenants.keys["viewer"], expires_in_days=30)
    expires = datetime.fromisoformat(created["expires_at"])
    assert abs(expires - datetime.now(UTC) - timedelta(days=30)) < timedelta(minutes=5)
    assert await status_of(client, created["full_key"]) == 200
    await db.connection.execute(
        "UPDATE api_keys SET expires_at = now() - interval '1 second' WHERE id = %s", (created["id"],)
    )
    assert await status_of(client, created["full_key"]) == 401


@pytest.mark.parametrize("days", [0, -1, 3651, 1.5, "soon"])
async def test_key_expiry_outside_1_to_3650_days_is_rejected(
    client: ValidatingClient, tenants: TwoTenants, days: object
) -> None:
    response = await client.as_(tenants.keys["viewer"], "POST", KEYS, json={"name": "k", "expires_in_days": days})
    assert response.status_code == 422


async def test_revoked_key_is_401_immediately_and_not_listed(client: ValidatingClient, tenants: TwoTenants) -> None:
    viewer = tenants.keys["viewer"]
    created = await make(client, viewer)
    assert await status_of(client, created["full_key"]) == 200
    assert (await client.as_(viewer, "DELETE", f"{KEYS}/{created['id']}")).status_code == 204
    dead = await client.as_(created["full_key"], "GET", "/users/me")
    assert dead.status_code == 401
    assert dead.json() == {"detail": "This API key is unknown, expired or revoked. Make another one and try again."}
    listed = await client.as_(viewer, "GET", KEYS)
    assert created["id"] not in {key["id"] for key in listed.json()}
    assert listed.headers["x-total-count"] == str(len(listed.json()))
    assert (await client.as_(viewer, "DELETE", f"{KEYS}/{created['id']}")).status_code == 404


async def test_key_can_revoke_itself(client: ValidatingClient, tenants: TwoTenants) -> None:
    created = await make(client, tenants.keys["viewer"])
    assert (await client.as_(created["full_key"], "DELETE", f"{KEYS}/{created['id']}")).status_code == 204
    assert await status_of(client, created["full_key"]) == 401


@pytest.mark.parametrize("kind", ["editor", "admin", "superadmin", "stranger"])
async def test_key_of_another_user_cannot_be_revoked(client: ValidatingClient, tenants: TwoTenants, kind: str) -> None:
    created = await make(client, tenants.keys["viewer"])
    theirs = await client.as_(tenants.keys[kind], "DELETE", f"{KEYS}/{created['id']}")
    unknown = await client.as_(tenants.keys[kind], "DELETE", f"{KEYS}/{uuid4()}")
    assert (theirs.status_code, theirs.json()) == (404, unknown.json())
    assert await status_of(client, created["full_key"]) == 200


@pytest.mark.parametrize(("seconds_ago", "is_written"), [(None, True), (61, True), (59, False)])
async def test_last_used_at_is_written_at_most_once_per_minute(
    client: ValidatingClient,
    tenants: TwoTenants,
    db: "RolledBackDatabase",
    process: AppContext,
    seconds_ago: int | None,
    *,
    is_written: bool,
) -> None:
    created = await make(client, tenants.keys["viewer"])
    await db.connection.execute(
        "UPDATE api_keys SET last_used_at = now() - make_interval(secs => %s::integer) WHERE id = %s",
        (seconds_ago, created["id"]),
    )
    for _ in range(2):
        assert await status_of(client, created["full_key"]) == 200
    await process.uses.write()
    cursor = await db.connection.execute(
        "SELECT last_used_at = now() AS is_now FROM api_keys WHERE id = %s", (created["id"],)
    )
    row = await cursor.fetchone()
    assert row is not None
    assert bool(row["is_now"]) is is_written


async def test_keys_of_deactivated_user_are_401_until_reactivation(
    client: ValidatingClient, tenants: TwoTenants, db: "RolledBackDatabase"
) -> None:
    change = "UPDATE users SET is_active = %s WHERE id = %s"
    await db.connection.execute(change, (False, tenants.users["viewer"]))
    assert await status_of(client, tenants.keys["viewer"]) == 401
    assert await status_of(client, tenants.keys["editor"]) == 200
    await db.connection.execute(change, (True, tenants.users["viewer"]))
    assert await status_of(client, tenants.keys["viewer"]) == 200


async def test_keys_are_listed_newest_first(
    client: ValidatingClient, tenants: TwoTenants, db: "RolledBackDatabase"
) -> None:
    for age, name in ((3, "old"), (1, "new"), (2, "middle")):
        created = await make(client, tenants.keys["editor"], name=name)
        await db.connection.execute(
            "UPDATE api_keys SET created_at = now() + interval '1 day' - make_interval(hours => %s) WHERE id = %s",
            (age, created["id"]),
        )
    listed = await client.as_(tenants.keys["editor"], "GET", KEYS)
    assert [key["name"] for key in listed.json()] == ["new", "middle", "old", "of the world"]


@pytest.mark.parametrize(
    "authorization", ["", "Bearer", "Bearer ", "Basic dXNlcjpwYXNz", "wsk_x", "Bearer wsk_" + "x" * 43, "Bearer é"]
)
async def test_malformed_key_is_401(client: ValidatingClient, authorization: str) -> None:
    response = await client.as_(None, "GET", "/users/me", headers={"Authorization": authorization.encode()})
    assert response.status_code == 401
