"""Runs that have not ended: read whatever their date, and checked by their state where the clocks hide a change."""

from datetime import timedelta

import pytest

from fake_airflow.rows import RunKey
from sync.harness import SyncHarness
from windsock.sync import unfinished

pytestmark = pytest.mark.anyio

STATES = {"queued": 0, "running": 3, "failed": 12}
"""Each with the steps to it."""


def backfill(harness: SyncHarness, run_id: str, *, days: float, state: str, idle_days: float = 0.01) -> RunKey:
    """A run for a time long ago, that changed `idle_days` ago."""
    model, key = harness.model, ("news", run_id)
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
async def test_first_sync_mirrors_unfinished_or_recently_changed_runs_with_old_dates(
    harness: SyncHarness, state: str, days: float
) -> None:
    key = backfill(harness, "for long ago", days=days, state=state)
    await harness.sync(trigger="schedule")
    assert (await harness.runs())[key]["status"] == state
    tasks = {task.task_id for task in harness.model.tasks_of(key)}
    assert {task_id for *run, task_id, _ in await harness.tasks() if tuple(run) == key} == tasks
    harness.model.let_pass(400)
    await harness.sync(trigger="schedule")
    assert (await harness.runs())[key]["status"] == state
    await harness.settle()
    await harness.assert_equal()


@pytest.mark.parametrize(("state", "is_read"), [("queued", True), ("running", True), ("failed", False)])
async def test_unchanged_runs_before_backfill_are_mirrored_only_if_unfinished(
    harness: SyncHarness, state: str, *, is_read: bool
) -> None:
    key = backfill(harness, "waits", days=55, state=state, idle_days=50)
    await harness.sync(trigger="schedule")
    assert (key in await harness.runs()) == is_read


@pytest.mark.parametrize("state", STATES)
async def test_full_sync_mirrors_unfinished_or_recently_changed_runs_with_old_dates(
    harness: SyncHarness, state: str
) -> None:
    await harness.settle()
    key = backfill(harness, "not seen", days=55, state=state, idle_days=1)
    await harness.sync(trigger="schedule")
    await harness.sync(is_full=True)
    assert (await harness.runs())[key]["status"] == state
    assert [task for task in await harness.tasks() if task[:2] == key]


async def test_number_of_runs_read_before_backfill_is_bounded(
    harness: SyncHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unfinished, "MOST_OLDER_RUNS", 100)
    for number in range(230):
        backfill(harness, f"run {number}", days=55, state="queued")
    sync = await harness.sync(trigger="schedule")
    assert sync["status"] == "complete"
    assert "before the history" in sync["warnings"][0]
    assert sum(key[1].startswith("run ") for key in await harness.runs()) == 100


@pytest.mark.parametrize("days", [30, 1_800])
async def test_run_with_future_date_is_mirrored_by_next_sync_and_its_deletion_found(
    harness: SyncHarness, days: float
) -> None:
    """As one that is triggered on Airflow 2 for a logical date years ahead."""
    harness.fake.api.shows_events = False
    await harness.settle()
    key = backfill(harness, "to come", days=-days, state="failed", idle_days=0)
    await harness.sync(trigger="schedule")
    assert (await harness.runs())[key]["status"] == "failed"
    await harness.settle()
    harness.model.delete_run(key)
    await harness.settle()
    assert key not in await harness.runs()
    await harness.assert_equal()


# --- Changes that the clocks hide ------------------------------------------------------------------------------------


async def begin(harness: SyncHarness, *, lag: float) -> RunKey:
    """A run that runs, and the host that stamps rows is so many seconds behind the one that tells the time."""
    key = ("news", "runs")
    harness.model.lag = timedelta(seconds=lag)
    harness.model.start_run(*key)
    harness.model.step(key)
    await harness.sync(trigger="schedule")
    assert (await harness.runs())[key]["status"] == "running"
    return key


def end(harness: SyncHarness, key: RunKey) -> None:
    for _ in range(12):
        harness.model.step(key, fails=True)


@pytest.mark.parametrize("lag", [0, 200, 3_600, 200_000_000])
async def test_run_failure_is_mirrored_by_next_sync_under_any_clock_lag(harness: SyncHarness, lag: float) -> None:
    key = await begin(harness, lag=lag)
    harness.model.let_pass(30)
    end(harness, key)
    await harness.sync(trigger="schedule")
    assert (await harness.runs())[key]["status"] == "failed"
    assert {row["status"] for task, row in (await harness.tasks()).items() if task[:2] == key} == {"failed"}


async def test_run_deleted_without_event_log_is_removed_after_two_checks(harness: SyncHarness) -> None:
    harness.fake.api.shows_events = False
    key = await begin(harness, lag=0)
    harness.model.let_pass(300)
    harness.model.delete_run(key)
    for _ in range(2):
        await harness.sync(trigger="schedule")
    assert key not in await harness.runs()


async def test_unfinished_runs_cost_one_request_per_sync_until_they_end(harness: SyncHarness) -> None:
    for key in harness.model.runs:
        end(harness, key)
    await harness.settle()
    keys = [("news", f"waits {number}") for number in range(7)]
    for key in keys:
        harness.model.start_run(*key)
    await harness.sync(trigger="schedule")
    harness.model.let_pass(1000)
    await harness.sync(trigger="schedule")
    assert (await harness.sync(trigger="schedule"))["provider_requests"] == 5
    for key in keys:
        end(harness, key)
    await harness.sync(trigger="schedule")
    harness.model.let_pass(1000)
    await harness.sync(trigger="schedule")
    assert (await harness.sync(trigger="schedule"))["provider_requests"] == 4


async def test_sync_requests_one_page_of_many_unfinished_runs(harness: SyncHarness) -> None:
    for number in range(450):
        harness.model.start_run("news", f"waits {number}")
    await harness.settle()
    harness.model.let_pass(1000)
    await harness.sync(trigger="schedule")
    harness.fake.requests.clear()
    sync = await harness.sync(trigger="schedule")
    assert sync["provider_requests"] <= 5, harness.fake.requests
    await harness.assert_equal()
