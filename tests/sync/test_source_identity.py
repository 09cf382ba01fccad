"""Another Airflow answers where the mirrored one did: not one row of it is stored, and the right one is known again."""

from datetime import timedelta
from typing import Any

import pytest

from fake_airflow.model import Model
from sync.harness import SyncHarness

pytestmark = pytest.mark.anyio


async def full_check(harness: SyncHarness) -> Any:
    await harness.force_full_check()
    return await harness.sync(trigger="schedule")


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
    for other_run in other.runs.values():
        theirs = model.runs[other_run.dag_id, other_run.run_id].started_at
        other_run.started_at = theirs + timedelta(seconds=7) if theirs else None
    return other


def serve_model(harness: SyncHarness, model: Model) -> None:
    harness.fake.api.model = harness.fake.model = model


async def test_rows_of_another_airflow_are_not_stored_and_original_resumes_automatically(
    harness: SyncHarness,
) -> None:
    model = harness.model
    await harness.settle()
    before = await harness.row_versions()
    other = staging_of(model)
    for run in other.runs.values():
        run.updated_at = other.now()
    serve_model(harness, other)
    sync = await harness.sync(trigger="schedule")  # between two listings
    assert sync["status"] == "failed", sync
    assert "Another Airflow" in sync["error"]
    await full_check(harness)
    assert await harness.row_versions() == before
    assert (await harness.state())["quarantine"]["kind"] == "other_airflow"

    serve_model(harness, model)
    model.start_run("bills", "later")
    model.let_pass(300)
    assert (await full_check(harness))["status"] == "complete"
    assert (await harness.state())["quarantine"] is None
    await harness.settle()
    await harness.assert_equal()


async def test_deleting_busiest_dag_is_not_source_change(harness: SyncHarness) -> None:
    model = harness.model
    model.add_dag("chatty")
    for number in range(20):
        model.start_run("chatty", f"c{number}", at=model.now() - timedelta(minutes=number))
        for _ in range(14):
            model.step(("chatty", f"c{number}"))
    await harness.settle()
    model.delete_dag("chatty")
    for _ in range(3):
        sync = await full_check(harness)
        assert sync["status"] == "complete", sync["error"]
    await harness.settle()
    await harness.assert_equal()


async def test_clearing_all_recent_runs_is_not_source_change(harness: SyncHarness) -> None:
    model = harness.model
    await harness.settle()
    model.let_pass(60)
    for key in list(model.runs):
        model.clear_run(key)
    assert (await full_check(harness))["status"] == "complete"
    model.let_pass(60)
    for key in list(model.runs):
        for _ in range(14):
            model.step(key)
    await harness.settle()
    await harness.assert_equal()


def finish_runs(model: Model) -> None:
    """Where a run has not ended, each sync asks for it; and another Airflow, which has none of them, is noticed."""
    for key in list(model.runs):
        while model.runs[key].state in {"queued", "running"}:
            model.step(key)


async def test_idle_sync_sends_four_requests_and_one_more_for_unfinished_runs(harness: SyncHarness) -> None:
    harness.model.start_run("bills", "runs")
    await harness.settle()
    harness.model.let_pass(600)
    await harness.sync(trigger="schedule")
    assert (await harness.sync(trigger="schedule"))["provider_requests"] == 5
    finish_runs(harness.model)
    await harness.settle()
    harness.model.let_pass(600)
    await harness.sync(trigger="schedule")
    before = await harness.row_versions()
    harness.model.let_pass(200)
    sync = await harness.sync(trigger="schedule")
    assert sync["provider_requests"] == 4
    assert await harness.row_versions() == before


async def test_reinstalled_airflow_needs_acceptance_only_once(harness: SyncHarness) -> None:
    """Its DAGs have no run yet: what the mirror still holds of the one before says nothing about the new one."""
    await harness.settle()
    new = Model(harness.model.api)
    new.ahead = harness.model.ahead
    for dag_id in harness.model.dags:
        new.add_dag(dag_id, mapped=harness.model.dags[dag_id].mapped)
    serve_model(harness, new)
    harness.model = new
    await harness.execute("UPDATE sync_states SET failures = 1 WHERE space_id = %(space_id)s")  # a reason to ask
    assert (await full_check(harness))["status"] == "failed"
    await harness.accept("other_airflow")
    for _ in range(4):  # until what is missing is seen to be missing
        sync = await full_check(harness)
        assert sync["status"] == "complete", sync["error"]
    state = await harness.state()
    assert (state["identity_samples"], (state["quarantine"] or {}).get("kind")) == ([], None)
    await harness.settle()
    await harness.assert_equal()


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


async def test_changes_during_unnoticed_idle_source_are_not_lost(harness: SyncHarness) -> None:
    """Nothing it said could be checked: the next question goes back to where it was made sure who answered."""
    model = harness.model
    finish_runs(model)
    await harness.settle()
    model.let_pass(1000)
    model.start_run("bills", "meanwhile")
    model.let_pass(600)
    serve_model(harness, asleep(model))
    unnoticed = await harness.sync(trigger="schedule")
    assert (unnoticed["status"], unnoticed["provider_requests"]) == ("complete", 4)
    serve_model(harness, model)
    await harness.sync(trigger="schedule")
    assert ("bills", "meanwhile") in await harness.runs()
    state = await harness.state()
    assert state["watermark"] == state["verified_watermark"]


async def test_period_read_from_another_idle_airflow_is_read_again_from_original(harness: SyncHarness) -> None:
    """It gives no reason to ask who it is until something changes in it: the watermark has gone on meanwhile."""
    model = harness.model
    finish_runs(model)
    await harness.settle()
    model.let_pass(1000)
    before = await harness.state()
    other = asleep(model)
    serve_model(harness, other)
    for _ in range(3):
        other.let_pass(600)
        assert (await harness.sync(trigger="schedule"))["status"] == "complete"
    assert (await harness.state())["watermark"] > before["watermark"] + timedelta(minutes=20)
    model.let_pass(300)
    model.start_run("bills", "meanwhile")
    model.let_pass(2000)
    other.let_pass(600)
    other.start_run("bills", "of staging")
    assert (await harness.sync(trigger="schedule"))["status"] == "failed"
    state = await harness.state()
    assert state["watermark"] == state["verified_watermark"] == before["watermark"]
    assert state["last_complete_at"] <= before["last_complete_at"]

    serve_model(harness, model)
    await harness.sync(trigger="schedule")
    assert ("bills", "meanwhile") in await harness.runs()
    await harness.settle()
    await harness.assert_equal()
