"""Walks every operation: misspelled parameters, bodies that are not JSON, and HEAD, which answers as GET does."""

from typing import Any
from uuid import UUID

import httpx2
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute, iter_route_contexts

from factories import TwoTenants
from invariants.conftest import Ask
from invariants.operations import GETS, OPERATIONS, PUBLIC, Operation, documented, ids_of, is_page, parameters
from validating_client import ValidatingClient
from web.conftest import OWN
from windsock.http.validation import MAX_ERRORS

pytestmark = pytest.mark.anyio

EVERY_OPERATION = pytest.mark.parametrize("operation", OPERATIONS, ids=str)
WITH_BODY = [operation for operation in OPERATIONS if operation.body is not None]
LISTS_HEADERS = {"x-total-count", "x-page", "x-page-size", "x-total-pages"}
SITE = "http://windsock.test"


def path_of(operation: Operation, tenants: TwoTenants, key_ids: dict[str, UUID]) -> str:
    return operation.path.format(slug="finance", **ids_of(tenants, tenants.finance, key_ids))


def key_of(operation: Operation, tenants: TwoTenants) -> str:
    return tenants.keys["viewer" if operation.least == "caller" else operation.permitted_caller]


@EVERY_OPERATION
async def test_unknown_query_parameter_is_rejected_with_nearest_valid_name(
    ask: Ask, tenants: TwoTenants, key_ids: dict[str, UUID], bare_app: FastAPI, operation: Operation
) -> None:
    path, key = path_of(operation, tenants, key_ids), key_of(operation, tenants)
    known = parameters(documented(bare_app)[operation.method, operation.path], "query")
    misspelled = {f"{name[:-1]}{name[-1]}x": name for name in known} | {"zzzzzz": ""}
    for wrong, nearest in misspelled.items():
        refused = await ask(key, operation.method, f"{path}?{wrong}=1", json=operation.body)
        assert refused.status_code == 422, f"{wrong}: {refused.text}"
        (error,) = refused.json()["detail"]
        assert (error["loc"], error["type"]) == (["query", wrong], "unknown_parameter")
        if nearest:
            assert error["msg"].endswith(f"Did you mean {nearest}?"), error
        else:
            assert all(name in error["msg"] for name in known)
        assert (await ask(None, operation.method, f"{path}?{wrong}=1", json=operation.body)).status_code == 401
    ignored = await ask(key, operation.method, f"{path}?_=1&_trace=x&_=2", json=operation.body)
    assert ignored.status_code == operation.status, ignored.text


@pytest.mark.parametrize(
    ("query", "nearest"),
    [
        ("stauts=failed", "status"),
        ("Status=failed", "status"),
        ("status[]=failed", "status"),
        ("startedFrom=2020-01-01T00:00:00Z", "started_from"),
        ("runtype=manual", "run_type"),
        ("pages=2", "page"),
        ("%73tat%75=failed", "status"),
    ],
)
async def test_misspelled_run_filter_is_rejected_with_suggestion(
    ask: Ask, tenants: TwoTenants, query: str, nearest: str
) -> None:
    refused = await ask(tenants.keys["viewer"], "GET", f"/spaces/finance/orchestration/runs?{query}")
    assert refused.status_code == 422
    assert refused.json()["detail"][0]["msg"].endswith(f"Did you mean {nearest}?")


async def test_many_invalid_parameters_yield_short_response(ask: Ask, tenants: TwoTenants) -> None:
    query = "&".join(f"wrong{number}{'x' * 1000}=1" for number in range(50))
    refused = await ask(tenants.keys["viewer"], "GET", f"/spaces/finance/orchestration/runs?{query}")
    assert (refused.status_code, len(refused.json()["detail"])) == (422, MAX_ERRORS)
    assert len(refused.content) < 20_000


