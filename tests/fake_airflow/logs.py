"""Logs of tasks, as 3.3.2 and 2.11.2 give them: captured samples, and tests/airflow compares with the real ones.

A stream begins at the first line whatever token is sent. The header of a stream of Airflow 3 has a token that holds no
position; that of JSON holds one while the try goes on.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from fake_airflow.model import Model
from fake_airflow.responses import Params, Refused, Reply, problem
from fake_airflow.rows import Task, task_key
from fake_airflow.serializers import at_v2

RUNNING = {"running", "deferred"}
OTHER_KEY = (
    "!!!! Please make sure that all your Airflow components (e.g. schedulers, webservers, workers and triggerer) have"
    " the same 'secret_key' configured in 'webserver' section and time is synchronized on all your machines"
)
NO_LOCAL_FILE = (
    OTHER_KEY,
    "Could not read served logs: 403 Client Error: Forbidden for url: http://worker-1:8793/log/attempt={}.log",
)
LIBRARY = "/opt/airflow/lib/python3.11/site-packages/airflow/sdk/execution_time/task_runner.py"


@dataclass(frozen=True)
class Raised:
    """An exception of a log; `cause` is what it was raised from."""

    type: str
    message: str
    function: str = "run"
    filename: str = "/opt/airflow/dags/reports.py"
    lineno: int = 12
    cause: Raised | None = None


@dataclass(frozen=True)
class Entry:
    at: datetime
    event: str
    level: str = "info"
    logger: str = "task"
    raised: Raised | None = None
    more: Mapping[str, Any] = field(default_factory=dict)


def find_task(model: Model, names: tuple[str, str, str], map_index: str | int, params: Params) -> Task | None:
    """The task instance at an address; that of a region is named by parameters."""
    region = (params.get("region_id", ""), int(params.get("region_index", -1)))
    return model.tasks.get(task_key(*names, int(map_index), *region))


class TaskLogs:
    """What tasks wrote, by task key and try. A try that began and of which nothing is here has three lines."""

    def __init__(self) -> None:
        self.entries: dict[tuple[Any, ...], list[Entry]] = {}
        self.is_refused = False
        self.cannot_be_read = False
        """The worker with the file is gone, and nothing was stored elsewhere."""
        self.requests: list[str] = []

    def write(self, task: Task, entry: Entry, try_number: int | None = None) -> None:
        self.entries.setdefault((*task.key, try_number or task.try_number), []).append(entry)

    def respond(self, api: str, task: Task | None, try_number: int, params: Params, accept: str) -> Reply:
        self.requests.append(f"{task.task_id if task else None}/{try_number} {accept}")
        if self.is_refused:
            raise Refused(403, "Forbidden")
        exists = task is not None and (api == "v1" or 0 <= try_number <= task.try_number)
        if task is None or not exists:
            if api == "v1":
                return problem(404, "", "TaskInstance not found")
            raise Refused(404, "TaskInstance not found")
        is_last = try_number == task.try_number
        is_running = is_last and (task.state or "") in RUNNING
        entries = self._entries(task, try_number)
        if api == "v1":
            return _text(task, try_number, entries, accept)
        return _records(task, try_number, entries, accept, params, is_running=is_running)

    def _entries(self, task: Task, try_number: int) -> list[Entry] | None:
        """None where Airflow finds no file."""
        known = self.entries.get((*task.key, try_number))
        if known is not None and not self.cannot_be_read:
            return known
        if self.cannot_be_read or not 0 < try_number <= task.try_number:
            return None
        at = task.started_at or task.updated_at
        has_failed = task.state == "failed" or try_number < task.try_number
        end = Entry(at, "Task failed with exception", "error", raised=Raised("RuntimeError", f"try {try_number} fails"))
        return [
            Entry(at, "::group::Pre Execute"),
            Entry(at, "::endgroup::"),
            Entry(at, f"try {try_number}", logger="task.stdout"),
            *([end] if has_failed else []),
        ]


def _records(
    task: Task, try_number: int, entries: list[Entry] | None, accept: str, params: Params, *, is_running: bool
) -> Reply:
    if accept not in {"application/x-ndjson", "application/json", "*/*"}:
        raise Refused(406, "Only application/json or application/x-ndjson is supported")
    path = (
        f"/opt/airflow/logs/dag_id={task.dag_id}/run_id={task.run_id}/task_id={task.task_id}/attempt={try_number}.log"
    )
    words = (path,) if entries is not None else (NO_LOCAL_FILE[1].format(try_number),)
    header = [{"timestamp": None, "event": event} for event in (
        "::group::Log message source details", *words, "::endgroup::"
    )]  # fmt: skip
    records = [_record(task, entry) for entry in entries or ()]
    if accept == "application/x-ndjson":
        text = "".join(f"{json.dumps(record, separators=(',', ':'))}\n" for record in header + records)
        token = base64.urlsafe_b64encode(b'{"download_logs":false}').decode().rstrip("=") + ".signed"
        return Reply(text.encode(), 200, accept, {"Airflow-Continuation-Token": token})
    position = int(params.get("token") or 0)
    shown = records[position:] if position else [{"event": item["event"]} for item in header] + records
    return Reply({"content": shown, "continuation_token": str(len(records)) if is_running else None})


def _record(task: Task, entry: Entry) -> dict[str, Any]:
    record: dict[str, Any] = {"timestamp": at_v2(entry.at), "event": entry.event, "level": entry.level, **entry.more}
    if entry.logger != "task.stdout":
        record |= {
            "run_id": task.run_id, "dag_id": task.dag_id, "map_index": task.map_index,
            "ti_id": f"00000000-0000-7000-8000-{task.id:012}", "try_number": task.try_number, "task_id": task.task_id,
        }  # fmt: skip
    record["logger"] = entry.logger
    if entry.logger != "task.stdout":
        record |= {"filename": "task_runner.py", "lineno": 1676}
    if entry.raised is not None:
        details: list[dict[str, Any]] = []
        raised: Raised | None = entry.raised
        while raised is not None:
            frames = [
                {"filename": LIBRARY, "lineno": 1579, "name": "_run_task_and_map_outcome"},
                {"filename": raised.filename, "lineno": raised.lineno, "name": raised.function},
            ]
            details.append(
                {
                    "exc_type": raised.type, "exc_value": raised.message, "exc_notes": [], "syntax_error": None,
                    "is_cause": bool(details), "frames": frames, "is_group": False, "exceptions": [],
                }
            )  # fmt: skip
            raised = raised.cause
        record["error_detail"] = details
    return record


def _text(task: Task, try_number: int, entries: list[Entry] | None, accept: str) -> Reply:
    path = (
        f"/opt/airflow/logs/dag_id={task.dag_id}/run_id={task.run_id}/task_id={task.task_id}/attempt={try_number}.log"
    )
    words = (
        ("Found local files:", f"  * {path}")
        if entries is not None
        else (NO_LOCAL_FILE[0] + "\nSee more at https://airflow.apache.org", NO_LOCAL_FILE[1].format(try_number))
    )
    source = "".join(f"*** {line}\n" for line in words)
    text = f" INFO - ::group::Log message source details\n{source} INFO - ::endgroup::\n"
    text += "".join(_line(entry) for entry in entries or ())
    if "text/plain" in accept:
        return Reply(f"worker-1\n{text}\n".encode(), 200, "text/plain")
    return Reply({"content": repr([("worker-1", text)]), "continuation_token": "eyJlbmRfb2ZfbG9nIjp0cnVlfQ.signed"})


def _line(entry: Entry) -> str:
    at = entry.at.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "+0000"
    traceback = "" if entry.raised is None else f"{_traceback(entry.raised)}\n"
    return f"[{at}] {{taskinstance.py:3337}} {entry.level.upper()} - {entry.event}\n{traceback}"


def _traceback(raised: Raised) -> str:
    before = (
        f"{_traceback(raised.cause)}\n\nThe above exception was the direct cause of the following exception:\n\n"
        if raised.cause
        else ""
    )
    return (
        f'{before}Traceback (most recent call last):\n  File "{LIBRARY}", line 776, in _execute_task\n'
        "    result = _execute_callable(context=context)\n             ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^\n"
        f'  File "{raised.filename}", line {raised.lineno}, in {raised.function}\n    raise SomeError\n'
        f"airflow.exceptions.{raised.type}: {raised.message}"
    )
