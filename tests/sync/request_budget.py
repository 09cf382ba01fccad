"""(d) What a sync may ask at most, from what there is and what has changed; generous where it is rare."""

from __future__ import annotations

from math import ceil

from fake_airflow.model import Model
from fake_airflow.rows import RunKey
from sync.config_strategies import SimulationConfig
from sync.harness import SyncHarness
from sync.oracle import OVERLAP, Mirrored
from windsock.db.database import Row
from windsock.sync.polling import ListingCost
from windsock.sync.session import UNFINISHED
from windsock.sync.state_records import BACKLOG_KEYS

WINDOWS = 12
"""Of a reading of 14 days that begins with an hour and doubles, and one more of each end."""
COMPARISON_REQUESTS = 64
"""Of a comparison."""


def idle_sync_requests(state: Row, dags: int, *, waits: bool) -> set[int]:
    """The log, the runs, the task runs, and the DAGs where their list took at most five requests.

    The large mode leaves out the DAGs, and the task runs where no run has changed since they were read. `waits`:
    something has not ended.
    """
    cost = ListingCost(**state["listing"]) if state["listing"] else None
    listing = cost.requests if cost is not None and cost.is_cheap else 0
    if state["is_per_dag"]:  # the log, the DAGs, and two for each
        return {1 + listing + 2 * number for number in range(dags + 1)}
    limit = {2, 3} if state["mode"] == "large" else {3 + listing}
    if state["polling"].get("counted_at") is None:  # the task runs of a slow Airflow are counted once, and once a day
        limit |= {requests + 1 for requests in limit}
    return {requests + waits for requests in limit}


def max_requests(
    harness: SyncHarness, config: SimulationConfig, mirrored: Mirrored, kind: str, *, checks: bool
) -> int | None:
    """None where nothing can be said: before the history has been read."""
    state = mirrored.state
    if state["watermark"] is None or not (state["backfill"] or {}).get("is_complete"):
        return None
    if state["is_per_dag"] or harness.fake.api.is_scoped:  # test_per_dag.py says how much that takes
        return None
    model, page = harness.model, min(config.cap, 100)
    rows = max(1, page - 1)
    since = state["watermark"] - OVERLAP
    point = state["checkpoint"] or {}
    runs = {key for key, run in model.runs.items() if run.updated_at >= since}
    tasks = [task for task in model.tasks.values() if task.updated_at >= since]
    events = [event for event in model.events if event["when"] >= since]
    followed = {(event["dag_id"], event["run_id"]) for event in events if event["run_id"]}
    followed |= {
        (dag_id, run_id) for name in BACKLOG_KEYS for dag_id, run_id in state["event_log_cursor"].get(name, [])
    }
    touched = runs | followed | {(task.dag_id, task.run_id) for task in tasks}
    limit = 12 + ceil(len(events) / page) + len(state["identity_samples"])
    limit += pages(len(runs), rows) + pages(len(tasks), rows) + split(len(tasks), config)
    limit += sum(of_one_run(model, key, rows, config) for key in touched)
    waiting = {key for key, row in mirrored.runs.items() if row["status"] in UNFINISHED} - touched
    limit += pages(len(waiting), rows) + sum(of_one_run(model, key, rows, config) for key in waiting)
    new = sum(at >= (harness.listed or at) for dag_id, at in model.appeared.items() if dag_id in model.dags)
    lists = 1 + pages(len(model.dags), page) + len(model.dags)
    limit += lists * (3 if new else 2)
    full_scan = pages(len(model.runs), rows) + pages(len(model.tasks), rows) + split(len(model.tasks), config)
    if kind == "full" or point.get("kind") == "history":
        limit += sum(of_one_run(model, key, rows, config) for key in model.runs.keys() - mirrored.runs.keys())
        limit += 2 * WINDOWS + 2 * full_scan + split(len(model.tasks), config) * 2
        limit += (WINDOWS * (6 + pages(len(runs), rows) + pages(len(tasks), rows))) * config.is_slow
    if checks or state["recheck_due"] or state["reconciled_at"] is None or events or not config.shows_events:
        limit += COMPARISON_REQUESTS + 2 * full_scan
    late = new + sum(bool(row.get("needs_backfill")) for row in mirrored.pipelines.values())
    limit += late * (2 * WINDOWS + full_scan)
    return limit


def pages(number: int, size: int) -> int:
    return ceil(number / size) + 1


def split(number: int, config: SimulationConfig) -> int:
    """Task runs of Airflow 2 that do not come in one answer are asked for in up to 16 pieces, and those again."""
    return 0 if config.api == "v2" or number <= config.window else 20 + 20 * ceil(number / config.window)


def of_one_run(model: Model, key: RunKey, rows: int, config: SimulationConfig) -> int:
    tasks = sum(1 for _ in model.tasks_of(key))
    return 2 + pages(tasks, rows) + split(tasks, config)
