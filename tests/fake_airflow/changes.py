"""Answers requests that change something: triggers, clears, marks, pauses, notes, and answers of people.

As 3.3.2, 3.4.0b2 and 2.11.2 do it (tests/airflow/test_actions.py compares them).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from uuid import UUID

from fake_airflow.responses import NoRoute, Params, Refused, Reply
from fake_airflow.rows import Task, task_key
from fake_airflow.serializers import at_v2

if TYPE_CHECKING:
    from fake_airflow.api import Api
    from fake_airflow.model import Model

CLEAR_FIELDS = {"dry_run", "dag_run_id", "only_failed", "reset_dag_runs", "include_downstream", "task_ids"}
RUNNING_TASK = (
    "AirflowClearRunningTaskException: Disable 'prevent_running_task' to proceed, or wait until the task is not "
    "running, queued, or scheduled state."
)


def change(api: Api, method: str, parts: list[str], params: Params, body: dict[str, Any]) -> Reply:
    match method, parts:
        case "POST", ["dags", dag_id, "dagRuns"]:
            return _trigger(api, dag_id, body)
        case "POST", ["dags", dag_id, "clearTaskInstances"]:
            return _clear(api, dag_id, body)
        case "PATCH", ["dags", dag_id]:
            dag = api._dag(dag_id)
            api.model.pause(dag_id, is_paused=body["is_paused"])
            return Reply(api._shape("dag")(dag, 1))
        case "PATCH", ["dags", dag_id, "dagRuns", run_id, *rest] if rest in ([], ["setNote"]):
            return _patch_run(api, (dag_id, run_id), params, body, is_note=bool(rest))
        case "PATCH", ["dags", dag_id, "dagRuns", run_id, "taskInstances", task_id, *rest]:
            return _patch_task(api, (dag_id, run_id, task_id), rest, params, body)
    raise NoRoute


def _trigger(api: Api, dag_id: str, body: dict[str, Any]) -> Reply:
    if api._dag(dag_id).is_stale:
        raise Refused(404, f"Dag with dag_id: '{dag_id}' not found")
    run_id = body.get("dag_run_id")
    if (dag_id, run_id) in api.model.runs:
        raise Refused(409, "The run exists already")
    run = api.model.start_run(dag_id, run_id, user="admin")
    run.conf, run.note = body.get("conf") or {}, body.get("note")
    return Reply(api._shape("run")(run))


def _clear(api: Api, dag_id: str, body: dict[str, Any]) -> Reply:
    is_v1, version = api.model.api == "v1", tuple(int(part) for part in api.version.split(".")[:2])
    dag = api._dag(dag_id)
    known = CLEAR_FIELDS | ({"prevent_running_task", "note"} if version >= (3, 3) else set())
    known |= {"task_instance_ids"} if version >= (3, 4) else set()
    if set(body) - known:
        raise Refused(400 if is_v1 else 422, "Unknown field" if is_v1 else "Extra inputs are not permitted")
    run = api.model.runs.get((dag_id, body["dag_run_id"]))
    if run is None:
        raise Refused(404, f"Dag Run id {body['dag_run_id']} not found in dag {dag_id}")
    tasks = list(api.model.tasks_of((dag_id, run.run_id)))
    if (ids := body.get("task_instance_ids")) is not None:
        selected = [task for task in tasks if str(UUID(int=task.id)) in ids]
        if len(selected) < len(ids):
            raise Refused(404, "Selected task execution is not current in this DAG run")
    else:
        selected = [task for task in tasks if _names(body.get("task_ids"), task)]
    if body.get("include_downstream"):
        behind = _downstream(dag.tasks, {task.task_id for task in selected})
        selected = [task for task in tasks if task in selected or task.task_id in behind]
    if body.get("only_failed", True):
        selected = [task for task in selected if task.state in {"failed", "upstream_failed"}]
    if not body.get("dry_run", True):
        if body.get("prevent_running_task") and any(task.state == "running" for task in selected):
            raise Refused(409, RUNNING_TASK)
        _clear_tasks(api.model, selected)
    shape = api._shape("task")
    rows = [shape(task, run) for task in selected]
    if is_v1:
        shown = ("dag_id", "dag_run_id", "execution_date", "task_id")
        return Reply({"task_instances": [{name: row[name] for name in shown} for row in rows]})
    return Reply({"task_instances": rows, "total_entries": len(rows)})


def _clear_tasks(model: Model, tasks: Iterable[Task]) -> None:
    """With reset_dag_runs: a run that has ended is queued again."""
    for task in tasks:
        run = model.runs[task.dag_id, task.run_id]
        if run.state not in {"queued", "running"}:
            run.state, run.started_at, run.ended_at = "queued", None, None
        run.queued_at = model._now()
        model.touch(run)
        model._clear(task)
        model._log("post_clear_task_instances", task.dag_id)


def _names(task_ids: list[Any] | None, task: Task) -> bool:
    return task_ids is None or task.task_id in task_ids or [task.task_id, task.map_index] in task_ids


def _downstream(tasks: dict[str, list[str]], names: Iterable[str]) -> set[str]:
    found, left = set[str](), list(names)
    while left:
        behind = [name for name in tasks.get(left.pop(), []) if name not in found]
        found.update(behind)
        left += behind
    return found


def _patch_run(api: Api, key: tuple[str, str], params: Params, body: dict[str, Any], *, is_note: bool) -> Reply:
    run = api._run(key)
    if is_note or params.get("update_mask") == "note":
        api.model.note_run(key, body["note"])
    elif body.get("state") not in {"queued", "success", "failed"}:
        raise Refused(400 if api.model.api == "v1" else 422, "Input should be 'queued', 'success' or 'failed'")
    else:
        api.model.mark_run(key, body["state"])
    return Reply(api._shape("run")(run))


def _patch_task(api: Api, names: tuple[str, str, str], rest: list[str], params: Params, body: dict[str, Any]) -> Reply:
    run = api._run(names[:2])
    number = int(rest.pop(0)) if rest and rest[0].lstrip("-").isdecimal() else -1
    key = task_key(*names, number, body.get("region_id", ""), body.get("region_index", -1))
    task = api.model.tasks.get(key)
    if task is None:
        raise Refused(404, f"The Task Instance with dag_id: `{names[0]}`, run_id: `{names[1]}` was not found")
    if rest == ["hitlDetails"]:
        return _respond(api, key, body)
    if rest == ["setNote"] or params.get("update_mask") == "note":
        api.model.note_task(key, body["note"])
    else:
        api.model.mark_task(key, body["new_state"])
    if api.model.api == "v1":
        return Reply({})
    return Reply({"task_instances": [api._shape("task")(task, run)], "total_entries": 1})


def list_approvals(api: Api, dag_id: str, run_id: str, parts: list[str], params: Params) -> Reply:
    """The questions of tasks, or that of one."""
    rows = []
    for key, approval in api.approvals.items():
        task = api.model.tasks.get(key)
        if task is not None and dag_id in {"~", task.dag_id} and run_id in {"~", task.run_id}:
            shown = api._shape("task")(task, api.model.runs[task.dag_id, task.run_id])
            if len(parts) == 1 or parts[1:3] == [task.task_id, str(task.map_index)]:
                rows.append({**approval, "task_instance": shown})
    if len(parts) > 1:
        if not rows:
            raise Refused(404, "Human-in-the-loop detail does not exist for Task Instance")
        return Reply(rows[0])
    if (received := params.get("response_received")) is not None:
        rows = [row for row in rows if row["response_received"] == (received == "true")]
    return Reply({"hitl_details": api._slice(rows, params), "total_entries": len(rows)})


def request_approval(api: Api, task: Task, subject: str, options: list[str]) -> None:
    """The task waits for an answer from now on."""
    task.state = "awaiting_input"
    api.model.touch(task)
    api.approvals[task.key] = {
        "subject": subject, "body": None, "options": options, "defaults": None, "multiple": False, "params": {},
        "assigned_users": [], "created_at": at_v2(api.model.now()), "responded_by_user": None, "responded_at": None,
        "chosen_options": None, "params_input": {}, "response_received": False,
    }  # fmt: skip


def _respond(api: Api, key: Any, body: dict[str, Any]) -> Reply:
    approval = api.approvals.get(key)
    if approval is None:
        raise Refused(404, "Human-in-the-loop detail does not exist for Task Instance")
    if approval["response_received"]:
        raise Refused(409, "Human-in-the-loop detail has already been updated for Task Instance")
    if invalid := sorted(set(body["chosen_options"]) - set(approval["options"])):
        raise Refused(400, f"Invalid options {invalid}; allowed options are {sorted(approval['options'])}.")
    response = {
        "responded_by_user": {"id": "admin", "name": "admin"},
        "responded_at": at_v2(api.model.now()),
        "chosen_options": body["chosen_options"],
        "params_input": body.get("params_input", {}),
    }
    approval.update(response, response_received=True)
    task = api.model.tasks[key]
    task.state = "scheduled"
    api.model.touch(task)
    return Reply(response)
