"""`windsock clear`, `mark`, `pause`, `unpause`, `note`, and the same with both clients."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import orjson
import pytest
from click.testing import CliRunner, Result

from actions.connected_fake import executions, failed_run
from conftest import SECRET_KEY
from databases import Databases
from fake_airflow.faults import FakeAirflow
from live_server import LiveServer, serve_two_tenants
from windsock.__main__ import main
from windsock.client import AsyncClient, Client

Run = Callable[..., Result]


@pytest.fixture
def live(make_database: Databases) -> Iterator[LiveServer]:
    with serve_two_tenants(make_database, SECRET_KEY) as server:
        yield server


@pytest.fixture
def airflow(live: LiveServer) -> FakeAirflow:
    return live.airflow


@pytest.fixture
def run_id(live: LiveServer) -> str:
    return str(live.tenants.finance.run_id)


@pytest.fixture
def run(live: LiveServer) -> Run:
    def run(*arguments: str, kind: str = "editor", stdin: str | None = None) -> Result:
        settings = {"WINDSOCK_URL": live.url, "WINDSOCK_API_KEY": live.tenants.keys[kind], "COLUMNS": "200"}
        result = CliRunner().invoke(main, arguments, input=stdin, env=settings)
        assert not isinstance(result.exception, Exception), result.exception
        return result

    return run


def test_clear_command_lists_tasks_and_needs_confirmation(run: Run, airflow: FakeAirflow, run_id: str) -> None:
    refused = run("clear", run_id, stdin="n\n")
    assert refused.exit_code == 1
    assert [line.split()[0] for line in refused.stdout.splitlines()[1:]] == ["load", "send"]
    assert run("clear", run_id, "--dry-run").exit_code == 0
    assert executions(airflow) == {}
    done = run("clear", run_id, "--reason", "it is back", stdin="y\n")
    assert "Cleared 2 task runs; the run is queued." in done.stdout
    assert executions(airflow) == {"load": 1, "send": 1}
    assert (failed_run(airflow).note or "").endswith("it is back")
    again = run("clear", run_id, "--yes")
    assert (again.exit_code, "There is nothing to clear" in again.output) == (3, True)


def test_clear_command_repeated_with_one_key_clears_once(run: Run, airflow: FakeAirflow, run_id: str) -> None:
    for _ in range(2):
        result = run("clear", run_id, "--task", "load", "--yes", "--idempotency-key", "k", "--json")
        assert result.exit_code == 0, result.output
        assert [row["external_id"] for row in orjson.loads(result.stdout)["task_runs"]] == ["load"]
    assert executions(airflow) == {"load": 1}
    assert run("clear", run_id, "--task", "nothing").exit_code == 3


def test_mark_note_and_pause_commands_change_airflow(run: Run, airflow: FakeAirflow, run_id: str) -> None:
    assert run("mark", run_id, "skipped").exit_code == 2
    assert "Marked load skipped." in run("mark", run_id, "skipped", "--task", "load").stdout
    assert "Marked the run success." in run("mark", run_id, "success", "--reason", "by hand").stdout
    assert failed_run(airflow).state == "success"
    assert "Wrote the note." in run("note", run_id, "known").stdout
    assert (failed_run(airflow).note or "").startswith("known")
    assert run("note", run_id).exit_code == 2
    assert "Removed the note." in run("note", run_id, "--remove").stdout
    assert "Wrote the note." in run("note", run_id, "flaky", "--task", "load").stdout
    assert "daily_report is paused." in run("pause", "daily_report").stdout
    assert airflow.model.dags["daily_report"].is_paused
    assert "daily_report is resumed." in run("unpause", "daily_report").stdout
    refused = run("pause", "daily_report", kind="viewer")
    assert (refused.exit_code, "editor" in refused.output) == (3, True)


def test_both_clients_clear_once_and_list_actions(live: LiveServer, airflow: FakeAirflow) -> None:
    run_id, key = live.tenants.finance.run_id, live.tenants.keys["editor"]
    with Client(live.url, key, space="finance") as client:
        assert len(client.clear_run(run_id, dry_run=True).task_runs) == 2
        assert client.clear_run(run_id, idempotency_key="k").run.status == "queued"
        assert client.mark_run(run_id, "failed").status == "failed"
        assert list(client.approvals()) == []

    async def use() -> list[Any]:
        async with AsyncClient(live.url, key, space="finance") as client:
            assert len((await client.clear_run(run_id, idempotency_key="k")).task_runs) == 2
            assert (await client.note_run(run_id, "known")).note
            return [action.kind async for action in client.actions(run_id=run_id)]

    assert asyncio.run(use()) == ["note", "mark", "clear"]
    assert executions(airflow) == {"load": 1, "send": 1}
