"""API keys: shown once, kept as a hash, and dead at once when revoked or expired."""

import hashlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from checking import CheckedClient
from windsock.context import AppContext
from world import World

if TYPE_CHECKING:
    from conftest import RolledBackDatabase

pytestmark = pytest.mark.anyio
KEYS = "/api-keys/me/api-keys"


async def make(client: CheckedClient, key: str, **body: Any) -> dict[str, Any]:
    answer = await client.as_(key, "POST", KEYS, json={"name": "mine"} | body)
    assert answer.status_code == 201
    made: dict[str, Any] = answer.json()
    return made


async def status_of(client: CheckedClient, key: str) -> int:
    return (await client.as_(key, "GET", "/users/me")).status_code


async def test_a_new_key_works_at_once_as_its_maker(client: CheckedClient, world: World) -> None:
    made = await make(client, world.keys["viewer"], name="  for the dashboard ")
    assert made["full_key"].startswith("wsk_")
    assert made["full_key"].startswith(made["key_prefix"])
    assert len(made["key_prefix"]) == 10
    assert (made["name"], made["expires_at"], made["last_used_at"]) == ("for the dashboard", None, None)
    me = (await client.as_(made["full_key"], "GET", "/users/me")).json()
    assert me["id"] == str(world.users["viewer"])
    assert [space["role"] for space in me["spaces"]] == ["viewer"]


async def test_a_key_is_shown_once_and_never_cached(client: CheckedClient, world: World) -> None:
    answer = await client.as_(world.keys["viewer"], "POST", KEYS, json={"name": "once"})
    assert answer.headers["cache-control"] == "no-store"
    made = answer.json()
    listed = await client.as_(world.keys["viewer"], "GET", KEYS)
    assert {key["name"] for key in listed.json()} == {"of the world", "once"}
    mine = next(key for key in listed.json() if key["name"] == "once")
    assert mine["key_prefix"] == made["key_prefix"]
    assert "full_key" not in mine
    assert made["full_key"] not in listed.text


async def test_only_the_hash_of_a_key_is_in_the_database(
    client: CheckedClient, world: World, db: "RolledBackDatabase"
) -> None:
    made = await make(client, world.keys["viewer"])
    cursor = await db.connection.execute("SELECT k.*, k::text AS whole FROM api_keys k WHERE id = %s", (made["id"],))
    row = await cursor.fetchone()
    assert row is not None
    assert row["key_hash"] == hashlib.sha256(made["full_key"].encode()).digest()
    assert made["full_key"] not in row["whole"]
    assert made["full_key"][len(made["key_prefix"]) :] not in row["whole"]


async def test_no_two_keys_are_alike(client: CheckedClient, world: World) -> None:
    keys = {(await make(client, world.keys["viewer"]))["full_key"] for _ in range(5)}
    assert len(keys) == 5
    assert {len(key) for key in keys} == {4 + 43}  # 32 bytes in base64


async def test_a_key_expires(client: CheckedClient, world: World, db: "RolledBackDatabase") -> None:
    made = await make(client, world.keys["viewer"], expires_in_days=30)
    expires = datetime.fromisoformat(made["expires_at"])
    assert abs(expires - datetime.now(UTC) - timedelta(days=30)) < timedelta(minutes=5)
    assert await status_of(client, made["full_key"]) == 200
    await db.connection.execute(
        "UPDATE api_keys SET expires_at = now() - interval '1 second' WHERE id = %s", (made["id"],)
    )
    assert await status_of(client, made["full_key"]) == 401


@pytest.mark.parametrize("days", [0, -1, 3651, 1.5, "soon"])
async def test_a_key_lives_from_a_day_to_ten_years(client: CheckedClient, world: World, days: object) -> None:
    answer = await client.as_(world.keys["viewer"], "POST", KEYS, json={"name": "k", "expires_in_days": days})
    assert answer.status_code == 422


