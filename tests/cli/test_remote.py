"""The commands that ask a server: tables for people, JSON for scripts, and what each exit status means."""

import threading
import time
from typing import Any

import orjson
import psycopg
import pytest

from cli.conftest import Run, json_of
from live_server import LiveServer
from windsock.embedded import EmbeddedPostgres


def test_pipelines_command_prints_table_with_status_and_runs(run: Run) -> None:
    lines = run("pipelines").stdout.splitlines()
    assert lines[0].split()[:2] == ["pipeline", "status"]
    report = next(line for line in lines if "daily_report" in line)
    assert "✓ success" in report
    assert "✗✓" in report
    assert "50%" in report
    assert "(paused)" in next(line for line in lines if "never_run" in line)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), ["daily_report", "hourly_load", "never_run"]),
        (("--status", "running"), ["hourly_load"]),
        (("--status", "running", "--status", "unknown"), ["hourly_load", "never_run"]),
        (("--team", "ingestion"), ["hourly_load"]),
        (("--owner", "bob"), ["hourly_load"]),
        (("--q", "tier"), ["daily_report"]),
        (("--connector", "prod", "--criticality", "medium", "--limit", "2"), ["daily_report", "hourly_load"]),
        (("--sort", "-name", "--days", "30"), ["never_run", "hourly_load", "daily_report"]),
        (("--watched",), []),
    ],
)
def test_pipelines_command_applies_filters_and_sort(run: Run, arguments: tuple[str, ...], expected: list[str]) -> None:
    assert [row["name"] for row in json_of(run("pipelines", *arguments, "--json"))] == expected


def test_watch_command_adds_and_removes_pipeline_from_watched_list(run: Run) -> None:
    assert run("watch", "daily_report").stdout == "You watch daily_report.\n"
    assert [row["name"] for row in json_of(run("pipelines", "--watched", "--json"))] == ["daily_report"]
    assert run("watch", "daily_report", "--off").exit_code == 0
    assert run("pipelines", "--watched").stdout == "No pipeline matches.\n"


def test_runs_command_filters_by_time_status_team_and_pipeline(run: Run) -> None:
    table: list[tuple[tuple[str, ...], list[str]]] = [
        (("--status", "failed"), ["daily_report"]),
        (("--status", "failed", "--since", "2d"), ["daily_report"]),
        (("--status", "failed", "--since", "20h"), []),
        (("--team", "ingestion"), ["hourly_load", "hourly_load"]),
        (("--pipeline", "daily_report", "--run-type", "scheduled", "--limit", "1"), ["daily_report"]),
        (("--since", "1min"), []),
        (("--until", "2020-01-01"), []),
    ]
    for arguments, expected in table:
        assert [row["pipeline"]["name"] for row in json_of(run("runs", *arguments, "--json"))] == expected, arguments
    assert "✗ failed" in run("runs", "--status", "failed").stdout
    assert run("runs", "--since", "1min").stdout == "No run matches.\n"


def test_run_detail_prints_tasks_and_comments(run: Run, live: LiveServer) -> None:
    run_id = str(live.tenants.finance.run_id)
    assert run("comment", run_id, "the bank, [again]").exit_code == 0
    shown = run("runs", run_id).stdout
    for words in ("daily_report", "✗ failed", "check [0]", "check [2]", "Editor, just now: the bank, [again]", run_id):
        assert words in shown
    whole = json_of(run("runs", run_id, "--json"))
    assert [comment["content"] for comment in whole["comments"]] == ["the bank, [again]"]
    assert len(whole["task_runs"]) == 5


def test_comment_command_supports_tasks_stdin_and_replies(run: Run, live: LiveServer) -> None:
    run_id = str(live.tenants.finance.run_id)
    text = json_of(run("comment", run_id, "-", "--task", "check:1", "--json", stdin="from a file\n"))
    assert text["content"] == "from a file"
    run("comment", run_id, "yes", "--task", "check:1", "--reply-to", text["id"])
    listed = run("comment", run_id, "--task", "check:1").stdout.splitlines()
    assert listed[0].endswith("from a file")
    assert listed[1].startswith("  ↳ Editor")
    assert run("comment", run_id, "--task", "load").stdout == "No comments.\n"
    ambiguous = run("comment", run_id, "x", "--task", "check")
    assert (ambiguous.exit_code, "check:0" in ambiguous.stderr) == (2, True)
    assert run("comment", run_id, "x", "--task", "nothing").exit_code == 3
    assert run("comment", run_id, "   ").exit_code == 3


