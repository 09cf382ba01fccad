"""Around every request: its id, its size, its numbers, and sentences when something is not there."""

import re
import time
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import httpx2
import psycopg
import pytest
from fastapi import FastAPI
from prometheus_client import REGISTRY

from databases import Databases
from factories import TwoTenants
from validating_client import ValidatingClient
from windsock import log
from windsock.app import create_app
from windsock.context import AppContext
from windsock.db.bootstrap import Storage
from windsock.db.database import Database
from windsock.embedded import EmbeddedPostgres
from windsock.http import middleware
from windsock.http.middleware import METHODS
from windsock.settings import Settings

pytestmark = pytest.mark.anyio
ROOT = "http://windsock.test"
SPACES = "/spaces"


def counted(**labels: str) -> float:
    return REGISTRY.get_sample_value("windsock_http_requests_total", labels) or 0.0


@pytest.mark.parametrize("value", ["abc", "0-a_B/c:%", "x" * 128, "{}", "00-4bf92f3577b34da6a3ce929d0e0e4736-1-01"])
@pytest.mark.parametrize("path", ["/users/me", "/nothing/here", f"{ROOT}/health"])
async def test_valid_request_id_is_returned(
    client: ValidatingClient, tenants: TwoTenants, value: str, path: str
) -> None:
    response = await client.as_(tenants.keys["viewer"], "GET", path, headers={"X-Request-ID": value})
    assert response.headers["x-request-id"] == value


@pytest.mark.parametrize("stdin", [None, "", "a b", "x" * 129, "é".encode(), b"a\x7f", b"\tx y"])
async def test_missing_or_invalid_request_id_is_replaced(client: ValidatingClient, stdin: str | bytes | None) -> None:
    ids = set()
    for _ in range(2):
        sent = stdin.encode() if isinstance(stdin, str) else stdin
        headers = {} if sent is None else {b"X-Request-ID": sent}
        response = (await client.request("GET", "/users/me", headers=headers)).headers["x-request-id"]
        assert str(UUID(response)) == response
        ids.add(response)
    assert len(ids) == 2


@pytest.fixture
def small_app(process: AppContext) -> FastAPI:
    process.settings = process.settings.model_copy(update={"max_body_bytes": 1024})
    application = create_app(process, run_worker=False)
    application.state.db, application.state.secrets = process.db, process.secrets
    return application


@pytest.fixture
async def small(small_app: FastAPI) -> AsyncIterator[ValidatingClient]:
    """Takes bodies of 1024 bytes at most."""
    async with ValidatingClient(small_app, httpx2.ASGITransport(app=small_app)) as validating_client:
        yield validating_client


async def in_pieces(size: int, sent: list[int]) -> AsyncIterator[bytes]:
    for start in range(0, size, 100):
        piece = b" " * min(100, size - start)
        sent.append(len(piece))
        yield piece


@pytest.mark.parametrize("size", [1025, 10**6])
async def test_body_with_excessive_content_length_is_refused(
    small: ValidatingClient, tenants: TwoTenants, size: int
) -> None:
    response = await small.as_(tenants.keys["superadmin"], "POST", SPACES, content=b" " * size)
    assert response.status_code == 413
    assert response.json() == {"detail": "The body is larger than 1024 bytes."}
    assert response.headers["connection"] == "close"


async def test_chunked_body_is_read_only_up_to_limit(small: ValidatingClient, tenants: TwoTenants) -> None:
    sent: list[int] = []
    response = await small.as_(tenants.keys["superadmin"], "POST", SPACES, content=in_pieces(10**6, sent))
    assert response.status_code == 413
    assert sum(sent) <= 1200


@pytest.mark.parametrize("declared", ["-1", "1e3", "x", "9" * 30])
async def test_invalid_content_length_is_refused(small: ValidatingClient, tenants: TwoTenants, declared: str) -> None:
    headers = {"Content-Length": declared}
    response = await small.as_(tenants.keys["superadmin"], "POST", SPACES, content=b"{}", headers=headers)
    assert response.status_code == 413


