"""The fake Airflow as that of every connector of an application."""

import asyncio
from dataclasses import replace
from typing import Any

from fastapi import FastAPI

from factories import make_run
from fake_airflow.api import Api
from fake_airflow.faults import FakeAirflow, Faults
from fake_airflow.model import Model
from fake_airflow.rows import Run
from windsock import egress
from windsock.actions.approvals import ApprovalService
from windsock.actions.relay import Relay
from windsock.actions.service import ActionService
from windsock.connectors.store import AirflowConnector
from windsock.context import AppContext
from windsock.providers.airflow import Airflow, TokenCache


def install_fake_airflow(app: FastAPI, process: AppContext, api: str) -> FakeAirflow:
    """Has the failed run of finance; what it is told to change, it changes."""
    fake = make_fake(api)

    async def let_pass(seconds: float) -> None:
        await asyncio.sleep(0)
        fake.model.let_pass(seconds)

    def open_provider(connector: AirflowConnector, _api_version: Any) -> Airflow:
        tokens = TokenCache()
        tokens.recognized.add("of the test", None)
        return Airflow(
            connector.config, connector.credentials, api_version="v1" if api == "v1" else "v2", tokens=tokens,
            key="of the test", policy=egress.Policy.of(loopback=True), transport=fake, sleep=let_pass,
        )  # fmt: skip

    limit = asyncio.Semaphore(16)
    relay = Relay(process.secrets, open_provider, limit)
    app.state.actions, app.state.approvals = ActionService(relay), ApprovalService(relay)
    app.state.bulk_clears.actions = app.state.actions
    app.state.triggers = replace(app.state.triggers, open_provider=open_provider)
    return fake


def make_fake(api: str) -> FakeAirflow:
    """daily_report as the mirror has it: of its run r1 load has failed, and send did not run."""
    model = Model(api)
    model.add_dag("daily_report", {"extract": ["load"], "load": ["send"], "send": []})
    mirrored = make_run("daily_report", "r1", "failed", hours_ago=30, minutes=10)
    run = model.start_run("daily_report", "r1", at=mirrored.run_after or mirrored.logical_date)
    run.run_after = mirrored.run_after or run.run_after
    run.logical_date = mirrored.logical_date or run.run_after
    run.state, run.started_at, run.ended_at = "failed", mirrored.started_at, mirrored.ended_at
    for task in list(model.tasks_of(("daily_report", "r1"))):
        states = {"extract": "success", "load": "failed", "send": "upstream_failed"}
        task.state, task.started_at, task.ended_at = states[task.task_id], run.started_at, run.ended_at
        task.try_number = 0 if task.task_id == "send" else 1
    return FakeAirflow(Api(model), Faults(only_changes=True))


def failed_run(fake: FakeAirflow) -> Run:
    return fake.model.runs["daily_report", "r1"]


def executions(fake: FakeAirflow) -> dict[str, int]:
    return {key[2]: count for key, count in fake.model.executions.items()}
