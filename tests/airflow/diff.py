"""Compares the mirror with a full listing of Airflow's own API, field by field, without our provider's code."""

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from airflow.harness import PIPELINES, Windsock, beside
from airflow_lab import AirflowLab
from windsock.db.database import Row

PAGE = 100
COLUMNS = {
    "queued_at": "queued_at",
    "started_at": "start_date",
    "ended_at": "end_date",
    "logical_date": "logical_date",
    "data_interval_start": "data_interval_start",
    "data_interval_end": "data_interval_end",
    "note": "note",
    "status": "state",
    "run_type": "run_type",
}
TASK_COLUMNS = {
    "queued_at": "queued_when",
    "started_at": "start_date",
    "ended_at": "end_date",
    "note": "note",
    "try_number": "try_number",
    "max_tries": "max_tries",
    "pool": "pool",
    "queue": "queue",
    "hostname": "hostname",
    "map_index": "map_index",
}
TASK_KEY = ("dag_id", "dag_run_id", "task_id", "region_id", "region_index", "map_index")
"""Airflow leaves out the region where there is none."""
TaskKey = tuple[Any, ...]


def listing(lab: AirflowLab, path: str, key: str, **params: Any) -> list[dict[str, Any]]:
    """All rows, in pages of 100, at a time when nothing changes."""
    rows: list[dict[str, Any]] = []
    while True:
        page = lab.api("GET", path, params={"limit": PAGE, "offset": len(rows), **params})
        rows += page[key]
        if len(rows) >= page["total_entries"] or not page[key]:
            assert len(rows) == page["total_entries"]
            return rows


def dags_of(lab: AirflowLab) -> dict[str, dict[str, Any]]:
    all_of_them = {"exclude_stale": "false"} if lab.major == "3" else {"only_active": "false"}
    return {row["dag_id"]: row for row in listing(lab, "/dags", "dags", order_by="dag_id", **all_of_them)}


def runs_of(lab: AirflowLab) -> dict[tuple[str, str], dict[str, Any]]:
    rows = listing(lab, "/dags/~/dagRuns", "dag_runs", order_by="id")
    return {(row["dag_id"], row["dag_run_id"]): row for row in rows}


def tasks_of(lab: AirflowLab) -> dict[TaskKey, dict[str, Any]]:
    """From the lists of all, which show those of run ids without an address too. Airflow 2 gives all in one answer."""
    paging = {"order_by": "id"} if lab.major == "3" else {"limit": 100_000}
    rows = listing(lab, "/dags/~/dagRuns/~/taskInstances", "task_instances", **paging)
    region = {"region_id": "", "region_index": -1}
    found = {tuple((region | row)[name] for name in TASK_KEY): row for row in rows}
    assert len(found) == len(rows)
    return found


