"""The JSON of both APIs, as 3.3.2 and 2.11.2 give it (tests/airflow compares the keys with real answers)."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from fake_airflow.model import Model
from fake_airflow.rows import Dag, Run, Task


def at_v2(time: datetime | None) -> str | None:
    return None if time is None else time.astimezone(UTC).isoformat().replace("+00:00", "Z")


def at_v1(time: datetime | None) -> str | None:
    return None if time is None else time.astimezone(UTC).isoformat()


def seconds(start: datetime | None, end: datetime | None) -> float | None:
    return (end - start).total_seconds() if start and end else None


def described(dag: Dag) -> str:
    return f"As {dag.schedule}" if dag.schedule else "Never, external triggers only"


def version_of(dag_id: str) -> dict[str, Any]:
    return {
        "id": str(UUID(int=1)),
        "version_number": 1,
        "dag_id": dag_id,
        "bundle_name": "dags-folder",
        "bundle_version": None,
        "created_at": "2026-11-23T14:29:22.330877Z",
        "dag_display_name": dag_id,
        "bundle_url": None,
    }


def dag_v2(dag: Dag, turn: int) -> dict[str, Any]:
    """`turn` changes with each call: the order of owners is not stable."""
    owners = dag.owners if turn % 2 else dag.owners[::-1]
    unset = (
        "last_expired", "bundle_version", "next_dagrun_logical_date", "next_dagrun_data_interval_start",
        "next_dagrun_data_interval_end", "allowed_run_types",
    )  # fmt: skip
    return dict.fromkeys(unset) | {
        "dag_id": dag.dag_id,
        "dag_display_name": dag.name or dag.dag_id,
        "is_paused": dag.is_paused,
        "is_stale": dag.is_stale,
        "last_parsed_time": f"2026-11-23T14:35:{turn % 60:02}.930294Z",
        "last_parse_duration": 0.4 + turn / 1000,
        "bundle_name": "dags-folder",
        "relative_fileloc": f"{dag.dag_id}.py",
        "fileloc": f"/opt/airflow/dags/{dag.dag_id}.py",
        "description": dag.description,
        "next_dagrun_run_after": at_v2(dag.next_run_at),
        "timetable_summary": dag.schedule,
        "timetable_description": described(dag),
        "timetable_partitioned": False,
        "timetable_periodic": False,
        "tags": [{"name": tag, "dag_id": dag.dag_id, "dag_display_name": dag.dag_id} for tag in dag.tags],
        "max_active_tasks": 16,
        "max_active_runs": 16,
        "max_consecutive_failed_dag_runs": 0,
        "has_task_concurrency_limits": False,
        "has_import_errors": dag.has_import_errors,
        "owners": list(owners),
        "is_backfillable": False,
        "file_token": f"token-{turn}",
    }


def dag_v1(dag: Dag, turn: int) -> dict[str, Any]:
    unset = (
        "last_expired", "last_pickled", "next_dagrun", "next_dagrun_data_interval_end",
        "next_dagrun_data_interval_start", "pickle_id", "root_dag_id", "scheduler_lock",
    )  # fmt: skip
    return dict.fromkeys(unset) | {
        "dag_id": dag.dag_id,
        "dag_display_name": dag.name or dag.dag_id,
        "default_view": "grid",
        "description": dag.description,
        "file_token": f"token-{turn}",
        "fileloc": f"/opt/airflow/dags/{dag.dag_id}.py",
        "has_import_errors": dag.has_import_errors,
        "has_task_concurrency_limits": False,
        "is_active": not dag.is_stale,
        "is_paused": dag.is_paused,
        "is_subdag": False,
        "last_parsed_time": f"2026-11-23T14:36:{turn % 60:02}.225125+00:00",
        "max_active_runs": 16,
        "max_active_tasks": 16,
        "max_consecutive_failed_dag_runs": 0,
        "next_dagrun_create_after": at_v1(dag.next_run_at),
        "owners": list(dag.owners),
        "schedule_interval": {"__type": "CronExpression", "value": dag.schedule} if dag.schedule else None,
        "tags": [{"name": tag} for tag in dag.tags],
        "timetable_description": described(dag),
    }


def run_v2(run: Run) -> dict[str, Any]:
    return {
        "dag_run_id": run.run_id,
        "dag_id": run.dag_id,
        "logical_date": at_v2(run.logical_date),
        "queued_at": at_v2(run.queued_at),
        "start_date": at_v2(run.started_at),
        "end_date": at_v2(run.ended_at),
        "duration": seconds(run.started_at, run.ended_at),
        "data_interval_start": at_v2(run.logical_date),
        "data_interval_end": at_v2(run.logical_date),
        "run_after": at_v2(run.run_after),
        "last_scheduling_decision": at_v2(run.updated_at),
        "run_type": run.run_type,
        "state": run.state,
        "triggered_by": "rest_api",
        "triggering_user_name": run.user,
        "conf": run.conf,
        "note": run.note,
        "dag_versions": [version_of(run.dag_id)],
        "bundle_version": None,
        "dag_display_name": run.dag_id,
        "partition_key": None,
        "partition_date": None,
    }


def run_v1(run: Run) -> dict[str, Any]:
    return {
        "conf": run.conf,
        "dag_id": run.dag_id,
        "dag_run_id": run.run_id,
        "data_interval_end": at_v1(run.logical_date),
        "data_interval_start": at_v1(run.logical_date),
        "end_date": at_v1(run.ended_at),
        "execution_date": at_v1(run.logical_date),
        "external_trigger": True,
        "last_scheduling_decision": at_v1(run.updated_at),
        "logical_date": at_v1(run.logical_date),
        "note": run.note,
        "run_type": run.run_type,
        "start_date": at_v1(run.started_at),
        "state": run.state,
    }


def task_v2(task: Task, run: Run) -> dict[str, Any]:
    return _task(task, at_v2) | {
        "id": str(UUID(int=task.id)),
        "logical_date": at_v2(run.logical_date),
        "run_after": at_v2(run.run_after),
        "scheduled_when": at_v2(task.queued_at),
        "dag_display_name": task.dag_id,
        "operator_name": "PythonOperator",
        "dag_version": version_of(task.dag_id),
    }


def task_v1(task: Task, run: Run) -> dict[str, Any]:
    return _task(task, at_v1) | {"execution_date": at_v1(run.logical_date), "sla_miss": None}


def _task(task: Task, at: Any) -> dict[str, Any]:
    return {
        "task_id": task.task_id,
        "dag_id": task.dag_id,
        "dag_run_id": task.run_id,
        "map_index": task.map_index,
        "start_date": at(task.started_at),
        "end_date": at(task.ended_at),
        "duration": seconds(task.started_at, task.ended_at),
        "state": task.state,
        "try_number": task.try_number,
        "max_tries": task.max_tries,
        "task_display_name": task.task_id,
        "hostname": task.hostname,
        "unixname": "root",
        "pool": "default_pool",
        "pool_slots": 1,
        "queue": "default",
        "priority_weight": 1,
        "operator": "PythonOperator",
        "queued_when": at(task.queued_at),
        "pid": 4711 if task.started_at else None,
        "executor": None,
        "executor_config": "{}",
        "note": task.note,
        "rendered_map_index": None,
        "rendered_fields": {"op_args": [], "op_kwargs": {}},
        "trigger": task.trigger,
        "triggerer_job": None,
    }


def event(entry: dict[str, Any], model: Model) -> dict[str, Any]:
    if model.api == "v1":
        return {**entry, "when": at_v1(entry["when"]), "execution_date": None}
    more = {"logical_date": None, "dag_display_name": entry["dag_id"], "task_display_name": None}
    return {**entry, "when": at_v2(entry["when"]), **more}


def import_error(api: str, number: int, filename: str) -> dict[str, Any]:
    """As measured on 3.3.2 and 2.11.2."""
    at = datetime(2026, 11, 23, 14, 38, 10, 652072, tzinfo=UTC) + timedelta(minutes=number)
    trace = f'Traceback (most recent call last):\n  File "/opt/airflow/dags/{filename}", line 5\nRuntimeError: broken\n'
    row = {"import_error_id": number + 1, "filename": filename, "stack_trace": trace}
    if api == "v1":
        return row | {"timestamp": at_v1(at)}
    return row | {"timestamp": at_v2(at), "bundle_name": "dags-folder"}