async def test_a_revoked_key_is_dead_at_once_and_not_listed(client: CheckedClient, world: World) -> None:
    viewer = world.keys["viewer"]
    made = await make(client, viewer)
    assert await status_of(client, made["full_key"]) == 200
    assert (await client.as_(viewer, "DELETE", f"{KEYS}/{made['id']}")).status_code == 204
    dead = await client.as_(made["full_key"], "GET", "/users/me")
    assert dead.status_code == 401
    assert dead.json() == {"detail": "This API key is unknown, expired or revoked. Make another one and try again."}
    listed = await client.as_(viewer, "GET", KEYS)
    assert made["id"] not in {key["id"] for key in listed.json()}
    assert listed.headers["x-total-count"] == str(len(listed.json()))
    assert (await client.as_(viewer, "DELETE", f"{KEYS}/{made['id']}")).status_code == 404


async def test_a_key_can_revoke_itself(client: CheckedClient, world: World) -> None:
    made = await make(client, world.keys["viewer"])
    assert (await client.as_(made["full_key"], "DELETE", f"{KEYS}/{made['id']}")).status_code == 204
    assert await status_of(client, made["full_key"]) == 401


@pytest.mark.parametrize("kind", ["editor", "admin", "superadmin", "stranger"])
async def test_nobody_revokes_somebody_elses_key(client: CheckedClient, world: World, kind: str) -> None:
    made = await make(client, world.keys["viewer"])
    theirs = await client.as_(world.keys[kind], "DELETE", f"{KEYS}/{made['id']}")
    unknown = await client.as_(world.keys[kind], "DELETE", f"{KEYS}/{uuid4()}")
    assert (theirs.status_code, theirs.json()) == (404, unknown.json())
    assert await status_of(client, made["full_key"]) == 200


@pytest.mark.parametrize(("seconds_ago", "is_written"), [(None, True), (61, True), (59, False)])
async def test_last_use_is_written_at_most_once_a_minute(
    client: CheckedClient,
    world: World,
    db: "RolledBackDatabase",
    process: AppContext,
    seconds_ago: int | None,
    *,
    is_written: bool,
) -> None:
    made = await make(client, world.keys["viewer"])
    await db.connection.execute(
        "UPDATE api_keys SET last_used_at = now() - make_interval(secs => %s::integer) WHERE id = %s",
        (seconds_ago, made["id"]),
    )
    for _ in range(2):
        assert await status_of(client, made["full_key"]) == 200
    await process.uses.write()
    cursor = await db.connection.execute(
        "SELECT last_used_at = now() AS is_now FROM api_keys WHERE id = %s", (made["id"],)
    )
    row = await cursor.fetchone()
    assert row is not None
    assert bool(row["is_now"]) is is_written


async def test_an_inactive_users_keys_are_dead(client: CheckedClient, world: World, db: "RolledBackDatabase") -> None:
    change = "UPDATE users SET is_active = %s WHERE id = %s"
    await db.connection.execute(change, (False, world.users["viewer"]))
    assert await status_of(client, world.keys["viewer"]) == 401
    assert await status_of(client, world.keys["editor"]) == 200
    await db.connection.execute(change, (True, world.users["viewer"]))
    assert await status_of(client, world.keys["viewer"]) == 200


async def test_keys_are_listed_newest_first(client: CheckedClient, world: World, db: "RolledBackDatabase") -> None:
    for age, name in ((3, "old"), (1, "new"), (2, "middle")):
        made = await make(client, world.keys["editor"], name=name)
        await db.connection.execute(
            "UPDATE api_keys SET created_at = now() + interval '1 day' - make_interval(hours => %s) WHERE id = %s",
            (age, made["id"]),
        )
    listed = await client.as_(world.keys["editor"], "GET", KEYS)
    assert [key["name"] for key in listed.json()] == ["new", "middle", "old", "of the world"]


@pytest.mark.parametrize(
    "authorization", ["", "Bearer", "Bearer ", "Basic dXNlcjpwYXNz", "wsk_x", "Bearer wsk_" + "x" * 43, "Bearer é"]
)
async def test_anything_that_is_not_a_key_is_401(client: CheckedClient, authorization: str) -> None:
    answer = await client.as_(None, "GET", "/users/me", headers={"Authorization": authorization.encode()})
    assert answer.status_code == 401
