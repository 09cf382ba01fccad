"""Entries of Airflow's logs as LogLines: the same shape of both APIs, whatever an entry holds."""

from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest

from windsock.providers.airflow.log_lines import MAX_EVENT_CHARACTERS, parse_record, parse_text, parse_timestamp
from windsock.providers.airflow.tracebacks import format_exceptions, split_traceback
from windsock.providers.task_logs import LogLine

SAMPLES = Path(__file__).parent / "samples"
CHAIN = """Task failed with exception
Traceback (most recent call last):
  File "/opt/airflow/dags/bank.py", line 9, in send
    connect()
  File "/opt/airflow/dags/bank.py", line 4, in connect
    raise OSError("no route")
OSError: no route

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "/opt/airflow/dags/bank.py", line 11, in send
    raise bank.errors.NotSent("transfer 7\\nsecond line") from error
bank.errors.NotSent: transfer 7
second line"""


def unchanged(text: str) -> str:
    return text


def record(**fields: object) -> LogLine:
    return parse_record(orjson.dumps({"timestamp": None, "event": "e", **fields}), unchanged)


def test_sample_of_airflow_3_has_structured_exception() -> None:
    lines = [parse_record(line, unchanged) for line in (SAMPLES / "v2_log.ndjson").read_bytes().splitlines()]
    (failed,) = [line for line in lines if line.exceptions]
    assert (failed.level, failed.logger, failed.event) == ("error", "task", "Task failed with exception")
    assert failed.timestamp == datetime(2026, 11, 23, 14, 32, 24, 330228, UTC)
    (exception,) = failed.exceptions
    assert (exception.type, exception.message, exception.is_cause) == (
        "RuntimeError", "transient failure on try 1", False,
    )  # fmt: skip
    assert (exception.frames[-1].filename, exception.frames[-1].lineno) == ("/opt/airflow/dags/lab_retry.py", 12)
    assert "Worker startup parse complete bundle_name=dags-folder dag_file=lab_retry.py" in lines[6].event


def test_sample_of_airflow_2_has_the_same_exception() -> None:
    text = (SAMPLES / "v1_log.txt").read_bytes()
    entry = b"[2026-11-23T14:32:30.431" + text.split(b"\n[2026-11-23T14:32:30.431")[1].split(b"\n[2026")[0]
    line = parse_text(entry, unchanged)
    assert (line.level, line.logger, line.event) == ("error", "taskinstance.py:3337", "Task failed with exception")
    assert line.timestamp == datetime(2026, 11, 23, 14, 32, 30, 431000, UTC)
    (exception,) = line.exceptions
    assert (exception.type, exception.message) == ("RuntimeError", "transient failure on try 1")
    frame = exception.frames[-1]
    assert (frame.filename, frame.lineno, frame.function) == ("/opt/airflow/dags/lab_retry.py", 12, "flaky")
    assert frame.code == 'raise RuntimeError(f"transient failure on try {ti.try_number}")'


def test_chained_traceback_lists_last_exception_first() -> None:
    event, (last, cause) = split_traceback(CHAIN)
    assert event == "Task failed with exception"
    assert (last.type, last.message, last.is_cause) == ("NotSent", "transfer 7\nsecond line", False)
    assert (cause.type, cause.message, cause.is_cause) == ("OSError", "no route", True)
    assert [frame.function for frame in cause.frames] == ["send", "connect"]


def test_formatted_exceptions_read_as_the_traceback() -> None:
    event, exceptions = split_traceback(CHAIN)
    assert f"{event}\n{format_exceptions(exceptions)}" == CHAIN.replace("bank.errors.NotSent:", "NotSent:")


@pytest.mark.parametrize(
    "text",
    [
        "no traceback",
        "Traceback (most recent call last):",
        "Traceback (most recent call last):\n  File is cut",
        'Traceback (most recent call last):\n  File "a.py", line 1, in f\n',
        "said: Traceback (most recent call last): not at the beginning of a line",
        '  + Exception Group Traceback (most recent call last):\n  |   File "a", line 1, in f\n  | Group: two',
    ],
)  # fmt: skip
def test_unreadable_traceback_stays_in_event(text: str) -> None:
    assert split_traceback(text) == (text, ())


