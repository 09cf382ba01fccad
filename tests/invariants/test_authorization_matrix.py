"""Every operation and every kind of caller gives the status of the contract; another space's things do not exist."""

import re
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest
from fastapi import FastAPI

from conftest import RolledBackDatabase
from factories import TwoTenants
from invariants.conftest import Ask
from invariants.operations import (
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
from invariants.pg_catalog import TenantTable, snapshot
from validating_client import ValidatingClient

pytestmark = pytest.mark.anyio

UNKNOWN_KEYS = ("none", "garbage", "revoked", "expired")
OF_SPACES = [operation for operation in OPERATIONS if operation.is_of_a_space]
EVERY_OPERATION = pytest.mark.parametrize("operation", OPERATIONS, ids=str)
EVERY_OPERATION_OF_A_SPACE = pytest.mark.parametrize("operation", OF_SPACES, ids=str)


@pytest.fixture
async def keys(db: RolledBackDatabase, tenants: TwoTenants) -> dict[str, str | None]:
    """A key of each kind of caller; those of `expired` are past their time."""
    await db.connection.execute(
        "UPDATE api_keys SET expires_at = now() - interval '1 second' WHERE user_id = %s", (tenants.users["expired"],)
    )
    return {**tenants.keys, "none": None, "garbage": "wsk_" + "x" * 43}


def same_response(first: httpx2.Response, other: httpx2.Response) -> bool:
    """Word for word, the request's own id apart."""
    headers = [{**response.headers, "x-request-id": ""} for response in (first, other)]
    return first.status_code == other.status_code and first.content == other.content and headers[0] == headers[1]


async def test_every_documented_operation_is_in_matrix(bare_app: FastAPI) -> None:
    in_table = [(operation.method, operation.path) for operation in OPERATIONS]
    assert len(in_table) == len(set(in_table))
    assert set(documented(bare_app)) == set(in_table), "say in tests/invariants/operations.py who may call it"


@EVERY_OPERATION
async def test_every_operation_without_valid_key_is_401(
    ask: Ask, tenants: TwoTenants, keys: dict[str, Any], key_ids: dict[str, UUID], operation: Operation
) -> None:
    path = operation.path.format(slug="finance", **ids_of(tenants, tenants.finance, key_ids))
    for kind in UNKNOWN_KEYS:
        response = await ask(keys[kind], operation.method, path, json=operation.body)
        assert response.status_code == 401, kind
        assert response.headers["www-authenticate"] == "Bearer"
        assert "finance" not in response.text


async def test_key_of_deactivated_user_is_401(ask: Ask, tenants: TwoTenants, db: RolledBackDatabase) -> None:
    await db.connection.execute("UPDATE users SET is_active = false WHERE id = %s", (tenants.users["admin"],))
    assert (await ask(tenants.keys["admin"], "GET", "/users/me")).status_code == 401


@EVERY_OPERATION
async def test_authorized_callers_succeed_and_others_get_missing_permission(
    ask: Ask, tenants: TwoTenants, key_ids: dict[str, UUID], operation: Operation
) -> None:
    path = operation.path.format(slug="finance", **ids_of(tenants, tenants.finance, key_ids))
    enough = ROLES[ROLES.index(operation.least) :] if operation.least in ROLES else (*ROLES, "stranger")
    for kind in ROLES if operation.is_of_a_space else (*ROLES, "stranger"):
        response = await ask(tenants.keys[kind], operation.method, path, json=operation.body)
        if kind in operation.refused:
            assert response.status_code == 403, f"{kind}: {response.text}"
            assert re.search(r"Only its (author|owner)\b", response.json()["detail"]), f"{kind}: {response.text}"
        elif kind in enough:
            assert response.status_code not in {401, 403}, f"{kind}: {response.text}"
        else:
            assert response.status_code == 403, f"{kind}: {response.text}"
            assert re.search(rf"\b{operation.least}\b", response.json()["detail"]), f"{kind}: {response.text}"
            if operation.least in SPACE_ROLES:
                assert re.fullmatch(rf"Only the role \w+ or above may .+; yours is {kind}\.", response.json()["detail"])
        if kind == (operation.least if operation.least in ROLES else "viewer"):
            assert response.status_code == operation.status, f"{kind}: {response.text}"


@EVERY_OPERATION_OF_A_SPACE
async def test_foreign_space_is_indistinguishable_from_missing_space(
    ask: Ask, tenants: TwoTenants, key_ids: dict[str, UUID], operation: Operation
) -> None:
    ids = ids_of(tenants, tenants.finance, key_ids)
    stranger = tenants.keys["stranger"]
    refused = await ask(stranger, operation.method, operation.path.format(slug="finance", **ids), json=operation.body)
    assert refused.status_code == 403
    assert "finance" not in refused.text
    for slug in ("nowhere", "FINANCE", "finance ", "%00", "-", "x" * 2000, "finance'--"):
        path = operation.path.format(slug=slug, **ids)
        for key in (stranger, tenants.keys["superadmin"]):
            assert same_response(refused, await ask(key, operation.method, path, json=operation.body)), slug


@EVERY_OPERATION_OF_A_SPACE
async def test_unauthorized_response_is_independent_of_ids_and_body(
    ask: Ask, tenants: TwoTenants, key_ids: dict[str, UUID], operation: Operation
) -> None:
    ids = ids_of(tenants, tenants.finance, key_ids)
    malformed = operation.path.format(slug="finance", **dict.fromkeys(ids, "no-uuid"))
    right = operation.path.format(slug="finance", **ids)
    responses = [
        await ask(tenants.keys["stranger"], operation.method, path, json=body)
        for path, body in ((right, operation.body), (right, {"unknown": 1}), (malformed, operation.body))
    ]
    assert same_response(responses[0], responses[1])
    assert same_response(responses[0], responses[2])
    assert (await ask(None, operation.method, malformed, json={"unknown": 1})).status_code == 401


WITH_IDS = [operation for operation in OPERATIONS if re.search(r"\{(?!slug)", operation.path)]


@pytest.mark.parametrize("operation", WITH_IDS, ids=str)
async def test_objects_of_other_space_are_404_and_unchanged(
    ask: Ask,
    client: ValidatingClient,
    two_tenants_full: TwoTenants,
    db: RolledBackDatabase,
    tenant_tables: list[TenantTable],
    key_ids: dict[str, UUID],
    operation: Operation,
) -> None:
    key = two_tenants_full.keys["viewer" if operation.least == "caller" else "superadmin"]
    ids = ids_of(two_tenants_full, two_tenants_full.marketing, key_ids)
    before = await snapshot(db, tenant_tables, two_tenants_full.marketing.id)
    async with db.connection.transaction(force_rollback=True):
        path = operation.path.format(slug="finance", **ids)
        foreign = await client.as_(key, operation.method, path, json=operation.body)
        is_unchanged = await snapshot(db, tenant_tables, two_tenants_full.marketing.id) == before
        assert is_unchanged or not operation.is_of_a_space
    unknown = await ask(
        key,
        operation.method,
        operation.path.format(slug="finance", **dict.fromkeys(ids, uuid4())),
        json=operation.body,
    )
    assert unknown.status_code == 404
    assert operation.takes_any_user or same_response(foreign, unknown)


async def test_ids_of_other_space_in_filters_and_bodies_are_treated_as_unknown(
    ask: Ask, two_tenants_full: TwoTenants, bare_app: FastAPI, key_ids: dict[str, UUID]
) -> None:
    here, there = (
        ids_of(two_tenants_full, space, key_ids) for space in (two_tenants_full.finance, two_tenants_full.marketing)
    )
    key = two_tenants_full.keys["superadmin"]
    found = set()
    for operation in OF_SPACES:
        path = operation.path.format(slug="finance", **here)
        described = documented(bare_app)[operation.method, operation.path]
        for name, schema in parameters(described, "query").items():
            if is_uuid(schema):
                found.add(name)
                response = await ask(key, operation.method, path, params={name: str(there[name])})
                assert response.json() == [], f"{operation}: {name}"
                assert (await ask(key, operation.method, path, params={name: str(here[name])})).json() != []
        for name, schema in body_schema(bare_app, described).get("properties", {}).items():
            if is_uuid(schema) and name not in REFERS_TO_NOTHING:
                found.add(name)
                responses = [
                    await ask(
                        key, operation.method, path, json={**(operation.body or {}), name: as_sent(schema, value)}
                    )
                    for value in (there[name], uuid4())
                ]
                assert responses[0].status_code == 404, f"{operation}: {name}"
                assert same_response(*responses)
    assert "connector_id" in found


def as_sent(schema: dict[str, Any], value: UUID) -> Any:
    """The id, in a list where the body takes one."""
    is_list = any(inner.get("type") == "array" for inner in (schema, *schema.get("anyOf", [])))
    return [str(value)] if is_list else str(value)


async def test_no_response_of_space_contains_data_of_another(
    ask: Ask,
    two_tenants_full: TwoTenants,
    db: RolledBackDatabase,
    tenant_tables: list[TenantTable],
    key_ids: dict[str, UUID],
) -> None:
    foreign = {"marketing", "stranger", str(two_tenants_full.marketing.id)}
    async with db.tenant_transaction(two_tenants_full.marketing.id):
        for table in tenant_tables:
            for row in await table.rows(db.connection):
                foreign |= {str(value) for value in row.values() if isinstance(value, UUID)}
    assert len(foreign) > 25
    ids = ids_of(two_tenants_full, two_tenants_full.finance, key_ids)
    for operation in OPERATIONS:
        if not operation.is_of_a_space and operation.path not in {"/users/me", "/spaces"}:
            continue
        for kind in SPACE_ROLES:
            path = operation.path.format(slug="finance", **ids)
            response = await ask(two_tenants_full.keys[kind], operation.method, path, json=operation.body)
            text = response.text.lower() + str(response.headers).lower()
            assert not [thing for thing in foreign if thing in text], f"{operation} as {kind}"
