"""Rows that Airflow counts and never lists: believed to be hidden after several passes, and not before."""

from typing import Any

import pytest

from sync.doubled import Doubled
from sync.test_gone import look
from windsock.db import Row
from windsock.providers.miscounts import ENOUGH_PASSES

pytestmark = pytest.mark.anyio

TASK, OTHER, DAG = ("news", "run_0", "load", -1), ("news", "run_1", "load", -1), ("bills",)


def hide(doubled: Doubled, *keys: tuple[Any, ...]) -> None:
    doubled.double.api.oddities.hidden = set(keys)


async def full(doubled: Doubled) -> Row:
    return await doubled.carry_out(await doubled.queue(is_full=True, trigger="manual"))


async def registered(doubled: Doubled) -> list[Row]:
    return await doubled.rows("SELECT kind, unlisted, window_start FROM skipped_rows")


async def requests_of_an_idle_sync(doubled: Doubled) -> int:
    doubled.model.let_pass(1_000)
    await doubled.sync(trigger="schedule")
    idle = await doubled.sync(trigger="schedule")
    assert idle["status"] == "complete", idle["error"]
    requests: int = idle["provider_requests"]
    return requests


async def test_history_that_lacks_the_same_row_three_times_is_read_on(doubled: Doubled) -> None:
    hide(doubled, TASK)
    for _ in range(ENOUGH_PASSES - 1):
        sync = await doubled.sync(trigger="schedule")
        assert sync["status"] == "partial"
        assert "hidden from the account" in sync["error"]
        assert await registered(doubled) == []
        assert (await doubled.state())["watermark"] is None
    assert len(await doubled.tasks()) >= 1, "what was read is here"
    sync = await doubled.sync(trigger="schedule")
    assert (sync["status"], sync["coverage"]["skipped"]) == ("complete", 1)
    assert "Airflow counts 1 more task instance than it lists" in " ".join(sync["warnings"])
    (row,) = await registered(doubled)
    assert (row["kind"], row["unlisted"]) == ("task_runs", 1)
    assert row["window_start"] is not None


async def test_full_sync_that_lacks_the_same_row_three_times_takes_nothing_away(doubled: Doubled) -> None:
    await doubled.settle()
    before = await doubled.tasks()
    hide(doubled, TASK)
    first = await full(doubled)
    assert first["status"] == "partial"
    for number in range(2, ENOUGH_PASSES + 1):
        sync = await doubled.sync(trigger="schedule")
        assert sync["is_full"]
        assert sync["status"] == ("complete" if number == ENOUGH_PASSES else "partial"), sync["error"]
    assert (sync["task_runs"]["removed"], sync["coverage"]["skipped"]) == (0, 1)
    again = await full(doubled)
    assert again["status"] == "complete", "in windows of other bounds it is the same row"
    assert (await doubled.tasks()).keys() == before.keys()
    assert all(row["missed_by"] is None for row in (await doubled.tasks()).values())


async def test_changes_that_lack_a_row_hold_the_watermark_until_that_is_believed(doubled: Doubled) -> None:
    await doubled.settle()
    watermark = (await doubled.state())["watermark"]
    hide(doubled, TASK)
    doubled.model.mark_task(TASK, "failed")
    doubled.model.mark_task(OTHER, "failed")
    for number in range(1, ENOUGH_PASSES + 1):
        doubled.model.let_pass(120)
        sync = await doubled.sync(trigger="schedule")
        is_believed = number == ENOUGH_PASSES
        assert sync["status"] == ("complete" if is_believed else "partial"), sync["error"]
        assert ((await doubled.state())["watermark"] > watermark) == is_believed
        assert (await doubled.tasks())[OTHER]["status"] == "failed", "what was read is stored"
    assert sync["coverage"]["skipped"] == 1
    doubled.model.let_pass(1_000)
    doubled.model.mark_task(TASK, "success")
    known = await doubled.sync(trigger="schedule")
    assert known["status"] == "complete", "that this account does not see a task run is known"