@pytest.mark.parametrize("query", ["page=1&page=2", "days=7&days=7", "q=a&q=b", "watched_only=true&watched_only=false"])
async def test_repeated_single_value_parameter_is_rejected(ask: Ask, tenants: TwoTenants, query: str) -> None:
    pipelines = "/spaces/finance/orchestration/pipelines"
    refused = await ask(tenants.keys["viewer"], "GET", f"{pipelines}?{query}")
    assert (refused.status_code, refused.json()["detail"][0]["type"]) == (422, "repeated_parameter")
    assert (await ask(tenants.keys["viewer"], "GET", f"{pipelines}?status=failed&status=failed")).status_code == 200


async def test_pages_and_public_routes_ignore_unknown_parameters(client: ValidatingClient, tenants: TwoTenants) -> None:
    """A link that was shared gets some from mail programs; load balancers add some against caches."""
    signed_in = await client.post(f"{SITE}/sign-in", headers=OWN, data={"api_key": tenants.keys["viewer"]})
    assert signed_in.status_code == 303
    for path in ("/spaces/finance/pipelines", "/health", "/health/ready", "/metrics"):
        assert (await client.get(f"{SITE}{path}?utm_source=mail")).status_code == 200


# --- Bodies -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", WITH_BODY, ids=str)
async def test_body_without_json_content_type_is_415(
    ask: Ask, tenants: TwoTenants, key_ids: dict[str, UUID], operation: Operation
) -> None:
    path, key = path_of(operation, tenants, key_ids), key_of(operation, tenants)
    content = httpx2.Request("POST", SITE, json=operation.body).content
    taken = [
        "application/json",
        "Application/JSON",
        'application/json; charset="UTF-8"',
        "application/merge-patch+json",
    ]
    for content_type in taken:
        response = await ask(key, operation.method, path, content=content, headers={"Content-Type": content_type})
        assert response.status_code == operation.status, f"{content_type}: {response.text}"
    refused = [
        "text/plain", "text/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "",
        "application/octet-stream", "application/json; charset=utf-16", "application/json; charset=latin-1",
    ]  # fmt: skip
    for headers in ({}, *({"Content-Type": content_type} for content_type in refused)):
        response = await ask(key, operation.method, path, content=content, headers=headers)
        assert response.status_code == 415, f"{headers}: {response.text}"
        assert "Content-Type: application/json" in response.json()["detail"]
        assert response.headers["accept"] == "application/json"
        assert (await ask(None, operation.method, path, content=content, headers=headers)).status_code == 401


async def test_empty_body_needs_no_content_type(ask: Ask, tenants: TwoTenants) -> None:
    sync = f"/spaces/finance/orchestration/connectors/{tenants.finance.connector_id}/sync"
    for headers in ({}, {"Content-Type": "application/json"}, {"Content-Type": "text/plain"}):
        assert (await ask(tenants.keys["editor"], "POST", sync, headers=headers)).status_code == 202
    missing = await ask(tenants.keys["superadmin"], "POST", "/spaces", headers={"Content-Type": "text/plain"})
    assert (missing.status_code, missing.json()["detail"][0]["loc"]) == (422, ["body"])


# --- HEAD -------------------------------------------------------------------------------------------------------------


def same(head: httpx2.Response, get: httpx2.Response) -> None:
    """Status and headers word for word, the request's own id apart; no body."""
    assert head.status_code == get.status_code
    assert head.content == b""
    own = {"x-request-id": "", "date": ""}
    assert {**head.headers, **own} == {**get.headers, **own}


