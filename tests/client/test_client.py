"""The client: what is sent again and what never is, pages one after the other, errors a person understands."""

import inspect
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from fastapi import FastAPI

from conftest import SECRET_KEY
from databases import Databases
from live_server import LiveServer, serve_two_tenants
from windsock.client import (
    ApiError,
    AsyncClient,
    Client,
    ClientError,
    ConnectionFailed,
    Forbidden,
    Invalid,
    NotAuthenticated,
    NotFound,
    ServerError,
)

ME = {"id": str(uuid4()), "email": "a@example.com", "name": "A", "is_superadmin": False, "spaces": []}
RUN_ID = uuid4()


@pytest.fixture(scope="module")
def live(make_database: Databases) -> Iterator[LiveServer]:
    with serve_two_tenants(make_database, SECRET_KEY) as server:
        yield server


@pytest.fixture
def client(live: LiveServer) -> Iterator[Client]:
    with Client(live.url, live.tenants.keys["editor"], space="finance") as created:
        yield created


class Script:
    """Answers in turn; an exception is raised instead. Without pauses between."""

    def __init__(self, *responses: Any) -> None:
        self.responses = list(responses)
        self.requests: list[httpx2.Request] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        response = self.responses.pop(0)
        if isinstance(response, Exception):
            raise response
        status, body, *headers = response
        return httpx2.Response(status, json=body, headers=headers[0] if headers else {})


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    slept: list[float] = []
    monkeypatch.setattr("windsock.client.client.time.sleep", slept.append)
    return slept


def scripted(*responses: Any) -> tuple[Client, Script]:
    script = Script(*responses)
    return Client("http://w.test", "wsk_x", space="finance", transport=httpx2.MockTransport(script)), script


LOST, UNSENT = httpx2.ReadError("cut"), httpx2.ConnectError("refused")
AWAY = (503, {"detail": "The database is away."}, {"Retry-After": "7"})
REFUSED_BY_AIRFLOW = (404, {"detail": "no such Dag"}, {"X-Provider": "airflow"})
BUSY_AIRFLOW = (429, {"detail": "slow down"}, {"X-Provider": "airflow"})


@pytest.mark.parametrize(
    ("what", "responses", "requests"),
    [
        ("get", [LOST, UNSENT, (200, ME)], 3),
        ("get", [(502, {"detail": "x"}), (504, {"detail": "x"}), (200, ME)], 3),
        ("get", [(500, {"detail": "x"})], 1),
        ("get", [(429, {"detail": "x"}), (200, ME)], 2),
        ("get", [LOST, LOST, LOST], 3),
        ("get", [(404, {"detail": "x"})], 1),
        ("comment", [LOST], 1),
        ("comment", [AWAY], 1),
        ("comment", [UNSENT, (404, {"detail": "x"})], 2),
        ("trigger", [LOST, AWAY, (404, {"detail": "x"})], 3),
        ("trigger", [REFUSED_BY_AIRFLOW], 1),
        ("trigger", [BUSY_AIRFLOW], 1),
        ("sync", [LOST, (409, {"detail": "x"})], 2),
    ],
)
@pytest.mark.usefixtures("pauses")
def test_client_retries_only_requests_that_are_safe_to_repeat(what: str, responses: list[Any], requests: int) -> None:
    client, script = scripted(*responses)
    calls: dict[str, Callable[[], Any]] = {
        "get": client.me,
        "comment": lambda: client.comment_on_run(RUN_ID, "hello"),
        "trigger": lambda: client.trigger(RUN_ID),
        "sync": lambda: client.sync(RUN_ID),
    }
    if responses[-1] == (200, ME):
        calls[what]()
    else:
        with pytest.raises(ClientError):
            calls[what]()
    assert len(script.requests) == requests
    keys = {request.headers.get("idempotency-key") for request in script.requests}
    assert len(keys) == 1
    assert (None in keys) == (what != "trigger")


def test_client_honours_retry_after_up_to_30_seconds(pauses: list[float]) -> None:
    client, _ = scripted(AWAY, (503, {"detail": "x"}, {"Retry-After": "9999"}), (200, ME))
    client.me()
    assert pauses == [7.0, 30.0]


def test_explicit_idempotency_key_is_sent_unaltered() -> None:
    client, script = scripted((409, {"detail": "another body."}))
    with pytest.raises(ApiError):
        client.trigger(RUN_ID, idempotency_key="monday")
    assert script.requests[0].headers["idempotency-key"] == "monday"


