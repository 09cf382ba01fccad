"""A full sync that is requested while another one is under way: queued behind it, started when that one has ended."""

import asyncio
from uuid import UUID

import pytest

from sync.harness import SyncHarness
from sync.test_workers import Slow, Worker, ended, running
from windsock.db.database import Row
from windsock.sync import sync_pass
from windsock.sync.lease import QUERIES
from windsock.sync.store import cancel_sync, find_or_queue_sync, queue_sync

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("harness", ["v2"], indirect=True)]


async def request(harness: SyncHarness, *, is_full: bool = True) -> Row:
    async with harness.db.tenant_transaction(harness.space_id) as tx:
        row, _ = await find_or_queue_sync(tx, harness.space_id, harness.connector_id, is_full=is_full)
    assert row is not None
    return row


async def sync_run(harness: SyncHarness, sync_id: UUID) -> Row:
    (row,) = await harness.rows("SELECT * FROM sync_runs WHERE id = %(id)s", {"id": sync_id})
    return row


async def claim(harness: SyncHarness, sync_id: UUID) -> Row:
    """A worker begins it, and goes no further."""
    names = {"space_id": harness.space_id, "sync_id": sync_id}
    async with harness.db.tenant_transaction(harness.space_id) as tx:
        row = await tx.fetch_one(QUERIES["claim_sync"], **names, holder="a worker", lease="20 seconds")
    assert row is not None
    return row


async def test_follow_up_is_not_claimed_before_the_running_sync_has_ended(harness: SyncHarness) -> None:
    await harness.settle()
    first = await harness.queue()
    await claim(harness, first)
    follow_up = (await request(harness))["id"]
    await harness.execution.run(harness.space_id, follow_up)
    assert (await sync_run(harness, follow_up))["status"] == "queued"
    async with harness.db.tenant_transaction(harness.space_id) as tx:
        waiting = await tx.fetch_one(QUERIES["syncs_waiting"], slow_queue=False)
        left = await tx.fetch_all(QUERIES["next_sync"], slow_queue=False, holder="another", slots=8)
    assert waiting == {"total": 0}, "the running sync does not give way to what waits for it"
    assert left == []
    await harness.execute("UPDATE sync_runs SET status = 'failed' WHERE space_id = %(space_id)s AND status = 'running'")
    row = await harness.carry_out(follow_up)
    assert (row["status"], row["is_full"]) == ("complete", True)


async def test_no_other_sync_is_queued_before_the_follow_up(harness: SyncHarness) -> None:
    await harness.settle()
    first = await harness.queue()
    await claim(harness, first)
    follow_up = (await request(harness))["id"]
    await harness.execute(
        "UPDATE sync_runs SET status = 'complete' WHERE space_id = %(space_id)s AND status = 'running'"
    )
    async with harness.db.tenant_transaction(harness.space_id) as tx:
        assert await queue_sync(tx, harness.space_id, harness.connector_id, trigger="schedule") is None
    assert (await request(harness, is_full=False))["id"] == follow_up


async def test_concurrent_full_requests_queue_one_follow_up(harness: SyncHarness) -> None:
    await harness.settle()
    await claim(harness, await harness.queue())
    found = await asyncio.gather(*(request(harness) for _ in range(8)))
    assert len({row["id"] for row in found}) == 1
    assert len(await harness.rows("SELECT id FROM sync_runs WHERE status IN ('queued', 'running')")) == 2


async def test_cancelled_follow_up_never_starts_and_running_sync_continues(harness: SyncHarness) -> None:
    await harness.settle()
    first = await harness.queue()
    await claim(harness, first)
    follow_up = (await request(harness))["id"]
    async with harness.db.tenant_transaction(harness.space_id) as tx:
        assert await cancel_sync(tx, harness.space_id, follow_up)
    assert (await sync_run(harness, follow_up))["status"] == "cancelled"
    assert (await sync_run(harness, first))["status"] == "running"
    assert (await request(harness))["id"] != follow_up, "a new request is a new wish"


async def test_follow_up_starts_when_the_running_sync_is_cancelled_or_its_worker_died(harness: SyncHarness) -> None:
    await harness.settle()
    slow = Slow(harness.fake, 0.2)
    async with Worker(harness.process, lambda _: slow, "one") as worker:
        dead = await harness.queue()
        await claim(harness, dead)
        follow_up = (await request(harness))["id"]
        await harness.execute("UPDATE sync_runs SET lease_until = now() - interval '1 second' WHERE status = 'running'")
        async with worker.jobs.run_workers(2):
            row = await ended(harness, follow_up)
            assert (row["status"], row["is_full"]) == ("complete", True)
            assert (await sync_run(harness, dead))["status"] == "failed"
            normal = (await request(harness, is_full=False))["id"]
            await running(harness, normal)
            second = (await request(harness))["id"]
            async with harness.db.tenant_transaction(harness.space_id) as tx:
                await cancel_sync(tx, harness.space_id, normal)
            assert (await ended(harness, second))["status"] == "complete"
    (most,) = await harness.rows(
        "SELECT count(*) AS n FROM sync_runs a JOIN sync_runs b ON a.id < b.id"
        " AND a.started_at < b.finished_at AND b.started_at < a.finished_at"
    )
    assert most["n"] == 0, "still one at a time"


async def test_requeued_sync_finishes_before_its_follow_up_starts(
    harness: SyncHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    await harness.settle()
    monkeypatch.setattr(sync_pass, "LONG_SECONDS", 0.0)
    slow = Slow(harness.fake, 0.2)
    async with (
        Worker(harness.process, lambda _: slow, "first") as first,
        Worker(harness.process, lambda _: slow, "second") as second,
    ):
        async with first.jobs.run_workers(1):
            normal = (await request(harness, is_full=False))["id"]
            await running(harness, normal)
            follow_up = (await request(harness))["id"]
        assert (await sync_run(harness, normal))["status"] == "queued", "handed over, since its process stops"
        async with second.jobs.run_workers(1):
            row = await ended(harness, follow_up)
    assert row["status"] == "complete"
    before = await sync_run(harness, normal)
    assert before["status"] == "complete"
    assert before["finished_at"] <= row["started_at"]
