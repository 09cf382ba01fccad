"""Another Airflow answers where the mirrored one did: not one row of it is stored, and the right one is known again."""

from datetime import timedelta
from typing import Any

import pytest

from airflow_double.model import Model
from sync.doubled import Doubled

pytestmark = pytest.mark.anyio


async def look(doubled: Doubled) -> Any:
    await doubled.look_closely()
    return await doubled.sync(trigger="schedule")


def staging_of(model: Model) -> Model:
    """The same DAGs and runs, each run some seconds later, and failed."""
    other = Model(model.api)
    other.ahead = model.ahead
    for dag_id in model.dags:
        other.add_dag(dag_id, mapped=model.dags[dag_id].mapped)
    for (dag_id, run_id), run in model.runs.items():
        other.start_run(dag_id, run_id, at=run.run_after)
        for _ in range(14):
            other.step((dag_id, run_id), fails=True)
    for made in other.runs.values():
        theirs = model.runs[made.dag_id, made.run_id].started_at
        made.started_at = theirs + timedelta(seconds=7) if theirs else None
    return other


def answer_with(doubled: Doubled, model: Model) -> None:
    doubled.double.api.model = doubled.double.model = model


async def test_not_one_row_of_another_airflow_is_stored_and_the_right_one_goes_on_by_itself(doubled: Doubled) -> None:
    model = doubled.model
    await doubled.settle()
    before = await doubled.everything()
    other = staging_of(model)
    for run in other.runs.values():
        run.updated_at = other.now()
    answer_with(doubled, other)
    sync = await doubled.sync(trigger="schedule")  # between two listings
    assert sync["status"] == "failed", sync
    assert "Another Airflow" in sync["error"]
    await look(doubled)
    assert await doubled.everything() == before
    assert (await doubled.state())["held"]["kind"] == "other_airflow"

    answer_with(doubled, model)
    model.start_run("bills", "later")
    model.let_pass(300)
    assert (await look(doubled))["status"] == "complete"
    assert (await doubled.state())["held"] is None
    await doubled.settle()
    await doubled.assert_equal()


async def test_deleting_the_busiest_dag_does_not_look_like_another_airflow(doubled: Doubled) -> None:
    model = doubled.model
    model.add_dag("chatty")
    for number in range(20):
        model.start_run("chatty", f"c{number}", at=model.now() - timedelta(minutes=number))
        for _ in range(14):
            model.step(("chatty", f"c{number}"))
    await doubled.settle()
    model.delete_dag("chatty")
    for _ in range(3):
        sync = await look(doubled)
        assert sync["status"] == "complete", sync["error"]
    await doubled.settle()
    await doubled.assert_equal()


async def test_clearing_all_recent_runs_does_not_look_like_another_airflow(doubled: Doubled) -> None:
    model = doubled.model
    await doubled.settle()
    model.let_pass(60)
    for key in list(model.runs):
        model.clear_run(key)
    assert (await look(doubled))["status"] == "complete"
    model.let_pass(60)
    for key in list(model.runs):
        for _ in range(14):
            model.step(key)
    await doubled.settle()
    await doubled.assert_equal()


def finish_runs(model: Model) -> None:
    """Where a run has not ended, each sync asks for it; and another Airflow, which has none of them, is noticed."""
    for key in list(model.runs):
        while model.runs[key].state in {"queued", "running"}:
            model.step(key)


async def test_an_idle_sync_asks_four_questions_and_one_more_while_something_runs(doubled: Doubled) -> None:
    doubled.model.start_run("bills", "runs")
    await doubled.settle()
    doubled.model.let_pass(600)
    await doubled.sync(trigger="schedule")
    assert (await doubled.sync(trigger="schedule"))["provider_requests"] == 5
    finish_runs(doubled.model)
    await doubled.settle()
    doubled.model.let_pass(600)
    await doubled.sync(trigger="schedule")
    before = await doubled.everything()
    doubled.model.let_pass(200)
    sync = await doubled.sync(trigger="schedule")
    assert sync["provider_requests"] == 4
    assert await doubled.everything() == before


async def test_an_airflow_that_was_set_up_anew_is_accepted_once(doubled: Doubled) -> None:
    """Its DAGs have no run yet: what the mirror still holds of the one before says nothing about the new one."""
    await doubled.settle()
    new = Model(doubled.model.api)
    new.ahead = doubled.model.ahead
    for dag_id in doubled.model.dags:
        new.add_dag(dag_id, mapped=doubled.model.dags[dag_id].mapped)
    answer_with(doubled, new)
    doubled.model = new
    await doubled.execute("UPDATE sync_states SET failures = 1 WHERE space_id = %(space_id)s")  # a reason to ask
    assert (await look(doubled))["status"] == "failed"
    await doubled.accept("other_airflow")
    for _ in range(4):  # until what is missing is seen to be missing
        sync = await look(doubled)
        assert sync["status"] == "complete", sync["error"]
    state = await doubled.state()
    assert (state["witnesses"], (state["held"] or {}).get("kind")) == ([], None)
    await doubled.settle()
    await doubled.assert_equal()


def asleep(model: Model) -> Model:
    """Staging, in which nothing has happened for a day."""
    other = staging_of(model)
    long_ago = other.now() - timedelta(days=1)
    for run in other.runs.values():
        run.updated_at = long_ago
    for task in other.tasks.values():
        task.updated_at = long_ago
    other.events.clear()
    return other


async def test_what_happened_while_an_idle_airflow_answered_unnoticed_is_not_lost(doubled: Doubled) -> None:
    """Nothing it said could be checked: the next question goes back to where it was made sure who answered."""
    model = doubled.model
    finish_runs(model)
    await doubled.settle()
    model.let_pass(1000)
    model.start_run("bills", "meanwhile")
    model.let_pass(600)
    answer_with(doubled, asleep(model))
    unnoticed = await doubled.sync(trigger="schedule")
    assert (unnoticed["status"], unnoticed["provider_requests"]) == ("complete", 4)
    answer_with(doubled, model)
    await doubled.sync(trigger="schedule")
    assert ("bills", "meanwhile") in await doubled.runs()
    state = await doubled.state()
    assert state["watermark"] == state["vouched_until"]


async def test_what_another_airflow_in_which_nothing_happened_was_read_as_is_read_again(doubled: Doubled) -> None:
    """It gives no reason to ask who it is until something changes in it: the watermark has gone on meanwhile."""
    model = doubled.model
    finish_runs(model)
    await doubled.settle()
    model.let_pass(1000)
    before = await doubled.state()
    other = asleep(model)
    answer_with(doubled, other)
    for _ in range(3):
        other.let_pass(600)
        assert (await doubled.sync(trigger="schedule"))["status"] == "complete"
    assert (await doubled.state())["watermark"] > before["watermark"] + timedelta(minutes=20)
    model.let_pass(300)
    model.start_run("bills", "meanwhile")
    model.let_pass(2000)
    other.let_pass(600)
    other.start_run("bills", "of staging")
    assert (await doubled.sync(trigger="schedule"))["status"] == "failed"
    state = await doubled.state()
    assert state["watermark"] == state["vouched_until"] == before["watermark"]
    assert state["last_complete_at"] <= before["last_complete_at"]

    answer_with(doubled, model)
    await doubled.sync(trigger="schedule")
    assert ("bills", "meanwhile") in await doubled.runs()
    await doubled.settle()
    await doubled.assert_equal()
