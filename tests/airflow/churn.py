"""Whatever people do in a real Airflow, at random: and when each of it was done, and how the mirror must look then."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import psycopg

from airflow.extremes import CATALOGUE, REPETITION, STRANGE, cjk, nested, strange_id
from airflow_lab import AirflowFailed, AirflowLab

SAMPLES = (CATALOGUE, CATALOGUE, "newsletter", "exchange_rates", "orders_load", "churn_scoring")
LOOPED = (CATALOGUE, REPETITION, "price_search", "stock_batches", "shop_calls")
DEEPEST = 254
"""Levels of a conf that the mirror stores. Airflow 3 takes 255 (tasks fail from about 200 on), Airflow 2 more."""
TERMINAL = {"success", "failed"}

Holds = Callable[[psycopg.Cursor[Any]], bool]
RUN = """
SELECT {what} FROM runs r JOIN pipelines p ON p.id = r.pipeline_id
WHERE p.external_id = %(dag)s AND r.external_id = %(run)s
"""


@dataclass
class Change:
    """`holds` says whether the mirror shows it; `seen` is when it first did."""

    kind: str
    at: float
    holds: Holds
    run_id: str = ""
    seen: float | None = None

    @property
    def delay(self) -> float | None:
        return None if self.seen is None else self.seen - self.at


@dataclass
class Churn:
    lab: AirflowLab
    chance: random.Random
    changes: list[Change] = field(default_factory=list)
    ended: set[tuple[str, str]] = field(default_factory=set)
    refused: int = 0
    started: int = 0
    due: list[Callable[[], None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        has_loops = self.lab.version.startswith("3.4")
        self.dags: tuple[str, ...] = LOOPED if has_loops else SAMPLES
        self.pausable = "shelves" if has_loops else "web_sessions"

    def act(self) -> None:
        """One thing, done now. What Airflow refuses, such as deleting a running run, has not happened.

        The first ones are runs with each kind of id; then all there is to do in a random order, and again, so that a
        slow Airflow sees some of everything too.
        """
        if self.started < STRANGE:
            dag_id = self.dags[self.started % 2]
            self.start(dag_id, self._new_id(), nested(DEEPEST if self.started < 3 else 100))
            return
        if not self.due:
            self.due = [
                self.trigger,
                self.trigger,
                self.note_run,
                self.note_task,
                self.clear,
                self.mark,
                self.delete,
                self.pause,
            ]
            self.chance.shuffle(self.due)
        action = self.due.pop()
        try:
            action()
        except IndexError:  # nothing there yet to do it to
            self.due.insert(0, action)
        except AirflowFailed as failure:
            if failure.__cause__ is not None:  # it did not answer
                raise
            self.refused += 1

    def watch(self) -> None:
        """Note which runs have ended since the last look: Airflow's own doing, first seen now."""
        for dag_id, run_id in self._runs():
            if (dag_id, run_id) not in self.ended:
                self.ended.add((dag_id, run_id))
                self._add("run ended", dag_id, run_id, "r.status IN ('success', 'failed') OR r.removed_at IS NOT NULL")

    def observe(self, cursor: psycopg.Cursor[Any]) -> None:
        """Which of the changes the mirror shows by now."""
        for change in self.changes:
            if change.seen is None and change.holds(cursor):
                change.seen = time.monotonic()

    # --- What is done ----------------------------------------------------------------------------------------------

    def trigger(self) -> None:
        dag_id = self.chance.choice(self.dags)
        confs = [{}, nested(100), nested(DEEPEST), {self._text(20): [self._text(1_000), None, 1.5]}]
        # What a task returns, Airflow 3 cannot store of every strange run, and a loop of 3.4 then never ends.
        run_id = self._new_id() if dag_id in {CATALOGUE, REPETITION} else None
        self.start(dag_id, run_id, self.chance.choice(confs))

    def start(self, dag_id: str, run_id: str | None, conf: dict[str, Any]) -> None:
        run_id = self.lab.trigger(dag_id, conf, run_id)
        self._add("triggered", dag_id, run_id, "true")

    def note_run(self) -> None:
        dag_id, run_id = self._some_run()
        note = self._note()
        if self._goes_in_bulk(run_id):
            self._patch_in_bulk(dag_id, "update", {"dag_run_id": run_id, "note": note})
        else:
            where = self._path(dag_id, run_id) + ("" if self.lab.major == "3" else "/setNote")
            self.lab.api("PATCH", where, json={"note": note})
        self._forget("run noted", dag_id, run_id)
        self._add("run noted", dag_id, run_id, f"r.note = '{note}' OR r.removed_at IS NOT NULL")

    def note_task(self) -> None:
        """Not of a run whose id has no address: of bulk requests about task instances Airflow's log has no entry."""
        dag_id, run_id = self._some_run()
        tasks = self.lab.api("GET", self._path(dag_id, run_id) + "/taskInstances")["task_instances"]
        task = self.chance.choice([item for item in tasks if item["map_index"] == -1 and "region_id" not in item])
        note = self._note()
        where = f"{self._path(dag_id, run_id)}/taskInstances/{task['task_id']}"
        where += "?update_mask=note" if self.lab.major == "3" else "/setNote"
        self.lab.api("PATCH", where, json={"note": note})
        description = (
            f"EXISTS (SELECT FROM task_runs t WHERE t.run_id = r.id AND t.note = '{note}') OR r.removed_at IS NOT NULL"
        )
        self._forget(f"task {task['task_id']} noted", dag_id, run_id)
        self._add(f"task {task['task_id']} noted", dag_id, run_id, description)

    def clear(self) -> None:
        dag_id, run_id = self._ended_run()
        if "/" in run_id:
            body = {"dry_run": False, "dag_run_id": run_id, "only_failed": False, "reset_dag_runs": True}
            self.lab.api("POST", f"/dags/{dag_id}/clearTaskInstances", json=body)
        else:
            self.lab.api("POST", self._path(dag_id, run_id) + "/clear", json={"dry_run": False})
        self.ended.discard((dag_id, run_id))
        # It may have ended again before it is looked at: then it began later than it had before.
        description = (
            "r.status IN ('queued', 'running') OR r.removed_at IS NOT NULL OR r.updated_at > now() - interval '15 s'"
        )
        self._add("cleared", dag_id, run_id, description)

    def mark(self) -> None:
        dag_id, run_id = self._ended_run()
        if self._goes_in_bulk(run_id):
            self._patch_in_bulk(dag_id, "update", {"dag_run_id": run_id, "state": "failed"})
        else:
            self.lab.api("PATCH", self._path(dag_id, run_id), json={"state": "failed"})
        self._add("marked", dag_id, run_id, "r.status <> 'success' OR r.removed_at IS NOT NULL")

    def delete(self) -> None:
        dag_id, run_id = self._ended_run()
        deleted_at = datetime.now(UTC)
        if self._goes_in_bulk(run_id):
            self._patch_in_bulk(dag_id, "delete", {"dag_run_id": run_id})
        else:
            self.lab.api("DELETE", self._path(dag_id, run_id))
        self.changes = [  # without what can no more be seen
            change for change in self.changes if change.seen is not None or change.run_id != run_id
        ]
        # The scheduler makes the newest scheduled run again, under the same id.
        description = f"r.removed_at IS NOT NULL OR coalesce(r.queued_at, r.started_at) > '{deleted_at}'"
        self._add("deleted", dag_id, run_id, description, is_deleted=True)

    def pause(self) -> None:
        dag_id = self.pausable
        paused = not self.lab.api("GET", f"/dags/{dag_id}")["is_paused"]
        self.lab.pause(dag_id, paused=paused)
        self.changes = [change for change in self.changes if change.kind != "paused" or change.seen is not None]

        def holds(cursor: psycopg.Cursor[Any]) -> bool:
            cursor.execute("SELECT is_paused FROM pipelines WHERE external_id = %s", (dag_id,))
            return cursor.fetchone() == (paused,)

        self.changes.append(Change("paused", time.monotonic(), holds))

    # --- Parts -----------------------------------------------------------------------------------------------------

    def _add(self, kind: str, dag_id: str, run_id: str, description: str, *, is_deleted: bool = False) -> None:
        """`is_gone`: it is as true of a run that came and went before the mirror had it."""
        query = RUN.format(what=description).encode()

        def holds(cursor: psycopg.Cursor[Any]) -> bool:
            cursor.execute(query, {"dag": dag_id, "run": run_id})
            return cursor.fetchone() in {(True,), *({None} if is_deleted else ())}

        self.changes.append(Change(kind, time.monotonic(), holds, run_id))

    def _forget(self, kind: str, dag_id: str, run_id: str) -> None:
        """What was not seen yet and has just been overwritten."""
        _ = dag_id
        self.changes = [
            change
            for change in self.changes
            if change.seen is not None or change.kind != kind or change.run_id != run_id
        ]

    def _runs(self) -> Iterator[tuple[str, str]]:
        """Those that ended, the newest hundred: one request, since each costs Airflow 2 a hashed password."""
        parameters = {"state": sorted(TERMINAL), "order_by": "-start_date", "limit": 100}
        for run in self.lab.api("GET", "/dags/~/dagRuns", params=parameters)["dag_runs"]:
            if run["dag_id"] in self.dags:
                yield run["dag_id"], run["dag_run_id"]

    def _some_run(self) -> tuple[str, str]:
        dag_id = self.chance.choice(self.dags)
        found = self.lab.api("GET", f"/dags/{dag_id}/dagRuns", params={"limit": 100})["dag_runs"]
        return dag_id, self.chance.choice(found)["dag_run_id"]

    def _ended_run(self) -> tuple[str, str]:
        return self.chance.choice(sorted(self.ended & set(self._runs())))

    def _new_id(self) -> str:
        self.started += 1
        return strange_id(self.started)

    def _note(self) -> str:
        return f"note {self._text(900)}"

    def _text(self, length: int) -> str:
        return cjk(length, self.chance.random())

    def _goes_in_bulk(self, run_id: str) -> bool:
        """Airflow 3 names runs in the body of a bulk request: the only way where an id has no address."""
        return self.lab.major == "3" and ("/" in run_id or self.chance.random() < 0.3)

    def _patch_in_bulk(self, dag_id: str, action: str, run: dict[str, Any]) -> None:
        body = {"actions": [{"action": action, "entities": [run]}]}
        done = self.lab.api("PATCH", f"/dags/{dag_id}/dagRuns", json=body)[action]
        if done["errors"]:
            raise AirflowFailed(str(done["errors"]))

    @staticmethod
    def _path(dag_id: str, run_id: str) -> str:
        return f"/dags/{dag_id}/dagRuns/{quote(run_id, safe='')}"
