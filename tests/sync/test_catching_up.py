"""What was broken off, or was away for long, is caught up with; and how far it has come is never overstated."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from airflow_double.model import Model
from airflow_double.replies import Refused
from airflow_double.rows import RunKey
from sync.doubled import Doubled
from sync.syncs import Died, after, die
from windsock.errors import ProviderTimedOut
from windsock.providers.airflow import Airflow
from windsock.providers.airflow.scans import Limits
from windsock.sync import incremental, retention
from windsock.sync.backfill import Backfill

pytestmark = pytest.mark.anyio


async def look(doubled: Doubled) -> Any:
    await doubled.look_closely()
    return await doubled.sync(trigger="schedule")


async def test_a_reading_that_was_broken_off_is_not_taken_for_one_as_of_now(doubled: Doubled) -> None:
    model, faults = doubled.model, doubled.double.faults
    doubled._limits, doubled.double.api.cap = Limits(page=3, window=3), 3
    await doubled.settle()
    model.let_pass(300)
    for number in range(8):
        model.start_run("bills", f"n{number}")
    faults.where, faults.plan = "taskInstances", [None, None, *["500"] * 3]
    assert (await doubled.sync(trigger="schedule"))["status"] == "partial"
    faults.where, faults.plan = "", []
    assert (await doubled.state())["checkpoint"] is not None
    model.let_pass(3600)
    for _ in range(3):
        model.step(("bills", "n0"))
    assert (await doubled.sync(trigger="schedule"))["status"] == "complete"
    assert (await doubled.runs())["bills", "n0"]["status"] == "running"
    assert model.now() - (await doubled.state())["watermark"] < timedelta(seconds=60)


async def test_after_a_long_absence_a_sync_reads_a_step_and_says_that_it_is_late(
    doubled: Doubled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(incremental, "MAX_CATCH_UP", timedelta(hours=1))
    model = doubled.model
    await doubled.settle()
    for number in range(5):
        model.start_run("bills", f"n{number}")
        for _ in range(14):
            model.step(("bills", f"n{number}"))
        model.let_pass(2400)
    true_until = (await doubled.state())["last_complete_at"]
    passes = 0
    while model.now() - (await doubled.state())["watermark"] > timedelta(minutes=5):
        state = await doubled.state()
        assert (await doubled.sync(trigger="schedule"))["status"] == "complete"
        after, passes = await doubled.state(), passes + 1
        assert after["watermark"] > state["watermark"]
        if model.now() - after["watermark"] > timedelta(minutes=5):
            assert after["last_complete_at"] == true_until
            assert after["next_sync_at"] - after["last_sync_at"] < timedelta(seconds=2)
        assert passes < 10
    assert passes >= 3
    assert (await doubled.state())["last_complete_at"] > true_until
    await doubled.settle()
    await doubled.assert_equal()


async def test_a_full_sync_that_was_cancelled_does_not_go_on_in_the_next_one(
    doubled: Doubled, monkeypatch: pytest.MonkeyPatch
) -> None:
    await doubled.settle()
    read_next, windows = Backfill._read_next, 0

    async def cancelled_in_the_third(self: Backfill) -> None:
        nonlocal windows
        windows += 1
        if self._finds_missing and windows == 3:
            await doubled.execute(
                "UPDATE sync_runs SET cancel_requested_at = now() WHERE space_id = %(space_id)s AND status = 'running'"
            )
        await read_next(self)

    monkeypatch.setattr(Backfill, "_read_next", cancelled_in_the_third)
    assert (await doubled.sync(is_full=True))["status"] == "cancelled"
    monkeypatch.setattr(Backfill, "_read_next", read_next)
    sync = await doubled.sync(trigger="schedule")
    assert (sync["status"], sync["is_full"]) == ("complete", False)


def changed_last(model: Model, key: RunKey, *, days_ago: int) -> None:
    """It has not changed within the days of the history."""
    at = model.now() - timedelta(days=days_ago)
    model.runs[key].updated_at = at
    for task in model.tasks_of(key):
        task.updated_at = at


async def test_a_run_from_before_the_history_that_changes_comes_with_all_its_tasks(doubled: Doubled) -> None:
    model, key = doubled.model, ("bills", "ancient")
    model.start_run(*key, at=model.now() - timedelta(days=40))
    for _ in range(14):
        model.step(key)
    changed_last(model, key, days_ago=30)
    model.let_pass(1000)
    await doubled.settle()
    assert key not in await doubled.runs()
    model.runs[key].state = "failed"
    model.touch(model.runs[key])
    model.let_pass(10)
    await doubled.sync(trigger="schedule")
    assert (await doubled.runs())[key]["task_counts"] == {"success": 2}


async def test_a_run_id_that_is_used_again_on_another_day_is_found_on_that_day(doubled: Doubled) -> None:
    model = doubled.model
    await doubled.settle()
    model.delete_run(("bills", "run_1"))
    await doubled.sync(trigger="schedule")
    model.let_pass(3600)
    again = model.start_run("bills", "run_1", at=model.now())
    await doubled.settle()
    assert (await doubled.runs())["bills", "run_1"]["run_at"] == again.run_after
    (pipeline,) = await doubled.rows("SELECT last_run FROM pipelines WHERE external_id = 'bills'")
    assert pipeline["last_run"]["external_id"] == "run_1"


async def test_a_run_past_the_retention_is_followed_to_its_end_and_no_older_one_is_fetched(doubled: Doubled) -> None:
    model, key = doubled.model, ("bills", "long")
    almost = timedelta(days=5) - timedelta(seconds=3)
    model.start_run(*key, at=model.now() - almost)
    for number in range(40):
        model.start_run("news", f"old{number}", at=model.now() - timedelta(days=10, minutes=number))
    for _ in range(2):
        model.step(key)
    model.let_pass(1000)
    await doubled.execute("UPDATE spaces SET retention_days = 5 WHERE id = %(space_id)s")
    await doubled.settle()
    await asyncio.sleep(3)
    model.let_pass(600)
    for number in range(40):
        for task in model.tasks_of(("news", f"old{number}")):
            model.touch(task)
    sync = await doubled.sync(trigger="schedule")
    assert sync["provider_requests"] < 10
    for _ in range(14):
        model.step(key)
    model.let_pass(10)
    await doubled.sync(trigger="schedule")
    assert (await doubled.runs())[key]["status"] == "success"
    await retention.purge_expired(doubled.db)
    assert key not in await doubled.runs()


# --- What is asked besides -------------------------------------------------------------------------------------------


async def test_totals_that_cannot_be_had_do_not_keep_the_news_from_coming(
    doubled: Doubled, monkeypatch: pytest.MonkeyPatch
) -> None:
    await doubled.settle()
    await doubled.look_closely()

    async def slow(_self: Airflow, _window: object) -> int:
        raise ProviderTimedOut("Airflow did not answer within 30 s.")

    monkeypatch.setattr(Airflow, "count_task_runs", slow)
    for number in range(3):
        doubled.model.start_run("bills", f"new_{number}")
        sync = await doubled.sync(trigger="schedule")
        assert sync["status"] == "complete"
        assert ("bills", f"new_{number}") in await doubled.runs()
        assert any("totals" in warning for warning in sync["warnings"]) == (number == 0), "not asked again at once"
        doubled.model.let_pass(100)


async def test_an_event_log_that_does_not_answer_costs_only_what_it_would_have_told(doubled: Doubled) -> None:
    model, faults = doubled.model, doubled.double.faults
    await doubled.settle()
    faults.where, faults.plan = "eventLogs", ["500"] * 3
    model.note_run(("bills", "run_0"), "written while the log was broken")
    model.start_run("bills", "new")
    sync = await doubled.sync(trigger="schedule")
    faults.where, faults.plan = "", []
    assert sync["status"] == "complete"
    assert any("event log" in warning for warning in sync["warnings"])
    assert ("bills", "new") in await doubled.runs()
    model.let_pass(3600)
    events = (await doubled.state())["events"] | {"asked_again_at": None}
    await doubled.execute(
        "UPDATE sync_states SET events = events || '{\"asked_again_at\": null}' WHERE space_id = %(space_id)s"
    )
    assert events["since"] is not None
    await doubled.sync(trigger="schedule")
    assert (await doubled.runs())["bills", "run_0"]["note"] == "written while the log was broken"
    assert "since" not in (await doubled.state())["events"]


async def test_a_hint_about_what_may_no_longer_be_read_is_dropped(
    doubled: Doubled, monkeypatch: pytest.MonkeyPatch
) -> None:
    await doubled.settle()
    await doubled.execute(
        """UPDATE sync_states SET events = events || '{"pending": [["news", "run_0"]]}' WHERE space_id = %(space_id)s"""
    )
    real = doubled.double.api._run

    def refuse(key: RunKey) -> Any:
        if key[0] == "news":
            raise Refused(403, "Forbidden")
        return real(key)

    monkeypatch.setattr(doubled.double.api, "_run", refuse)
    for _ in range(2):
        assert (await look(doubled))["status"] == "complete"
    assert not (await doubled.state())["events"]["pending"]
    (kept,) = await doubled.rows("SELECT removed_at FROM runs WHERE external_id = 'run_0' AND pipeline_id IN"
                                 " (SELECT id FROM pipelines WHERE external_id = 'news')")  # fmt: skip
    assert kept["removed_at"] is None


async def test_a_first_sync_that_is_killed_again_and_again_is_as_of_its_first_beginning(doubled: Doubled) -> None:
    """What it stored may be gone when it is read again minutes later, and the word of it in the log not be young."""
    gone = ("bills", "young")
    doubled.model.start_run(*gone)
    for number in (3, 3, 2, 4):  # the first one signs in too
        doubled.double.between = after(number, die)
        with pytest.raises(Died):
            await doubled.sync()
        await doubled.execute(
            "UPDATE sync_runs SET status = 'partial', finished_at = now(), lease_holder = NULL"
            " WHERE space_id = %(space_id)s"
        )
        if gone in await doubled.runs():
            break
    doubled.double.between = None
    doubled.model.delete_run(gone)
    doubled.model.let_pass(400)
    await doubled.sync()
    assert gone not in await doubled.runs()


async def test_a_run_from_before_the_history_is_gone_when_it_was_not_there_twice(doubled: Doubled) -> None:
    """It comes because it changed, and is asked for by its id; one 404 alone is one witness."""
    model, key = doubled.model, ("bills", "old")
    doubled.double.api.shows_events = False
    model.start_run(*key, at=model.now() - timedelta(days=60))
    for _ in range(14):
        model.step(key)
    changed_last(model, key, days_ago=30)
    await doubled.settle()
    model.let_pass(300)
    model.touch(model.runs[key])

    def is_deleted_once_it_was_listed() -> None:
        if key in model.runs and "dagRuns" in str(doubled.double.asked[-1]):
            model.delete_run(key)

    doubled.double.between = is_deleted_once_it_was_listed
    first = await doubled.sync(trigger="schedule")
    doubled.double.between = None
    state = await doubled.state()
    assert (first["status"], state["events"]["missed"]) == ("complete", [list(key)])
    assert (await doubled.runs())[key]["removed_at"] is None
    second = await doubled.sync(trigger="schedule")
    assert (second["status"], second["runs"]["removed"]) == ("complete", 1)
    assert (await doubled.state())["events"]["missed"] == []