@pytest.mark.parametrize("operation", GETS, ids=str)
async def test_head_responds_like_get_without_body(
    ask: Ask, tenants: TwoTenants, key_ids: dict[str, UUID], operation: Operation
) -> None:
    path, key = path_of(operation, tenants, key_ids), key_of(operation, tenants)
    same(await ask(key, "HEAD", path), await ask(key, "GET", path))
    whole = {"Accept-Encoding": "identity"}
    got = await ask(key, "GET", path, headers=whole)
    for _ in range(2):  # the second may be answered from what is kept
        head = await ask(key, "HEAD", path, headers=whole)
        same(head, got)
        assert int(head.headers["content-length"]) == len(got.content) > 0
        assert set(head.headers) >= {"etag"} | (LISTS_HEADERS if isinstance(got.json(), list) else set())
    known = {"If-None-Match": got.headers["etag"]}
    same(await ask(key, "HEAD", path, headers=known), await ask(key, "GET", path, headers=known))
    assert (await ask(key, "HEAD", path, headers=known)).status_code == 304
    same(await ask(key, "HEAD", f"{path}?_x=1"), await ask(key, "GET", f"{path}?_x=1"))
    for wrong in (f"{path}?page=0", f"{path}?unknown=1"):
        same(await ask(key, "HEAD", wrong), await ask(key, "GET", wrong))
    same(await ask(None, "HEAD", path), await ask(None, "GET", path))


@pytest.mark.parametrize("path", sorted(PUBLIC - {"/metrics"}))
async def test_head_of_public_path_responds_like_get(ask: Ask, path: str) -> None:
    same(await ask(None, "HEAD", SITE + path), await ask(None, "GET", SITE + path))


async def test_head_of_metrics_has_content_length_without_body(ask: Ask) -> None:
    head = await ask(None, "HEAD", f"{SITE}/metrics")
    assert (head.status_code, head.content, int(head.headers["content-length"]) > 100) == (200, b"", True)


@pytest.mark.parametrize("name", ["windsock.css", "windsock.js", "icon.svg", "nothing.js"])
async def test_head_of_static_file_responds_like_get(ask: Ask, name: str) -> None:
    for headers in ({}, {"If-None-Match": "*"}):
        path = f"{SITE}/static/{name}"
        same(await ask(None, "HEAD", path, headers=headers), await ask(None, "GET", path, headers=headers))


async def test_head_of_every_page_has_empty_body(
    client: ValidatingClient, tenants: TwoTenants, bare_app: FastAPI, key_ids: dict[str, UUID]
) -> None:
    signed_in = await client.post(f"{SITE}/sign-in", headers=OWN, data={"api_key": tenants.keys["superadmin"]})
    assert signed_in.status_code == 303
    ids: dict[str, Any] = {**ids_of(tenants, tenants.finance, key_ids), "name": "windsock.css", "token": "x"}
    seen = 0
    for route in iter_route_contexts(bare_app.routes):
        path = str(route.path)
        if not isinstance(route.route, APIRoute) or not is_page(path) or "GET" not in (route.methods or set()):
            continue
        head = await client.head(SITE + path.format(slug="finance", **ids))
        expected = {"/sign-in/link": {401}, "/unsubscribe/{token}": {404}}.get(path, {200, 303})
        assert head.status_code in expected, f"{path} {head.status_code}"
        assert head.content == b"", path
        seen += 1
    assert seen > 10


async def test_head_of_path_without_get_is_405(ask: Ask, tenants: TwoTenants) -> None:
    sync = f"/spaces/finance/orchestration/connectors/{tenants.finance.connector_id}/sync"
    refused = await ask(tenants.keys["editor"], "HEAD", sync)
    assert (refused.status_code, refused.headers["allow"], refused.content) == (405, "POST", b"")
    body = await ask(tenants.keys["editor"], "PATCH", "/spaces/finance/orchestration/runs")
    assert body.headers["allow"] == "GET, HEAD"


async def test_head_request_is_counted_as_head_in_metrics(ask: Ask, tenants: TwoTenants) -> None:
    path = "/spaces/finance/orchestration/pipelines"
    await ask(tenants.keys["viewer"], "HEAD", f"{path}?size=3")
    numbers = (await ask(None, "GET", f"{SITE}/metrics")).text
    heads = [
        line for line in numbers.splitlines() if line.startswith("windsock_http_requests_total") and "HEAD" in line
    ]
    assert any("/pipelines" in line and 'status="200"' in line for line in heads), heads


def test_head_is_absent_from_openapi_document(bare_app: FastAPI) -> None:
    assert not [path for path, methods in bare_app.openapi()["paths"].items() if "head" in methods]