def test_repeated_frames_and_missing_code_are_read() -> None:
    text = (
        'Traceback (most recent call last):\n  File "a.py", line 1, in f\n    f()\n'
        "  [Previous line repeated 9 more times]\n"
        '  File "<string>", line 1, in <module>\nRecursionError'
    )
    _, (exception,) = split_traceback(text)
    assert (exception.type, exception.message) == ("RecursionError", "")
    assert [(frame.function, frame.code) for frame in exception.frames] == [("f", "f()"), ("<module>", "")]


def test_members_of_exception_group_follow_it() -> None:
    def detail(name: str, **more: object) -> dict[str, object]:
        frame = {"filename": "a.py", "lineno": 1, "name": "f"}
        return {"exc_type": name, "exc_value": f"of {name}", "exc_notes": ["noted"], "frames": [frame], **more}

    group = detail("Group", is_group=True, exceptions=[[detail("First")], {"stacks": [detail("Second")]}])
    line = record(error_detail=[group])
    assert [(item.type, item.message, item.is_cause) for item in line.exceptions] == [
        ("Group", "of Group\nnoted", False),
        ("First", "of First\nnoted", True),
        ("Second", "of Second\nnoted", True),
    ]


@pytest.mark.parametrize(
    "entry",
    [b"", b"not json", b"[]", b"7", b"null", b'{"event": 7}', b'{"event": {"a": [1]}}', b"{}", b"\xff\xfe",
     b'{"event":"x","error_detail":7}', b'{"event":"x","error_detail":[7,{}]}', b'{"event":"x","level":7,"logger":[]}',
     b'{"timestamp":"0001-01-01T00:00:00+23:00","event":"x"}', b'{"timestamp":7,"event":"x"}',
     b'{"event":"x","error_detail":[{"frames":7,"exceptions":7,"exc_notes":7,"exc_value":null}]}'],
)  # fmt: skip
def test_odd_records_are_shown_as_they_are(entry: bytes) -> None:
    assert isinstance(parse_record(entry, unchanged).event, str)
    assert isinstance(parse_text(entry, unchanged).event, str)


def test_cut_record_keeps_timestamp_and_beginning_of_event() -> None:
    whole = orjson.dumps({"timestamp": "2026-11-23T14:32:24Z", "event": 'a "quoted" 運行 ' * 2000, "level": "info"})
    for length in (60, 61, 62, 63, 64, 65, 20_000):
        line = parse_record(whole[:length], unchanged)
        assert line.timestamp == datetime(2026, 11, 23, 14, 32, 24, tzinfo=UTC)
        assert line.event.startswith('a "quoted')


def test_long_event_is_cut_with_number_of_missing_characters() -> None:
    line = record(event="x" * (MAX_EVENT_CHARACTERS + 7))
    assert line.event.endswith("x… (7 characters more)")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-23T14:32:28.290+0000", datetime(2026, 11, 23, 14, 32, 28, 290000, UTC)),
        ("2026-11-23T14:32:28+02:00", datetime(2026, 11, 23, 12, 32, 28, tzinfo=UTC)),
        ("2026-11-23, 14:32:28 UTC", datetime(2026, 11, 23, 14, 32, 28, tzinfo=UTC)),
        ("2026-11-23 14:32:28,290", datetime(2026, 11, 23, 14, 32, 28, 290000, UTC)),
        ("2026-11-23, 14:32:28 CET", None),
        ("0001-01-01T00:00:00+23:00", None),
        ("soon", None),
        (None, None),
    ],
)
def test_timestamps_of_every_version_are_in_utc(text: str | None, expected: datetime | None) -> None:
    assert parse_timestamp(text) == expected
