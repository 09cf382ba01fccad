"""Nothing a client sends may ever produce a 500, be echoed where it is a secret, or be stored and then unreadable."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import quote
from uuid import UUID

import httpx2
import pytest
from fastapi import FastAPI

from conftest import RolledBackDatabase
from factories import TwoTenants
from invariants.hostile_inputs import AUTHORIZATIONS, BODIES, CONTENT_TYPES, HEADERS, IN_URLS, SECRET, VALUES, as_json
from invariants.operations import API, OPERATIONS, Operation, body_schema, documented, ids_of, is_uuid, parameters
from validating_client import check_error
from windsock.providers.airflow.config import AirflowConfig

pytestmark = pytest.mark.anyio

Send = Callable[..., Awaitable[httpx2.Response]]
EVERY_OPERATION = pytest.mark.parametrize("operation", OPERATIONS, ids=str)
WITH_BODY = pytest.mark.parametrize(
    "operation", [operation for operation in OPERATIONS if operation.method in {"POST", "PUT", "PATCH"}], ids=str
)
READ_AGAIN = [
    "/users",
    "/spaces",
    "/api-keys/me/api-keys",
    "/spaces/finance/members",
    "/catalog/spaces/finance/connectors",
    "/catalog/spaces/finance/sync-history",
    "/spaces/finance/orchestration/import-errors",
    "/spaces/finance/orchestration/pipelines",
]


@pytest.fixture
async def send(app: FastAPI, db: RolledBackDatabase, tenants: TwoTenants) -> AsyncIterator[Send]:
    """One request as a superadmin, judged and rolled back; `what` names it when it fails.

    With `reads`, whatever was accepted must be readable afterwards.
    """
    transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
    key = {"Authorization": f"Bearer {tenants.keys['superadmin']}"}
    async with httpx2.AsyncClient(transport=transport, base_url="http://windsock.test") as client:

        async def send(
            method: str,
            path: str,
            what: str,
            *,
            headers: Mapping[str, Any] | None = None,
            reads: bool = False,
            **more: Any,
        ) -> httpx2.Response:
            async with db.connection.transaction(force_rollback=True):
                response = await client.request(method, API + path, headers={**key, **(headers or {})}, **more)
                judge(response, f"{method} {path[:200]} with {what[:200]}")
                if reads and response.is_success:
                    for read in READ_AGAIN:
                        again = await client.get(API + read, headers=key)
                        assert again.status_code in {200, 403}, f"{read} after {what[:200]}"
            return response

        yield send


def judge(response: httpx2.Response, what: str) -> None:
    assert response.status_code < 500 or "x-provider" in response.headers, f"{response.status_code} for {what}"
    assert re.fullmatch(r"[\x21-\x7e]{1,128}", response.headers["x-request-id"]), what
    assert "x-planted" not in response.headers, what
    if response.status_code >= 400:
        assert SECRET not in response.text, f"{what} is echoed: {response.text}"
        assert len(response.content) < 30_000, f"{what} makes a long error"
        if response.request.method != "HEAD":
            try:
                check_error(response)
            except (AssertionError, ValueError, KeyError) as error:
                pytest.fail(f"{what}: {response.status_code} {response.text[:500]}: {error}")


def json_of(body: object) -> dict[str, Any]:
    return {"content": as_json(body), "headers": {"Content-Type": "application/json"}, "reads": True}


@EVERY_OPERATION
async def test_hostile_path_parameter_is_client_error(
    send: Send, tenants: TwoTenants, key_ids: dict[str, UUID], bare_app: FastAPI, operation: Operation
) -> None:
    ids = {"slug": "finance", **ids_of(tenants, tenants.finance, key_ids)}
    for name, schema in parameters(documented(bare_app)[operation.method, operation.path], "path").items():
        for value in (*IN_URLS, "%2F", "%2F..%2F", "..", "%2e%2e", ";x=y", "%3F", "%23"):
            path = operation.path.format(**{**ids, name: value})
            response = await send(operation.method, path, name, json=operation.body)
            if value in IN_URLS:
                assert response.status_code == (422 if is_uuid(schema) else 403), path


@EVERY_OPERATION
async def test_hostile_query_never_causes_server_error(
    send: Send, tenants: TwoTenants, key_ids: dict[str, UUID], bare_app: FastAPI, operation: Operation
) -> None:
    path = operation.path.format(slug="finance", **ids_of(tenants, tenants.finance, key_ids))
    for name, schema in parameters(documented(bare_app)[operation.method, operation.path], "query").items():
        for value in IN_URLS:
            response = await send(operation.method, f"{path}?{name}={value}", name)
            assert not is_uuid(schema) or response.status_code == 422, f"{name}={value[:200]}"
        for query in (name, f"{name}=", f"{name}[]=1", "&".join([f"{name}=1"] * 500), f"{name}=1&{name}=x&%00=1"):
            await send(operation.method, f"{path}?{query}", query)
    for query in ("", "&&&==", "%", "a" * 10_000, "%00=%00", "?" * 100):
        await send(operation.method, f"{path}?{query}", query, json=operation.body)


@WITH_BODY
async def test_hostile_body_field_never_causes_server_error(
    send: Send, tenants: TwoTenants, key_ids: dict[str, UUID], bare_app: FastAPI, operation: Operation
) -> None:
    path = operation.path.format(slug="finance", **ids_of(tenants, tenants.finance, key_ids))
    schema = body_schema(bare_app, documented(bare_app)[operation.method, operation.path])
    whole = dict(operation.body or {})
    for name in [*schema.get("properties", {}), "unknown\x00", "unknown\ud800"]:
        for value in VALUES:
            response = await send(operation.method, path, f"{name}={value!r}", **json_of({**whole, name: value}))
            assert "unknown" not in name or response.status_code in {404, 422} or not schema
    for name in whole:
        rest = {key: value for key, value in whole.items() if key != name}
        await send(operation.method, path, f"no {name}", **json_of(rest))


@WITH_BODY
async def test_hostile_body_never_causes_server_error(
    send: Send, tenants: TwoTenants, key_ids: dict[str, UUID], operation: Operation
) -> None:
    path = operation.path.format(slug="finance", **ids_of(tenants, tenants.finance, key_ids))
    for body in BODIES:
        for content_type in ("application/json", "text/plain"):
            headers = {"Content-Type": content_type}
            await send(operation.method, path, repr(body[:50]), content=body, headers=headers)
    for content_type in CONTENT_TYPES:
        headers = {"Content-Type": content_type}
        await send(operation.method, path, content_type, content=as_json(operation.body), headers=headers)


@EVERY_OPERATION
async def test_body_beyond_size_limit_is_413(
    send: Send, tenants: TwoTenants, key_ids: dict[str, UUID], operation: Operation
) -> None:
    path = operation.path.format(slug="finance", **ids_of(tenants, tenants.finance, key_ids))

    async def in_pieces() -> AsyncIterator[bytes]:
        for _ in range(32):
            yield b"x" * 65_536

    for body in (b"x" * 2**21, in_pieces()):
        response = await send(operation.method, path, "2 MB", content=body)
        assert response.status_code == 413


@EVERY_OPERATION
async def test_hostile_header_never_causes_server_error(
    send: Send, tenants: TwoTenants, key_ids: dict[str, UUID], operation: Operation
) -> None:
    path = operation.path.format(slug="finance", **ids_of(tenants, tenants.finance, key_ids))
    for headers in HEADERS:
        encoded = {name: value.encode() for name, value in headers.items()}
        response = await send(operation.method, path, str(headers), json=operation.body, headers=encoded)
        refusals = ({403} if operation.refused else set()) | ({422} if "Idempotency-Key" in headers else set())
        assert response.status_code in {operation.status, 304, 404} | refusals, headers
    for value in AUTHORIZATIONS:
        response = await send(
            operation.method, path, repr(value[:50]), json=operation.body, headers={"Authorization": value}
        )
        assert response.status_code == 401


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "get", "x" * 1_000])
async def test_hostile_method_is_200_or_405(
    send: Send, tenants: TwoTenants, key_ids: dict[str, UUID], method: str
) -> None:
    reads = {operation.path: operation.status for operation in OPERATIONS if operation.method == "GET"}
    # For GET, these words are ids of another path.
    reads |= dict.fromkeys(("/spaces/{slug}/incidents/acknowledge", "/spaces/{slug}/notifications/rules/preview"), 422)
    for path in sorted({operation.path for operation in OPERATIONS}):
        filled = path.format(slug="finance", **ids_of(tenants, tenants.finance, key_ids))
        assert (await send(method, filled, method)).status_code in {200, reads.get(path, 200), 405}


SERVICE_ACCOUNT = {
    "type": "service_account",
    "client_email": "windsock@example.iam.gserviceaccount.com",
    "private_key": SECRET,
    "token_uri": "https://oauth2.googleapis.com/token",
}
CREDENTIALS: list[dict[str, Any]] = [
    {"auth_type": "password", "username": "admin", "password": SECRET},
    {"auth_type": "api_token", "token": SECRET},
    {"auth_type": "none"},
    {"auth_type": "astronomer", "token": SECRET},
    {"auth_type": "composer", "service_account": SERVICE_ACCOUNT},
    {
        "auth_type": "mwaa",
        "environment_name": "prod",
        "region": "eu-west-1",
        "access_key_id": "AKIAEXAMPLE",
        "secret_access_key": SECRET,
        "session_token": SECRET,
    },
]


async def test_hostile_connector_config_never_causes_server_error(send: Send, tenants: TwoTenants) -> None:
    right = {"base_url": "http://127.0.0.1:9"}
    connectors = "/catalog/spaces/finance/connectors"
    path = f"{connectors}/{tenants.finance.connector_id}"
    for name in (*AirflowConfig.model_fields, "unknown"):
        for value in VALUES:
            config = {**right, name: value}
            body = {"name": "hostile", "connector_type": "airflow", "config": config}
            await send("POST", connectors, f"config.{name}={value!r}", **json_of(body))
            await send("PATCH", path, f"config.{name}={value!r}", **json_of({"config": {name: value}}))


async def test_hostile_connector_credentials_never_cause_server_error(send: Send, tenants: TwoTenants) -> None:
    path = f"/catalog/spaces/finance/connectors/{tenants.finance.connector_id}"
    for credentials in CREDENTIALS:
        for name in (*credentials, "unknown"):
            for value in VALUES:
                body = {"credentials": {**credentials, name: value}}
                await send("PATCH", path, f"credentials.{name}={value!r}", **json_of(body))
    for name in (*SERVICE_ACCOUNT, "unknown"):
        for value in VALUES:
            body = {"credentials": {"auth_type": "composer", "service_account": {**SERVICE_ACCOUNT, name: value}}}
            await send("PATCH", path, f"service_account.{name}={value!r}", **json_of(body))


@pytest.mark.parametrize(
    "path", ["/", "//", "/%00", "/..", "/%2e%2e/%2e%2e/etc/passwd", "/spaces//", "/x" * 2_000, "/" + quote("😀\\;")]
)
async def test_nonexistent_path_never_causes_server_error(send: Send, path: str) -> None:
    assert (await send("GET", path, path)).status_code in {200, 404}
