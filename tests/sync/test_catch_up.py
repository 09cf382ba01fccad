"""What was broken off, or was away for long, is caught up with; and how far it has come is never overstated."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from fake_airflow.model import Model
from fake_airflow.responses import Refused
from fake_airflow.rows import RunKey
from sync.harness import SyncHarness
from sync.sync_rules import Died, after, die
from windsock.errors import ProviderTimedOut
from windsock.providers.airflow import Airflow
from windsock.providers.airflow.scans import Limits
from windsock.sync import incremental, retention
from windsock.sync.backfill import Backfill

pytestmark = pytest.mark.anyio


async def full_check(harness: SyncHarness) -> Any:
    await harness.force_full_check()
    return await harness.sync(trigger="schedule")


async def test_resumed_pass_reads_changes_since_its_interruption(harness: SyncHarness) -> None:
    model, faults = harness.model, harness.fake.faults
    harness._limits, harness.fake.api.cap = Limits(page=3, window=3), 3
    await harness.settle()
    model.let_pass(300)
    for number in range(8):
        model.start_run("bills", f"n{number}")
    faults.where, faults.plan = "taskInstances", [None, None, *["500"] * 3]
    assert (await harness.sync(trigger="schedule"))["status"] == "partial"
    faults.where, faults.plan = "", []
    assert (await harness.state())["checkpoint"] is not None
    model.let_pass(3600)
    for _ in range(3):
        model.step(("bills", "n0"))
    assert (await harness.sync(trigger="schedule"))["status"] == "complete"
    assert (await harness.runs())["bills", "n0"]["status"] == "running"
    assert model.now() - (await harness.state())["watermark"] < timedelta(seconds=60)


async def test_sync_after_long_absence_reads_one_step_and_reports_lag(
    harness: SyncHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(incremental, "MAX_CATCH_UP", timedelta(hours=1))
    model = harness.model
    await harness.settle()
    for number in range(5):
        model.start_run("bills", f"n{number}")
        for _ in range(14):
            model.step(("bills", f"n{number}"))
        model.let_pass(2400)
    true_until = (await harness.state())["last_complete_at"]
    passes = 0
    while model.now() - (await harness.state())["watermark"] > timedelta(minutes=5):
        state = await harness.state()
        assert (await harness.sync(trigger="schedule"))["status"] == "complete"
        after, passes = await harness.state(), passes + 1
        assert after["watermark"] > state["watermark"]
        if model.now() - after["watermark"] > timedelta(minutes=5):
            assert after["last_complete_at"] == true_until
            assert after["next_sync_at"] - after["last_sync_at"] < timedelta(seconds=2)
        assert passes < 10
    assert passes >= 3
    assert (await harness.state())["last_complete_at"] > true_until
    await harness.settle()
    await harness.assert_equal()


async def test_cancelled_full_sync_is_not_resumed_by_next_sync(
    harness: SyncHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    await harness.settle()
    read_next, windows = Backfill._read_next, 0

    async def cancelled_in_the_third(self: Backfill) -> None:
        nonlocal windows
        windows += 1
        if self._finds_missing and windows == 3:
            await harness.execute(
                "UPDATE sync_runs SET cancel_requested_at = now() WHERE space_id = %(space_id)s AND status = 'running'"
            )
        await read_next(self)

    monkeypatch.setattr(Backfill, "_read_next", cancelled_in_the_third)
    assert (await harness.sync(is_full=True))["status"] == "cancelled"
    monkeypatch.setattr(Backfill, "_read_next", read_next)
    sync = await harness.sync(trigger="schedule")
    assert (sync["status"], sync["is_full"]) == ("complete", False)


def changed_last(model: Model, key: RunKey, *, days_ago: int) -> None:
    """It has not changed within the days of the history."""
    at = model.now() - timedelta(days=days_ago)
    model.runs[key].updated_at = at
    for task in model.tasks_of(key):
        task.updated_at = at


async def test_changed_run_before_backfill_is_mirrored_with_all_its_tasks(harness: SyncHarness) -> None:
    model, key = harness.model, ("bills", "ancient")
    model.start_run(*key, at=model.now() - timedelta(days=40))
    for _ in range(14):
        model.step(key)
    changed_last(model, key, days_ago=30)
    model.let_pass(1000)
    await harness.settle()
    assert key not in await harness.runs()
    model.runs[key].state = "failed"
    model.touch(model.runs[key])
    model.let_pass(10)
    await harness.sync(trigger="schedule")
    assert (await harness.runs())[key]["task_counts"] == {"success": 2}


async def test_run_id_reused_on_another_day_is_stored_with_that_date(harness: SyncHarness) -> None:
    model = harness.model
    await harness.settle()
    model.delete_run(("bills", "run_1"))
    await harness.sync(trigger="schedule")
    model.let_pass(3600)
    again = model.start_run("bills", "run_1", at=model.now())
    await harness.settle()
    assert (await harness.runs())["bills", "run_1"]["run_at"] == again.run_after
    (pipeline,) = await harness.rows("SELECT last_run FROM pipelines WHERE external_id = 'bills'")
    assert pipeline["last_run"]["external_id"] == "run_1"


async def test_run_past_retention_is_updated_until_it_ends_and_older_runs_are_not_fetched(
    harness: SyncHarness,
) -> None:
    model, key = harness.model, ("bills", "long")
    almost = timedelta(days=5) - timedelta(seconds=3)
    model.start_run(*key, at=model.now() - almost)
    for number in range(40):
        model.start_run("news", f"old{number}", at=model.now() - timedelta(days=10, minutes=number))
    for _ in range(2):
        model.step(key)
    model.let_pass(1000)
    await harness.execute("UPDATE spaces SET retention_days = 5 WHERE id = %(space_id)s")
    await harness.settle()
    await asyncio.sleep(3)
    model.let_pass(600)
    for number in range(40):
        for task in model.tasks_of(("news", f"old{number}")):
            model.touch(task)
    sync = await harness.sync(trigger="schedule")
    assert sync["provider_requests"] < 10
    for _ in range(14):
        model.step(key)
    model.let_pass(10)
    await harness.sync(trigger="schedule")
    assert (await harness.runs())[key]["status"] == "success"
    await retention.purge_expired(harness.db)
    assert key not in await harness.runs()


# --- What is asked besides -------------------------------------------------------------------------------------------


async def test_failing_totals_do_not_block_incremental_changes(
    harness: SyncHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    await harness.settle()
    await harness.force_full_check()

    async def slow(_self: Airflow, _window: object) -> int:
        raise ProviderTimedOut("Airflow did not answer within 30 s.")

    monkeypatch.setattr(Airflow, "count_task_runs", slow)
    for number in range(3):
        harness.model.start_run("bills", f"new_{number}")
        sync = await harness.sync(trigger="schedule")
        assert sync["status"] == "complete"
        assert ("bills", f"new_{number}") in await harness.runs()
        assert any("totals" in warning for warning in sync["warnings"]) == (number == 0), "not asked again at once"
        harness.model.let_pass(100)


async def test_unresponsive_event_log_costs_only_its_hints(harness: SyncHarness) -> None:
    model, faults = harness.model, harness.fake.faults
    await harness.settle()
    faults.where, faults.plan = "eventLogs", ["500"] * 3
    model.note_run(("bills", "run_0"), "written while the log was broken")
    model.start_run("bills", "new")
    sync = await harness.sync(trigger="schedule")
    faults.where, faults.plan = "", []
    assert sync["status"] == "complete"
    assert any("event log" in warning for warning in sync["warnings"])
    assert ("bills", "new") in await harness.runs()
    model.let_pass(3600)
    events = (await harness.state())["event_log_cursor"] | {"retry_at": None}
    await harness.execute(
        "UPDATE sync_states SET event_log_cursor = event_log_cursor || '{\"retry_at\": null}'"
        " WHERE space_id = %(space_id)s"
    )
    assert events["since"] is not None
    await harness.sync(trigger="schedule")
    assert (await harness.runs())["bills", "run_0"]["note"] == "written while the log was broken"
    assert (await harness.state())["event_log_cursor"]["since"] is None


async def test_hint_about_forbidden_run_is_dropped(harness: SyncHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    await harness.settle()
    await harness.execute(
        """UPDATE sync_states SET event_log_cursor = event_log_cursor || '{"pending": [["news", "run_0"]]}'"""
        " WHERE space_id = %(space_id)s"
    )
    real = harness.fake.api._run

    def refuse(key: RunKey) -> Any:
        if key[0] == "news":
            raise Refused(403, "Forbidden")
        return real(key)

    monkeypatch.setattr(harness.fake.api, "_run", refuse)
    for _ in range(2):
        assert (await full_check(harness))["status"] == "complete"
    assert not (await harness.state())["event_log_cursor"]["pending"]
    (stored,) = await harness.rows("SELECT removed_at FROM runs WHERE external_id = 'run_0' AND pipeline_id IN"
                                 " (SELECT id FROM pipelines WHERE external_id = 'news')")  # fmt: skip
    assert stored["removed_at"] is None


async def test_run_deleted_during_repeatedly_killed_first_sync_is_removed(harness: SyncHarness) -> None:
    """What it stored may be gone when it is read again minutes later, and the word of it in the log not be young."""
    deleted = ("bills", "young")
    harness.model.start_run(*deleted)
    for number in (3, 3, 2, 4):  # the first one signs in too
        harness.fake.between = after(number, die)
        with pytest.raises(Died):
            await harness.sync()
        await harness.execute(
            "UPDATE sync_runs SET status = 'partial', finished_at = now(), lease_holder = NULL"
            " WHERE space_id = %(space_id)s"
        )
        if deleted in await harness.runs():
            break
    harness.fake.between = None
    harness.model.delete_run(deleted)
    harness.model.let_pass(400)
    await harness.sync()
    assert deleted not in await harness.runs()


async def test_run_before_backfill_is_deleted_when_missing_twice(harness: SyncHarness) -> None:
    """It comes because it changed, and is asked for by its id; one 404 alone is one witness."""
    model, key = harness.model, ("bills", "old")
    harness.fake.api.shows_events = False
    model.start_run(*key, at=model.now() - timedelta(days=60))
    for _ in range(14):
        model.step(key)
    changed_last(model, key, days_ago=30)
    await harness.settle()
    model.let_pass(300)
    model.touch(model.runs[key])

    def is_deleted_once_it_was_listed() -> None:
        if key in model.runs and "dagRuns" in str(harness.fake.requests[-1]):
            model.delete_run(key)

    harness.fake.between = is_deleted_once_it_was_listed
    first = await harness.sync(trigger="schedule")
    harness.fake.between = None
    state = await harness.state()
    assert (first["status"], state["event_log_cursor"]["missed"]) == ("complete", [list(key)])
    assert (await harness.runs())[key]["removed_at"] is None
    second = await harness.sync(trigger="schedule")
    assert (second["status"], second["runs"]["removed"]) == ("complete", 1)
    assert (await harness.state())["event_log_cursor"]["missed"] == []
