"""A Windsock of a test's own, on a database of its own, without a server: it syncs when it is told to."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any, Literal
from uuid import UUID, uuid4

import httpx2

from airflow_lab import AirflowLab
from databases import Databases
from validating_client import ValidatingClient
from windsock import egress
from windsock.app import create_app
from windsock.connectors.models import ConnectorIn
from windsock.connectors.store import AirflowConnector, create_connector
from windsock.context import AppContext
from windsock.db.bootstrap import Storage
from windsock.db.database import Row
from windsock.providers.airflow import Airflow, token_key
from windsock.providers.base import Provider
from windsock.settings import Settings
from windsock.spaces.store import create_key, create_space, create_user, upsert_member
from windsock.sync.lease import QUERIES
from windsock.sync.runner import SyncRunner
from windsock.sync.store import queue_sync

PASSWORD = "admin"
MIRRORED = ("pipelines", "runs", "task_runs")
PIPELINES = (
    "SELECT p.*, coalesce(s.recent_runs, '[]') AS recent_runs"
    " FROM pipelines p LEFT JOIN pipeline_recent_runs s ON s.pipeline_id = p.id"
)


class Windsock:
    """One space with one connector to the Airflow under test."""

    def __init__(self, process: AppContext) -> None:
        self.process, self.db = process, process.db
        self.execution = SyncRunner(process.db, process.secrets, self._open_provider, "a test")
        self.space_id = self.connector_id = UUID(int=0)

    async def connect(self, base_url: str, *, password: str = PASSWORD, **config: Any) -> None:
        body = ConnectorIn(
            name="under test",
            connector_type="airflow",
            config={"base_url": base_url, "timeout_seconds": 20} | config,
            credentials={"auth_type": "password", "username": "admin", "password": password},
        )
        async with self.db.transaction() as tx:
            self.space_id = (await create_space(tx, slug="finance", name="Finance"))["id"]
        async with self.db.tenant_transaction(self.space_id) as tx:
            connector = await create_connector(tx, self.space_id, body, self.process.secrets)
        self.connector_id = connector["id"]

    def _open_provider(self, connector: AirflowConnector, api_version: Any) -> Provider:
        """As the process does, without the pauses between tries."""
        key = token_key(connector.id, connector.config.base_url, connector.credentials)
        return Airflow(
            connector.config,
            connector.credentials,
            api_version=api_version,
            tokens=self.process.tokens,
            key=key,
            policy=egress.Policy.of(loopback=True),
            sleep=_no_pause,
        )

    async def sync(self, *, is_full: bool = False, trigger: Literal["manual", "schedule"] = "manual") -> Row:
        """Carry out a sync here and now; its SyncRun."""
        async with self.db.tenant_transaction(self.space_id) as tx:
            sync_id = await queue_sync(tx, self.space_id, self.connector_id, trigger=trigger, is_full=is_full)
        assert sync_id is not None
        await self.execution.run(self.space_id, sync_id)
        async with self.db.tenant_transaction(self.space_id) as tx:
            row = await tx.fetch_one(QUERIES["get_sync"], space_id=self.space_id, sync_id=sync_id)
        assert row is not None
        return row

    async def state(self) -> Row:
        (row,) = await self.rows("SELECT * FROM sync_states")
        return row

    async def rows(self, query: str, parameters: Mapping[str, Any] | None = None) -> list[Row]:
        async with self.db.tenant_transaction(self.space_id) as tx:
            cursor = await tx._connection.execute(query.encode(), parameters or {})
            return await cursor.fetchall()

    async def execute(self, query: str, parameters: Mapping[str, Any] | None = None) -> None:
        async with self.db.tenant_transaction(self.space_id) as tx:
            await tx._connection.execute(query.encode(), {**(parameters or {}), "space_id": self.space_id})

    async def row_versions(self) -> dict[str, list[tuple[Any, ...]]]:
        """The version of every mirrored row (ctid and xmin change with each write) and whether it is marked missing.

        Not the version of heartbeat: with each parse, Airflow moves its next run on, also while it is paused.
        """
        versions = {}
        for table in MIRRORED:
            query = f"SELECT id, ctid::text, xmin::text, missing_since_sync_id, removed_at FROM {table} ORDER BY id"  # noqa: S608
            versions[table] = [tuple(row.values()) for row in await self.rows(query)]
        moving = {row["id"] for row in await self.rows("SELECT id FROM pipelines WHERE external_id = 'heartbeat'")}
        versions["pipelines"] = [(row[0], *row[3:]) if row[0] in moving else row for row in versions["pipelines"]]
        return versions

    async def marked(self) -> int:
        """How many rows are marked missing or gone."""
        rows = [row for table in (await self.row_versions()).values() for row in table]
        return sum(
            missing_since_sync_id is not None or removed_at is not None
            for *_, missing_since_sync_id, removed_at in rows
        )


@contextlib.asynccontextmanager
async def open_client(
    windsock: Windsock, email: str = "ada@example.com"
) -> AsyncIterator[tuple[ValidatingClient, str]]:
    """Requests to the API of this Windsock, and the key of an editor named Ada."""
    async with windsock.db.transaction() as tx:
        ada = await create_user(tx, email=email, name="Ada", is_superadmin=False)
        key = await create_key(tx, ada["id"], name="of the test", expires_in_days=None)
    async with windsock.db.tenant_transaction(windsock.space_id) as tx:
        await upsert_member(tx, windsock.space_id, ada["id"], "editor")
    app = create_app(windsock.process, run_worker=False)
    async with ValidatingClient(app, httpx2.ASGITransport(app=app)) as client:
        yield client, key["full_key"]


async def _no_pause(_seconds: float) -> None:
    await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def open_windsock(make_database: Databases, secret_key: str) -> AsyncIterator[Windsock]:
    url = make_database(f"test_{uuid4().hex}")
    process = AppContext(Settings(data=Path("nowhere")), Storage(url, (secret_key,), None))
    try:
        async with process.lifespan(run_worker=False):
            yield Windsock(process)
    finally:
        make_database.drop(url)


def quiet(lab: AirflowLab) -> None:
    """Nothing moves, and nothing will: the one DAG with a schedule of minutes is paused when it has no run open."""
    if "heartbeat" not in {dag["dag_id"] for dag in lab.api("GET", "/dags", params={"limit": 100})["dags"]}:
        lab.wait_quiet()
        return
    if lab.api("GET", "/dags/heartbeat")["is_paused"] and not lab.unfinished():
        return
    for _ in range(60):
        lab.wait_quiet()
        lab.pause("heartbeat")
        query = {"state": ["queued", "running"], "limit": 100}
        if not lab.api("GET", "/dags/heartbeat/dagRuns", params=query)["dag_runs"]:
            return
        lab.unpause("heartbeat")
    raise AssertionError("heartbeat never had a moment without a run")


def find_failed_run(lab: AirflowLab, dag_id: str) -> str:
    """The id of a failed run of a DAG that fails; of another test, if there is one."""
    runs = lab.api("GET", f"/dags/{dag_id}/dagRuns", params={"state": "failed", "limit": 1})["dag_runs"]
    if runs:
        return str(runs[0]["dag_run_id"])
    run_id = lab.trigger(dag_id)
    lab.wait_quiet()
    return run_id


async def beside(function: Callable[..., Any], *arguments: Any, **more: Any) -> Any:
    """Blocking work of the lab, beside the event loop."""
    return await asyncio.to_thread(function, *arguments, **more)
