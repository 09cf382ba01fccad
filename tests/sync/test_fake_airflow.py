"""Syncs from the double: the plain ways, one by one."""

import pytest

from sync.harness import SyncHarness

pytestmark = pytest.mark.anyio


async def test_first_sync_mirrors_all_rows(harness: SyncHarness) -> None:
    sync = await harness.sync(trigger="schedule")
    assert sync["status"] == "complete", sync["error"]
    await harness.assert_equal()
    await harness.settle()
    await harness.assert_equal()


async def test_notes_and_deletions_in_event_log_are_mirrored_by_next_sync(harness: SyncHarness) -> None:
    await harness.settle()
    harness.model.note_run(("bills", "run_0"), "looked at")
    harness.model.note_task(("bills", "run_0", "load", -1), "why")
    harness.model.delete_run(("news", "run_1"))
    harness.model.delete_task(("bills", "run_1", "load", -1))
    harness.model.pause("news")
    sync = await harness.sync(trigger="schedule")
    assert sync["status"] == "complete"
    assert (sync["runs"]["removed"], sync["task_runs"]["removed"]) == (1, 1)
    await harness.assert_equal()


async def test_deletions_without_event_log_are_found(harness: SyncHarness) -> None:
    harness.fake.api.shows_events = False
    await harness.settle()
    harness.model.delete_run(("news", "run_1"))
    harness.model.delete_task(("bills", "run_1", "load", -1))
    await harness.settle()
    await harness.assert_equal()


async def test_idle_sync_sends_four_requests_and_writes_nothing(harness: SyncHarness) -> None:
    await harness.settle()
    before = await harness.row_versions()
    harness.model.let_pass(600)
    await harness.sync(trigger="schedule")
    harness.fake.requests.clear()
    idle = await harness.sync(trigger="schedule")
    assert idle["provider_requests"] == len(harness.fake.requests) == 4, harness.fake.requests
    assert await harness.row_versions() == before
