"""Around every request: its id, its size, its numbers, and sentences when something is not there."""

import re
import time
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import UUID, uuid4

import httpx2
import psycopg
import pytest
from fastapi import FastAPI
from prometheus_client import REGISTRY

from checking import CheckedClient
from windsock import log, middleware
from windsock.app import create_app
from windsock.bootstrap import Storage
from windsock.context import AppContext
from windsock.db import Database
from windsock.embedded import EmbeddedPostgres
from windsock.middleware import METHODS
from windsock.settings import Settings
from world import World

pytestmark = pytest.mark.anyio
ROOT = "http://windsock.test"
SPACES = "/spaces"


def counted(**labels: str) -> float:
    return REGISTRY.get_sample_value("windsock_http_requests_total", labels) or 0.0


@pytest.mark.parametrize("given", ["abc", "0-a_B/c:%", "x" * 128, "{}", "00-4bf92f3577b34da6a3ce929d0e0e4736-1-01"])
@pytest.mark.parametrize("path", ["/users/me", "/nothing/here", f"{ROOT}/health"])
async def test_a_request_id_is_taken_over(client: CheckedClient, world: World, given: str, path: str) -> None:
    answer = await client.as_(world.keys["viewer"], "GET", path, headers={"X-Request-ID": given})
    assert answer.headers["x-request-id"] == given


@pytest.mark.parametrize("given", [None, "", "a b", "x" * 129, "é".encode(), b"a\x7f", b"\tx y"])
async def test_a_missing_or_bad_request_id_is_replaced(client: CheckedClient, given: str | bytes | None) -> None:
    ids = set()
    for _ in range(2):
        sent = given.encode() if isinstance(given, str) else given
        headers = {} if sent is None else {b"X-Request-ID": sent}
        made = (await client.request("GET", "/users/me", headers=headers)).headers["x-request-id"]
        assert str(UUID(made)) == made
        ids.add(made)
    assert len(ids) == 2


@pytest.fixture
def small_app(process: AppContext) -> FastAPI:
    process.settings = process.settings.model_copy(update={"max_body_bytes": 1024})
    made = create_app(process, run_worker=False)
    made.state.db, made.state.secrets = process.db, process.secrets
    return made


@pytest.fixture
async def small(small_app: FastAPI) -> AsyncIterator[CheckedClient]:
    """Takes bodies of 1024 bytes at most."""
    async with CheckedClient(small_app, httpx2.ASGITransport(app=small_app)) as made:
        yield made


async def in_pieces(size: int, sent: list[int]) -> AsyncIterator[bytes]:
    for start in range(0, size, 100):
        piece = b" " * min(100, size - start)
        sent.append(len(piece))
        yield piece


@pytest.mark.parametrize("size", [1025, 10**6])
async def test_a_body_that_says_it_is_too_large_is_refused(small: CheckedClient, world: World, size: int) -> None:
    answer = await small.as_(world.keys["superadmin"], "POST", SPACES, content=b" " * size)
    assert answer.status_code == 413
    assert answer.json() == {"detail": "The body is larger than 1024 bytes."}
    assert answer.headers["connection"] == "close"


async def test_a_body_in_pieces_is_read_only_up_to_the_limit(small: CheckedClient, world: World) -> None:
    sent: list[int] = []
    answer = await small.as_(world.keys["superadmin"], "POST", SPACES, content=in_pieces(10**6, sent))
    assert answer.status_code == 413
    assert sum(sent) <= 1200


@pytest.mark.parametrize("declared", ["-1", "1e3", "x", "9" * 30])
async def test_a_length_that_makes_no_sense_is_refused(small: CheckedClient, world: World, declared: str) -> None:
    headers = {"Content-Length": declared}
    answer = await small.as_(world.keys["superadmin"], "POST", SPACES, content=b"{}", headers=headers)
    assert answer.status_code == 413


async def test_a_body_of_just_the_limit_is_read_whole_in_one_or_many_pieces(small: CheckedClient, world: World) -> None:
    for number, is_streamed in enumerate((False, True)):
        body = f'{{"slug": "s{number}", "name": "S"'.encode()
        body += b" " * (1023 - len(body)) + b"}"

        async def pieces(whole: bytes = body) -> AsyncIterator[bytes]:
            for start in range(0, len(whole), 100):
                yield whole[start : start + 100]

        content: Any = pieces() if is_streamed else body
        headers = {"Content-Type": "application/json"}
        answer = await small.as_(world.keys["superadmin"], "POST", SPACES, content=content, headers=headers)
        assert (answer.status_code, answer.json()["slug"]) == (201, f"s{number}")


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
async def test_what_is_not_there_is_said_in_a_sentence(
    client: CheckedClient, method: str, path: str, status: int, sentence: str
) -> None:
    answer = await client.request(method, path)
    assert (answer.status_code, answer.json()) == (status, {"detail": sentence})
    assert ("allow" in answer.headers) is (status == 405)
    if path.startswith("/spaces") and status == 405:
        assert answer.headers["allow"] == "GET, HEAD, POST"


async def test_health_needs_no_key(client: CheckedClient) -> None:
    alive = await client.request("GET", f"{ROOT}/health")
    assert (alive.status_code, alive.json()["status"]) == (200, "ok")
    ready = await client.request("GET", f"{ROOT}/health/ready/")
    assert (ready.status_code, ready.json()) == (200, {"status": "ready"})


