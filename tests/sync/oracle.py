"""Compares a mirror with its double: every stored column, as the provider's own parsers read the double's JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from fake_airflow import serializers
from fake_airflow.api import Api
from fake_airflow.oddities import Key
from fake_airflow.regions import added
from fake_airflow.rows import Dag, Run, RunKey, Task, TaskKey, task_key
from windsock.db.database import Row
from windsock.providers.airflow import v1, v2
from windsock.providers.airflow.config import AirflowConfig
from windsock.providers.airflow.parsing import decode
from windsock.providers.base import ProviderPipeline, ProviderRun, ProviderTaskRun
from windsock.sync.dag_filter import is_included

OVERLAP = timedelta(seconds=120)
DATE_RESOLUTION = timedelta(seconds=1)
NOT_OURS = frozenset({"note"})
"""Changes nothing in updated_at, so that no listing of changes shows it."""


@dataclass(slots=True)
class Mirrored:
    """What there is of one connector at one moment. `runs` and `tasks` are those that Airflow should have too."""

    state: Row
    pipelines: dict[str, Row]
    all_runs: list[Row]
    all_tasks: list[Row]
    is_another: bool = False
    """Somebody accepted this Airflow in place of another one."""
    runs: dict[RunKey, Row] = field(init=False)
    tasks: dict[TaskKey, Row] = field(init=False)

    def __post_init__(self) -> None:
        self.runs = {(row["dag_id"], row["external_id"]): row for row in self.all_runs if row["archived_at"] is None}
        self.tasks = {
            task_key(
                row["dag_id"], row["dag_run_id"], row["external_id"], row["map_index"], row["region_id"],
                row["region_index"],
            ): row
            for row in self.all_tasks
            if row["archived_at"] is None
        }  # fmt: skip

    @property
    def history(self) -> dict[str, Any]:
        return self.state["backfill"] or {}

    def time(self, name: str) -> datetime | None:
        """One of the times of the history."""
        value = self.history.get(name)
        return datetime.fromisoformat(value) if value else None

    @property
    def begun_anew(self) -> datetime | None:
        """From when on this Airflow is followed, where somebody accepted it in place of another one."""
        return self.time("as_of") if self.is_another else None


class Oracle:
    """What a mirror of this double should hold. `retention_days` is the space's.

    `unreadable`: rows that may be missing or as they were; while there are any, what is gone may be here as well.
    """

    def __init__(
        self,
        api: Api,
        config: Mapping[str, Any],
        retention_days: int | None = None,
        unreadable: Collection[Key] = (),
    ) -> None:
        self._unreadable = unreadable
        self.api, self.model, self.retention_days = api, api.model, retention_days
        self.config = AirflowConfig.model_validate({"base_url": "http://double"} | dict(config))
        self._parsers = v1 if api.model.api == "v1" else v2

    def pipeline(self, dag: Dag) -> ProviderPipeline:
        found: ProviderPipeline = self._parsers.parse_pipeline(self._sent("dag", dag, 1))
        return found

    def run(self, run: Run) -> ProviderRun:
        found: ProviderRun = self._parsers.parse_run(self._sent("run", run))
        return found

    def task(self, task: Task) -> ProviderTaskRun:
        parent_run = self.model.runs[task.dag_id, task.run_id]
        found: ProviderTaskRun = self._parsers.parse_task_run(self._sent("task", task, parent_run))
        return found

    def _sent(self, kind: str, *rows: object) -> Any:
        shape = getattr(serializers, f"{kind}_{self.model.api}")
        more = added(kind, rows[0]) if self.model.has_regions else {}
        return decode(json.dumps(shape(*rows) | more).encode())

    def wanted(self) -> dict[str, ProviderPipeline]:
        """The DAGs that the account may see and that the connector is to mirror."""
        seen = [self.pipeline(dag) for dag_id, dag in self.model.dags.items() if self.api.may_see(dag_id)]
        return {item.external_id: item for item in seen if is_included(item, self.config)}

    @property
    def oldest(self) -> datetime | None:
        days = self.retention_days
        return None if days is None else datetime.now(UTC) - timedelta(days=days)

    # --- After quiet and good passes -------------------------------------------------------------------------------

    def assert_equal(self, mirrored: Mirrored, *, saw_all_events: bool = True) -> None:
        """(a) Every DAG, run and task instance, every column; and what is derived from them.

        `heard_all`: the log told of every note, also on runs from before the history, which nobody reads again.
        """
        wanted = self.wanted()
        others = mirrored.pipelines.keys() ^ wanted.keys()
        assert not {dag_id for dag_id in others if not self._may_differ(dag_id)}, "(a) other pipelines"
        for dag_id in wanted.keys() - {key[0] for key in self._unreadable if len(key) == 1}:
            dag = wanted[dag_id]
            assert_row(mirrored.pipelines[dag_id], dag, f"(a) pipeline {dag_id}")
        must = {key for key, run in self.model.runs.items() if key[0] in wanted and self._belongs(run, mirrored)}
        must = {key for key in must if not self.is_unread(key, mirrored)}
        assert must <= mirrored.runs.keys(), f"(a) runs that are not here: {sorted(must - mirrored.runs.keys())}"
        for key, mine in mirrored.runs.items():
            run = self.model.runs.get(key)
            if run is None:
                may_be = self._unreadable or self._is_out_of_reach(mine["run_at"], mirrored)
                assert may_be, f"(a) a run that is gone: {key}"
            elif not self.is_unread(key, mirrored) and self._is_followed(run, mirrored):
                unheard = () if saw_all_events or self._is_in_history(run, mirrored) else NOT_OURS
                assert_row(mine, self.run(run), f"(a) run {key}", unheard)
        self._assert_tasks(mirrored, saw_all_events=saw_all_events)
        assert_derived(mirrored)

    def _assert_tasks(self, mirrored: Mirrored, *, saw_all_events: bool) -> None:
        runs = self.model.runs
        followed = {key for key in mirrored.runs if key in runs and self._is_followed(runs[key], mirrored)}
        there = {
            key: task
            for key, task in self.model.tasks.items()
            if key[:2] in mirrored.runs
            and self._is_followed(runs[key[:2]], mirrored, task)
            and not self.is_unread(key, mirrored)
        }
        assert there.keys() <= mirrored.tasks.keys(), (
            f"(a) task runs that are not here: {sorted(there.keys() - mirrored.tasks.keys())}"
        )
        for key, mine in mirrored.tasks.items():
            if key in there:
                unheard = () if saw_all_events or self._is_in_history(runs[key[:2]], mirrored) else NOT_OURS
                assert_row(mine, self.task(there[key]), f"(a) task run {key}", unheard)
            elif not self._unreadable and key not in self.model.tasks and (key[:2] not in runs or key[:2] in followed):
                run_at = mirrored.runs[key[:2]]["run_at"]
                assert self._is_out_of_reach(run_at, mirrored), f"(a) a task run that is gone: {key}"

    def _may_differ(self, dag_id: str) -> bool:
        return (dag_id,) in self._unreadable or (bool(self._unreadable) and dag_id not in self.wanted())

    def is_unread(self, key: Key, mirrored: Mirrored) -> bool:
        """It, or what it is part of, could not be read."""
        if key[0] not in mirrored.pipelines and key[:1] in self._unreadable:
            return True
        return key[:2] in self._unreadable or key[:4] in self._unreadable

    def is_surely_read(self, key: RunKey, mirrored: Mirrored) -> bool:
        """Well within the history that a full sync reads, by the clock of whatever host."""
        run, now, margin = self.model.runs[key], self.model.now(), timedelta(hours=4)
        goal, oldest = mirrored.time("goal"), self.oldest
        bounds = [bound + margin for bound in (goal, oldest) if bound is not None]
        return all(run.run_after >= bound for bound in bounds) and run.run_after <= now

    def _belongs(self, run: Run, mirrored: Mirrored) -> bool:
        """In the history, or changed since it was begun; and not past the retention."""
        as_of, oldest = mirrored.time("as_of"), self.oldest
        is_retained = oldest is None or run.run_after >= oldest + timedelta(minutes=1)
        is_new = as_of is not None and run.updated_at >= max(as_of + DATE_RESOLUTION, self._appeared(run))
        return is_retained and (is_new or self._is_in_history(run, mirrored))

    def _is_followed(self, run: Run, mirrored: Mirrored, row: Run | Task | None = None) -> bool:
        """Not from before the history: nobody learns what happened to that out of sight. `row`: of one of its tasks."""
        changed, anew = (row or run).updated_at, mirrored.begun_anew
        is_seen = changed >= self._appeared(run) and (anew is None or changed >= anew)
        return self._is_in_history(run, mirrored) or is_seen

    def _appeared(self, run: Run) -> datetime:
        """Since when its DAG can be read, by the clock that stamps rows."""
        return self.model.appeared[run.dag_id] - self.model.lag

    def _is_in_history(self, run: Run, mirrored: Mirrored) -> bool:
        goal = mirrored.time("goal")
        return goal is None or run.run_after >= goal

    def _is_out_of_reach(self, run_at: datetime, mirrored: Mirrored) -> bool:
        """So old that nobody looks whether Airflow still has it."""
        goal, oldest = mirrored.time("goal"), self.oldest
        past = oldest is not None and run_at < oldest + timedelta(hours=1, minutes=1)
        return past or (goal is not None and run_at < goal)

    # --- At any time -----------------------------------------------------------------------------------------------

    def assert_stored(
        self, mirrored: Mirrored, stamp: str, before: datetime, excused: Collection[str], what: str
    ) -> None:
        """Whatever changed before then (by `updated_at` or `changed_at`) is here as it is there."""
        wanted = self.wanted().keys() - excused
        for key, run in self.model.runs.items():
            if key[0] in wanted and getattr(run, stamp) < before and self._was_read(run, mirrored):
                if self.is_unread(key, mirrored):
                    continue
                assert key in mirrored.runs, f"{what} {key}"
                assert_row(mirrored.runs[key], self.run(run), f"{what} run {key}", NOT_OURS)
        for key_of_task, task in self.model.tasks.items():
            parent_run = self.model.runs[task.dag_id, task.run_id]
            touched = max(getattr(task, stamp), getattr(parent_run, stamp))
            if key_of_task[0] in wanted and touched < before and self._was_read(parent_run, mirrored):
                if self.is_unread(key_of_task, mirrored):
                    continue
                assert key_of_task in mirrored.tasks, f"{what} {key_of_task}"
                assert_row(mirrored.tasks[key_of_task], self.task(task), f"{what} task run {key_of_task}", NOT_OURS)
                if task.map_index >= 0:
                    region = (task.region_id, -1) if task.region_id else ()
                    placeholder = (*key_of_task[:3], -1, *region)
                    assert placeholder not in mirrored.tasks, "(a) a placeholder stands beside its instances"

    def _was_read(self, run: Run, mirrored: Mirrored) -> bool:
        end = mirrored.time("end") or mirrored.time("goal")
        return (end is None or run.run_after >= end) and self._belongs(run, mirrored)


def assert_row(mine: Row, theirs: object, what: str, without: Collection[str] = ()) -> None:
    names = [name for name in type(theirs).__slots__ if name in mine and name not in without]  # type: ignore[attr-defined]
    differs = {name: (mine[name], getattr(theirs, name)) for name in names if mine[name] != getattr(theirs, name)}
    assert not differs, f"{what}: (ours, Airflow's) {differs}"


def assert_derived(mirrored: Mirrored) -> None:
    by_dag: dict[str, list[Row]] = {dag_id: [] for dag_id in mirrored.pipelines}
    for run in mirrored.all_runs:
        by_dag[run["dag_id"]].append(run)
    for dag_id, mine in mirrored.pipelines.items():
        newest = sorted(by_dag[dag_id], key=lambda run: (run["effective_start_at"], run["id"]))[-14:]
        recent_runs = [_brief(brief) for brief in mine["recent_runs"]]
        assert recent_runs == [_run_summary(run) for run in newest], f"(a) strip of {dag_id}"
        assert _brief(mine["last_run"]) == (_run_summary(newest[-1]) if newest else None), f"(a) last run of {dag_id}"
        assert mine["status"] == (newest[-1]["status"] if newest else "unknown"), f"(a) status of {dag_id}"
    counts: dict[Any, Counter[str]] = {run["id"]: Counter() for run in mirrored.all_runs}
    for task in mirrored.all_tasks:
        counts[task["run_id"]][task["status"]] += 1
    for run in mirrored.runs.values():  # not of the archive, whose task runs are not among these
        assert run["task_counts"] == counts[run["id"]], f"(a) counts of {run['dag_id']} {run['external_id']}"


def _brief(brief: dict[str, Any] | None) -> dict[str, Any] | None:
    if brief is None:
        return None
    times = {name: brief[name] and datetime.fromisoformat(brief[name]) for name in ("started_at", "ended_at")}
    return {**brief, **times}


def _run_summary(run: Row) -> dict[str, Any]:
    names = ("external_id", "status", "run_type", "started_at", "ended_at", "duration_seconds")
    return {"id": str(run["id"]), **{name: run[name] for name in names}}