async def test_row_that_is_missing_for_a_short_time_is_not_passed_over(doubled: Doubled) -> None:
    """As a replica that lags behind has it: counted already, listed by the next sync."""
    await doubled.settle()
    for passes in range(1, ENOUGH_PASSES):
        doubled.model.let_pass(1_000)
        doubled.model.mark_task(TASK, "failed" if passes % 2 else "success")
        hide(doubled, TASK)
        for _ in range(passes):
            assert (await doubled.sync(trigger="schedule"))["status"] in {"partial", "failed"}
            doubled.model.let_pass(400)
        hide(doubled)
        sync = await doubled.sync(trigger="schedule")
        assert (sync["status"], sync["warnings"]) == ("complete", [])
        assert (await doubled.tasks())[TASK]["status"] == doubled.model.tasks[TASK].state
        assert (await doubled.state())["miscounts"] == [], "it is forgotten"
        await doubled.assert_believable()


async def test_difference_that_differs_is_never_believed(doubled: Doubled) -> None:
    await doubled.settle()
    watermark = (await doubled.state())["watermark"]
    doubled.model.mark_task(TASK, "failed")
    doubled.model.mark_task(OTHER, "failed")
    for number in range(3 * ENOUGH_PASSES):
        hide(doubled, TASK, *([OTHER] if number % 2 else []))
        assert (await doubled.sync(trigger="schedule"))["status"] in {"partial", "failed"}
        assert (await doubled.state())["watermark"] == watermark
    assert await registered(doubled) == []
    hide(doubled)
    assert (await doubled.sync(trigger="schedule"))["status"] == "complete"
    await doubled.settle()
    await doubled.assert_equal()


async def test_hidden_row_that_is_shown_again_is_mirrored_and_the_warning_goes(doubled: Doubled) -> None:
    hide(doubled, TASK)
    for _ in range(ENOUGH_PASSES):
        await look(doubled)
    assert TASK not in await doubled.tasks()
    hide(doubled)
    sync = await look(doubled)
    assert (sync["status"], sync["warnings"], sync["coverage"]["skipped"]) == ("complete", [], 0)
    assert TASK in await doubled.tasks()
    hide(doubled, TASK)
    doubled.model.mark_task(TASK, "failed")
    assert (await doubled.sync(trigger="schedule"))["status"] == "partial", "and nothing is believed any more"


@pytest.mark.parametrize("key", [TASK, DAG])
async def test_idle_sync_with_a_hidden_row_sends_the_usual_requests(doubled: Doubled, key: tuple[Any, ...]) -> None:
    await doubled.settle()
    clean = await requests_of_an_idle_sync(doubled)
    compared = max([(await look(doubled))["provider_requests"] for _ in range(3)])
    hide(doubled, key)
    for _ in range(ENOUGH_PASSES + 1):
        await full(doubled)
    assert len(await registered(doubled)) == 1
    assert await requests_of_an_idle_sync(doubled) == clean
    for _ in range(3):
        await look(doubled)
    assert (await look(doubled))["provider_requests"] <= compared + 12, "with the listing a few are read again"


async def test_three_hidden_rows_are_counted_when_totals_are_compared(doubled: Doubled) -> None:
    hide(doubled, TASK, OTHER, ("bills", "run_0", "load", -1))
    for _ in range(3 * ENOUGH_PASSES):
        sync = await look(doubled)
    assert sync["status"] == "complete", sync["error"]
    assert sum(row["unlisted"] for row in await registered(doubled)) == 3
    doubled.double.asked.clear()
    await doubled.execute("UPDATE sync_states SET checked_at = NULL")
    await doubled.sync(trigger="schedule")
    reads = [url for url in doubled.double.asked if "taskInstances" in url and "updated_at" not in url]
    assert len(reads) <= 2, "equal totals are not read again"
