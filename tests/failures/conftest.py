"""Fixtures of the tests of failures: an Airflow in memory with the task run of the world, and failures without it."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from fastapi import FastAPI

from conftest import RolledBackDatabase
from factories import TwoTenants
from failures.harness import FailureHarness
from fake_airflow.api import Api
from fake_airflow.faults import FakeAirflow
from fake_airflow.logs import Entry, Raised
from fake_airflow.model import Model
from fake_airflow.rows import Task
from windsock import egress
from windsock.connectors.store import AirflowConnector
from windsock.context import AppContext
from windsock.failures.log_reader import LogReader
from windsock.failures.log_stream import LogStreams
from windsock.providers.airflow import Airflow, TokenCache
from windsock.providers.base import Provider


@dataclass
class LoggedTask:
    """The task `load` of the world's failed run, in an Airflow 3; `opened`: connectors for which it was opened."""

    airflow: FakeAirflow
    task: Task
    opened: list[AirflowConnector] = field(default_factory=list)

    @property
    def reads(self) -> list[str]:
        return self.airflow.api.logs.requests

    def write(self, *events: str, level: str = "info", raised: Raised | None = None) -> None:
        for event in events:
            entry = Entry(self.airflow.model.now(), event, level, raised=raised)
            self.airflow.api.logs.write(self.task, entry)


@pytest.fixture
def logged(app: FastAPI, process: AppContext) -> LoggedTask:
    model = Model("v2")
    model.add_dag("daily_report", {"extract": ["load"], "load": []})
    model.start_run("daily_report", "r1")
    task = next(task for task in model.tasks.values() if task.task_id == "load")
    task.state, task.try_number = "failed", 1
    logged = LoggedTask(FakeAirflow(Api(model)), task)
    tokens = TokenCache()

    def open_provider(connector: AirflowConnector, _api_version: Any) -> Provider:
        logged.opened.append(connector)
        return Airflow(
            connector.config,
            connector.credentials,
            api_version="v2",
            tokens=tokens,
            key=str(connector.id),
            policy=egress.Policy.of(loopback=True),
            transport=logged.airflow,
        )

    app.state.logs = LogReader(process.secrets, open_provider)
    app.state.log_streams = LogStreams(app.state.logs)
    return logged


@pytest.fixture
async def harness(db: RolledBackDatabase, tenants: TwoTenants, process: AppContext) -> FailureHarness:
    """Without the failures of the world."""
    failures = FailureHarness(db, tenants.finance, process.secrets)
    for statement in ("DELETE FROM failure_reads", "DELETE FROM task_failures", "DELETE FROM fingerprints"):
        await failures.execute(statement)
    return failures
