"""Whatever people do in a real Airflow, at random: and when each of it was done, and how the mirror must look then."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import httpx2
import psycopg

from airflow_lab import AirflowLab

DAGS = ("newsletter", "exchange_rates", "orders_load", "churn_scoring")
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

    def act(self) -> None:
        """One thing, done now. What Airflow refuses, such as deleting a running run, has not happened."""
        actions = [
            self.trigger,
            self.trigger,
            self.note_run,
            self.note_task,
            self.clear,
            self.mark,
            self.delete,
            self.pause,
        ]
        with contextlib.suppress(IndexError):  # nothing there yet to do it to
            try:
                self.chance.choice(actions)()
            except httpx2.HTTPStatusError:
                self.refused += 1

    def watch(self) -> None:
        """Note which runs have ended since the last look: Airflow's own doing, first seen now."""
        for dag_id, run_id in self._runs():
            if (dag_id, run_id) not in self.ended:
                self.ended.add((dag_id, run_id))
                self._add("run ended", dag_id, run_id, "r.status IN ('success', 'failed') OR r.removed_at IS NOT NULL")

    def look(self, cursor: psycopg.Cursor[Any]) -> None:
        """Which of the changes the mirror shows by now."""
        for change in self.changes:
            if change.seen is None and change.holds(cursor):
                change.seen = time.monotonic()

    # --- What is done ----------------------------------------------------------------------------------------------

    def trigger(self) -> None:
        dag_id = self.chance.choice(DAGS)
        run_id = self.lab.trigger(dag_id)
        self._add("triggered", dag_id, run_id, "true")

    def note_run(self) -> None:
        dag_id, run_id = self._some_run()
        note = f"note {self.chance.random()}"
        where = self._path(dag_id, run_id) + ("" if self.lab.major == "3" else "/setNote")
        self.lab.api("PATCH", where, json={"note": note})
        self._forget("run noted", dag_id, run_id)
        self._add("run noted", dag_id, run_id, f"r.note = '{note}' OR r.removed_at IS NOT NULL")

    def note_task(self) -> None:
        dag_id, run_id = self._some_run()
        tasks = self.lab.api("GET", self._path(dag_id, run_id) + "/taskInstances")["task_instances"]
        task = self.chance.choice([one for one in tasks if one["map_index"] == -1])
        note = f"note {self.chance.random()}"
        where = f"{self._path(dag_id, run_id)}/taskInstances/{task['task_id']}"
        where += "?update_mask=note" if self.lab.major == "3" else "/setNote"
        self.lab.api("PATCH", where, json={"note": note})
        told = (
            f"EXISTS (SELECT FROM task_runs t WHERE t.run_id = r.id AND t.note = '{note}') OR r.removed_at IS NOT NULL"
        )
        self._forget(f"task {task['task_id']} noted", dag_id, run_id)
        self._add(f"task {task['task_id']} noted", dag_id, run_id, told)

    def clear(self) -> None:
        dag_id, run_id = self._ended_run()
        self.lab.api("POST", self._path(dag_id, run_id) + "/clear", json={"dry_run": False})
        self.ended.discard((dag_id, run_id))
        # It may have ended again before it is looked at: then it began later than it had before.
        told = "r.status IN ('queued', 'running') OR r.removed_at IS NOT NULL OR r.updated_at > now() - interval '15 s'"
        self._add("cleared", dag_id, run_id, told)

    def mark(self) -> None:
        dag_id, run_id = self._ended_run()
        self.lab.api("PATCH", self._path(dag_id, run_id), json={"state": "failed"})
        self._add("marked", dag_id, run_id, "r.status <> 'success' OR r.removed_at IS NOT NULL")

    def delete(self) -> None:
        dag_id, run_id = self._ended_run()
        deleted_at = datetime.now(UTC)
        self.lab.api("DELETE", self._path(dag_id, run_id))
        self.changes = [  # without what can no more be seen
            one for one in self.changes if one.seen is not None or one.run_id != run_id
        ]
        # The scheduler makes the newest scheduled run again, under the same id.
        told = f"r.removed_at IS NOT NULL OR coalesce(r.queued_at, r.started_at) > '{deleted_at}'"
        self._add("deleted", dag_id, run_id, told, is_gone=True)

    def pause(self) -> None:
        dag_id = "web_sessions"
        paused = not self.lab.api("GET", f"/dags/{dag_id}")["is_paused"]
        self.lab.pause(dag_id, paused=paused)
        self.changes = [one for one in self.changes if one.kind != "paused" or one.seen is not None]

        def holds(cursor: psycopg.Cursor[Any]) -> bool:
            cursor.execute("SELECT is_paused FROM pipelines WHERE external_id = %s", (dag_id,))
            return cursor.fetchone() == (paused,)

        self.changes.append(Change("paused", time.monotonic(), holds))

    # --- Parts -----------------------------------------------------------------------------------------------------

    def _add(self, kind: str, dag_id: str, run_id: str, told: str, *, is_gone: bool = False) -> None:
        """`is_gone`: it is as true of a run that came and went before the mirror had it."""
        query = RUN.format(what=told).encode()

        def holds(cursor: psycopg.Cursor[Any]) -> bool:
            cursor.execute(query, {"dag": dag_id, "run": run_id})
            return cursor.fetchone() in {(True,), *({None} if is_gone else ())}

        self.changes.append(Change(kind, time.monotonic(), holds, run_id))

    def _forget(self, kind: str, dag_id: str, run_id: str) -> None:
        """What was not seen yet and has just been overwritten."""
        _ = dag_id
        self.changes = [one for one in self.changes if one.seen is not None or one.kind != kind or one.run_id != run_id]

    def _runs(self) -> Iterator[tuple[str, str]]:
        """Those that ended, the newest hundred: one request, since each costs Airflow 2 a hashed password."""
        asked = {"state": sorted(TERMINAL), "order_by": "-start_date", "limit": 100}
        for run in self.lab.api("GET", "/dags/~/dagRuns", params=asked)["dag_runs"]:
            if run["dag_id"] in DAGS:
                yield run["dag_id"], run["dag_run_id"]

    def _some_run(self) -> tuple[str, str]:
        dag_id = self.chance.choice(DAGS)
        found = self.lab.api("GET", f"/dags/{dag_id}/dagRuns", params={"limit": 100})["dag_runs"]
        return dag_id, self.chance.choice(found)["dag_run_id"]

    def _ended_run(self) -> tuple[str, str]:
        return self.chance.choice(sorted(self.ended & set(self._runs())))

    @staticmethod
    def _path(dag_id: str, run_id: str) -> str:
        return f"/dags/{dag_id}/dagRuns/{quote(run_id)}"