@pytest.mark.parametrize(
    ("response", "kind", "words"),
    [
        ((401, {"detail": "Make another key."}), NotAuthenticated, "Make another key."),
        ((403, {"detail": "Not a member."}), Forbidden, "Not a member."),
        ((404, {"detail": "There is no such run."}), NotFound, "There is no such run."),
        (
            (401, {"detail": "Invalid credentials"}, {"X-Provider": "airflow"}),
            ApiError,
            "Airflow answered 401: Invalid",
        ),
        (
            (422, {"detail": [{"loc": ["body", "content"], "msg": "too short", "type": "x"}]}),
            Invalid,
            "body.content: too short.",
        ),
        ((500, {"detail": "A fault."}, {"X-Request-ID": "r-1"}), ServerError, r"A fault\. \(X-Request-ID r-1\)"),
        ((418, {"nothing": 1}), ApiError, "not as Windsock does"),
        ((200, {"nothing": 1}), ServerError, "does not understand"),
    ],
)
def test_client_error_message_is_actionable(response: Any, kind: type[ClientError], words: str) -> None:
    client, _ = scripted(response)
    with pytest.raises(kind, match=words) as caught:
        client.me()
    assert type(caught.value) is kind


@pytest.mark.usefixtures("pauses")
def test_connection_error_names_server_without_api_key() -> None:
    client = Client("http://127.0.0.1:9", "wsk_secret", space="finance")
    with pytest.raises(ConnectionFailed, match=r"127\.0\.0\.1:9 cannot be reached") as caught:
        client.me()
    assert "wsk_secret" not in str(caught.value) + repr(client) + repr(client._target)


@pytest.mark.parametrize("url", ["", "localhost:8420", "ftp://x", "http://[", "http://"])
def test_invalid_url_raises_actionable_error(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("windsock.client.request_flow.DEFAULT_URL", "nothing at all")
    with pytest.raises(ConnectionFailed, match="Check the address"):
        Client(url, "wsk_x").me()


@pytest.mark.parametrize("key", ["", "wsk_ü", "two words", "wsk_a\nb"])
def test_malformed_api_key_is_rejected_at_construction(key: str) -> None:
    with pytest.raises(ClientError, match="key"):
        Client("http://w.test", key)


def test_client_without_space_raises_error_naming_setting() -> None:
    with pytest.raises(ClientError, match="WINDSOCK_SPACE"):
        next(Client("http://w.test", "wsk_x").pipelines())


def test_client_and_async_client_have_identical_signatures() -> None:
    def methods(kind: type) -> dict[str, Any]:
        return {
            name.removeprefix("a") if name == "aclose" else name: str(inspect.signature(method)).split(
                " -> ", maxsplit=1
            )[0]
            for name, method in inspect.getmembers(kind, inspect.isfunction)
            if not name.startswith("_")
        }

    assert methods(Client) == methods(AsyncClient)
    assert len(methods(Client)) > 20


def test_list_methods_paginate_lazily(client: Client, live: LiveServer) -> None:
    names = [pipeline.name for pipeline in client.pipelines(size=1)]
    assert names == ["daily_report", "hourly_load", "never_run"]
    few = client.runs(size=1)
    assert next(few).pipeline.name == "hourly_load"
    assert [run.external_id for run in client.runs_of(live.tenants.finance.pipelines["daily_report"])][-1] == "r1"


def test_list_methods_follow_the_cursor_where_there_is_one() -> None:
    client, script = scripted((200, [], {"X-Next-Cursor": "behind", "X-Total-Pages": "2"}), (200, []))
    assert list(client.incidents(kind="failed")) == []
    first, second = (dict(request.url.params) for request in script.requests)
    assert (first, second) == ({"kind": "failed"}, {"kind": "failed", "cursor": "behind"})


def test_list_methods_support_api_filters(client: Client, live: LiveServer) -> None:
    assert [p.name for p in client.pipelines(owner=["bob", "nobody"], watched_only=False)] == ["hourly_load"]
    assert [p.name for p in client.pipelines(team_id=live.tenants.finance.team_id)] == ["hourly_load"]
    since = datetime(2020, 1, 1, tzinfo=UTC)
    assert [r.status for r in client.runs(started_from=since, status="failed")] == ["failed"]
    with pytest.raises(ValueError, match="offset"):
        client.runs(started_from=datetime(2020, 1, 1))  # noqa: DTZ001 - that is the point
    with pytest.raises(Invalid, match=r"query\.sort"):
        list(client.pipelines(sort="colour"))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("pipelines", "/spaces/{slug}/orchestration/pipelines"),
        ("runs", "/spaces/{slug}/orchestration/runs"),
        ("runs_of", "/spaces/{slug}/orchestration/pipelines/{pipeline_id}/runs"),
        ("task_runs", "/spaces/{slug}/orchestration/runs/{run_id}/task-runs"),
        ("fingerprints", "/spaces/{slug}/orchestration/fingerprints"),
        ("incidents", "/spaces/{slug}/incidents"),
        ("messages", "/spaces/{slug}/notifications/messages"),
        ("syncs", "/catalog/spaces/{slug}/sync-history"),
        ("audit_events", "/spaces/{slug}/audit-events"),
    ],
)
def test_list_methods_accept_exactly_api_parameters(bare_app: FastAPI, method: str, path: str) -> None:
    operation = bare_app.openapi()["paths"][f"/api/v1.0{path}"]["get"]
    known = {parameter["name"] for parameter in operation["parameters"] if parameter["in"] == "query"}
    for kind in (Client, AsyncClient):
        taken = inspect.signature(getattr(kind, method)).parameters
        keywords = {name for name, item in taken.items() if item.kind is inspect.Parameter.KEYWORD_ONLY}
        assert keywords == known - {"page", "cursor"}
        assert not [item for item in taken.values() if item.kind is inspect.Parameter.VAR_KEYWORD]
        client = kind("http://w.test", "wsk_x", space="finance")
        ids = [RUN_ID] if {"runs_of", "task_runs"} & {method} else []
        with pytest.raises(TypeError, match="staus"):
            getattr(client, method)(*ids, staus="failed")


