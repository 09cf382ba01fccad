"""What commands write and take: JSON, words of Airflow, terminals that cannot show every character."""

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import orjson
import pytest

from cli.cli_inprocess import run_in_process
from cli.two_airflows import Run, json_of, runner, two_airflows
from databases import Databases
from live_server import LiveServer
from windsock.__main__ import main

CONF: dict[str, Any] = {"day": "Montag", "größe": [1, None, True], "x": {"y": 'it\'s "it"'}}


@pytest.fixture(scope="module")
def live(make_database: Databases) -> Iterator[LiveServer]:
    with two_airflows(make_database) as installed:
        yield installed


@pytest.fixture
def run(live: LiveServer) -> Run:
    return runner(live)


def test_run_detail_prints_conf_as_json(run: Run) -> None:
    started = json_of(run("trigger", "UPPER-case", "--conf", orjson.dumps(CONF).decode(), "--json"))
    (line,) = [line for line in run("runs", started["id"]).stdout.splitlines() if line.startswith("  conf")]
    assert orjson.loads(line.removeprefix("  conf").strip()) == CONF


@pytest.mark.parametrize("status", ["FAILED", "Failed", " failed "])
def test_status_and_run_type_filters_ignore_case(run: Run, status: str) -> None:
    assert {row["status"] for row in json_of(run("runs", "--status", status, "--json"))} == {"failed"}
    assert json_of(run("runs", "--run-type", "SCHEDULED", "--json"))
    assert json_of(run("pipelines", "--status", status, "--criticality", "MEDIUM", "--json"))
    assert json_of(run("runs", "--status", "up-for-retry", "--json")) == []


@pytest.mark.parametrize("status", ["failed,running", "failed running", "", "fäiled", "x" * 65])
def test_malformed_status_filter_is_usage_error(run: Run, status: str) -> None:
    for command in ("runs", "pipelines"):
        wrong = run(command, "--status", status)
        assert (wrong.exit_code, "is no such word" in wrong.stderr, "^" in wrong.stderr) == (2, True, False)


@pytest.mark.parametrize("charset", ["ascii", "latin-1", "cp1252", "cp437"])
def test_terminal_with_limited_charset_gets_replacement_characters(run: Run, live: LiveServer, charset: str) -> None:
    run("comment", str(live.tenants.finance.run_id), "größer 😀")
    for command in (
        ("pipelines",), ("runs",),
        ("runs", str(live.tenants.finance.run_id)), ("comment", str(live.tenants.finance.run_id)),
        ("--help",), ("trigger", "--help"), ("runs", "--status", "☃"),
    ):  # fmt: skip
        shown = run(*command, charset=charset)
        assert shown.exit_code in {0, 2}, shown.output
        assert "Traceback" not in shown.output
    if charset == "ascii":
        assert "x failed" in run("runs", "--status", "failed", charset=charset).stdout
    result = run("comment", str(live.tenants.finance.run_id), "--json", charset=charset)
    assert orjson.loads(result.stdout.encode())[-1]["content"] == "größer 😀", "JSON stays what it is"


def test_command_with_ascii_stdout_succeeds_without_traceback(live: LiveServer) -> None:
    environment = {
        "PATH": "/usr/bin:/bin", "PYTHONIOENCODING": "ascii", "WINDSOCK_URL": live.url,
        "WINDSOCK_API_KEY": live.tenants.keys["editor"],
    }  # fmt: skip
    done = asyncio.run(_done(environment, "pipelines"))
    assert (done[0], done[1].isascii(), b"daily_report" in done[1], done[2]) == (0, True, True, b"")
    wrong = asyncio.run(_done(environment, "watch", b"\xff\xfe"))
    assert (wrong[0], b"not text in the encoding" in wrong[2], b"Traceback" in wrong[2]) == (2, True, False)


async def _done(environment: dict[str, str], *arguments: str | bytes) -> tuple[int | None, bytes, bytes]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "windsock", *arguments,
        env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode, out, err


def test_comment_with_undecodable_stdin_is_usage_error(run: Run, live: LiveServer) -> None:
    wrong = run("comment", str(live.tenants.finance.run_id), "-", stdin=b"\xff\xfe")
    assert (wrong.exit_code, "not text" in wrong.stderr) == (2, True)


def commands(group: click.Command, *path: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    if not isinstance(group, click.Group):
        yield path, group
        return
    for name, command in group.commands.items():
        yield from commands(command, *path, name)


def test_every_command_with_output_supports_json() -> None:
    for path, command in commands(main):
        options = {name for param in command.params for name in param.opts}
        assert ("--json" in options) == (path not in {("serve",), ("work",)}), path


def test_unresponsive_connector_is_printed_as_json_with_same_exit_status(live: LiveServer, tmp_path: Path) -> None:
    add = ("connector", "add", "--space", "finance", "--url", "http://127.0.0.1:9", "--name")
    in_words = run_in_process(live.database_url, tmp_path, *add, "dead one")
    as_json = run_in_process(live.database_url, tmp_path, *add, "dead two", "--json")
    assert in_words.exit_code == as_json.exit_code == 1
    output = orjson.loads(as_json.stdout)
    assert (output["name"], output["test"]["success"]) == ("dead two", False)
    assert output["test"]["message"] in in_words.stdout
    assert [hint for hint in output["test"]["hints"] if hint not in in_words.stdout] == []
    tried = run_in_process(
        live.database_url, tmp_path, "connector", "test", "--space", "finance", "--connector", "dead two", "--json"
    )
    assert (tried.exit_code, orjson.loads(tried.stdout)["success"]) == (1, False)


def test_accept_command_prints_json(live: LiveServer, tmp_path: Path) -> None:
    accept = ("connector", "accept", "--space", "finance", "--connector", "prod", "--kind", "mass_loss", "--json")
    output = orjson.loads(run_in_process(live.database_url, tmp_path, *accept).stdout)
    assert (output["name"], output["freshness"]["held"]) == ("prod", None)
    again = run_in_process(live.database_url, tmp_path, *accept)
    assert (again.exit_code, again.stdout, "Nothing of the kind" in again.stderr) == (1, "", True)


def test_failures_are_listed_with_their_group_and_shown_with_the_run(run: Run, live: LiveServer) -> None:
    finance = live.tenants.finance
    listed = run("failures", "--pipeline", "daily_report", "--connector", "prod", "--q", "no rows")
    assert "ValueError: no rows" in listed.stdout
    assert str(finance.fingerprint_id) in listed.stdout
    assert run("failures", "--q", "nothing of the kind").stdout == "No failure matches.\n"
    shown = run("failures", str(finance.fingerprint_id)).stdout
    assert shown.startswith("ValueError: no rows\n")
    assert str(finance.run_id) in shown
    assert "runbook" in shown
    assert json_of(run("failures", str(finance.fingerprint_id), "--json"))["id"] == str(finance.fingerprint_id)
    assert len(json_of(run("failures", "--limit", "1", "--json"))) == 1
    lines = run("runs", str(finance.run_id)).stdout.splitlines()
    assert "load: ValueError: no rows" in lines
    assert "      at load.py:14 in load" in lines
