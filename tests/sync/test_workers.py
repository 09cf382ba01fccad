"""Several workers and many connectors: fair, stoppable, and nobody waits for those that hang."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, Self
from uuid import UUID, uuid4

import httpx2
import pytest

from airflow.harness import open_client, open_windsock
from conftest import SECRET_KEY
from databases import Databases
from fake_airflow.api import Api
from fake_airflow.faults import FakeAirflow
from fake_airflow.model import Model
from sync.harness import SyncHarness
from windsock import egress
from windsock.connectors.models import ConnectorIn
from windsock.connectors.store import AirflowConnector, create_connector
from windsock.context import AppContext
from windsock.db.database import Row
from windsock.providers.airflow import Airflow, TokenCache
from windsock.providers.base import Provider
from windsock.sync import sync_pass
from windsock.sync.jobs import SyncJobs
from windsock.sync.runner import SyncRunner
from windsock.sync.store import queue_sync

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("harness", ["v2"], indirect=True)]


class Slow(httpx2.AsyncBaseTransport):
    """Before a double: each answer takes a while, those of one that hangs do not come."""

    def __init__(self, fake: FakeAirflow, seconds: float, *, hangs: bool = False) -> None:
        self.fake, self.seconds, self.hangs = fake, seconds, hangs

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        await asyncio.sleep(3600 if self.hangs else self.seconds)
        return await self.fake.handle_async_request(request)


class Worker:
    """One process's worker on the tests' database; `transports` by the host of the connector."""

    def __init__(self, process: AppContext, transports: Callable[[str], httpx2.AsyncBaseTransport], name: str) -> None:
        self._transports = transports
        self._tokens = TokenCache()
        self.execution = SyncRunner(process.db, process.secrets, self._open, name)
        self.jobs = SyncJobs(process.db, self.execution)

    def _open(self, connector: AirflowConnector, api_version: Any) -> Provider:
        host = httpx2.URL(connector.config.base_url).host
        return Airflow(
            connector.config,
            connector.credentials,
            api_version=api_version,
            tokens=self._tokens,
            key=str(connector.id),
            policy=egress.Policy.of(loopback=True),
            transport=self._transports(host),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Its jobs end with `working`."""


@pytest.fixture
async def small(make_database: Databases) -> AsyncIterator[SyncHarness]:
    model = Model()
    model.add_dag("bills")
    model.start_run("bills")
    async with open_windsock(make_database, SECRET_KEY) as windsock:
        yield SyncHarness(windsock.process, FakeAirflow(Api(model)))


async def ended(harness: SyncHarness, sync_id: UUID, seconds: float = 30) -> Row:
    until = time.monotonic() + seconds
    while True:
        (row,) = await harness.rows("SELECT * FROM sync_runs WHERE id = %(id)s", {"id": sync_id})
        if row["status"] not in {"queued", "running"}:
            return row
        assert time.monotonic() < until, row["phase"]
        await asyncio.sleep(0.05)


async def running(harness: SyncHarness, sync_id: UUID) -> Row:
    for _ in range(200):
        (row,) = await harness.rows("SELECT * FROM sync_runs WHERE id = %(id)s", {"id": sync_id})
        if row["status"] == "running" and row["provider_requests"]:
            return row
        await asyncio.sleep(0.05)
    raise AssertionError(row["status"])


async def ask(harness: SyncHarness, *, is_full: bool = False) -> UUID:
    async with harness.db.tenant_transaction(harness.space_id) as tx:
        sync_id = await queue_sync(tx, harness.space_id, harness.connector_id, trigger="manual", is_full=is_full)
    assert sync_id is not None
    return sync_id


async def test_sync_of_stopping_process_is_requeued_and_resumed_by_another_process(harness: SyncHarness) -> None:
    await harness.settle()
    slow = Slow(harness.fake, 0.15)
    async with (
        Worker(harness.process, lambda _: slow, "first") as first,
        Worker(harness.process, lambda _: slow, "second") as second,
    ):
        async with first.jobs.run_workers(2):
            sync_id = await ask(harness, is_full=True)
            before = await running(harness, sync_id)
            await asyncio.sleep(0.5)
        (left,) = await harness.rows("SELECT * FROM sync_runs WHERE id = %(id)s", {"id": sync_id})
        assert (left["status"], left["requeue_count"], left["lease_holder"]) == ("queued", 1, None)
        async with second.jobs.run_workers(2):
            row = await ended(harness, sync_id)
    assert row["status"] == "complete", row["error"]
    assert row["started_at"] == before["started_at"]
    assert row["provider_requests"] > left["provider_requests"]
    await harness.assert_equal()