async def test_requests_are_counted_by_their_route_not_by_their_path(client: CheckedClient, world: World) -> None:
    template = "/spaces/{slug}/orchestration/pipelines/{pipeline_id}"
    before = {status: counted(method="GET", route=template, status=status) for status in ("200", "404", "403")}
    for slug, pipeline_id in (
        ("finance", world.finance.pipelines["daily_report"]),
        ("finance", uuid4()),
        ("finance", uuid4()),
        (f"space-{uuid4()}", uuid4()),
    ):
        await client.as_(world.keys["viewer"], "GET", f"/spaces/{slug}/orchestration/pipelines/{pipeline_id}/")
    more = {status: counted(method="GET", route=template, status=status) - before[status] for status in before}
    assert more == {"200": 1, "404": 2, "403": 1}


async def test_whatever_is_unknown_shares_one_label(client: CheckedClient) -> None:
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


async def test_metrics_are_for_prometheus(client: CheckedClient) -> None:
    await client.request("GET", "/users/me")
    answer = await client.request("GET", f"{ROOT}/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert 'windsock_http_requests_total{method="GET",route="/users/me",status="401"}' in answer.text
    assert 'windsock_http_request_seconds_bucket{le="0.1",method="GET",route="/users/me"}' in answer.text


@pytest.fixture
async def alone(postgres: EmbeddedPostgres, make_database: Callable[[str], str]) -> AsyncIterator[CheckedClient]:
    """An application with a pool of its own, on a database that tests may take away."""
    url = make_database("taken_away")
    process = AppContext(Settings(), Storage(url, ("vGFMTXl3CE0sRhXKmkRCDFqxOAJJjTGGNStRkZ0xoT0=",), None))
    process.db._pool.timeout = 2
    app = create_app(process, run_worker=False)
    app.state.db = process.db
    await process.db.open()
    try:
        async with CheckedClient(app, httpx2.ASGITransport(app=app)) as made:
            yield made
    finally:
        await process.db.close()
        do(postgres, "DROP DATABASE taken_away WITH (FORCE)")


def do(postgres: EmbeddedPostgres, *statements: str) -> None:
    with psycopg.connect(postgres.url(user="postgres", database="postgres"), autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


KILL = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = 'taken_away'"


async def test_while_the_database_is_gone_callers_are_told_to_come_back(
    alone: CheckedClient, postgres: EmbeddedPostgres
) -> None:
    assert (await alone.as_("wsk_unknown", "GET", "/users/me")).status_code == 401
    do(postgres, KILL)
    assert (await alone.as_("wsk_unknown", "GET", "/users/me")).status_code == 401  # on a new connection
    do(postgres, "ALTER DATABASE taken_away ALLOW_CONNECTIONS false", KILL)
    gone = await alone.as_("wsk_unknown", "GET", "/users/me")
    assert gone.status_code == 503
    assert gone.headers["retry-after"] == "5"
    assert gone.json() == {
        "detail": "The database cannot be reached right now. Nothing was changed; try again in a moment."
    }
    ready = await alone.request("GET", f"{ROOT}/health/ready")
    assert (ready.status_code, ready.json()["status"]) == (503, "not ready")
    assert (await alone.request("GET", f"{ROOT}/health")).status_code == 200
    do(postgres, "ALTER DATABASE taken_away ALLOW_CONNECTIONS true")
    until = time.monotonic() + 8
    while (answer := await alone.as_("wsk_unknown", "GET", "/users/me")).status_code == 503:
        assert time.monotonic() < until
    assert answer.status_code == 401


async def test_a_request_that_the_database_leaves_in_the_middle_is_told_so(
    alone: CheckedClient, postgres: EmbeddedPostgres
) -> None:
    db: Database = alone._app.state.db
    with pytest.raises(Exception, match="The database cannot be reached right now"):  # noqa: PT012 - in the middle
        async with db.transaction() as tx:
            do(postgres, KILL)
            await tx.fetch_all(ONE)
    assert (await alone.as_("wsk_unknown", "GET", "/users/me")).status_code == 401


ONE: Any = "SELECT 1"


async def test_long_path_is_cut_in_the_log_and_in_the_answer(
    client: CheckedClient, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    log.configure("json", "info")
    try:
        answer = await client.request("GET", f"{ROOT}/{'x' * 60_000}")
    finally:
        log.configure("json", "warning")
    assert answer.status_code == 404
    assert len(answer.content) < 1000
    assert len(capsys.readouterr().err) + len(caplog.text) < 2000


@pytest.mark.parametrize("path", [f"{ROOT}/health", f"{ROOT}/nothing", f"{ROOT}/metrics", "/users/me", f"{ROOT}/docs"])
async def test_every_answer_forbids_guessing_its_type(client: CheckedClient, path: str) -> None:
    answer = await client.request("GET", path)
    assert answer.headers.get_list("x-content-type-options") == ["nosniff"]


async def test_requests_beyond_the_limit_are_refused_and_health_is_answered(
    client: CheckedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(middleware, "MAX_IN_FLIGHT", 0)
    refused = await client.request("GET", "/users/me")
    assert (refused.status_code, refused.json()) == (503, {"detail": middleware.TOO_BUSY})
    assert refused.headers["retry-after"] == "1"
    assert (await client.request("GET", f"{ROOT}/health")).status_code == 200
    ready = await client.request("GET", f"{ROOT}/health/ready")
    assert (ready.status_code, ready.json()["status"]) == (503, "not ready")
