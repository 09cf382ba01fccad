"""Walks the application: no route without a permission, a summary, a shape and its headers."""

import inspect
from typing import Any, get_origin
from uuid import uuid4

import pytest
from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, RouteContext, iter_route_contexts
from httpx2 import AsyncClient

from factories import TwoTenants
from invariants.conftest import Ask
from invariants.operations import API, OPERATIONS, PAGES_TO_SIGN_IN, PUBLIC, Operation, documented, ids_of, is_page
from validating_client import ValidatingClient
from windsock.auth.permissions import (
    CONDITIONAL_VIEW,
    CONDITIONAL_VIEW_BY_MINUTE,
    PAGE_PERMISSIONS,
    PERMISSIONS,
    require_session,
    require_superadmin_session,
)
from windsock.http.pagination import LIST_HEADERS

_PERMISSIONS: frozenset[Any] = PERMISSIONS
OF_PAGES: set[Any] = {*PAGE_PERMISSIONS.values(), require_session, require_superadmin_session}
SITE = "http://windsock.test"
OF_A_SPACE = {permission for permission in _PERMISSIONS if "slug" in inspect.signature(permission).parameters}


def routes(app: FastAPI) -> list[RouteContext]:
    return list(iter_route_contexts(app.routes))


def guarded(app: FastAPI) -> list[RouteContext]:
    return [route for route in routes(app) if route.path not in PUBLIC | PAGES_TO_SIGN_IN]


def of_the_api(app: FastAPI) -> list[RouteContext]:
    return [route for route in guarded(app) if not is_page(str(route.path))]


def pages(app: FastAPI) -> list[RouteContext]:
    return [route for route in guarded(app) if is_page(str(route.path))]


def required_permissions(dependant: Dependant) -> set[Any]:
    """The permissions anywhere in a dependency tree."""
    below = [required_permissions(inner) for inner in dependant.dependencies]
    return ({dependant.call} & PERMISSIONS).union(*below)


def test_every_route_requires_permission_or_is_public(bare_app: FastAPI) -> None:
    assert OF_A_SPACE
    assert OF_A_SPACE < PERMISSIONS
    for route in guarded(bare_app):
        assert isinstance(route.route, APIRoute), f"{route.path} is no API route and is not on the public list"
        assert required_permissions(route.dependant), f"{route.methods} {route.path} asks for no permission"


def called_by(dependant: Dependant) -> set[Any]:
    """The route's function and all that its parameters come from."""
    return {dependant.call}.union(*(called_by(inner) for inner in dependant.dependencies))


def test_every_endpoint_and_dependency_is_coroutine(bare_app: FastAPI) -> None:
    """FastAPI calls what is no coroutine function in a thread of a pool: for each of them a request waits twice."""
    for route in routes(bare_app):
        for call in called_by(route.dependant) if isinstance(route.route, APIRoute) else ():
            is_coroutine = inspect.iscoroutinefunction(call) or inspect.iscoroutinefunction(type(call).__call__)
            assert is_coroutine, f"{route.path}: {call} is to be `async def`"


def test_every_route_with_slug_requires_permission_in_that_space(bare_app: FastAPI) -> None:
    for route in guarded(bare_app):
        path = str(route.path)
        assert bool(required_permissions(route.dependant) & OF_A_SPACE) == ("{slug}" in path), f"{route.methods} {path}"
        assert ("/spaces/{" in path) == ("/spaces/{slug}" in path), f"{path} names its space otherwise"


def test_conditional_routes_only_read(bare_app: FastAPI) -> None:
    """A 304 is sent before the response is built: its ETag covers only what any viewer of the space may read."""
    compared = {CONDITIONAL_VIEW, CONDITIONAL_VIEW_BY_MINUTE}
    conditional = [route for route in guarded(bare_app) if called_by(route.dependant) & compared]
    assert len(conditional) > 5
    for route in conditional:
        assert required_permissions(route.dependant) & OF_A_SPACE <= compared, route.path
        assert route.methods == {"GET"}


def test_every_public_route_exists_and_only_reads(bare_app: FastAPI) -> None:
    public = {route.path: route.methods or set() for route in routes(bare_app) if route.path in PUBLIC}
    assert set(public) == PUBLIC
    assert all(methods <= {"GET", "HEAD"} for methods in public.values())


