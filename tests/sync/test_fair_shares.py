"""One space's hanging or failing connectors take nothing from another space."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from itertools import pairwise
from typing import Any
from uuid import UUID

import httpx2
import pytest

from airflow.harness import open_windsock
from conftest import SECRET_KEY
from databases import Databases
from fake_airflow.api import Api
from fake_airflow.faults import FakeAirflow
from fake_airflow.model import Model
from sync.harness import SyncHarness
from sync.test_workers import Slow, Worker, another, ended
from windsock.connectors.models import ConnectorIn
from windsock.connectors.store import create_connector
from windsock.db.database import Database
from windsock.embedded import EmbeddedPostgres
from windsock.sync import jobs, lease
from windsock.sync.jobs import SyncJobs
from windsock.sync.lease import QUERIES
from windsock.sync.store import queue_sync

pytestmark = pytest.mark.anyio
INTERVAL_SECONDS = 5


@pytest.fixture(autouse=True)
def _short_goodbye(monkeypatch: pytest.MonkeyPatch) -> None:
    """What hangs does not end in time anyway."""
    monkeypatch.setattr(jobs, "SHUTDOWN_SECONDS", 0.2)


@pytest.fixture
async def spaces(make_database: Databases) -> AsyncIterator[tuple[SyncHarness, SyncHarness]]:
    """Two spaces of one installation; the connector of the second one was synced completely."""
    async with open_windsock(make_database, SECRET_KEY) as windsock:
        created = []
        for _ in range(2):
            model = Model()
            model.add_dag("bills")
            model.start_run("bills")
            created.append(SyncHarness(windsock.process, FakeAirflow(Api(model))))
            await created[-1].connect_to_double(sync_interval_seconds=INTERVAL_SECONDS)
        first, second = created
        await first.execute("UPDATE connectors SET is_active = false WHERE space_id = %(space_id)s")
        await second.settle()
        yield first, second


@contextlib.asynccontextmanager
async def a_hanging_address() -> AsyncIterator[str]:
    """Takes every connection and says nothing."""
    open_ones = set()

    async def hang(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_ones.add(writer)

    server = await asyncio.start_server(hang, "127.0.0.1", 0, backlog=500)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for writer in open_ones:
            writer.transport.abort()


async def hang_up(space: SyncHarness, url: str, count: int) -> None:
    """Add connectors at a hanging address and sync each by hand."""
    for number in range(count):
        body = ConnectorIn(
            name=f"hangs-{number}",
            connector_type="airflow",
            config={"base_url": url, "timeout_seconds": 60},
            credentials={"auth_type": "password", "username": "admin", "password": "admin"},
        )
        async with space.db.tenant_transaction(space.space_id) as tx:
            row = await create_connector(tx, space.space_id, body, space.process.secrets)
            assert await queue_sync(tx, space.space_id, row["id"], trigger="manual")


def real_or_double(space: SyncHarness) -> Callable[[str], httpx2.AsyncBaseTransport]:
    return lambda host: space.fake if host == "double" else httpx2.AsyncHTTPTransport()


@pytest.mark.timeout(120)
async def test_hundred_hanging_connectors_do_not_delay_syncs_of_another_space(
    spaces: tuple[SyncHarness, SyncHarness],
) -> None:
    hostile, victim = spaces
    async with a_hanging_address() as url:
        await hang_up(hostile, url, 100)
        async with Worker(hostile.process, real_or_double(victim), "one") as worker, worker.jobs.run_workers(16):
            await asyncio.sleep(2)
            started = time.monotonic()
            by_hand = await queue_manual(victim)
            if by_hand is not None:
                worker.jobs.wake()
                assert (await ended(victim, by_hand, 10))["status"] == "complete"
            waited = time.monotonic() - started
            await asyncio.sleep(22)
            rows = await victim.rows("SELECT started_at FROM sync_runs WHERE status = 'complete' ORDER BY started_at")
    assert waited < 10
    starts: list[datetime] = [row["started_at"] for row in rows][-4:]
    assert max((later - sooner).total_seconds() for sooner, later in pairwise(starts)) < INTERVAL_SECONDS + 10


async def queue_manual(space: SyncHarness) -> UUID | None:
    async with space.db.tenant_transaction(space.space_id) as tx:
        return await queue_sync(tx, space.space_id, space.connector_id, trigger="manual")


async def test_single_space_may_use_all_workers(spaces: tuple[SyncHarness, SyncHarness]) -> None:
    hostile, victim = spaces
    await victim.execute("UPDATE connectors SET is_active = false WHERE space_id = %(space_id)s")
    async with a_hanging_address() as url:
        await hang_up(hostile, url, 12)
        async with Worker(hostile.process, real_or_double(victim), "one") as worker, worker.jobs.run_workers(6):
            assert await most_running(hostile, seconds=3) == 6
            await victim.execute("UPDATE connectors SET is_active = true WHERE space_id = %(space_id)s")


async def test_one_of_several_spaces_uses_at_most_half_of_the_workers(spaces: tuple[SyncHarness, SyncHarness]) -> None:
    hostile, victim = spaces
    async with a_hanging_address() as url:
        await hang_up(hostile, url, 12)
        async with Worker(hostile.process, real_or_double(victim), "one") as worker, worker.jobs.run_workers(6):
            assert await most_running(hostile, seconds=3) == 3


async def most_running(space: SyncHarness, *, seconds: float) -> int:
    until, most = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        (row,) = await space.rows("SELECT count(*) AS total FROM sync_runs WHERE status = 'running'")
        most = max(most, row["total"])
        await asyncio.sleep(0.1)
    return most


async def test_sync_waiting_for_one_response_yields_its_slot(
    spaces: tuple[SyncHarness, SyncHarness], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One worker with one place: the connector that hangs goes on among the slow ones."""
    monkeypatch.setattr(lease, "LEASE_RENEWAL_SECONDS", 0.3)
    monkeypatch.setattr(lease, "STUCK_SECONDS", 0.5)
    hostile, victim = spaces
    await victim.execute("UPDATE sync_states SET next_sync_at = 'infinity' WHERE space_id = %(space_id)s")
    async with a_hanging_address() as url:
        await hang_up(hostile, url, 1)
        async with Worker(hostile.process, real_or_double(victim), "one") as worker, worker.jobs.run_workers(1):
            assert await most_running(hostile, seconds=1) == 1
            by_hand = await queue_manual(victim)
            assert by_hand is not None
            assert (await ended(victim, by_hand, 20))["status"] == "complete"
            (state,) = await hostile.rows("SELECT is_stuck FROM sync_states WHERE is_stuck")
            assert state["is_stuck"]
            (row,) = await hostile.rows("SELECT requeue_count FROM sync_runs WHERE trigger = 'manual'")
            assert row["requeue_count"] == 1, "it hands over once; among the slow ones it keeps its place"


