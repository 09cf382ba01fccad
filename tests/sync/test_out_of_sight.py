"""Pipelines that the account could not see for a while, or that nobody wanted: nothing of theirs is lost, or hidden."""

from datetime import timedelta
from typing import Any

import pytest

from sync.doubled import Doubled
from windsock.sync import reconcile

pytestmark = pytest.mark.anyio


async def look(doubled: Doubled) -> Any:
    await doubled.look_closely()
    return await doubled.sync(trigger="schedule")


async def last_synced(doubled: Doubled, dag_id: str) -> dict[str, Any]:
    (row,) = await doubled.rows(
        "SELECT p.last_synced_at, p.missed_by, p.gone_by, p.removed_at, p.needs_history, now() AS now"
        " FROM pipelines p WHERE p.external_id = %(dag_id)s",
        {"dag_id": dag_id},
    )
    return row


async def test_what_happened_while_a_pipeline_was_out_of_sight_is_read_when_it_is_back(doubled: Doubled) -> None:
    model, key = doubled.model, ("news", "began_before")
    model.start_run(*key, at=model.now() - timedelta(hours=2))
    for _ in range(2):
        model.step(key)
    await doubled.settle()
    assert (await doubled.runs())[key]["status"] == "running"

    doubled.double.api.visible = {"bills", "mapped"}
    await look(doubled)
    for _ in range(14):
        model.step(key)
    for _ in range(2):
        model.let_pass(400)
        await look(doubled)
    doubled.double.api.visible = None
    await look(doubled)
    assert (await doubled.runs())[key]["status"] == "success"
    await doubled.settle()
    await doubled.assert_equal()


async def test_a_pipeline_that_becomes_wanted_comes_with_its_history(
    doubled: Doubled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconcile, "MAX_ROWS_REREAD", 0)
    model = doubled.model
    model.dags["bills"].tags = model.dags["mapped"].tags = ["wanted"]
    await doubled.execute(
        """UPDATE connectors SET config = config || '{"include_tags": ["wanted"]}' WHERE space_id = %(space_id)s"""
    )
    model.start_run("news", "five_days_ago", at=model.now() - timedelta(days=5))
    await doubled.settle()
    assert not [key for key in await doubled.runs() if key[0] == "news"]

    model.dags["news"].tags = ["wanted"]
    model.let_pass(400)
    await look(doubled)
    assert {key for key in await doubled.runs() if key[0] == "news"} == {key for key in model.runs if key[0] == "news"}
    assert not (await last_synced(doubled, "news"))["needs_history"]


async def test_a_pipeline_that_was_deleted_and_made_anew_is_not_held_as_lost(doubled: Doubled) -> None:
    """Airflow's own way to begin a DAG anew: delete it, and its file brings it back."""
    model = doubled.model
    for number in range(17):
        model.add_dag(f"more_{number:02}")
    await doubled.settle()
    for number in range(6):
        model.delete_dag(f"more_{number:02}")
    doubled.double.faults.where, doubled.double.faults.plan = "taskInstances", ["500"] * 3
    await doubled.sync(trigger="schedule")
    doubled.double.faults.where, doubled.double.faults.plan = "", []
    for number in range(6):
        model.add_dag(f"more_{number:02}")
    await doubled.settle()
    assert (await doubled.state())["held"] is None
    assert not await doubled.rows("SELECT id FROM pipelines WHERE gone_by IS NOT NULL OR removed_at IS NOT NULL")
    model.delete_run(("bills", "run_0"))
    await doubled.settle()
    await doubled.assert_equal()


async def test_while_something_is_held_a_sync_costs_no_more_and_claims_nothing_about_it(doubled: Doubled) -> None:
    for number in range(17):
        doubled.model.add_dag(f"more_{number:02}")
    await doubled.settle()
    doubled.double.api.visible = {"bills", "mapped", "news"}
    for _ in range(3):
        await look(doubled)
    assert (await doubled.state())["held"]["kind"] == "mass_loss"

    before = await doubled.everything()
    sync = await doubled.sync(trigger="schedule")
    assert await doubled.everything() == before
    assert sync["provider_requests"] <= 5, "the log, the DAGs, two at what changed, and one at who answers"
    hidden = await last_synced(doubled, "more_03")
    assert hidden["missed_by"] is not None
    complete_at = (await doubled.state())["last_complete_at"]
    assert hidden["last_synced_at"] < complete_at

    doubled.double.api.visible = None
    await doubled.settle()
    assert (await doubled.state())["held"] is None
    await doubled.assert_equal()


@pytest.mark.parametrize("seen", [{"news"}, set()])
async def test_of_a_few_pipelines_most_are_not_lost_without_a_word_either(doubled: Doubled, seen: set[str]) -> None:
    doubled.model.add_dag("a")
    doubled.model.add_dag("b")
    doubled.double.api.shows_events = False
    await doubled.settle()
    doubled.double.api.visible = seen
    for _ in range(3):
        await look(doubled)
    assert not await doubled.rows("SELECT id FROM pipelines WHERE removed_at IS NOT NULL")
    # Where nothing at all is to be seen, not one witness either, it may as well be another Airflow.
    assert (await doubled.state())["held"]["kind"] == ("mass_loss" if seen else "other_airflow")


async def test_a_pipeline_that_comes_does_not_lift_a_hold(doubled: Doubled) -> None:
    """All there was is out of sight, and held; something new to be seen is no sign that it was deleted."""
    doubled.double.api.shows_events = False
    await doubled.execute(
        """UPDATE connectors SET config = config || '{"exclude_dags": ["[mn]*"]}' WHERE space_id = %(space_id)s"""
    )
    await doubled.settle()
    await doubled.execute("UPDATE sync_states SET witnesses = '[]'")  # it has too few runs to be known by
    doubled.model.add_dag("fresh")
    doubled.double.api.visible = set()
    for _ in range(2):
        await look(doubled)
    held = (await doubled.state())["held"]
    assert (held["kind"], held["missing"]["pipelines"]) == ("mass_loss", 1)
    doubled.double.api.visible = {"fresh"}
    for _ in range(3):
        await look(doubled)
    assert (await doubled.state())["held"]["since"] == held["since"]
    assert not await doubled.rows("SELECT id FROM pipelines WHERE removed_at IS NOT NULL")
    await doubled.accept("mass_loss")
    await doubled.settle()
    await doubled.assert_equal()


async def test_a_pipeline_that_is_new_after_the_listing_of_a_long_sync_keeps_its_runs(
    doubled: Doubled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconcile, "MAX_ROWS_REREAD", 0)
    model = doubled.model
    model.add_dag("zzz")
    await doubled.execute(
        """UPDATE connectors SET config = config || '{"exclude_dags": ["zzz"]}' WHERE space_id = %(space_id)s"""
    )
    await doubled.settle()
    made = 0

    def while_it_reads() -> None:
        nonlocal made
        made += 1
        if made == 8:  # between two windows of the history
            model.add_dag("fresh")
            model.start_run("fresh", "first")
            for _ in range(9):
                model.step(("fresh", "first"))
        model.let_pass(200)

    doubled.double.between = while_it_reads
    await doubled.sync(is_full=True)
    doubled.double.between = None
    await doubled.settle()
    assert ("fresh", "first") in await doubled.runs()