async def assert_mirror_equals(lab: AirflowLab, windsock: Windsock) -> Counter[str]:
    """Every DAG, run and task instance, every field; and what is derived from them. Says how many were compared."""
    dags = await beside(dags_of, lab)
    runs = await beside(runs_of, lab)
    tasks = await beside(tasks_of, lab)

    pipelines = {row["external_id"]: row for row in await windsock.rows(PIPELINES)}
    assert pipelines.keys() == dags.keys()
    for dag_id, dag in dags.items():
        compare_dag(pipelines[dag_id], dag)

    mine = await windsock.rows(
        "SELECT r.*, p.external_id AS dag_id FROM runs r JOIN pipelines p ON p.id = r.pipeline_id"
        " WHERE r.removed_at IS NULL"
    )
    my_runs = {(row["dag_id"], row["external_id"]): row for row in mine}
    assert len(mine) == len(my_runs)
    assert my_runs.keys() == runs.keys()
    for key, raw in runs.items():
        compare(my_runs[key], raw, COLUMNS, f"run {key}")
        assert my_runs[key]["conf"] == (raw["conf"] or {})
        assert my_runs[key]["run_after"] == at(raw.get("run_after"))
        assert my_runs[key]["triggered_by"] == raw.get("triggering_user_name")

    mine = await windsock.rows(
        "SELECT t.*, r.external_id AS dag_run_id, p.external_id AS dag_id FROM task_runs t"
        " JOIN runs r ON r.id = t.run_id JOIN pipelines p ON p.id = r.pipeline_id"
        " WHERE t.removed_at IS NULL AND r.removed_at IS NULL"
    )
    my_tasks = {tuple((row | {"task_id": row["external_id"]})[name] for name in TASK_KEY): row for row in mine}
    assert len(mine) == len(my_tasks)
    assert my_tasks.keys() == tasks.keys()
    for task_key, raw in tasks.items():
        compare(my_tasks[task_key], raw, TASK_COLUMNS, f"task {task_key}")
        assert my_tasks[task_key]["status"] == (raw["state"] or "none")
        assert my_tasks[task_key]["operator"] == (raw.get("operator_name") or raw["operator"])
        assert my_tasks[task_key]["name"] == raw["task_display_name"]
        loop = raw.get("loop_iteration") or {}
        assert my_tasks[task_key]["loop_id"] == loop.get("loop_id")
        assert my_tasks[task_key]["loop_iteration"] == loop.get("iteration")

    compare_derived(pipelines, my_runs, my_tasks)
    return Counter(pipelines=len(dags), runs=len(runs), task_runs=len(tasks))


def compare_dag(mine: Row, raw: dict[str, Any]) -> None:
    assert mine["name"] == raw["dag_display_name"]
    assert mine["description"] == raw["description"]
    assert mine["owners"] == sorted(owner.strip() for owner in raw["owners"])
    assert mine["tags"] == sorted(tag["name"] for tag in raw["tags"])
    assert mine["is_paused"] == raw["is_paused"]
    assert mine["is_draining"] == (raw.get("scheduling_state") == "draining")
    assert mine["is_active"] == (raw["is_active"] if "is_active" in raw else not raw["is_stale"])
    assert mine["has_import_errors"] == raw["has_import_errors"]
    schedule = raw["timetable_summary"] if "timetable_summary" in raw else (raw["schedule_interval"] or {}).get("value")
    assert mine["schedule"] == schedule
    assert mine["schedule_description"] == raw["timetable_description"]


def compare(mine: Row, raw: dict[str, Any], columns: dict[str, str], what: str) -> None:
    for column, field in columns.items():
        expected = raw.get(field)
        if isinstance(mine[column], datetime) or column.endswith("_at"):
            expected = at(expected)
        assert mine[column] == expected, f"{what}: {column} is {mine[column]!r}, Airflow says {expected!r}"
    for field, value in mine["provider_metadata"].items():
        if field != "dag_versions":  # we put them in order, Airflow does not
            assert value == raw[field], f"{what}: {field} of the metadata"


def compare_derived(
    pipelines: dict[str, Row],
    runs: dict[tuple[str, str], Row],
    tasks: Mapping[Any, Row],
) -> None:
    for dag_id, pipeline in pipelines.items():
        ordered = sorted(
            (run for run in runs.values() if run["dag_id"] == dag_id), key=lambda r: (r["effective_start_at"], r["id"])
        )
        assert [brief["id"] for brief in pipeline["recent_runs"]] == [str(run["id"]) for run in ordered[-14:]]
        assert [brief["status"] for brief in pipeline["recent_runs"]] == [run["status"] for run in ordered[-14:]]
        assert pipeline["status"] == (ordered[-1]["status"] if ordered else "unknown")
        assert (pipeline["last_run"] or {}).get("id") == (str(ordered[-1]["id"]) if ordered else None)
    for run in runs.values():
        counts = Counter(task["status"] for task in tasks.values() if task["run_id"] == run["id"])
        assert run["task_counts"] == counts
        if run["ended_at"] and run["started_at"]:
            assert run["duration_seconds"] == (run["ended_at"] - run["started_at"]).total_seconds()


def at(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text).astimezone(UTC) if text else None