@pytest.mark.parametrize(
    ("change", "expects_slow_queue"),
    [
        ("failures = 0", False),
        ("failures = 1", True),
        ("poll_seconds = 11", True),
        ("poll_seconds = 9", False),
        ("is_stuck = true", True),
    ],
)
async def test_slow_and_failing_connectors_use_slow_queue_for_manual_syncs_too(
    spaces: tuple[SyncHarness, SyncHarness], change: str, expects_slow_queue: bool
) -> None:
    _, space = spaces
    await space.execute(f"UPDATE sync_states SET {change} WHERE space_id = %(space_id)s")  # noqa: S608
    sync_id = await queue_manual(space)
    found = {is_slow_queue: await next_sync(space.db, is_slow_queue=is_slow_queue) for is_slow_queue in (False, True)}
    assert found == {expects_slow_queue: sync_id, not expects_slow_queue: None}


async def next_sync(db: Database, *, is_slow_queue: bool, holder: str = "nobody", slots: int = 4) -> UUID | None:
    async with db.transaction() as tx:
        row = await tx.fetch_one(QUERIES["next_sync"], slow_queue=is_slow_queue, holder=holder, slots=slots)
    return row["sync_id"] if row else None


async def test_next_sync_is_of_space_with_fewest_running_syncs_and_manual_first(
    spaces: tuple[SyncHarness, SyncHarness],
) -> None:
    first, second = spaces
    scheduled = await queue_of(first, trigger="schedule")
    by_hand = await queue_of(first, trigger="manual")
    later = await queue_of(second, trigger="schedule")
    order = []
    for _ in range(3):
        sync_id = await next_sync(first.db, is_slow_queue=False, holder="me")
        order.append(sync_id)
        for space in spaces:
            await space.execute(
                "UPDATE sync_runs SET status = 'running', lease_holder = 'me', lease_until = now() + interval '1 hour'"
                " WHERE space_id = %(space_id)s AND id = %(id)s",
                {"id": sync_id},
            )
    assert order == [by_hand, later, scheduled]


async def queue_of(space: SyncHarness, *, trigger: Any) -> UUID:
    connector_id = await another(space, "double", interval=3600)
    async with space.db.tenant_transaction(space.space_id) as tx:
        sync_id = await queue_sync(tx, space.space_id, connector_id, trigger=trigger)
    assert sync_id is not None
    return sync_id


async def test_several_workers_with_waiting_syncs_cause_no_sql_errors(
    spaces: tuple[SyncHarness, SyncHarness], postgres: EmbeddedPostgres
) -> None:
    """Each would be two lines in PostgreSQL's log, every second."""
    hostile, victim = spaces
    before = postgres.log.read_text(errors="replace").count("ERROR:")
    slow = Slow(victim.fake, 0, hangs=True)
    for number in range(40):
        await another(hostile, f"hangs-{number}", interval=INTERVAL_SECONDS)
    async with (
        Worker(hostile.process, lambda _: slow, "first") as first,
        Worker(hostile.process, lambda _: slow, "second") as second,
        first.jobs.run_workers(2),
        second.jobs.run_workers(2),
    ):
        await asyncio.gather(*(item.dispatch() for item in (first.jobs, second.jobs) * 5))
        await asyncio.sleep(4)
    (row,) = await hostile.rows("SELECT count(*) AS total FROM sync_runs WHERE status = 'queued'")
    assert row["total"] >= 30
    assert postgres.log.read_text(errors="replace").count("ERROR:") == before


async def test_jobs_without_sync_runner_refuse_to_run_workers(spaces: tuple[SyncHarness, SyncHarness]) -> None:
    with pytest.raises(RuntimeError):
        async with SyncJobs(spaces[0].db).run_workers(1):
            raise AssertionError("it began to work")