async def test_cancelled_running_sync_retains_stored_rows(harness: SyncHarness) -> None:
    slow = Slow(harness.fake, 0.3)
    async with Worker(harness.process, lambda _: slow, "one") as worker, worker.jobs.run_workers(2):
        sync_id = await ask(harness, is_full=True)
        await running(harness, sync_id)
        async with open_client(harness) as (client, key):
            (space,) = await harness.rows("SELECT slug FROM spaces WHERE id = current_space()")
            path = f"/spaces/{space['slug']}/orchestration/syncs/{sync_id}/cancel"
            assert (await client.as_(key, "POST", path)).status_code == 200
            row = await ended(harness, sync_id, 10)
            assert row["status"] == "cancelled"
            assert "kept" in row["error"]
            assert (await client.as_(key, "POST", path)).status_code == 409
    state = await harness.state()
    assert state["failures"] == 0
    assert state["next_sync_at"] > datetime.now(UTC) + timedelta(seconds=30)
    assert len(await harness.rows("SELECT id FROM pipelines")) == 3


async def test_sync_with_hanging_request_can_be_cancelled(harness: SyncHarness) -> None:
    await harness.settle()
    stuck = Slow(harness.fake, 0, hangs=True)
    async with Worker(harness.process, lambda _: stuck, "one") as worker, worker.jobs.run_workers(2):
        sync_id = await ask(harness)
        await asyncio.sleep(1.0)
        await harness.execute("UPDATE sync_runs SET cancel_requested_at = now() WHERE space_id = %(space_id)s")
        assert (await ended(harness, sync_id, 10))["status"] == "cancelled"


async def test_long_sync_yields_to_waiting_syncs(harness: SyncHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """One worker with one place: the history of one connector is long, another is due meanwhile."""
    monkeypatch.setattr(sync_pass, "LONG_SECONDS", 0.5)
    await harness.settle()
    other = await another(harness, "other", interval=3600)
    await harness.execute("UPDATE sync_states SET next_sync_at = 'infinity' WHERE space_id = %(space_id)s")
    slow = Slow(harness.fake, 0.4)
    async with Worker(harness.process, lambda host: slow if host == "double" else harness.fake, "one") as worker:
        long_one = await ask(harness, is_full=True)
        async with worker.jobs.run_workers(1):
            await running(harness, long_one)
            async with harness.db.tenant_transaction(harness.space_id) as tx:
                short = await queue_sync(tx, harness.space_id, other, trigger="manual")
            assert short is not None
            assert (await ended(harness, short, 20))["status"] == "complete"
            (still,) = await harness.rows("SELECT * FROM sync_runs WHERE id = %(id)s", {"id": long_one})
            assert still["status"] in {"queued", "running"}
            assert still["requeue_count"] >= 1
            assert (await ended(harness, long_one, 40))["status"] == "complete"


async def another(harness: SyncHarness, host: str, *, interval: int) -> UUID:
    body = ConnectorIn(
        name=f"{host}-{uuid4().hex[:6]}",
        connector_type="airflow",
        config={"base_url": f"http://{host}", "timeout_seconds": 20, "sync_interval_seconds": interval},
        credentials={"auth_type": "password", "username": "admin", "password": "admin"},
    )
    async with harness.db.tenant_transaction(harness.space_id) as tx:
        connector = await create_connector(tx, harness.space_id, body, harness.process.secrets)
    found: UUID = connector["id"]
    return found


@pytest.mark.timeout(240)
async def test_ten_hanging_of_hundred_connectors_do_not_delay_the_others(harness: SyncHarness) -> None:
    """Two workers; each of the ninety is synced again and again, never much later than its interval."""
    interval = 30
    await harness.execute("UPDATE connectors SET is_active = false WHERE space_id = %(space_id)s")
    for number in range(100):
        await another(harness, f"hangs-{number}" if number % 10 == 0 else f"fine-{number}", interval=interval)
    stuck, fine = Slow(harness.fake, 0, hangs=True), Slow(harness.fake, 0.02)

    def transport(host: str) -> httpx2.AsyncBaseTransport:
        return stuck if host.startswith("hangs") else fine

    async with (
        Worker(harness.process, transport, "first") as first,
        Worker(harness.process, transport, "second") as second,
        first.jobs.run_workers(16),
        second.jobs.run_workers(16),
        asyncio.timeout(180),
    ):
        starts: dict[str, list[datetime]] = {}
        while len(starts) < 90 or min(map(len, starts.values())) < 3:
            await asyncio.sleep(1)
            starts = await fine_starts(harness)
    waits = [
        (later - sooner).total_seconds()
        for times in starts.values()
        for sooner, later in pairwise(times[1:])  # the first goes on with the history at once
    ]
    assert len(waits) >= 90
    assert max(waits) < interval + 10, f"the longest wait was {max(waits):.1f} s"


async def fine_starts(harness: SyncHarness) -> dict[str, list[datetime]]:
    """Begins of the complete syncs of each connector that does not hang."""
    rows = await harness.rows(
        "SELECT c.name, r.started_at FROM sync_runs r JOIN connectors c ON c.id = r.connector_id"
        " WHERE c.name LIKE 'fine%%' AND r.status = 'complete' ORDER BY c.name, r.started_at"
    )
    starts: dict[str, list[datetime]] = {}
    for row in rows:
        starts.setdefault(row["name"], []).append(row["started_at"])
    return starts
