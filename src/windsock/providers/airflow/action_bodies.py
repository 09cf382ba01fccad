"""The requests of actions in both APIs, and what tells whether a task instance was cleared."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

from windsock.providers.actions import ClearRequest, ClearTarget
from windsock.providers.airflow.dialect import Dialect
from windsock.providers.airflow.parsing import format_datetime
from windsock.providers.base import Json, ProviderTaskRun
from windsock.providers.scopes import NO_REGION, NOT_MAPPED, SingleRun, TaskRunId

FAILED = frozenset({"failed", "upstream_failed"})
"""What Airflow clears with only_failed."""
WAITS_TO_RUN = "none"
LEAVES_RUNNING_TASKS, CLEARS_BY_EXECUTION = (3, 3), (3, 4)
"""Versions since which a clear can leave running tasks alone, and can clear these executions and no others."""


@dataclass(frozen=True, slots=True)
class ActionRequest:
    """A POST or PATCH; `names` are the ids in its path."""

    path: str
    names: tuple[str, ...]
    body: Json
    params: Mapping[str, str] = field(default_factory=dict)


def task_id_of(task: ProviderTaskRun) -> TaskRunId:
    return TaskRunId(
        task.pipeline_external_id, task.run_external_id, task.external_id, task.map_index, task.region_id,
        task.region_index,
    )  # fmt: skip


def marker_of(task: ProviderTaskRun) -> str:
    """Return a text that differs after a clear: the id on Airflow 3; on Airflow 2 state, tries and end."""
    if task.execution_id is not None:
        return task.execution_id
    ended_at = None if task.ended_at is None else format_datetime(task.ended_at)
    return json.dumps([task.try_number, task.max_tries, task.status, ended_at])


def is_selected(task: ProviderTaskRun, request: ClearRequest) -> bool:
    """Whether a clear of Airflow 2 takes this instance of a task in its scope."""
    return task.status in FAILED if request.only_failed else task.status != WAITS_TO_RUN


def clear_request(
    dialect: Dialect,
    request: ClearRequest,
    *,
    dry_run: bool,
    executions: Sequence[ProviderTaskRun] | None = None,
    targets: Sequence[ClearTarget] = (),
    numbers: tuple[int, int] = (0, 0),
) -> ActionRequest:
    """POST …/clearTaskInstances.

    `executions`: those that are selected by id, of Airflow 3.4. `targets`: those of the plan; then nothing else is
    cleared, and with only_failed nothing that was cleared meanwhile.
    """
    body: Json = {
        "dry_run": dry_run,
        "dag_run_id": request.run.run_external_id,
        "only_failed": request.only_failed,
        "reset_dag_runs": True,
        "include_downstream": request.include_downstream and not targets,
    }
    if numbers >= LEAVES_RUNNING_TASKS:
        body["prevent_running_task"] = True
    if executions is not None:
        body["task_instance_ids"] = [task.execution_id for task in executions]
    elif targets and numbers >= CLEARS_BY_EXECUTION:
        body["task_instance_ids"] = [target.marker for target in targets]
    elif tasks := [target.task for target in targets] or request.tasks:
        body["task_ids"] = _task_ids(dialect, tasks)
    return ActionRequest(
        f"{dialect.root}/dags/{quote(request.run.pipeline_external_id, safe='~')}/clearTaskInstances",
        (request.run.pipeline_external_id,),
        body,
    )


def _task_ids(dialect: Dialect, tasks: Sequence[TaskRunId]) -> list[str | list[str | int]]:
    """Airflow 2 only takes whole tasks, with all their instances."""
    if dialect.name == "v1":
        return sorted({task.external_id for task in tasks})
    return [task.external_id if task.map_index == NOT_MAPPED else [task.external_id, task.map_index] for task in tasks]


def mark_run_request(dialect: Dialect, run: SingleRun, status: str) -> ActionRequest:
    path, names = _run_path(dialect, run)
    return ActionRequest(path, names, {"state": status})


def mark_task_request(dialect: Dialect, task: TaskRunId, status: str) -> ActionRequest:
    path, names = task_path(dialect, task)
    if dialect.name == "v1":
        return ActionRequest(path, names, {"dry_run": False, "new_state": status})
    return ActionRequest(path, names, {"new_state": status} | _region(task), {"update_mask": "new_state"})


def pause_request(dialect: Dialect, pipeline_external_id: str, *, is_paused: bool) -> ActionRequest:
    path = f"{dialect.root}/dags/{quote(pipeline_external_id, safe='~')}"
    return ActionRequest(path, (pipeline_external_id,), {"is_paused": is_paused}, {"update_mask": "is_paused"})


def note_run_request(dialect: Dialect, run: SingleRun, note: str) -> ActionRequest:
    path, names = _run_path(dialect, run)
    if dialect.name == "v1":
        return ActionRequest(f"{path}/setNote", names, {"note": note})
    return ActionRequest(path, names, {"note": note}, {"update_mask": "note"})


def note_task_request(dialect: Dialect, task: TaskRunId, note: str) -> ActionRequest:
    path, names = task_path(dialect, task)
    if dialect.name == "v1":
        return ActionRequest(f"{path}/setNote", names, {"note": note})
    return ActionRequest(path, names, {"note": note} | _region(task), {"update_mask": "note"})


def task_path(dialect: Dialect, task: TaskRunId) -> tuple[str, tuple[str, ...]]:
    path, names = _run_path(dialect, SingleRun(task.pipeline_external_id, task.run_external_id))
    path += f"/taskInstances/{quote(task.external_id, safe='~')}"
    return path if task.map_index == NOT_MAPPED else f"{path}/{task.map_index}", (*names, task.external_id)


def _run_path(dialect: Dialect, run: SingleRun) -> tuple[str, tuple[str, ...]]:
    names = (run.pipeline_external_id, run.run_external_id)
    parts = [quote(name, safe="~") for name in names]
    return f"{dialect.root}/dags/{parts[0]}/dagRuns/{parts[1]}", names


def _region(task: TaskRunId) -> Json:
    if task.region_id == NO_REGION:
        return {}
    return {"region_id": task.region_id, "region_index": task.region_index}
