"""Runs that have not ended: read whatever their date, and checked by their state where the clocks hide a change."""

from datetime import timedelta

import pytest

from airflow_double.rows import RunKey
from sync.doubled import Doubled
from windsock.sync import unfinished

pytestmark = pytest.mark.anyio

STATES = {"queued": 0, "running": 3, "failed": 12}
"""Each with the steps to it."""


def backfill(doubled: Doubled, run_id: str, *, days: float, state: str, idle_days: float = 0.01) -> RunKey:
    """A run for a time long ago, that changed `idle_days` ago."""
    model, key = doubled.model, ("news", run_id)
    model.start_run(*key, at=model.now() - timedelta(days=days))
    for _ in range(STATES[state]):
        model.step(key, fails=True)
    model.runs[key].updated_at -= timedelta(days=idle_days)
    for task in model.tasks_of(key):
        task.updated_at -= timedelta(days=idle_days)
    assert model.runs[key].state == state
    return key


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("days", [15, 55, 400])
async def test_a_first_sync_reads_what_runs_or_ran_just_now_for_a_time_long_ago(
    doubled: Doubled, state: str, days: float
) -> None:
    key = backfill(doubled, "for long ago", days=days, state=state)
    await doubled.sync(trigger="schedule")
    assert (await doubled.runs())[key]["status"] == state
    tasks = {task.task_id for task in doubled.model.tasks_of(key)}
    assert {task_id for *run, task_id, _ in await doubled.tasks() if tuple(run) == key} == tasks
    await doubled.settle()
    await doubled.assert_equal()


@pytest.mark.parametrize(("state", "is_read"), [("queued", True), ("running", True), ("failed", False)])
async def test_of_runs_from_before_the_history_that_did_not_change_only_the_unfinished_are_read(
    doubled: Doubled, state: str, *, is_read: bool
) -> None:
    key = backfill(doubled, "waits", days=55, state=state, idle_days=50)
    await doubled.sync(trigger="schedule")
    assert (key in await doubled.runs()) == is_read


@pytest.mark.parametrize("state", STATES)
async def test_a_full_sync_reads_them_too(doubled: Doubled, state: str) -> None:
    await doubled.settle()
    key = backfill(doubled, "not seen", days=55, state=state, idle_days=1)
    await doubled.sync(trigger="schedule")
    await doubled.sync(is_full=True)
    assert (await doubled.runs())[key]["status"] == state
    assert [task for task in await doubled.tasks() if task[:2] == key]


async def test_how_many_older_runs_are_read_is_bounded(doubled: Doubled, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unfinished, "MOST_OLDER_RUNS", 100)
    for number in range(230):
        backfill(doubled, f"run {number}", days=55, state="queued")
    sync = await doubled.sync(trigger="schedule")
    assert sync["status"] == "complete"
    assert "before the history" in sync["warnings"][0]
    assert sum(key[1].startswith("run ") for key in await doubled.runs()) == 100


@pytest.mark.parametrize("days", [30, 1_800])
async def test_a_run_for_a_time_to_come_is_read_at_once_and_its_deletion_found(doubled: Doubled, days: float) -> None:
    """As one that is triggered on Airflow 2 for a logical date years ahead."""
    doubled.double.api.shows_events = False
    await doubled.settle()
    key = backfill(doubled, "to come", days=-days, state="failed", idle_days=0)
    await doubled.sync(trigger="schedule")
    assert (await doubled.runs())[key]["status"] == "failed"
    await doubled.settle()
    doubled.model.delete_run(key)
    await doubled.settle()
    assert key not in await doubled.runs()
    await doubled.assert_equal()


# --- Changes that the clocks hide ------------------------------------------------------------------------------------


async def begin(doubled: Doubled, *, lag: float) -> RunKey:
    """A run that runs, and the host that stamps rows is so many seconds behind the one that tells the time."""
    key = ("news", "runs")
    doubled.model.lag = timedelta(seconds=lag)
    doubled.model.start_run(*key)
    doubled.model.step(key)
    await doubled.sync(trigger="schedule")
    assert (await doubled.runs())[key]["status"] == "running"
    return key


def end(doubled: Doubled, key: RunKey) -> None:
    for _ in range(12):
        doubled.model.step(key, fails=True)


@pytest.mark.parametrize("lag", [0, 200, 3_600, 200_000_000])
async def test_a_run_that_fails_is_seen_to_fail_by_the_next_sync_whatever_the_clocks_say(
    doubled: Doubled, lag: float
) -> None:
    key = await begin(doubled, lag=lag)
    doubled.model.let_pass(30)
    end(doubled, key)
    await doubled.sync(trigger="schedule")
    assert (await doubled.runs())[key]["status"] == "failed"
    assert {row["status"] for task, row in (await doubled.tasks()).items() if task[:2] == key} == {"failed"}


async def test_a_run_that_was_deleted_while_the_log_cannot_be_read_is_removed_after_two_looks(doubled: Doubled) -> None:
    doubled.double.api.shows_events = False
    key = await begin(doubled, lag=0)
    doubled.model.let_pass(300)
    doubled.model.delete_run(key)
    for _ in range(2):
        await doubled.sync(trigger="schedule")
    assert key not in await doubled.runs()


async def test_a_run_that_waits_costs_one_request_in_each_sync_and_none_once_it_has_ended(doubled: Doubled) -> None:
    for key in doubled.model.runs:
        end(doubled, key)
    await doubled.settle()
    keys = [("news", f"waits {number}") for number in range(7)]
    for key in keys:
        doubled.model.start_run(*key)
    await doubled.sync(trigger="schedule")
    doubled.model.let_pass(1000)
    await doubled.sync(trigger="schedule")
    assert (await doubled.sync(trigger="schedule"))["provider_requests"] == 5
    for key in keys:
        end(doubled, key)
    await doubled.sync(trigger="schedule")
    doubled.model.let_pass(1000)
    await doubled.sync(trigger="schedule")
    assert (await doubled.sync(trigger="schedule"))["provider_requests"] == 4


async def test_of_very_many_that_wait_a_sync_asks_for_one_page(doubled: Doubled) -> None:
    for number in range(450):
        doubled.model.start_run("news", f"waits {number}")
    await doubled.settle()
    doubled.model.let_pass(1000)
    await doubled.sync(trigger="schedule")
    doubled.double.asked.clear()
    sync = await doubled.sync(trigger="schedule")
    assert sync["provider_requests"] <= 5, doubled.double.asked
    await doubled.assert_equal()