def test_trigger_command_accepts_conf_sources_and_idempotency_key(run: Run, live: LiveServer, tmp_path: Any) -> None:
    file = tmp_path / "conf.json"
    file.write_text('{"day": "tuesday"}')
    before = len(live.runs.posts)
    assert run("trigger", "daily_report", "--conf", '{"day": "monday"}').stdout.startswith("Started daily_report: ")
    json_of(run("trigger", "daily_report", "--conf", f"@{file}", "--json"))
    started = json_of(run("trigger", "daily_report", "--conf", "-", "--note", "n", "--json", stdin='{"day": "w"}'))
    assert [post["conf"]["day"] for post in live.runs.posts[before:]] == ["monday", "tuesday", "w"]
    assert started["note"].startswith("n\n")
    twice = [json_of(run("trigger", "daily_report", "--idempotency-key", "k", "--json"))["id"] for _ in range(2)]
    assert twice[0] == twice[1]
    assert len(live.runs.posts) == before + 4
    paused = run("trigger", "never_run")
    assert (paused.exit_code, "paused in Airflow" in paused.stderr) == (0, True)


@pytest.mark.parametrize(
    "conf",
    ["{", "[1]", "@nowhere.json", "null", f'{{"a": {2**64}}}', f'{{"a": {"[" * 300}{"]" * 300}}}', '{"a": NaN}'],
    ids=lambda conf: conf[:12],
)
def test_invalid_conf_is_usage_error_and_sends_no_trigger(run: Run, live: LiveServer, conf: str) -> None:
    before = len(live.runs.posts)
    result = run("trigger", "daily_report", "--conf", conf)
    assert (result.exit_code, "--conf" in result.stderr) == (2, True)
    assert len(live.runs.posts) == before


TASK_GOES_ON = """
INSERT INTO windsock.task_runs (space_id, run_id, external_id, name, status, try_number, max_tries)
SELECT space_id, id, 'the_last', 'x', 'running', 1, 0 FROM windsock.runs
WHERE external_id LIKE 'windsock%' ORDER BY created_at DESC LIMIT 1
"""
TASK_ENDS = """
WITH ended AS (
    UPDATE windsock.task_runs SET status = %(status)s WHERE external_id = 'the_last' AND status = 'running'
    RETURNING run_id
)
UPDATE windsock.runs SET task_counts = jsonb_build_object(%(status)s::text, 1) WHERE id IN (SELECT run_id FROM ended)
"""


def ends(live: LiveServer, postgres: EmbeddedPostgres, status: str) -> threading.Thread:
    """Let the newest triggered run end a moment later, and then its task run, as a sync would find them."""
    database = live.database_url.split("dbname=")[1].split()[0] if "dbname=" in live.database_url else ""
    name = database or live.database_url.rsplit("/", 1)[1].split("?")[0]

    def end() -> None:
        time.sleep(1.5)
        with psycopg.connect(postgres.url(user="postgres", database=name)) as connection:
            connection.execute(
                "UPDATE windsock.runs SET status = %s, started_at = now() - interval '3 seconds', ended_at = now()"
                " WHERE status = 'queued' AND external_id LIKE 'windsock%%'",
                (status,),
            )
            connection.execute(TASK_GOES_ON)
            connection.commit()
            time.sleep(2.5)
            connection.execute(TASK_ENDS, {"status": status})

    thread = threading.Thread(target=end)
    thread.start()
    return thread


@pytest.mark.parametrize(("status", "code"), [("success", 0), ("failed", 1)])
def test_trigger_wait_exits_with_status_of_finished_run(
    run: Run, live: LiveServer, postgres: EmbeddedPostgres, status: str, code: int
) -> None:
    thread = ends(live, postgres, status)
    result = run("trigger", "daily_report", "--wait")
    thread.join()
    assert result.exit_code == code
    assert f"{status} after" in result.stdout
    assert "queued" in result.stderr
    assert result.stderr.splitlines()[-1] == f"{status}: 1 {status}", "its task run was waited for, too"


def test_trigger_wait_beyond_timeout_exits_with_5(run: Run) -> None:
    result = run("trigger", "daily_report", "--wait", "--timeout", "1")
    assert (result.exit_code, "it goes on" in result.stderr) == (5, True)


def test_airflow_rejection_is_relayed_verbatim(run: Run, live: LiveServer) -> None:
    live.runs.faults = [(400, "Invalid input for param day")]
    result = run("trigger", "daily_report")
    assert result.exit_code == 3
    assert result.stderr == "Error: Airflow answered 400: Invalid input for param day\n"
    assert result.stdout == ""