def test_client_covers_read_edit_comment_trigger_and_sync_workflow(client: Client, live: LiveServer) -> None:
    pipeline = client.pipeline(live.tenants.finance.pipelines["daily_report"], days=30)
    assert pipeline.summary.failed_count == 1
    assert client.set_criticality(pipeline.id, "critical").criticality == "critical"
    assert client.set_team(pipeline.id, live.tenants.finance.team_id).team_id == live.tenants.finance.team_id
    client.watch(pipeline.id)
    assert [item.name for item in client.pipelines(watched_only=True)] == ["daily_report"]
    client.unwatch(pipeline.id)
    run = client.run(live.tenants.finance.run_id)
    failed = [task for task in run.task_runs if task.status == "failed"]
    assert [task.name for task in client.task_runs(run.id, status="failed")] == [task.name for task in failed]
    assert client.task_run(failed[0].id).name == "load"
    comment = client.comment_on_task_run(failed[0].id, "the disk was full")
    reply = client.comment_on_task_run(failed[0].id, "again?", parent_id=comment.id)
    assert client.edit_comment(reply.id, "mended").is_edited
    assert [item.content for item in client.comments_on_task_run(failed[0].id)] == ["the disk was full", "mended"]
    client.delete_comment(comment.id)
    assert client.comment_on_run(run.id, "looking").resource_type == "pipeline_run"
    assert [item.content for item in client.comments_on_run(run.id)] == ["looking"]
    started = client.trigger(pipeline.id, conf={"day": "monday"}, note="again", idempotency_key="a day")
    assert client.trigger(pipeline.id, conf={"day": "monday"}, note="again", idempotency_key="a day") == started
    assert len(live.runs.posts) == 1
    assert [connector.name for connector in client.connectors()] == ["crm", "prod"]
    assert [team.name for team in client.teams()] == ["ingestion"]
    with pytest.raises(Forbidden, match="admin"):
        list(client.audit_events())
    assert (
        client.sync_run(client.sync(live.tenants.finance.connector_id).id).connector_id
        == live.tenants.finance.connector_id
    )
    with pytest.raises(NotFound):
        client.run(live.tenants.marketing.run_id)


@pytest.mark.anyio
async def test_async_client_lists_comments_and_raises_not_found(live: LiveServer) -> None:
    async with AsyncClient(live.url, live.tenants.keys["admin"], space="finance") as client:
        assert (await client.me()).name == "Admin"
        assert [pipeline.name async for pipeline in client.pipelines(size=2)] == [
            "daily_report",
            "hourly_load",
            "never_run",
        ]
        comment = await client.comment_on_run(live.tenants.finance.run_id, "from afar")
        assert comment.content in [item.content async for item in client.comments_on_run(live.tenants.finance.run_id)]
        assert [event.target_type async for event in client.audit_events(target_id=comment.id)] == ["comment"]
        with pytest.raises(NotFound):
            await client.run(live.tenants.marketing.run_id)