def test_every_route_is_in_the_openapi_document(bare_app: FastAPI) -> None:
    """What is hidden from it would be hidden from the matrix of callers as well."""
    shown = set(documented(bare_app))
    for route in of_the_api(bare_app):
        for method in route.methods or set():
            assert (method, str(route.path).removeprefix(API)) in shown, f"{method} {route.path}"


def test_route_methods_and_paths_are_unique(bare_app: FastAPI) -> None:
    seen = [(method, route.path_format) for route in routes(bare_app) for method in sorted(route.methods or set())]
    assert len(seen) == len(set(seen))


def test_every_route_has_a_summary(bare_app: FastAPI) -> None:
    for route in routes(bare_app):
        if isinstance(route.route, APIRoute) and not is_page(str(route.path)):
            assert route.summary, f"{route.methods} {route.path} has no summary"


def test_every_response_body_declares_its_schema(bare_app: FastAPI) -> None:
    for route in of_the_api(bare_app):
        assert (route.response_model is None) == (route.status_code == 204), f"{route.methods} {route.path}"


def test_every_list_documents_pagination_headers(bare_app: FastAPI) -> None:
    lists = [route for route in guarded(bare_app) if get_origin(route.response_model) is list]
    assert len(lists) > 5
    for route in lists:
        operation = documented(bare_app)["GET", str(route.path).removeprefix(API)]
        assert set(operation["responses"]["200"].get("headers", {})) >= set(LIST_HEADERS), route.path
        assert {"page", "size"} <= {parameter["name"] for parameter in operation["parameters"]}, route.path


def test_pages_require_session_and_api_requires_key(bare_app: FastAPI) -> None:
    """A cookie that opened the API would let any other site call it; a key has no business in a page."""
    assert len(pages(bare_app)) > 10
    for route in pages(bare_app):
        assert required_permissions(route.dependant) <= OF_PAGES, route.path
        assert not route.include_in_schema
    for route in of_the_api(bare_app):
        assert not required_permissions(route.dependant) & OF_PAGES, route.path


@pytest.mark.anyio
@pytest.mark.parametrize("session", [None, "stranger", "viewer"])
async def test_pages_require_session_membership_and_same_origin(
    client: ValidatingClient, bare_app: FastAPI, tenants: TwoTenants, key_ids: dict[str, Any], session: str | None
) -> None:
    """Whoever signed in, by whatever: a page of a space is for its members, and a form only from a page of ours."""
    browser = AsyncClient(transport=client._transport, base_url=SITE)
    own = {"Origin": "http://windsock.test", "Accept": "text/html"}
    ids = ids_of(tenants, tenants.finance, key_ids) | {"session_id": uuid4(), "view_id": uuid4()}
    if session is not None:
        response = await browser.post("/sign-in", headers=own, data={"api_key": tenants.keys[session]})
        own["Cookie"] = response.headers["set-cookie"].split(";")[0]
    for route in sorted(pages(bare_app), key=lambda item: item.path == "/sign-out"):
        path = str(route.path).format(slug="finance", **ids)
        for method in sorted(route.methods or set()):
            if session != "viewer":
                reply = await browser.request(method, path, headers=own)
                refused = "{slug}" in str(route.path) or session is None
                expected = 303 if session is None else 403
                assert not refused or reply.status_code == expected, f"{method} {route.path}"
                assert session or reply.headers["location"].startswith("/sign-in"), route.path
            if method != "GET":
                foreign = own | {"Origin": "https://elsewhere.example"}
                assert (await browser.request(method, path, headers=foreign)).status_code == 403, (
                    f"{method} {route.path}"
                )


@pytest.mark.anyio
@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
async def test_trailing_slash_yields_same_response(
    ask: Ask, tenants: TwoTenants, key_ids: dict[str, Any], operation: Operation
) -> None:
    path = operation.path.format(slug="finance", **ids_of(tenants, tenants.finance, key_ids))
    key = tenants.keys["viewer" if operation.least == "caller" else operation.permitted_caller]
    without, with_slash = [await ask(key, operation.method, path + end, json=operation.body) for end in ("", "/")]
    assert without.status_code == with_slash.status_code == operation.status
    if operation.method == "GET":
        assert without.content == with_slash.content


@pytest.mark.anyio
@pytest.mark.parametrize("path", sorted(PUBLIC))
async def test_public_route_needs_no_key(ask: Ask, path: str) -> None:
    for end in ("", "/"):
        assert (await ask(None, "GET", f"http://windsock.test{path}{end}")).status_code == 200