def test_sync_command_waits_until_sync_finishes(run: Run) -> None:
    result = run("sync", "--connector", "prod")
    assert result.exit_code == 1, "nobody answers at the connector's address"
    assert "failed: read 0 rows" in result.stdout
    assert "could not be sent to Airflow" in result.stderr
    assert orjson.loads(run("sync", "--connector", "prod", "--full", "--json").stdout)["is_full"] is True


@pytest.mark.parametrize(
    ("arguments", "environment", "code", "words"),
    [
        (("pipelines",), {"WINDSOCK_API_KEY": ""}, 2, "WINDSOCK_API_KEY"),
        (("pipelines",), {"WINDSOCK_API_KEY": "wsk_wrong"}, 3, "unknown, expired or revoked"),
        (("pipelines",), {"WINDSOCK_URL": "http://127.0.0.1:9"}, 4, "cannot be reached"),
        (("pipelines", "--space", "marketing"), {}, 3, "not a member"),
        (("pipelines", "--team", "nobody"), {}, 3, "there is: ingestion"),
        (("pipelines", "--sort", "colour"), {}, 2, "colour"),
        (("runs", "not-an-id"), {}, 2, "UUID"),
        (("runs", "--since", "yesterday-ish"), {}, 2, "24h"),
        (("runs", "--pipeline", "daily_report", "--team", "ingestion"), {}, 2, "not both"),
        (("trigger", "nothing"), {}, 3, "no pipeline nothing"),
        (("sync", "--connector", "nothing"), {}, 3, "there is: crm, prod"),
        (("sync", "--connector", "crm"), {}, 3, "Only Airflow connectors"),
    ],
)
@pytest.mark.usefixtures("_no_pauses")
def test_command_error_prints_message_and_exits_with_documented_status(
    run: Run, arguments: tuple[str, ...], environment: dict[str, str], code: int, words: str
) -> None:
    result = run(*arguments, **environment)
    assert result.exit_code == code, result.output
    assert words in result.stderr
    assert "Traceback" not in result.output
    assert result.stdout == ""


@pytest.fixture
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("windsock.client.client.time.sleep", lambda _: None)


def test_user_with_several_spaces_must_choose_one(run: Run) -> None:
    result = run("pipelines", kind="superadmin")
    assert (result.exit_code, "finance, marketing" in result.stderr) == (2, True)
    assert run("pipelines", kind="superadmin", WINDSOCK_SPACE="marketing").exit_code == 0


def test_viewer_can_read_and_comment_but_not_trigger(run: Run, live: LiveServer) -> None:
    assert run("pipelines", kind="viewer").exit_code == 0
    assert run("comment", str(live.tenants.finance.run_id), "seen", kind="viewer").exit_code == 0
    refused = run("trigger", "daily_report", kind="viewer")
    assert (refused.exit_code, "Only the role editor" in refused.stderr) == (3, True)


IN_A_LOOP = """
INSERT INTO windsock.task_runs (space_id, run_id, external_id, name, status, try_number, max_tries, map_index,
                                region_id, region_index, loop_id, loop_iteration, provider_metadata)
SELECT %(space_id)s, %(run_id)s, 'guess', 'guess', 'success', 1, 0, m.index, 'a-' || i.iteration, m.index, 'refine',
       i.iteration, jsonb_build_object('rendered_map_index', 'shelf ' || m.index)
FROM generate_series(0, 1) AS i (iteration), generate_series(0, 1) AS m (index)
"""


def test_loop_task_is_addressed_by_iteration_and_region(run: Run, live: LiveServer) -> None:
    finance = live.tenants.finance
    with psycopg.connect(live.database_url) as connection:
        connection.execute("SELECT set_config('windsock.space_id', %s, true)", (str(finance.id),))
        connection.execute(IN_A_LOOP, {"space_id": finance.id, "run_id": finance.run_id})
    run_id = str(finance.run_id)
    shown = run("runs", run_id).stdout
    for words in ("guess iteration 0 [0] shelf 0", "guess iteration 1 [1] shelf 1"):
        assert words in shown
    text = json_of(run("comment", run_id, "too high", "--task", "guess@1:0", "--json"))
    assert text["content"] == "too high"
    assert "too high" in run("comment", run_id, "--task", "guess@1:0").stdout
    assert run("comment", run_id, "--task", "guess@0:0").stdout == "No comments.\n"
    for ambiguous in ("guess", "guess@1", "guess:1"):
        refused = run("comment", run_id, "x", "--task", ambiguous)
        assert (refused.exit_code, "guess@" in refused.stderr) == (2, True)
    assert run("comment", run_id, "x", "--task", "guess@7").exit_code == 3
