"""Pipelines that the account could not see for a while, or that nobody wanted: nothing of theirs is lost, or hidden."""

from datetime import timedelta
from typing import Any

import pytest

from sync.harness import SyncHarness
from windsock.sync import reconcile

pytestmark = pytest.mark.anyio


async def full_check(harness: SyncHarness) -> Any:
    await harness.force_full_check()
    return await harness.sync(trigger="schedule")


async def last_synced(harness: SyncHarness, dag_id: str) -> dict[str, Any]:
    (row,) = await harness.rows(
        "SELECT p.last_synced_at, p.missing_since_sync_id, p.deleted_by_sync_id, p.removed_at, p.needs_backfill,"
        " now() AS now FROM pipelines p WHERE p.external_id = %(dag_id)s",
        {"dag_id": dag_id},
    )
    return row


async def test_changes_while_pipeline_was_invisible_are_read_when_it_reappears(harness: SyncHarness) -> None:
    model, key = harness.model, ("news", "began_before")
    model.start_run(*key, at=model.now() - timedelta(hours=2))
    for _ in range(2):
        model.step(key)
    await harness.settle()
    assert (await harness.runs())[key]["status"] == "running"

    harness.fake.api.visible = {"bills", "mapped"}
    await full_check(harness)
    for _ in range(14):
        model.step(key)
    for _ in range(2):
        model.let_pass(400)
        await full_check(harness)
    harness.fake.api.visible = None
    await full_check(harness)
    assert (await harness.runs())[key]["status"] == "success"
    await harness.settle()
    await harness.assert_equal()


async def test_pipeline_that_newly_matches_filters_is_backfilled(
    harness: SyncHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconcile, "MAX_ROWS_REREAD", 0)
    model = harness.model
    model.dags["bills"].tags = model.dags["mapped"].tags = ["wanted"]
    await harness.execute(
        """UPDATE connectors SET config = config || '{"include_tags": ["wanted"]}' WHERE space_id = %(space_id)s"""
    )
    model.start_run("news", "five_days_ago", at=model.now() - timedelta(days=5))
    await harness.settle()
    assert not [key for key in await harness.runs() if key[0] == "news"]

    model.dags["news"].tags = ["wanted"]
    model.let_pass(400)
    await full_check(harness)
    assert {key for key in await harness.runs() if key[0] == "news"} == {key for key in model.runs if key[0] == "news"}
    assert not (await last_synced(harness, "news"))["needs_backfill"]


async def test_recreated_pipeline_is_not_quarantined_as_deleted(harness: SyncHarness) -> None:
    """Airflow's own way to begin a DAG anew: delete it, and its file brings it back."""
    model = harness.model
    for number in range(17):
        model.add_dag(f"more_{number:02}")
    await harness.settle()
    for number in range(6):
        model.delete_dag(f"more_{number:02}")
    harness.fake.faults.where, harness.fake.faults.plan = "taskInstances", ["500"] * 3
    await harness.sync(trigger="schedule")
    harness.fake.faults.where, harness.fake.faults.plan = "", []
    for number in range(6):
        model.add_dag(f"more_{number:02}")
    await harness.settle()
    assert (await harness.state())["quarantine"] is None
    assert not await harness.rows(
        "SELECT id FROM pipelines WHERE deleted_by_sync_id IS NOT NULL OR removed_at IS NOT NULL"
    )
    model.delete_run(("bills", "run_0"))
    await harness.settle()
    await harness.assert_equal()


async def test_sync_during_quarantine_costs_no_more_and_reports_no_change(harness: SyncHarness) -> None:
    for number in range(17):
        harness.model.add_dag(f"more_{number:02}")
    await harness.settle()
    harness.fake.api.visible = {"bills", "mapped", "news"}
    for _ in range(3):
        await full_check(harness)
    assert (await harness.state())["quarantine"]["kind"] == "mass_loss"

    before = await harness.row_versions()
    sync = await harness.sync(trigger="schedule")
    assert await harness.row_versions() == before
    assert sync["provider_requests"] <= 5, "the log, the DAGs, two at what changed, and one at who answers"
    hidden = await last_synced(harness, "more_03")
    assert hidden["missing_since_sync_id"] is not None
    complete_at = (await harness.state())["last_complete_at"]
    assert hidden["last_synced_at"] < complete_at

    harness.fake.api.visible = None
    await harness.settle()
    assert (await harness.state())["quarantine"] is None
    await harness.assert_equal()


@pytest.mark.parametrize("seen", [{"news"}, set()])
async def test_disappearance_of_most_of_few_pipelines_is_quarantined(harness: SyncHarness, seen: set[str]) -> None:
    harness.model.add_dag("a")
    harness.model.add_dag("b")
    harness.fake.api.shows_events = False
    await harness.settle()
    harness.fake.api.visible = seen
    for _ in range(3):
        await full_check(harness)
    assert not await harness.rows("SELECT id FROM pipelines WHERE removed_at IS NOT NULL")
    # Where nothing at all is to be seen, not one witness either, it may as well be another Airflow.
    assert (await harness.state())["quarantine"]["kind"] == ("mass_loss" if seen else "other_airflow")


async def test_new_pipeline_does_not_release_quarantine(harness: SyncHarness) -> None:
    """All there was is out of sight, and held; something new to be seen is no sign that it was deleted."""
    harness.fake.api.shows_events = False
    await harness.execute(
        """UPDATE connectors SET config = config || '{"exclude_dags": ["[mn]*"]}' WHERE space_id = %(space_id)s"""
    )
    await harness.settle()
    await harness.execute("UPDATE sync_states SET identity_samples = '[]'")  # it has too few runs to be known by
    harness.model.add_dag("fresh")
    harness.fake.api.visible = set()
    for _ in range(2):
        await full_check(harness)
    held = (await harness.state())["quarantine"]
    assert (held["kind"], held["missing"]["pipelines"]) == ("mass_loss", 1)
    harness.fake.api.visible = {"fresh"}
    for _ in range(3):
        await full_check(harness)
    assert (await harness.state())["quarantine"]["since"] == held["since"]
    assert not await harness.rows("SELECT id FROM pipelines WHERE removed_at IS NOT NULL")
    await harness.accept("mass_loss")
    await harness.settle()
    await harness.assert_equal()


async def test_runs_of_pipeline_created_during_full_sync_are_mirrored(
    harness: SyncHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconcile, "MAX_ROWS_REREAD", 0)
    model = harness.model
    model.add_dag("zzz")
    await harness.execute(
        """UPDATE connectors SET config = config || '{"exclude_dags": ["zzz"]}' WHERE space_id = %(space_id)s"""
    )
    await harness.settle()
    created = 0

    def while_it_reads() -> None:
        nonlocal created
        created += 1
        if created == 8:  # between two windows of the history
            model.add_dag("fresh")
            model.start_run("fresh", "first")
            for _ in range(9):
                model.step(("fresh", "first"))
        model.let_pass(200)

    harness.fake.between = while_it_reads
    await harness.sync(is_full=True)
    harness.fake.between = None
    await harness.settle()
    assert ("fresh", "first") in await harness.runs()
