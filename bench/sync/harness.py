"""A Windsock in this process that syncs one connector and remembers what it asked; and what is measured of it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
from cryptography.fernet import Fernet

from airflow.harness import Windsock
from windsock import egress
from windsock.connectors.store import AirflowConnector
from windsock.context import AppContext
from windsock.db.bootstrap import APPLICATION, DATABASE, OWNER, Storage, _make_roles_and_database, _migrate
from windsock.db.database import Row
from windsock.embedded import EmbeddedPostgres
from windsock.providers.airflow import Airflow
from windsock.providers.base import Provider
from windsock.settings import Settings


class Recorder(httpx2.AsyncBaseTransport):
    """Passes requests on, and keeps their addresses, so that they can be asked again without storing anything."""

    def __init__(self) -> None:
        self.inner = httpx2.AsyncHTTPTransport(limits=httpx2.Limits(max_connections=1))
        self.requests: list[tuple[str, dict[str, str]]] = []

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if request.method == "GET":
            headers = {name: value for name, value in request.headers.items() if name in {"authorization", "accept"}}
            self.requests.append((str(request.url), headers))
        return await self.inner.handle_async_request(request)

    async def aclose(self) -> None:
        """Kept open from sync to sync, as the recording is."""


class Mirroring(Windsock):
    """Asks on one connection, which the recorder keeps open from sync to sync."""

    def __init__(self, process: AppContext) -> None:
        super().__init__(process)
        self.recorder = Recorder()

    def _open_provider(self, connector: AirflowConnector, api_version: Any) -> Provider:  # noqa: ANN401 - "v1" or "v2"
        return Airflow(
            connector.config,
            connector.credentials,
            api_version=api_version,
            tokens=self.process.tokens,
            key="bench",
            policy=egress.Policy.of(loopback=True),
            transport=self.recorder,
        )

    async def completed(self) -> Row:
        """A scheduled sync, which must end complete."""
        row = await self.sync(trigger="schedule")
        if row["status"] != "complete":
            raise RuntimeError(f"the sync ended badly: {row}")
        return row

    async def shown(self) -> int:
        """Pipelines of which a run is seen."""
        (row,) = await self.rows("SELECT count(*) AS n FROM pipelines WHERE last_run IS NOT NULL")
        return int(row["n"])


@contextlib.asynccontextmanager
async def open_windsock(folder: Path) -> AsyncIterator[Mirroring]:
    """On an embedded PostgreSQL of its own, with fsync as in production."""
    key = Fernet.generate_key().decode()
    with EmbeddedPostgres(folder / "windsock") as embedded:
        _make_roles_and_database(embedded)
        _migrate(embedded.url(user=OWNER, database=DATABASE), APPLICATION)
        url = embedded.url(user=APPLICATION, database=DATABASE)
        process = AppContext(Settings(data=folder), Storage(url, (key,), None))
        async with process.lifespan(run_worker=False):
            yield Mirroring(process)


async def read_plainly(requests: list[tuple[str, dict[str, str]]]) -> float:
    """Seconds for the same requests, one after the other on one connection, with nothing done to their answers."""
    async with httpx2.AsyncClient(limits=httpx2.Limits(max_connections=1), timeout=60) as client:
        started = time.monotonic()
        for url, headers in requests:
            response = await client.get(url, headers=headers)
            response.raise_for_status()
        return time.monotonic() - started


def memory(pid: int | str = "self") -> float:
    """Resident memory of a process, in MB."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


async def watch_memory(seen: list[float], seconds: float = 1.0) -> None:
    while True:
        seen.append(memory())
        await asyncio.sleep(seconds)
