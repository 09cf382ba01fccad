"""What this Airflow holds, and what can happen in it: runs, retries, clears, marks, notes, deletions, new DAG files.

Follows what was measured on 3.3.2 and 2.11.2: which action touches `updated_at`, which ids change, what the event log
says. A change may be committed later than it is stamped, as a busy scheduler does it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from fake_airflow.regions import Regions
from fake_airflow.rows import UNFINISHED, Dag, Run, RunKey, Task, TaskKey, named


class Model:
    """`api` is "v1" or "v2"; it decides what a retry does to the id of a task instance, and the words of the events.

    `skew` is how far this server's clock is from ours, `lag` how far the clock of the host that stamps the rows (the
    scheduler's) is behind it. `ahead` grows when a test lets time pass. `has_regions`: it is an Airflow 3.4, which
    knows loops.
    """

    def __init__(
        self,
        api: str = "v2",
        *,
        skew: timedelta = timedelta(0),
        lag: timedelta = timedelta(0),
        has_regions: bool = False,
    ) -> None:
        self.api, self.skew, self.lag, self.has_regions = api, skew, lag, has_regions
        self.regions = Regions(self)
        self.ahead = timedelta(0)
        self.strange_ids = 0
        """Of so many runs that are not named one gets an id that has no address, or a strange one; 0: none."""
        self.dags: dict[str, Dag] = {}
        self.runs: dict[RunKey, Run] = {}
        self.tasks: dict[TaskKey, Task] = {}
        self.events: list[dict[str, Any]] = []
        self.dropped: dict[RunKey, datetime] = {}
        """Runs that were deleted, and when they were to run."""
        self.executions: Counter[TaskKey] = Counter()
        """How often each task instance was cleared, and so was to be executed once more."""
        self.appeared: dict[str, datetime] = {}
        """Since when each DAG is there to be listed."""
        self._jumps: list[tuple[datetime, timedelta]] = []
        self._next_id = 0
        self._stamp: datetime | None = None
        self._later: list[tuple[datetime, datetime, Callable[[], object]]] = []

    def now(self) -> datetime:
        return datetime.now(UTC) + self.skew + self.ahead

    def at(self, ours: datetime) -> datetime:
        """What this server's clock showed when ours showed that."""
        ahead = [ahead for since, ahead in self._jumps if since <= ours]
        return ours + self.skew + (ahead[-1] if ahead else timedelta(0))

    def let_pass(self, seconds: float) -> None:
        """Time goes on, and what waited to be committed is."""
        self.ahead += timedelta(seconds=seconds)
        self._jumps.append((datetime.now(UTC), self.ahead))
        self.settle()

    def settle(self) -> None:
        """Commit what is due by now."""
        due = [pending for pending in self._later if pending[0] <= self.now()]
        self._later = [pending for pending in self._later if pending[0] > self.now()]
        for _, stamp, change in due:
            self._stamp = stamp
            try:
                change()
            finally:
                self._stamp = None

    def commit_later(self, seconds: float, change: Callable[[], object]) -> None:
        """`change` stamps its rows with the time of now, and is seen only after `seconds`."""
        self._later.append((self.now() + timedelta(seconds=seconds), self.now(), change))

    def _now(self) -> datetime:
        return (self._stamp or self.now()) - self.lag

    @property
    def heartbeat(self) -> datetime:
        """The scheduler's newest, of its own clock."""
        return self.now() - self.lag

    def _id(self) -> int:
        self._next_id += 1
        return self._next_id

    def add_dag(self, dag_id: str, tasks: dict[str, list[str]] | None = None, **more: Any) -> Dag:
        """A new DAG file, or one that came back: known runs stay. `more`: fields of the DAG, such as what is mapped."""
        known = self.dags.get(dag_id)
        if known is not None:
            known.is_stale = False
            return known
        dag = Dag(dag_id, tasks or {"extract": ["load"], "load": []}, **more)
        self.dags[dag_id], self.appeared[dag_id] = dag, self.now()
        return dag

    def lose_file(self, dag_id: str) -> None:
        self.dags[dag_id].is_stale = True

    def delete_dag(self, dag_id: str) -> None:
        """With its runs and task instances, as DELETE /dags/{dag_id} does."""
        del self.dags[dag_id]
        for key in [key for key in self.runs if key[0] == dag_id]:
            self._drop_run(key)
        self._log("delete_dag", dag_id)

    def rename_owner(self, dag_id: str, owners: list[str]) -> None:
        self.dags[dag_id].owners = owners

    def retag(self, dag_id: str, tags: list[str]) -> None:
        """As a new version of its file does; a connector that goes by tags may see it from now on."""
        self.dags[dag_id].tags, self.appeared[dag_id] = tags, self.now()

    def reschedule(self, dag_id: str, schedule: str | None, description: str | None) -> None:
        dag = self.dags[dag_id]
        dag.schedule, dag.description = schedule, description
        dag.next_run_at = self.now() + timedelta(hours=1) if schedule else None

    def pause(self, dag_id: str, *, is_paused: bool = True) -> None:
        self.dags[dag_id].is_paused, self.dags[dag_id].is_draining = is_paused, False
        self._log("patch_dag", dag_id)

    def drain(self, dag_id: str) -> None:
        self.dags[dag_id].is_paused, self.dags[dag_id].is_draining = False, True
        self._log("patch_dag", dag_id)

    # --- Runs ------------------------------------------------------------------------------------------------------

    def start_run(
        self, dag_id: str, run_id: str | None = None, *, at: datetime | None = None, user: str | None = None
    ) -> Run:
        now = self._now()
        when = at or now
        name = run_id or named(self._next_id, when, self.strange_ids)
        run = Run(self._id(), dag_id, name, "manual", when, when, queued_at=now, updated_at=now, user=user)
        run.changed_at = self.now()
        self.runs[dag_id, name] = run
        self._insert(self.regions.instances(run, self.dags[dag_id]))
        return run

    def step(self, key: RunKey, *, fails: bool = False) -> None:
        """The run goes on by one state; its tasks one after the other."""
        run = self.runs.get(key)
        if run is None or run.state not in {"queued", "running"}:
            return
        if run.state == "queued":
            run.state, run.started_at = "running", self._now()
            self.touch(run)
            return
        self.touch(run)  # the scheduler looks at a running run again and again
        for task in sorted(self.tasks_of(key), key=lambda task: task.id):
            if (task.state or "none") in UNFINISHED:
                self._step_task(task, fails=fails)
                return
        run.state = "failed" if any(task.state == "failed" for task in self.tasks_of(key)) else "success"
        run.ended_at = self._now()

    def _step_task(self, task: Task, *, fails: bool) -> None:
        dag = self.dags.get(task.dag_id)
        if task.state is None and task.map_index == -1 and dag is not None and task.task_id in dag.mapped:
            self._expand(task)
            return
        now = self._now()
        if task.state is None or task.state == "up_for_retry":
            task.state, task.queued_at = "queued", now
            self._renew(task)
        elif task.state in {"queued", "scheduled"}:
            # 3.4 counts the try of what is cleared at once.
            task.try_number = max(task.try_number, 1) if self.has_regions else task.try_number + 1
            task.state, task.started_at = "running", now
            task.hostname = f"worker-{task.try_number}"
        else:
            task.state, task.ended_at = ("failed" if fails else "success"), now
            if task.state == "success" and dag is not None:
                self._insert(self.regions.next_iteration(self.runs[task.dag_id, task.run_id], dag, task))
        self.touch(task)

    def _expand(self, task: Task) -> None:
        """The placeholder is re-keyed in place to map_index 0, and others are inserted."""
        del self.tasks[task.key]
        task.become(0)
        self.tasks[task.key] = task
        self.touch(task)
        self._insert(self.regions.others(task))

    def clear_run(self, key: RunKey) -> None:
        run = self.runs[key]
        run.state, run.started_at, run.ended_at, run.queued_at = "queued", None, None, self._now()
        self.touch(run)
        for task in self.tasks_of(key):
            if task.key in self.tasks:  # not taken away with a gate before it
                self._clear(task)
        self._log("clear_dag_run", *key)

    def clear_task(self, key: TaskKey) -> None:
        """With reset_dag_runs=false: the run's updated_at stays."""
        self._clear(self.tasks[key])
        self._log("post_clear_task_instances", key[0])

    def mark_run(self, key: RunKey, state: str) -> None:
        run = self.runs[key]
        run.state, run.ended_at = state, self._now()
        self.touch(run)
        for task in self.tasks_of(key):
            if (task.state or "none") in UNFINISHED:
                task.state, task.ended_at = "skipped", self._now()
                self.touch(task)
        self._log("patch_dag_run", *key)

    def mark_task(self, key: TaskKey, state: str) -> None:
        """In a finished run only the task instance is touched."""
        task = self.tasks[key]
        task.state, task.ended_at = state, self._now()
        self.touch(task)
        self._log("patch_task_instance", key[0], key[1], key[2])

    def note_run(self, key: RunKey, note: str) -> None:
        """Changes nothing in updated_at."""
        self.runs[key].note = note
        self._log("patch_dag_run" if self.api == "v2" else "set_dag_run_note", *key)

    def note_task(self, key: TaskKey, note: str) -> None:
        self.tasks[key].note = note
        self._log("patch_task_instance" if self.api == "v2" else "set_task_instance_note", key[0], key[1], key[2])

    def delete_run(self, key: RunKey) -> None:
        self._drop_run(key)
        self._log("delete_dag_run", *key)

    def delete_task(self, key: TaskKey) -> None:
        del self.tasks[key]
        self._log("delete_task_instance", key[0], key[1], key[2])

    def clean_up(self, before: datetime) -> None:
        """`airflow db clean`: what is older goes, without a word in the event log."""
        for key in [key for key, run in self.runs.items() if run.run_after < before]:
            self._drop_run(key)

    def tasks_of(self, key: RunKey) -> Iterator[Task]:
        return (task for task in list(self.tasks.values()) if (task.dag_id, task.run_id) == key)

    def _insert(self, tasks: Iterable[Task]) -> None:
        for task in tasks:
            task.changed_at = self.now()
            self.tasks[task.key] = task

    def _clear(self, task: Task) -> None:
        self.executions[task.key] += 1
        self.regions.clear(task)
        if self.has_regions and task.try_number:
            task.try_number += 1
        task.state, task.max_tries = None, task.try_number + 1
        task.queued_at = task.started_at = task.ended_at = None
        self._renew(task)
        self.touch(task)

    def _renew(self, task: Task) -> None:
        """Airflow 3 gives a new id at every try."""
        if self.api == "v2":
            task.id = self._id()

    def touch(self, row: Run | Task) -> None:
        row.updated_at, row.changed_at = self._now(), self.now()
        if isinstance(row, Task):  # an updated row gets a new place in the heap, which is the order of 2.x
            self.tasks[row.key] = self.tasks.pop(row.key)

    def _drop_run(self, key: RunKey) -> None:
        for task in self.tasks_of(key):
            del self.tasks[task.key]
        self.dropped[key] = self.runs.pop(key).run_after

    def _log(self, event: str, dag_id: str, run_id: str | None = None, task_id: str | None = None) -> None:
        self.events.append(
            {
                "event_log_id": self._id(),
                "when": self._stamp or self.now(),  # of the host that answers
                "dag_id": dag_id,
                "task_id": task_id,
                "run_id": run_id,
                "map_index": None,
                "try_number": None,
                "event": event if self.api == "v2" else f"api.{event}",
                "owner": "admin",
                "extra": json.dumps({"method": "PATCH"}),
            }
        )
