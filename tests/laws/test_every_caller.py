"""Every operation and every kind of caller gives the status of the contract; another space's things do not exist."""

import re
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest
from fastapi import FastAPI

from checking import CheckedClient
from conftest import RolledBackDatabase
from laws.catalogue import TenantTable, snapshot
from laws.conftest import Ask
from laws.operations import (
    OPERATIONS,
    REFERS_TO_NOTHING,
    ROLES,
    SPACE_ROLES,
    Operation,
    body_schema,
    documented,
    ids_of,
    is_uuid,
    parameters,
)
from world import World

pytestmark = pytest.mark.anyio

UNKNOWN_KEYS = ("none", "garbage", "revoked", "expired")
OF_SPACES = [operation for operation in OPERATIONS if operation.is_of_a_space]
EVERY_OPERATION = pytest.mark.parametrize("operation", OPERATIONS, ids=str)
EVERY_OPERATION_OF_A_SPACE = pytest.mark.parametrize("operation", OF_SPACES, ids=str)


@pytest.fixture
async def keys(db: RolledBackDatabase, world: World) -> dict[str, str | None]:
    """A key of each kind of caller; those of `expired` are past their time."""
    await db.connection.execute(
        "UPDATE api_keys SET expires_at = now() - interval '1 second' WHERE user_id = %s", (world.users["expired"],)
    )
    return {**world.keys, "none": None, "garbage": "wsk_" + "x" * 43}


def same_answer(one: httpx2.Response, other: httpx2.Response) -> bool:
    """Word for word, the request's own id apart."""
    headers = [{**answer.headers, "x-request-id": ""} for answer in (one, other)]
    return one.status_code == other.status_code and one.content == other.content and headers[0] == headers[1]


async def test_every_documented_operation_is_in_the_table(bare_app: FastAPI) -> None:
    in_table = [(operation.method, operation.path) for operation in OPERATIONS]
    assert len(in_table) == len(set(in_table))
    assert set(documented(bare_app)) == set(in_table), "say in tests/laws/operations.py who may call it"


@EVERY_OPERATION
async def test_without_a_valid_key_there_is_nothing(
    ask: Ask, world: World, keys: dict[str, Any], key_ids: dict[str, UUID], operation: Operation
) -> None:
    path = operation.path.format(slug="finance", **ids_of(world, world.finance, key_ids))
    for kind in UNKNOWN_KEYS:
        answer = await ask(keys[kind], operation.method, path, json=operation.body)
        assert answer.status_code == 401, kind
        assert answer.headers["www-authenticate"] == "Bearer"
        assert "finance" not in answer.text


async def test_a_person_who_was_switched_off_has_no_valid_key(ask: Ask, world: World, db: RolledBackDatabase) -> None:
    await db.connection.execute("UPDATE users SET is_active = false WHERE id = %s", (world.users["admin"],))
    assert (await ask(world.keys["admin"], "GET", "/users/me")).status_code == 401


@EVERY_OPERATION
async def test_those_who_may_are_answered_and_the_others_are_told_which_right_they_lack(
    ask: Ask, world: World, key_ids: dict[str, UUID], operation: Operation
) -> None:
    path = operation.path.format(slug="finance", **ids_of(world, world.finance, key_ids))
    enough = ROLES[ROLES.index(operation.least) :] if operation.least in ROLES else (*ROLES, "stranger")
    for kind in ROLES if operation.is_of_a_space else (*ROLES, "stranger"):
        answer = await ask(world.keys[kind], operation.method, path, json=operation.body)
        if kind in operation.refused:
            assert (answer.status_code, "author" in answer.json()["detail"]) == (403, True), f"{kind}: {answer.text}"
        elif kind in enough:
            assert answer.status_code not in {401, 403}, f"{kind}: {answer.text}"
        else:
            assert answer.status_code == 403, f"{kind}: {answer.text}"
            assert re.search(rf"\b{operation.least}\b", answer.json()["detail"]), f"{kind}: {answer.text}"
            if operation.least in SPACE_ROLES:
                assert re.fullmatch(rf"Only the role \w+ or above may .+; yours is {kind}\.", answer.json()["detail"])
        if kind == (operation.least if operation.least in ROLES else "viewer"):
            assert answer.status_code == operation.status, f"{kind}: {answer.text}"


@EVERY_OPERATION_OF_A_SPACE
async def test_a_space_of_others_cannot_be_told_from_one_that_does_not_exist(
    ask: Ask, world: World, key_ids: dict[str, UUID], operation: Operation
) -> None:
    ids = ids_of(world, world.finance, key_ids)
    stranger = world.keys["stranger"]
    refused = await ask(stranger, operation.method, operation.path.format(slug="finance", **ids), json=operation.body)
    assert refused.status_code == 403
    assert "finance" not in refused.text
    for slug in ("nowhere", "FINANCE", "finance ", "%00", "-", "x" * 2000, "finance'--"):
        path = operation.path.format(slug=slug, **ids)
        for key in (stranger, world.keys["superadmin"]):
            assert same_answer(refused, await ask(key, operation.method, path, json=operation.body)), slug


