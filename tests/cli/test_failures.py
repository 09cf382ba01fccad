"""`windsock failures` and its commands, and `windsock clear --fingerprint`, against a server."""

import pytest

from actions.connected_fake import executions
from cli.conftest import Run, json_of
from live_server import LiveServer
from windsock.client import Client, NotFound


def test_failures_without_a_command_lists_or_shows_a_group(run: Run, live: LiveServer) -> None:
    group_id = str(live.tenants.finance.fingerprint_id)
    assert group_id in {row["id"] for row in json_of(run("failures", "--json"))}
    assert json_of(run("failures", "list", "--q", "no rows", "--json")) == json_of(run("failures", "--json"))
    assert json_of(run("failures", group_id, "--json"))["id"] == group_id
    shown = run("failures", group_id).stdout
    assert str(live.tenants.finance.task_failure_id) in shown
    assert "merge" in run("failures", "--help").stdout


def test_group_is_named_split_merged_and_has_a_runbook(run: Run, live: LiveServer) -> None:
    finance = live.tenants.finance
    group_id = finance.fingerprint_id
    assert "Named Empty source." in run("failures", "name", group_id, "Empty source").stdout
    assert json_of(run("failures", "name", group_id, "--remove", "--json"))["name"] is None
    assert "Runbook: the first load (Viewer)" in run("failures", "runbook", group_id, finance.comment_id).stdout
    assert "Unpinned" in run("failures", "runbook", group_id, "--remove").stdout
    split = json_of(run("failures", "split", group_id, "--failure", finance.task_failure_id, "--json"))
    assert [failure["id"] for failure in split["failures"]] == [str(finance.task_failure_id)]
    merged = run("failures", "merge", split["id"], group_id)
    assert f"({group_id})" in merged.stdout
    again = run("failures", "merge", split["id"], group_id)
    assert (again.exit_code, "merged into another one already" in again.output) == (3, True)


def test_group_commands_refuse_wrong_usage_and_viewers(run: Run, live: LiveServer) -> None:
    group_id = live.tenants.finance.fingerprint_id
    for arguments in (("name",), ("name", "x", "--remove"), ("runbook",), ("split",)):
        command, *more = arguments
        assert run("failures", command, group_id, *more).exit_code == 2, arguments
    assert run("failures", "name", group_id, "x", kind="viewer").exit_code == 3


def test_clear_command_with_fingerprint_lists_confirms_and_follows_each_run(run: Run, live: LiveServer) -> None:
    finance, airflow = live.tenants.finance, live.airflow
    option = ("clear", "--fingerprint", finance.fingerprint_id)
    for arguments in (("clear",), (*option, finance.run_id), (*option, "--task", "load")):
        assert run(*arguments).exit_code == 2, arguments
    refused = run(*option, stdin="n\n")
    assert (refused.exit_code, "r1" in refused.stdout) == (1, True)
    assert json_of(run(*option, "--dry-run", "--json"))["status"] == "planned"
    assert executions(airflow) == {}
    done = run(*option, "--reason", "it is back", "--idempotency-key", "k", stdin="y\n")
    assert "Cleared 1 of 1 runs." in done.stdout, done.output
    again = json_of(run(*option, "--reason", "it is back", "--idempotency-key", "k", "--yes", "--json"))
    assert [row["outcome"] for row in again["runs"]] == ["cleared"]
    assert executions(airflow) == {"load": 1, "send": 1}
    nothing = run(*option, "--yes")
    assert (nothing.exit_code, "nothing to clear" in nothing.output) == (3, True)
    with Client(live.url, live.tenants.keys["viewer"], space="finance") as client:
        assert client.bulk_clear(finance.fingerprint_id, again["id"]).cleared == 1
        with pytest.raises(NotFound):
            client.bulk_clear(finance.other_fingerprint_id, again["id"])
    failed = run("failures", finance.fingerprint_id, kind="viewer")
    assert "queued" in failed.stdout or failed.exit_code == 0
