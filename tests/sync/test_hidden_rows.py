"""Rows that Airflow counts and never lists: believed to be hidden after several passes, and not before."""

from typing import Any

import pytest

from sync.harness import SyncHarness
from sync.test_deletions import full_check
from windsock.db.database import Row
from windsock.providers.miscounts import ENOUGH_PASSES

pytestmark = pytest.mark.anyio

TASK, OTHER, DAG = ("news", "run_0", "load", -1), ("news", "run_1", "load", -1), ("bills",)


def hide(harness: SyncHarness, *keys: tuple[Any, ...]) -> None:
    harness.fake.api.oddities.hidden = set(keys)


async def full(harness: SyncHarness) -> Row:
    return await harness.carry_out(await harness.queue(is_full=True, trigger="manual"))


async def registered(harness: SyncHarness) -> list[Row]:
    return await harness.rows("SELECT kind, unlisted, window_start FROM skipped_rows")


async def requests_of_an_idle_sync(harness: SyncHarness) -> int:
    harness.model.let_pass(1_000)
    await harness.sync(trigger="schedule")
    idle = await harness.sync(trigger="schedule")
    assert idle["status"] == "complete", idle["error"]
    requests: int = idle["provider_requests"]
    return requests


async def test_backfill_missing_same_row_in_three_passes_continues(harness: SyncHarness) -> None:
    hide(harness, TASK)
    for _ in range(ENOUGH_PASSES - 1):
        sync = await harness.sync(trigger="schedule")
        assert sync["status"] == "partial"
        assert "hidden from the account" in sync["error"]
        assert await registered(harness) == []
        assert (await harness.state())["watermark"] is None
    assert len(await harness.tasks()) >= 1, "what was read is here"
    sync = await harness.sync(trigger="schedule")
    assert (sync["status"], sync["coverage"]["skipped"]) == ("complete", 1)
    assert "Airflow counts 1 more task instance than it lists" in " ".join(sync["warnings"])
    (row,) = await registered(harness)
    assert (row["kind"], row["unlisted"]) == ("task_runs", 1)
    assert row["window_start"] is not None


async def test_full_sync_missing_same_row_in_three_passes_removes_nothing(harness: SyncHarness) -> None:
    await harness.settle()
    before = await harness.tasks()
    hide(harness, TASK)
    first = await full(harness)
    assert first["status"] == "partial"
    for number in range(2, ENOUGH_PASSES + 1):
        sync = await harness.sync(trigger="schedule")
        assert sync["is_full"]
        assert sync["status"] == ("complete" if number == ENOUGH_PASSES else "partial"), sync["error"]
    assert (sync["task_runs"]["removed"], sync["coverage"]["skipped"]) == (0, 1)
    again = await full(harness)
    assert again["status"] == "complete", "in windows of other bounds it is the same row"
    assert (await harness.tasks()).keys() == before.keys()
    assert all(row["missing_since_sync_id"] is None for row in (await harness.tasks()).values())


async def test_missing_changed_row_holds_watermark_until_accepted_as_hidden(harness: SyncHarness) -> None:
    await harness.settle()
    watermark = (await harness.state())["watermark"]
    hide(harness, TASK)
    harness.model.mark_task(TASK, "failed")
    harness.model.mark_task(OTHER, "failed")
    for number in range(1, ENOUGH_PASSES + 1):
        harness.model.let_pass(120)
        sync = await harness.sync(trigger="schedule")
        is_believed = number == ENOUGH_PASSES
        assert sync["status"] == ("complete" if is_believed else "partial"), sync["error"]
        assert ((await harness.state())["watermark"] > watermark) == is_believed
        assert (await harness.tasks())[OTHER]["status"] == "failed", "what was read is stored"
    assert sync["coverage"]["skipped"] == 1
    harness.model.let_pass(1_000)
    harness.model.mark_task(TASK, "success")
    known = await harness.sync(trigger="schedule")
    assert known["status"] == "complete", "that this account does not see a task run is known"


async def test_temporarily_missing_row_is_mirrored_once_listed(harness: SyncHarness) -> None:
    """As a replica that lags behind has it: counted already, listed by the next sync."""
    await harness.settle()
    for passes in range(1, ENOUGH_PASSES):
        harness.model.let_pass(1_000)
        harness.model.mark_task(TASK, "failed" if passes % 2 else "success")
        hide(harness, TASK)
        for _ in range(passes):
            assert (await harness.sync(trigger="schedule"))["status"] in {"partial", "failed"}
            harness.model.let_pass(400)
        hide(harness)
        sync = await harness.sync(trigger="schedule")
        assert (sync["status"], sync["warnings"]) == ("complete", [])
        assert (await harness.tasks())[TASK]["status"] == harness.model.tasks[TASK].state
        assert (await harness.state())["miscounts"] == [], "it is forgotten"
        await harness.assert_believable()


async def test_varying_total_mismatch_is_never_accepted(harness: SyncHarness) -> None:
    await harness.settle()
    watermark = (await harness.state())["watermark"]
    harness.model.mark_task(TASK, "failed")
    harness.model.mark_task(OTHER, "failed")
    for number in range(3 * ENOUGH_PASSES):
        hide(harness, TASK, *([OTHER] if number % 2 else []))
        assert (await harness.sync(trigger="schedule"))["status"] in {"partial", "failed"}
        assert (await harness.state())["watermark"] == watermark
    assert await registered(harness) == []
    hide(harness)
    assert (await harness.sync(trigger="schedule"))["status"] == "complete"
    await harness.settle()
    await harness.assert_equal()


async def test_hidden_row_that_is_listed_again_is_mirrored_and_its_warning_ends(harness: SyncHarness) -> None:
    hide(harness, TASK)
    for _ in range(ENOUGH_PASSES):
        await full_check(harness)
    assert TASK not in await harness.tasks()
    hide(harness)
    sync = await full_check(harness)
    assert (sync["status"], sync["warnings"], sync["coverage"]["skipped"]) == ("complete", [], 0)
    assert TASK in await harness.tasks()
    hide(harness, TASK)
    harness.model.mark_task(TASK, "failed")
    assert (await harness.sync(trigger="schedule"))["status"] == "partial", "and nothing is believed any more"


@pytest.mark.parametrize("key", [TASK, DAG])
async def test_idle_sync_with_hidden_row_sends_no_extra_requests(harness: SyncHarness, key: tuple[Any, ...]) -> None:
    await harness.settle()
    clean = await requests_of_an_idle_sync(harness)
    compared = max([(await full_check(harness))["provider_requests"] for _ in range(3)])
    hide(harness, key)
    for _ in range(ENOUGH_PASSES + 1):
        await full(harness)
    assert len(await registered(harness)) == 1
    assert await requests_of_an_idle_sync(harness) == clean
    for _ in range(3):
        await full_check(harness)
    assert (await full_check(harness))["provider_requests"] <= compared + 12, "with the listing a few are read again"


async def test_three_hidden_rows_cause_no_rescan_when_totals_are_compared(harness: SyncHarness) -> None:
    hide(harness, TASK, OTHER, ("bills", "run_0", "load", -1))
    for _ in range(3 * ENOUGH_PASSES):
        sync = await full_check(harness)
    assert sync["status"] == "complete", sync["error"]
    assert sum(row["unlisted"] for row in await registered(harness)) == 3
    harness.fake.requests.clear()
    await harness.execute("UPDATE sync_states SET reconciled_at = NULL")
    await harness.sync(trigger="schedule")
    reads = [url for url in harness.fake.requests if "taskInstances" in url and "updated_at" not in url]
    assert len(reads) <= 2, "equal totals are not read again"
