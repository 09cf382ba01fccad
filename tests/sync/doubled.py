"""A Windsock that syncs from the double, and the comparison of its mirror with what the double holds."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from airflow.mirrored import Windsock
from airflow_double.faults import Double
from airflow_double.model import Model, Run, Task
from windsock.access.store import create_space
from windsock.connectors.models import ConnectorIn
from windsock.connectors.store import AirflowConnector, create_connector
from windsock.db import Row
from windsock.process import Process
from windsock.providers.airflow import Airflow, TokenCache
from windsock.providers.airflow.listing import Limits
from windsock.providers.contract import Provider
from windsock.sync.execution import Execution

RunKey = tuple[str, str]
SOON = "UPDATE sync_states SET pipelines_listed_at = NULL, checked_at = NULL"


class Doubled(Windsock):
    """One space with one connector to a double. `page` is how many rows Windsock asks for at once."""

    def __init__(self, process: Process, double: Double, *, page: int = 100) -> None:
        super().__init__(process)
        self.double, self.model = double, double.model
        self.execution = Execution(process.db, process.secrets, self._open_provider, "a test")
        self._tokens = TokenCache()
        self._limits = Limits(page=page)
        self.pauses: list[float] = []

    async def connect_to_double(self, **config: Any) -> None:
        body = ConnectorIn(
            name="under test",
            connector_type="airflow",
            config={"base_url": "http://double", "timeout_seconds": 20} | config,
            credentials={"auth_type": "password", "username": "admin", "password": "admin"},
        )
        async with self.db.transaction() as tx:
            self.space_id = (await create_space(tx, slug=f"double-{uuid4().hex}", name="Double"))["id"]
        async with self.db.in_space(self.space_id) as tx:
            self.connector_id = (await create_connector(tx, self.space_id, body, self.process.secrets))["id"]

    def _open_provider(self, connector: AirflowConnector, api_version: Any) -> Provider:
        return Airflow(
            connector.config,
            connector.credentials,
            api_version=api_version,
            tokens=self._tokens,
            key="double",
            transport=self.double,
            sleep=self._pause,
            limits=self._limits,
        )

    async def _pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        await asyncio.sleep(0)

    async def look_closely(self) -> None:
        """As if the time for listing and for comparing totals had come."""
        await self.execute(SOON)

    async def settle(self, most: int = 12) -> None:
        """Quiet, and good passes until nothing is left to be looked at again."""
        self.model.let_pass(1200)
        self.double.faults.chance, self.double.faults.plan, self.double.between = 0.0, [], None
        for _ in range(most):
            await self.look_closely()
            sync = await self.sync(trigger="schedule")
            assert sync["status"] == "complete", sync["error"]
            state = await self.state()
            changed = sum(sync[kind][what] for kind in ("pipelines", "runs", "task_runs") for what in CHANGED)
            if not changed and not state["looks_again"] and state["history"]["is_complete"]:
                return
        raise AssertionError("the mirror never came to rest")

    # --- What there is ---------------------------------------------------------------------------------------------

    async def runs(self) -> dict[RunKey, Row]:
        rows = await self.rows(
            "SELECT r.*, p.external_id AS dag_id FROM runs r JOIN pipelines p ON p.id = r.pipeline_id"
            " WHERE r.removed_at IS NULL AND r.archived_at IS NULL AND p.removed_at IS NULL"
        )
        return {(row["dag_id"], row["external_id"]): row for row in rows}

    async def tasks(self) -> dict[tuple[str, str, str, int], Row]:
        rows = await self.rows(
            "SELECT t.*, r.external_id AS dag_run_id, p.external_id AS dag_id FROM task_runs t"
            " JOIN runs r ON r.id = t.run_id JOIN pipelines p ON p.id = r.pipeline_id"
            " WHERE t.removed_at IS NULL AND t.archived_at IS NULL AND r.removed_at IS NULL AND p.removed_at IS NULL"
        )
        return {(row["dag_id"], row["dag_run_id"], row["external_id"], row["map_index"]): row for row in rows}

    async def assert_equal(self) -> None:
        """Every DAG, run and task instance, every field; and what is derived from them."""
        model = self.model
        pipelines = {
            row["external_id"]: row for row in await self.rows("SELECT * FROM pipelines WHERE removed_at IS NULL")
        }
        assert pipelines.keys() == model.dags.keys()
        for dag_id, dag in model.dags.items():
            mine = pipelines[dag_id]
            assert mine["owners"] == sorted(dag.owners)
            assert (mine["is_paused"], mine["is_active"]) == (dag.is_paused, not dag.is_stale)
        runs, tasks = await self.runs(), await self.tasks()
        assert runs.keys() == model.runs.keys()
        for key, run in model.runs.items():
            assert_run(runs[key], run, model, with_note=True)
        assert tasks.keys() == model.tasks.keys()
        for task_key, task in model.tasks.items():
            assert_task(tasks[task_key], task, with_note=True)
        for dag_id, mine in pipelines.items():
            ordered = sorted(
                (run for run in runs.values() if run["dag_id"] == dag_id), key=lambda r: (r["run_at"], r["id"])
            )
            assert [brief["id"] for brief in mine["recent_runs"]] == [str(run["id"]) for run in ordered[-14:]]
            assert mine["status"] == (ordered[-1]["status"] if ordered else "unknown")
        for run_row in runs.values():
            counts = Counter(task["status"] for task in tasks.values() if task["run_id"] == run_row["id"])
            assert run_row["task_counts"] == counts

    async def assert_watermark_is_true(self, overlap: timedelta) -> None:
        """Whatever changed before the watermark, less the overlap in which commits may come late, is stored."""
        state = await self.state()
        if state["watermark"] is None:
            return
        before = state["watermark"] - overlap
        oldest = _time(state["history"].get("end")) if state["history"] and state["history"].get("end") else None
        runs, tasks = await self.runs(), await self.tasks()
        stored = {row["external_id"] for row in await self.rows("SELECT external_id FROM pipelines")}
        for key, run in self.model.runs.items():
            if run.updated_at < before and key[0] in stored and _was_read(run.run_after, oldest):
                assert key in runs, f"the watermark passed {key}"
                assert_run(runs[key], run, self.model)
        for task_key, task in self.model.tasks.items():
            run_of = self.model.runs[task.dag_id, task.run_id]
            touched = max(task.updated_at, run_of.updated_at)
            if touched < before and task_key[0] in stored and _was_read(run_of.run_after, oldest):
                assert task_key in tasks, f"the watermark passed {task_key}"
                assert_task(tasks[task_key], task)
                if task.map_index >= 0:
                    assert (*task_key[:3], -1) not in tasks, "(a) a placeholder stands beside its instances"


CHANGED = ("created", "updated", "removed")


def assert_run(mine: Row, run: Run, model: Model, *, with_note: bool = False) -> None:
    assert mine["status"] == run.state
    assert mine["started_at"] == run.started_at
    assert mine["ended_at"] == run.ended_at
    assert mine["logical_date"] == run.logical_date
    if model.api == "v2":
        assert mine["queued_at"] == run.queued_at
        assert mine["run_after"] == run.run_after
    if with_note:
        assert mine["note"] == run.note


def assert_task(mine: Row, task: Task, *, with_note: bool = False) -> None:
    assert mine["status"] == (task.state or "none")
    assert (mine["try_number"], mine["max_tries"]) == (task.try_number, task.max_tries)
    assert mine["queued_at"] == task.queued_at
    assert mine["started_at"] == task.started_at
    assert mine["ended_at"] == task.ended_at
    if with_note:
        assert mine["note"] == task.note


def _was_read(run_after: datetime, oldest: datetime | None) -> bool:
    return oldest is None or run_after >= oldest


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
