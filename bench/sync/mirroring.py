"""A Windsock in this process that syncs one connector and remembers what it asked; and what is measured of it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx2
from cryptography.fernet import Fernet

from windsock.access.store import create_space
from windsock.connectors.models import ConnectorIn
from windsock.connectors.store import AirflowConnector, create_connector
from windsock.db import Row
from windsock.embedded import EmbeddedPostgres
from windsock.process import Process
from windsock.providers.airflow import Airflow, TokenCache
from windsock.providers.contract import Provider
from windsock.settings import Settings
from windsock.storage import APPLICATION, DATABASE, OWNER, Storage, _make_roles_and_database, _migrate
from windsock.sync.execution import Execution
from windsock.sync.progress import QUERIES
from windsock.sync.store import queue_sync

STATE: Any = "SELECT history, mode, poll_seconds, last_sync_status FROM sync_states"
PIPELINE: Any = "SELECT count(*) AS n FROM pipelines WHERE last_run IS NOT NULL"


class Recorder(httpx2.AsyncBaseTransport):
    """Passes requests on, and keeps their addresses, so that they can be asked again without storing anything."""

    def __init__(self) -> None:
        self.inner = httpx2.AsyncHTTPTransport(limits=httpx2.Limits(max_connections=1))
        self.asked: list[tuple[str, dict[str, str]]] = []

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if request.method == "GET":
            kept = {name: value for name, value in request.headers.items() if name in {"authorization", "accept"}}
            self.asked.append((str(request.url), kept))
        return await self.inner.handle_async_request(request)

    async def aclose(self) -> None:
        """Kept open from sync to sync, as the recording is."""


@dataclass
class Mirroring:
    process: Process
    recorder: Recorder
    space_id: UUID = field(default_factory=lambda: UUID(int=0))
    connector_id: UUID = field(default_factory=lambda: UUID(int=0))
    tokens: TokenCache = field(default_factory=TokenCache)

    def open_provider(self, connector: AirflowConnector, api_version: Any) -> Provider:  # noqa: ANN401 - "v1" or "v2"
        return Airflow(
            connector.config,
            connector.credentials,
            api_version=api_version,
            tokens=self.tokens,
            key="bench",
            transport=self.recorder,
        )

    async def connect(self, base_url: str, *, history_days: int) -> None:
        async with self.process.db.transaction() as tx:
            self.space_id = (await create_space(tx, slug="bench", name="Bench"))["id"]
        body = ConnectorIn(
            name="bench",
            connector_type="airflow",
            config={"base_url": base_url, "history_days": history_days, "timeout_seconds": 60},
            credentials={"auth_type": "password", "username": "admin", "password": "admin"},
        )
        async with self.process.db.in_space(self.space_id) as tx:
            self.connector_id = (await create_connector(tx, self.space_id, body, self.process.secrets))["id"]

    async def sync(self) -> Row:
        execution = Execution(self.process.db, self.process.secrets, self.open_provider, "bench")
        names = {"space_id": self.space_id}
        async with self.process.db.in_space(self.space_id) as tx:
            sync_id = await queue_sync(tx, self.space_id, self.connector_id, trigger="schedule")
        if sync_id is None:
            raise RuntimeError("a sync of the bench is under way already")
        await execution.run(self.space_id, sync_id)
        async with self.process.db.in_space(self.space_id) as tx:
            row = await tx.row(QUERIES["get_sync"], **names, sync_id=sync_id)
        if row is None or row["status"] != "complete":
            raise RuntimeError(f"the sync ended badly: {row}")
        return row

    async def state(self) -> Row:
        async with self.process.db.in_space(self.space_id) as tx:
            return await tx.row(STATE) or {}

    async def shown(self) -> int:
        """Pipelines of which a run is seen."""
        async with self.process.db.in_space(self.space_id) as tx:
            row = await tx.row(PIPELINE)
        return int(row["n"]) if row else 0


@contextlib.asynccontextmanager
async def a_windsock(folder: Path) -> AsyncIterator[Mirroring]:
    """On an embedded PostgreSQL of its own, with fsync as in production."""
    key = Fernet.generate_key().decode()
    with EmbeddedPostgres(folder / "windsock") as embedded:
        _make_roles_and_database(embedded)
        _migrate(embedded.url(user=OWNER, database=DATABASE), APPLICATION)
        url = embedded.url(user=APPLICATION, database=DATABASE)
        process = Process(Settings(data=folder), Storage(url, (key,), None))
        async with process.opened(works=False):
            yield Mirroring(process, Recorder())


async def read_plainly(asked: list[tuple[str, dict[str, str]]]) -> float:
    """Seconds for the same requests, one after the other on one connection, with nothing done to their answers."""
    async with httpx2.AsyncClient(limits=httpx2.Limits(max_connections=1), timeout=60) as client:
        began = time.monotonic()
        for url, headers in asked:
            answer = await client.get(url, headers=headers)
            answer.raise_for_status()
        return time.monotonic() - began


def memory() -> float:
    """Resident memory of this process, in MB."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


async def watch_memory(seen: list[float], seconds: float = 1.0) -> None:
    while True:
        seen.append(memory())
        await asyncio.sleep(seconds)