async def test_body_of_exactly_the_limit_is_accepted_whole_or_chunked(
    small: ValidatingClient, tenants: TwoTenants
) -> None:
    for number, is_streamed in enumerate((False, True)):
        body = f'{{"slug": "s{number}", "name": "S"'.encode()
        body += b" " * (1023 - len(body)) + b"}"

        async def pieces(whole: bytes = body) -> AsyncIterator[bytes]:
            for start in range(0, len(whole), 100):
                yield whole[start : start + 100]

        content: Any = pieces() if is_streamed else body
        headers = {"Content-Type": "application/json"}
        response = await small.as_(tenants.keys["superadmin"], "POST", SPACES, content=content, headers=headers)
        assert (response.status_code, response.json()["slug"]) == (201, f"s{number}")


@pytest.mark.parametrize(
    ("method", "path", "status", "sentence"),
    [
        ("GET", "/nothing", 404, "There is nothing at /api/v1.0/nothing."),
        ("POST", f"{ROOT}/", 405, "POST is not possible at /."),
        ("GET", f"{ROOT}/nothing", 404, "There is nothing at /nothing."),
        ("GET", f"{ROOT}/api/v2/dags", 404, "There is nothing at /api/v2/dags."),
        ("PUT", "/users/me", 405, "PUT is not possible at /api/v1.0/users/me."),
        ("DELETE", "/spaces/", 405, "DELETE is not possible at /api/v1.0/spaces."),
        ("PURGE", "/spaces", 405, "PURGE is not possible at /api/v1.0/spaces."),
    ],
)
async def test_unknown_path_or_method_returns_message(
    client: ValidatingClient, method: str, path: str, status: int, sentence: str
) -> None:
    response = await client.request(method, path)
    assert (response.status_code, response.json()) == (status, {"detail": sentence})
    assert ("allow" in response.headers) is (status == 405)
    if path.startswith("/spaces") and status == 405:
        assert response.headers["allow"] == "GET, HEAD, POST"


async def test_health_needs_no_key(client: ValidatingClient) -> None:
    alive = await client.request("GET", f"{ROOT}/health")
    assert (alive.status_code, alive.json()["status"]) == (200, "ok")
    ready = await client.request("GET", f"{ROOT}/health/ready/")
    assert (ready.status_code, ready.json()) == (200, {"status": "ready"})


async def test_requests_are_counted_by_route_not_by_path(client: ValidatingClient, tenants: TwoTenants) -> None:
    template = "/spaces/{slug}/orchestration/pipelines/{pipeline_id}"
    before = {status: counted(method="GET", route=template, status=status) for status in ("200", "404", "403")}
    for slug, pipeline_id in (
        ("finance", tenants.finance.pipelines["daily_report"]),
        ("finance", uuid4()),
        ("finance", uuid4()),
        (f"space-{uuid4()}", uuid4()),
    ):
        await client.as_(tenants.keys["viewer"], "GET", f"/spaces/{slug}/orchestration/pipelines/{pipeline_id}/")
    more = {status: counted(method="GET", route=template, status=status) - before[status] for status in before}
    assert more == {"200": 1, "404": 2, "403": 1}


async def test_unknown_paths_and_methods_share_one_metric_label(client: ValidatingClient) -> None:
    unknown = {"method": "GET", "route": "unmatched", "status": "404"}
    before = counted(**unknown)
    paths = [f"/planted-{number}-{uuid4()}" for number in range(20)]
    for path in paths:
        await client.request("GET", path)
    for method in ("PLANTED", f"M{uuid4().hex}"):
        await client.request(method, "/users/me")
    await client.request("PUT", "/spaces/planted-slug/members")
    assert counted(**unknown) == before + 20
    text = (await client.request("GET", f"{ROOT}/metrics")).text
    assert "planted" not in text.lower()
    labels = set(re.findall(r'windsock_http_requests_total{method="(\w+)",route="([^"]*)"', text))
    assert {method for method, _ in labels} <= METHODS | {"other"}
    assert all(route == "unmatched" or route.startswith("/") for _, route in labels)


async def test_metrics_are_in_prometheus_format(client: ValidatingClient) -> None:
    await client.request("GET", "/users/me")
    response = await client.request("GET", f"{ROOT}/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=")
    assert 'windsock_http_requests_total{method="GET",route="/users/me",status="401"}' in response.text
    assert 'windsock_http_request_seconds_bucket{le="0.1",method="GET",route="/users/me"}' in response.text


