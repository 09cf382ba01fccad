"""Reads runs and task runs from the double, and says what came and what was skipped."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from fake_airflow.api import Api
from fake_airflow.faults import FakeAirflow
from fake_airflow.model import Model
from fake_airflow.oddities import Key
from windsock import egress
from windsock.providers.airflow import Airflow, AirflowConfig, TokenCache
from windsock.providers.airflow.config import PasswordCredentials
from windsock.providers.airflow.scans import Limits
from windsock.providers.base import (
    Page,
    SkippedRow,
)
from windsock.providers.scopes import (
    RunRange,
    UpdatedSince,
)

BEGIN = datetime.now(UTC) - timedelta(days=2)
CHANGED, BETWEEN = UpdatedSince(BEGIN), RunRange(BEGIN, None)
KINDS = ["v2 by cursor", "v2 by offset", "v2 uncounted", "v1"]


def make_fake_airflow(kind: str, dags: int = 3, runs: int = 40) -> FakeAirflow:
    model = Model("v1" if kind == "v1" else "v2")
    for number in range(dags):
        model.add_dag(f"dag_{number:02}", {"extract": ["load"], "load": []}, mapped=frozenset({"load"}))
    for number in range(runs):
        at = model.now() - timedelta(hours=24) + timedelta(minutes=number)
        model.start_run(f"dag_{number % dags:02}", f"run_{number:03}", at=at)
    api = Api(model, cursors={"v2 by offset": "none", "v2 uncounted": "uncounted"}.get(kind, "capped"))  # type: ignore[arg-type]
    return FakeAirflow(api)


def use(fake: FakeAirflow, what: Callable[[Airflow], Awaitable[Any]], limits: Limits | None = None) -> Any:
    async def no_pause(_: float) -> None:
        """Nobody waits in a test."""

    async def run() -> Any:
        airflow = Airflow(
            AirflowConfig(base_url="http://double"),
            PasswordCredentials.model_validate({"auth_type": "password", "username": "admin", "password": "admin"}),
            policy=egress.Policy.of(loopback=True),
            api_version="v1" if fake.model.api == "v1" else "v2",
            tokens=TokenCache(),
            key="double",
            transport=fake,
            sleep=no_pause,
            limits=limits,
        )
        try:
            return await what(airflow)
        finally:
            await airflow.aclose()

    return asyncio.run(run())


def reading(kind: str, scope: Any) -> Callable[[Airflow], Awaitable[Any]]:
    async def read(airflow: Airflow) -> list[Page[Any]]:
        pages = airflow.runs(scope) if kind == "runs" else airflow.task_runs(scope)
        return [page async for page in pages]

    return read


def keys(pages: list[Page[Any]], kind: str) -> set[Key]:
    rows = [row for page in pages for row in page.rows]
    if kind == "runs":
        return {(row.pipeline_external_id, row.external_id) for row in rows}
    return {(row.pipeline_external_id, row.run_external_id, row.external_id, row.map_index) for row in rows}


def skipped(pages: list[Page[Any]]) -> list[SkippedRow]:
    return [row for page in pages for row in page.skipped]


def ids(row: SkippedRow) -> Key:
    found = (row.pipeline_external_id, row.run_external_id, row.task_external_id, row.map_index)
    return tuple(value for value in found if value is not None)
