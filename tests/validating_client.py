"""A client that checks every answer against the OpenAPI models of its route: no key missing, none undocumented."""

from typing import Any
from uuid import UUID

import httpx2
from fastapi import FastAPI
from fastapi.routing import APIRoute, iter_route_contexts
from pydantic import TypeAdapter
from starlette.routing import Match


class ValidatingClient(httpx2.AsyncClient):
    def __init__(self, app: FastAPI, transport: httpx2.AsyncBaseTransport) -> None:
        super().__init__(
            transport=transport, base_url="http://windsock.test/api/v1.0", event_hooks={"response": [self._check]}
        )
        self._app = app

    async def as_(self, key: str | None, method: str, path: str, **more: Any) -> httpx2.Response:
        """A request with an API key; path below /api/v1.0."""
        headers = dict(more.pop("headers", {}))
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        return await self.request(method, path, headers=headers, **more)

    async def _check(self, response: httpx2.Response) -> None:
        await response.aread()
        assert response.headers["x-request-id"]
        if response.request.method == "HEAD":
            assert not response.content
            return
        if response.status_code >= 400:
            check_error(response)
            return
        if response.status_code in {204, 304}:
            assert not response.content
            return
        route = self._route(response.request)
        if route is None or route.response_model is None or response.status_code != (route.status_code or 200):
            return
        if response.headers["content-type"].startswith("text/csv"):
            assert "etag" in response.headers
            return
        if response.headers["content-type"].startswith("text/event-stream"):
            return
        body = response.json()
        checked = TypeAdapter(route.response_model).validate_python(body)
        assert keys_of(TypeAdapter(route.response_model).dump_python(checked, mode="json")) == keys_of(body)
        if isinstance(body, list) and response.request.method == "GET":
            for name in ("x-total-count", "x-page", "x-page-size", "x-total-pages", "etag"):
                assert name in response.headers, f"{name} is missing at {response.request.url}"

    def _route(self, request: httpx2.Request) -> APIRoute | None:
        path = request.url.path.rstrip("/") or "/"
        scope = {"type": "http", "method": request.method, "path": path, "headers": [], "root_path": ""}
        for context in iter_route_contexts(self._app.routes):
            if isinstance(context.route, APIRoute) and context.matches(scope)[0] is Match.FULL:
                return context.route
        return None


def check_error(response: httpx2.Response) -> None:
    """`{"detail": sentence}`, or a list of where, what and which kind; never the value, which may be a secret."""
    detail = response.json()["detail"]
    if "x-provider" in response.headers:  # a status and words that are Airflow's
        assert isinstance(detail, str)
        assert detail
        return
    assert response.status_code < 500 or response.status_code in {502, 503, 504}, response.text
    if isinstance(detail, str):
        assert detail.endswith("."), f"not a sentence: {detail}"
    else:
        assert all(set(item) == {"loc", "msg", "type"} for item in detail)
    if response.status_code == 401:
        assert response.headers["www-authenticate"] == "Bearer"


def keys_of(value: object, path: str = "") -> set[str]:
    """Every key in a JSON value with its path; lists count as one element."""
    if isinstance(value, dict):
        free = path.endswith((".config", ".provider_metadata", ".conf", ".task_counts", ".before", ".after"))
        return (
            {path}
            if free
            else {key for name, inner in value.items() for key in keys_of(inner, f"{path}.{name}")} | {path}
        )
    if isinstance(value, list):
        return {key for inner in value for key in keys_of(inner, f"{path}[]")} | {path}
    return {path}


def is_uuid(text: str) -> bool:
    return str(UUID(text)) == text