@pytest.fixture
async def alone(postgres: EmbeddedPostgres, make_database: Databases) -> AsyncIterator[ValidatingClient]:
    """An application with a pool of its own, on a database that tests may take away."""
    url = make_database("taken_away")
    process = AppContext(Settings(), Storage(url, ("vGFMTXl3CE0sRhXKmkRCDFqxOAJJjTGGNStRkZ0xoT0=",), None))
    process.db._pool.timeout = 2
    app = create_app(process, run_worker=False)
    app.state.db = process.db
    await process.db.open()
    try:
        async with ValidatingClient(app, httpx2.ASGITransport(app=app)) as validating_client:
            yield validating_client
    finally:
        await process.db.close()
        do(postgres, "DROP DATABASE taken_away WITH (FORCE)")


def do(postgres: EmbeddedPostgres, *statements: str) -> None:
    with psycopg.connect(postgres.url(user="postgres", database="postgres"), autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


KILL = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = 'taken_away'"


async def test_database_outage_returns_503_with_retry_after(
    alone: ValidatingClient, postgres: EmbeddedPostgres
) -> None:
    assert (await alone.as_("wsk_unknown", "GET", "/users/me")).status_code == 401
    do(postgres, KILL)
    assert (await alone.as_("wsk_unknown", "GET", "/users/me")).status_code == 401  # on a new connection
    do(postgres, "ALTER DATABASE taken_away ALLOW_CONNECTIONS false", KILL)
    response = await alone.as_("wsk_unknown", "GET", "/users/me")
    assert response.status_code == 503
    assert response.headers["retry-after"] == "5"
    assert response.json() == {
        "detail": "The database cannot be reached right now. Nothing was changed; try again in a moment."
    }
    ready = await alone.request("GET", f"{ROOT}/health/ready")
    assert (ready.status_code, ready.json()["status"]) == (503, "not ready")
    assert (await alone.request("GET", f"{ROOT}/health")).status_code == 200
    do(postgres, "ALTER DATABASE taken_away ALLOW_CONNECTIONS true")
    until = time.monotonic() + 8
    while (reply := await alone.as_("wsk_unknown", "GET", "/users/me")).status_code == 503:
        assert time.monotonic() < until
    assert reply.status_code == 401


async def test_request_interrupted_by_database_outage_is_503(
    alone: ValidatingClient, postgres: EmbeddedPostgres
) -> None:
    db: Database = alone._app.state.db
    with pytest.raises(Exception, match="The database cannot be reached right now"):  # noqa: PT012 - in the middle
        async with db.transaction() as tx:
            do(postgres, KILL)
            await tx.fetch_all(ONE)
    assert (await alone.as_("wsk_unknown", "GET", "/users/me")).status_code == 401


ONE: Any = "SELECT 1"


async def test_long_path_is_truncated_in_log_and_response(
    client: ValidatingClient, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    log.configure("json", "info")
    try:
        response = await client.request("GET", f"{ROOT}/{'x' * 60_000}")
    finally:
        log.configure("json", "warning")
    assert response.status_code == 404
    assert len(response.content) < 1000
    assert len(capsys.readouterr().err) + len(caplog.text) < 2000


@pytest.mark.parametrize("path", [f"{ROOT}/health", f"{ROOT}/nothing", f"{ROOT}/metrics", "/users/me", f"{ROOT}/docs"])
async def test_every_response_sets_nosniff(client: ValidatingClient, path: str) -> None:
    response = await client.request("GET", path)
    assert response.headers.get_list("x-content-type-options") == ["nosniff"]


async def test_requests_beyond_limit_are_refused_while_health_responds(
    client: ValidatingClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(middleware, "MAX_IN_FLIGHT", 0)
    refused = await client.request("GET", "/users/me")
    assert (refused.status_code, refused.json()) == (503, {"detail": middleware.TOO_BUSY})
    assert refused.headers["retry-after"] == "1"
    assert (await client.request("GET", f"{ROOT}/health")).status_code == 200
    ready = await client.request("GET", f"{ROOT}/health/ready")
    assert (ready.status_code, ready.json()["status"]) == (503, "not ready")
