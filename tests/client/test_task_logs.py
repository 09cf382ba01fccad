"""Logs of tasks through the client: one page, and those of a try that is followed."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx2
import pytest

from conftest import SECRET_KEY
from databases import Databases
from live_server import LiveServer, serve_two_tenants
from windsock.client import AsyncClient, Client

RUN_ID = uuid4()


@pytest.fixture(scope="module")
def live(make_database: Databases) -> Iterator[LiveServer]:
    with serve_two_tenants(make_database, SECRET_KEY, run_worker=False) as server:
        yield server


def scripted(pages: list[dict[str, Any]]) -> tuple[Client, list[httpx2.Request]]:
    requests: list[httpx2.Request] = []

    def respond(request: httpx2.Request) -> httpx2.Response:
        requests.append(request)
        return httpx2.Response(200, json=pages[len(requests) - 1])

    return Client("http://w.test", "wsk_x", space="finance", transport=httpx2.MockTransport(respond)), requests


PAGE = {
    "try_number": 2, "lines": [], "cursor": "7", "has_more_before": False, "is_finished": False, "limit": None,
    "as_of": "2026-11-30T10:00:00Z",
}  # fmt: skip
LINE = {"number": 8, "timestamp": None, "level": "info", "logger": None, "event": "more"}


def test_followed_log_yields_pages_with_lines_until_try_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("windsock.client.client.time.sleep", pauses.append)
    pages = [PAGE, PAGE, {**PAGE, "lines": [LINE], "cursor": "8"}, {**PAGE, "cursor": "8", "is_finished": True}]
    client, requests = scripted(pages)
    followed = list(client.follow_task_log(RUN_ID, tail=10, level="info"))
    assert [[line.event for line in page.lines] for page in followed] == [[], ["more"], []]
    assert pauses == [2.0, 2.0, 2.0]
    sent = [dict(request.url.params) for request in requests]
    assert sent[0] == {"tail": "10", "level": "info"}
    assert sent[1:] == [
        {"try_number": "2", "tail": "5000", "level": "info", "cursor": cursor} for cursor in ("7", "7", "8")
    ]


@pytest.mark.anyio
async def test_async_client_reads_and_follows_log(live: LiveServer) -> None:
    async with AsyncClient(live.url, live.tenants.keys["viewer"], space="finance") as client:
        page = await client.task_log(live.tenants.finance.task_run_id, level="error")
        assert [line.number for line in page.lines] == [2]
        followed = [page async for page in client.follow_task_log(live.tenants.finance.task_run_id)]
        assert [len(page.lines) for page in followed] == [2]
