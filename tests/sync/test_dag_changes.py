"""Changes of DAGs are seen by the next sync, at a fixed number of requests, where the list of DAGs is short."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from airflow_double.model import Model
from sync.doubled import Doubled
from windsock.sync import polling

pytestmark = pytest.mark.anyio

CHANGES: dict[str, tuple[Callable[[Model], Any], str, Any]] = {
    "renamed": (lambda model: setattr(model.dags["bills"], "name", "Invoices"), "name", "Invoices"),
    "import error": (lambda model: setattr(model.dags["bills"], "has_import_errors", True), "has_import_errors", True),
    "file vanished": (lambda model: model.lose_file("bills"), "is_active", False),
    "paused without a log": (lambda model: setattr(model.dags["bills"], "is_paused", True), "is_paused", True),
    "tags": (lambda model: model.retag("bills", ["prod"]), "tags", ["prod"]),
    "owners": (lambda model: model.rename_owner("bills", ["finance"]), "owners", ["finance"]),
    "schedule": (lambda model: model.reschedule("bills", "@daily", "Once a day"), "schedule", "@daily"),
}


@pytest.mark.parametrize("what", CHANGES)
@pytest.mark.parametrize("shows_events", [True, False])
async def test_change_of_a_dag_is_seen_by_the_next_sync(doubled: Doubled, what: str, *, shows_events: bool) -> None:
    doubled.double.api.shows_events = shows_events
    await doubled.settle()
    change, column, value = CHANGES[what]
    change(doubled.model)
    sync = await doubled.sync(trigger="schedule")
    assert sync["status"] == "complete"
    assert (await doubled.mirrored()).pipelines["bills"][column] == value
    assert sync["provider_requests"] <= 4 + 1, "an idle sync, and one for who answers"
    assert sync["pipelines"]["updated"] == 1


async def test_next_run_is_that_of_airflow_after_each_sync(doubled: Doubled) -> None:
    dag = doubled.model.dags["bills"]
    for minute in range(3):
        dag.next_run_at = doubled.model.now() + timedelta(minutes=minute)
        await doubled.sync(trigger="schedule")
        assert (await doubled.mirrored()).pipelines["bills"]["next_run_at"] == dag.next_run_at


@pytest.mark.parametrize("shows_events", [True, False])
async def test_deleted_dag_is_gone_within_an_interval(doubled: Doubled, *, shows_events: bool) -> None:
    """With the log at once; without it the second look, which decides, follows within seconds."""
    doubled.double.api.shows_events = shows_events
    await doubled.settle()
    doubled.model.delete_dag("bills")
    await doubled.sync(trigger="schedule")
    if not shows_events:
        state = await doubled.state()
        assert (state["next_sync_at"] - state["last_sync_at"]).total_seconds() < 3
        await doubled.sync(trigger="schedule")
    assert "bills" not in (await doubled.mirrored()).pipelines


async def test_second_look_that_is_held_back_does_not_repeat_itself(doubled: Doubled) -> None:
    doubled.double.api.shows_events = False
    await doubled.settle()
    doubled.double.api.visible = {"news"}
    for _ in range(3):
        await doubled.sync(trigger="schedule")
    state = await doubled.state()
    assert state["held"]["kind"] == "mass_loss"
    assert (state["next_sync_at"] - state["last_sync_at"]).total_seconds() > 30


async def test_unchanged_list_of_dags_writes_nothing_and_asks_nobody_who_answers(doubled: Doubled) -> None:
    await doubled.settle()
    before, state = await doubled.everything(), await doubled.state()
    sync = await doubled.sync(trigger="schedule")
    assert sync["provider_requests"] == 4
    assert sum("/dags?" in asked for asked in doubled.double.asked[-4:]) == 1
    assert not any("importErrors" in asked for asked in doubled.double.asked[-4:])
    assert await doubled.everything() == before
    assert (await doubled.state())["pipelines_listed_at"] == state["pipelines_listed_at"]


@pytest.mark.parametrize("reason", ["many requests", "long", "large mode"])
async def test_costly_list_of_dags_is_read_every_five_minutes_only(
    doubled: Doubled, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    await doubled.settle()
    if reason == "many requests":
        monkeypatch.setattr(polling, "MAX_LISTING_REQUESTS", 0)
    elif reason == "long":
        monkeypatch.setattr(polling, "MAX_LISTING_SECONDS", 0.0)
    else:
        await doubled.execute("UPDATE sync_states SET mode = 'large', polling = '{}' WHERE space_id = %(space_id)s")
    doubled.model.dags["bills"].name = "Invoices"
    doubled.double.asked.clear()
    sync = await doubled.sync(trigger="schedule")
    assert not any(asked.startswith("GET /api/") and "/dags?" in asked for asked in doubled.double.asked)
    assert sync["provider_requests"] == 2 if reason == "large mode" else 3
    assert (await doubled.mirrored()).pipelines["bills"]["name"] == "bills"
    await doubled.look_closely()
    await doubled.sync(trigger="schedule")
    assert (await doubled.mirrored()).pipelines["bills"]["name"] == "Invoices"


async def test_list_that_changed_is_stored_again_after_a_sync_that_broke_off(doubled: Doubled) -> None:
    """The digest is of what is stored: back to what it was, it is stored too."""
    await doubled.settle()
    dag = doubled.model.dags["bills"]
    dag.name = "Invoices"
    faults = doubled.double.faults
    faults.chance, faults.kinds, faults.where = 1.0, ("503",), "taskInstances"
    broken = await doubled.sync(trigger="schedule")
    assert broken["status"] == "partial"
    assert (await doubled.mirrored()).pipelines["bills"]["name"] == "Invoices"
    faults.chance, faults.where = 0.0, ""
    dag.name = None
    await doubled.sync(trigger="schedule")
    assert (await doubled.mirrored()).pipelines["bills"]["name"] == "bills"


async def test_idle_syncs_without_the_log_compare_no_totals_out_of_turn(doubled: Doubled) -> None:
    doubled.double.api.shows_events = False
    await doubled.settle()
    doubled.model.let_pass(1_200)
    asked = [(await doubled.sync(trigger="schedule"))["provider_requests"] for _ in range(5)]
    assert asked == [4] * 5, doubled.double.asked
