"""Syncs from the double: the plain ways, one by one."""

import pytest

from sync.doubled import Doubled

pytestmark = pytest.mark.anyio


async def test_a_first_sync_mirrors_everything(doubled: Doubled) -> None:
    sync = await doubled.sync(trigger="schedule")
    assert sync["status"] == "complete", sync["error"]
    await doubled.assert_equal()
    await doubled.settle()
    await doubled.assert_equal()


async def test_notes_and_deletions_are_seen_by_the_next_sync_where_the_log_may_be_read(doubled: Doubled) -> None:
    await doubled.settle()
    doubled.model.note_run(("bills", "run_0"), "looked at")
    doubled.model.note_task(("bills", "run_0", "load", -1), "why")
    doubled.model.delete_run(("news", "run_1"))
    doubled.model.delete_task(("bills", "run_1", "load", -1))
    doubled.model.pause("news")
    sync = await doubled.sync(trigger="schedule")
    assert sync["status"] == "complete"
    assert (sync["runs"]["removed"], sync["task_runs"]["removed"]) == (1, 1)
    await doubled.assert_equal()


async def test_notes_and_deletions_are_found_without_the_log(doubled: Doubled) -> None:
    doubled.double.api.shows_events = False
    await doubled.settle()
    doubled.model.delete_run(("news", "run_1"))
    doubled.model.delete_task(("bills", "run_1", "load", -1))
    await doubled.settle()
    await doubled.assert_equal()


async def test_an_idle_sync_costs_four_requests_and_writes_nothing(doubled: Doubled) -> None:
    await doubled.settle()
    before = await doubled.everything()
    doubled.model.let_pass(600)
    await doubled.sync(trigger="schedule")
    doubled.double.asked.clear()
    idle = await doubled.sync(trigger="schedule")
    assert idle["provider_requests"] == len(doubled.double.asked) == 4, doubled.double.asked
    assert await doubled.everything() == before
