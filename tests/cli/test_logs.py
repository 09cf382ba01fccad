"""`windsock logs`: which tasks it shows, how, and what it says where there is no log."""

from collections.abc import Callable, Iterator

import orjson
import pytest
from click.testing import CliRunner, Result

from conftest import SECRET_KEY
from databases import Databases
from live_server import LiveServer, serve_two_tenants
from windsock.__main__ import main

Run = Callable[..., Result]


@pytest.fixture(scope="module")
def live(make_database: Databases) -> Iterator[LiveServer]:
    with serve_two_tenants(make_database, SECRET_KEY, run_worker=False) as server:
        yield server


@pytest.fixture
def run(live: LiveServer) -> Run:
    def run(*arguments: str) -> Result:
        settings = {"WINDSOCK_URL": live.url, "WINDSOCK_API_KEY": live.tenants.keys["viewer"], "COLUMNS": "200"}
        result = CliRunner().invoke(main, ["logs", str(live.tenants.finance.run_id), *arguments], env=settings)
        assert not isinstance(result.exception, Exception), result.exception
        return result

    return run


def test_logs_command_shows_failed_task_with_traceback(run: Run) -> None:
    result = run()
    assert result.exit_code == 0, result.output
    first, second, *traceback = result.stdout.splitlines()
    assert first.endswith("INFO     Copying 1,204 rows")
    assert second.endswith("ERROR    Task failed with exception")
    assert traceback[-1] == "BankError: the account is closed"


def test_logs_command_filters_and_prints_json(run: Run) -> None:
    result = run("--task", "load", "--level", "error", "--try", "1", "--tail", "10", "--json")
    page = orjson.loads(result.stdout)
    assert [line["number"] for line in page["lines"]] == [2]
    assert (page["is_finished"], page["cursor"]) == (True, "2")


def test_logs_command_follows_until_try_ends(run: Run) -> None:
    result = run("--follow", "--tail", "1")
    assert result.exit_code == 0
    assert result.stdout.startswith("(lines before 2 are not shown)\n")
    assert "BankError" in result.stdout


def test_logs_command_with_unknown_task_is_refused(run: Run) -> None:
    result = run("--task", "nothing")
    assert (result.exit_code, result.stderr) == (3, "Error: This run has no task nothing.\n")


def test_logs_command_of_successful_run_needs_task(live: LiveServer) -> None:
    settings = {"WINDSOCK_URL": live.url, "WINDSOCK_API_KEY": live.tenants.keys["viewer"]}
    runs = CliRunner().invoke(main, ["runs", "--status", "success", "--json"], env=settings)
    run_id = orjson.loads(runs.stdout)[0]["id"]
    result = CliRunner().invoke(main, ["logs", run_id], env=settings)
    assert (result.exit_code, "--task" in result.stderr) == (3, True)