@EVERY_OPERATION_OF_A_SPACE
async def test_who_may_not_be_here_learns_nothing_about_ids_and_bodies(
    ask: Ask, world: World, key_ids: dict[str, UUID], operation: Operation
) -> None:
    ids = ids_of(world, world.finance, key_ids)
    malformed = operation.path.format(slug="finance", **dict.fromkeys(ids, "no-uuid"))
    right = operation.path.format(slug="finance", **ids)
    answers = [
        await ask(world.keys["stranger"], operation.method, path, json=body)
        for path, body in ((right, operation.body), (right, {"unknown": 1}), (malformed, operation.body))
    ]
    assert same_answer(answers[0], answers[1])
    assert same_answer(answers[0], answers[2])
    assert (await ask(None, operation.method, malformed, json={"unknown": 1})).status_code == 401


WITH_IDS = [operation for operation in OPERATIONS if re.search(r"\{(?!slug)", operation.path)]


@pytest.mark.parametrize("operation", WITH_IDS, ids=str)
async def test_things_of_another_space_do_not_exist_and_stay_as_they_are(
    ask: Ask,
    client: CheckedClient,
    full_world: World,
    db: RolledBackDatabase,
    tenant_tables: list[TenantTable],
    key_ids: dict[str, UUID],
    operation: Operation,
) -> None:
    key = full_world.keys["viewer" if operation.least == "caller" else "superadmin"]
    ids = ids_of(full_world, full_world.marketing, key_ids)
    before = await snapshot(db, tenant_tables, full_world.marketing.id)
    async with db.connection.transaction(force_rollback=True):
        path = operation.path.format(slug="finance", **ids)
        foreign = await client.as_(key, operation.method, path, json=operation.body)
        assert await snapshot(db, tenant_tables, full_world.marketing.id) == before
    unknown = await ask(
        key,
        operation.method,
        operation.path.format(slug="finance", **dict.fromkeys(ids, uuid4())),
        json=operation.body,
    )
    assert unknown.status_code == 404
    assert operation.takes_any_user or same_answer(foreign, unknown)


async def test_ids_of_another_space_in_filters_and_bodies_do_not_exist_either(
    ask: Ask, full_world: World, bare_app: FastAPI, key_ids: dict[str, UUID]
) -> None:
    here, there = (ids_of(full_world, space, key_ids) for space in (full_world.finance, full_world.marketing))
    key = full_world.keys["superadmin"]
    found = set()
    for operation in OF_SPACES:
        path = operation.path.format(slug="finance", **here)
        described = documented(bare_app)[operation.method, operation.path]
        for name, schema in parameters(described, "query").items():
            if is_uuid(schema):
                found.add(name)
                answer = await ask(key, operation.method, path, params={name: str(there[name])})
                assert answer.json() == [], f"{operation}: {name}"
                assert (await ask(key, operation.method, path, params={name: str(here[name])})).json() != []
        for name, schema in body_schema(bare_app, described).get("properties", {}).items():
            if is_uuid(schema) and name not in REFERS_TO_NOTHING:
                found.add(name)
                answers = [
                    await ask(key, operation.method, path, json={**(operation.body or {}), name: str(value)})
                    for value in (there[name], uuid4())
                ]
                assert answers[0].status_code == 404, f"{operation}: {name}"
                assert same_answer(*answers)
    assert "connector_id" in found


async def test_no_answer_of_a_space_contains_anything_of_another(
    ask: Ask,
    full_world: World,
    db: RolledBackDatabase,
    tenant_tables: list[TenantTable],
    key_ids: dict[str, UUID],
) -> None:
    foreign = {"marketing", "stranger", str(full_world.marketing.id)}
    async with db.tenant_transaction(full_world.marketing.id):
        for table in tenant_tables:
            for row in await table.rows(db.connection):
                foreign |= {str(value) for value in row.values() if isinstance(value, UUID)}
    assert len(foreign) > 25
    ids = ids_of(full_world, full_world.finance, key_ids)
    for operation in OPERATIONS:
        if not operation.is_of_a_space and operation.path not in {"/users/me", "/spaces"}:
            continue
        for kind in SPACE_ROLES:
            path = operation.path.format(slug="finance", **ids)
            answer = await ask(full_world.keys[kind], operation.method, path, json=operation.body)
            said = answer.text.lower() + str(answer.headers).lower()
            assert not [thing for thing in foreign if thing in said], f"{operation} as {kind}"
