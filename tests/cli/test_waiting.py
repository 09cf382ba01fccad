"""`windsock trigger`: what is said of a trigger without an answer, and how long it waits for the tasks of its run."""

import time
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import httpx2
import psycopg
import pytest

from cli.cli_inprocess import owner_url
from cli.two_airflows import Run, runner, two_airflows
from databases import Databases
from live_server import LiveServer
from windsock.client import Client


@pytest.fixture(scope="module")
def live(make_database: Databases) -> Iterator[LiveServer]:
    with two_airflows(make_database) as installed:
        yield installed


@pytest.fixture
def run(live: LiveServer) -> Run:
    return runner(live)


@pytest.fixture
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("windsock.client.client.time.sleep", lambda _: None)


class Hanging(httpx2.BaseTransport):
    """Passes on what is asked before the trigger, and answers nothing from `nothing_from` on."""

    def __init__(self, nothing_from: str, error: type[httpx2.TransportError], keys: set[str | None]) -> None:
        self.nothing_from, self.error, self.keys = nothing_from, error, keys
        self.http = httpx2.HTTPTransport()

    def close(self) -> None:
        self.http.close()

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        if self.nothing_from in request.url.path:
            self.keys.add(request.headers.get("idempotency-key"))
            raise self.error("planned", request=request)
        return self.http.handle_request(request)


@pytest.mark.parametrize(
    ("nothing_from", "error", "words"),
    [
        ("/users/me", httpx2.ReadTimeout, None),
        ("/connectors", httpx2.ReadTimeout, None),
        ("/pipelines", httpx2.ReadTimeout, None),
        ("/trigger", httpx2.ConnectError, "No run was started."),
        ("/trigger", httpx2.ReadTimeout, "Whether a run was started is not known."),
        ("/trigger", httpx2.ReadError, "Whether a run was started is not known."),
    ],
)
@pytest.mark.usefixtures("_no_pauses")
def test_connection_error_reports_ambiguous_trigger_only_if_sent(
    run: Run, monkeypatch: pytest.MonkeyPatch, nothing_from: str, error: type[httpx2.TransportError], words: str | None
) -> None:
    keys, make = set[str | None](), Client.__init__

    def with_transport(client: Client, *args: Any, **kwargs: Any) -> None:
        make(client, *args, **kwargs, transport=Hanging(nothing_from, error, keys))

    monkeypatch.setattr(Client, "__init__", with_transport)
    result = run("trigger", "daily_report", "--connector", "prod")
    assert result.exit_code == 4
    assert ("run was started" in result.stderr) == (words is not None)
    assert words is None or words in result.stderr
    if words and words.startswith("Whether"):
        (key,) = keys
        assert f"--idempotency-key {key} " in result.stderr


def test_trigger_wait_continues_until_tasks_of_finished_run_are_final(
    run: Run, live: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the sync is slow: the run is there as failed, one of its tasks as failed, another still as running."""
    checks, original = 0, Client.run
    settle = """
        UPDATE windsock.task_runs SET status = 'upstream_failed' WHERE external_id = 'late';
        UPDATE windsock.runs SET task_counts = '{"failed": 1, "upstream_failed": 1}' WHERE external_id LIKE 'windsock%';
    """
    begin = """
        UPDATE windsock.runs SET status = 'failed', started_at = now(), ended_at = now(),
            task_counts = '{"failed": 1, "running": 1}'
        WHERE id = %(id)s;
    """
    add = """
        INSERT INTO windsock.task_runs (space_id, run_id, external_id, name, status, try_number, max_tries)
        SELECT space_id, id, v.name, v.name, v.status, 1, 0
        FROM windsock.runs, (VALUES ('early', 'failed'), ('late', 'running')) v (name, status) WHERE id = %(id)s
    """

    def counted(client: Client, run_id: UUID) -> Any:
        nonlocal checks
        checks += 1
        with psycopg.connect(owner_url(live.database_url)) as connection:
            if checks == 1:
                connection.execute(begin, {"id": run_id})
                connection.execute(add, {"id": run_id})
            if checks == 20:
                connection.execute(settle)
        return original(client, run_id)

    monkeypatch.setattr(Client, "run", counted)
    clock = time.monotonic
    monkeypatch.setattr("windsock.cli.trigger.time.sleep", lambda _: None)
    monkeypatch.setattr("windsock.cli.trigger.time.monotonic", lambda: clock() + checks)
    result = run("trigger", "hourly_load", "--wait")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == "failed: 1 failed, 1 upstream_failed"
    assert "running" not in result.stdout
