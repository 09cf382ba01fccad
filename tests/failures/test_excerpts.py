"""Error excerpts: what ended a try, from the log that Airflow 2 or 3 has of it."""

import pytest

from failures.faults import (
    DAGS,
    FAULTS,
    VERSIONS,
    Fault,
    Frame,
    Raised,
    chained,
    failed,
    killed,
    line,
    log,
    pod,
    sql,
    zombie,
)
from windsock.failures.cause import Kind
from windsock.failures.excerpts import MAX_EXCERPT_BYTES, MAX_SUMMARY_CHARACTERS, make_excerpt
from windsock.providers.task_logs import TaskLog

BY_VERSION = pytest.mark.parametrize("version", VERSIONS)


@BY_VERSION
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.kind)
def test_summary_of_each_fault_names_its_cause_in_one_line(fault: Fault, version: int) -> None:
    excerpt = make_excerpt(fault.build(version))
    assert fault.summary.lower() in excerpt.summary.lower(), excerpt.summary
    assert "\n" not in excerpt.summary
    assert excerpt.text


@BY_VERSION
def test_excerpt_of_a_chain_begins_with_the_cause_and_names_own_code(version: int) -> None:
    excerpt = make_excerpt(chained(version))
    assert excerpt.exception_type == "LoadError"
    assert excerpt.message == "cannot load"
    assert excerpt.own_frame is not None
    assert excerpt.own_frame.startswith("lookup.py:")
    first, at, led_to, last, outer = excerpt.text.splitlines()
    assert (first.partition(":")[0], led_to, last) == ("KeyError", "which led to", "LoadError: cannot load")
    assert at.startswith("  at lookup.py:")
    assert outer.startswith("  at pay.py:")


@BY_VERSION
def test_own_frame_is_absent_where_only_packages_are_in_the_trace(version: int) -> None:
    assert make_excerpt(sql(version)).own_frame is None


@BY_VERSION
def test_excerpt_of_a_command_has_its_last_lines(version: int) -> None:
    excerpt = make_excerpt(pod(version))
    assert "java.lang.OutOfMemoryError" in excerpt.text
    assert "Pod load-" in excerpt.text


@BY_VERSION
def test_exception_of_a_callback_is_not_the_cause(version: int) -> None:
    raised = Raised("SlackApiError", "no channel", (Frame(f"{DAGS}/alert.py", "tell"),))
    wrong = failed(version, raised).lines[-2 if version == 3 else 1].exceptions
    right = failed(version, Raised("PaymentError", "no account", (Frame(f"{DAGS}/pay.py", "load"),)))
    combined = TaskLog(
        lines=(*right.lines, line("Failed to run task callback", "error", wrong)),
        has_more_before=False,
        is_finished=True,
    )
    assert make_excerpt(combined).summary == "PaymentError: no account"


def test_state_reason_is_the_summary_where_the_log_has_no_error() -> None:
    quiet = log(line("Starting"), line("Task exited with return code 0"))
    assert make_excerpt(quiet, "Retry policy: quota is used up").summary == "Retry policy: quota is used up"
    assert make_excerpt(killed(3), "Retry policy").summary.startswith("Killed by SIGKILL")


def test_log_without_an_end_means_a_lost_process() -> None:
    assert make_excerpt(log(line("Starting"))).cause.kind is Kind.LOST
    assert make_excerpt(log(line("Starting"), line("Task exited with return code 0"))).cause.kind is Kind.UNKNOWN
    assert make_excerpt(log()).summary == "The log has no error."


@BY_VERSION
def test_excerpt_of_lost_process_has_the_end_of_the_log_and_what_is_known(version: int) -> None:
    text = make_excerpt(zombie(version)).text
    assert "reading rows" in text
    assert text.endswith("The process or its machine was lost: Airflow fails a task whose heartbeat is missing.")


def test_excerpt_has_at_most_4_kb_and_keeps_begin_and_end() -> None:
    raised = Raised("ValueError", f"begin {'é' * 9_000} end", (Frame(f"{DAGS}/pay.py", "load"),))
    excerpt = make_excerpt(failed(3, raised))
    assert len(excerpt.text.encode()) <= MAX_EXCERPT_BYTES
    assert excerpt.text.startswith("ValueError: begin")
    assert excerpt.text.rstrip().endswith("in load")
    assert len(excerpt.summary) == MAX_SUMMARY_CHARACTERS


@pytest.mark.parametrize(
    "secret",
    ["password=hunter2-4711", "https://bob:hunter2-4711@example.com/", "Authorization: Bearer hunter2-4711-abcdef",
     '{"api_key": "hunter2-4711"}'],
)  # fmt: skip
def test_excerpt_and_summary_have_no_secrets(secret: str) -> None:
    excerpt = make_excerpt(failed(3, Raised("ValueError", f"refused {secret}")))
    assert "hunter2" not in excerpt.summary + excerpt.text + str(excerpt.message)


def test_excerpt_has_no_control_characters() -> None:
    excerpt = make_excerpt(failed(3, Raised("ValueError", "a\x00b\x1b[31mred\x1b[0m")))
    assert "\x00" not in excerpt.text + excerpt.summary
    assert "\x1b" not in excerpt.text + excerpt.summary
