"""Changes of DAGs are seen by the next sync, at a fixed number of requests, where the list of DAGs is short."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from fake_airflow.model import Model
from sync.harness import SyncHarness
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
async def test_dag_change_is_mirrored_by_next_sync(harness: SyncHarness, what: str, *, shows_events: bool) -> None:
    harness.fake.api.shows_events = shows_events
    await harness.settle()
    change, column, value = CHANGES[what]
    change(harness.model)
    sync = await harness.sync(trigger="schedule")
    assert sync["status"] == "complete"
    assert (await harness.mirrored()).pipelines["bills"][column] == value
    assert sync["provider_requests"] <= 4 + 1, "an idle sync, and one for who answers"
    assert sync["pipelines"]["updated"] == 1


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ([], None),
        (["a.py"], "1 DAG file could not be imported"),
        (["a.py", "b.py"], "2 DAG files could not be imported"),
    ],
)
async def test_import_errors_are_reported_by_number_of_files(
    harness: SyncHarness, files: list[str], words: str | None
) -> None:
    harness.fake.api.broken_files = files
    warnings = (await harness.sync())["warnings"]
    assert len(warnings) == (words is not None)
    assert all(str(words) in warning for warning in warnings)


async def test_next_run_date_equals_airflow_after_each_sync(harness: SyncHarness) -> None:
    dag = harness.model.dags["bills"]
    for minute in range(3):
        dag.next_run_at = harness.model.now() + timedelta(minutes=minute)
        await harness.sync(trigger="schedule")
        assert (await harness.mirrored()).pipelines["bills"]["next_run_at"] == dag.next_run_at


@pytest.mark.parametrize("shows_events", [True, False])
async def test_deleted_dag_is_removed_within_one_interval(harness: SyncHarness, *, shows_events: bool) -> None:
    """With the log at once; without it the second look, which decides, follows within seconds."""
    harness.fake.api.shows_events = shows_events
    await harness.settle()
    harness.model.delete_dag("bills")
    await harness.sync(trigger="schedule")
    if not shows_events:
        state = await harness.state()
        assert (state["next_sync_at"] - state["last_sync_at"]).total_seconds() < 3
        await harness.sync(trigger="schedule")
    assert "bills" not in (await harness.mirrored()).pipelines


async def test_quarantined_second_check_is_not_repeated(harness: SyncHarness) -> None:
    harness.fake.api.shows_events = False
    await harness.settle()
    harness.fake.api.visible = {"news"}
    for _ in range(3):
        await harness.sync(trigger="schedule")
    state = await harness.state()
    assert state["quarantine"]["kind"] == "mass_loss"
    assert (state["next_sync_at"] - state["last_sync_at"]).total_seconds() > 30


async def test_unchanged_dag_list_writes_no_rows_and_skips_identity_check(harness: SyncHarness) -> None:
    await harness.settle()
    before, state = await harness.row_versions(), await harness.state()
    sync = await harness.sync(trigger="schedule")
    assert sync["provider_requests"] == 4
    assert sum("/dags?" in requests for requests in harness.fake.requests[-4:]) == 1
    assert not any("importErrors" in requests for requests in harness.fake.requests[-4:])
    assert await harness.row_versions() == before
    assert (await harness.state())["pipelines_listed_at"] == state["pipelines_listed_at"]


@pytest.mark.parametrize("reason", ["many requests", "long", "large mode"])
async def test_costly_list_of_dags_is_read_every_five_minutes_only(
    harness: SyncHarness, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    await harness.settle()
    if reason == "many requests":
        monkeypatch.setattr(polling, "MAX_LISTING_REQUESTS", 0)
    elif reason == "long":
        monkeypatch.setattr(polling, "MAX_LISTING_SECONDS", -1.0)  # a fake answers in no time
    else:
        await harness.execute("UPDATE sync_states SET mode = 'large', polling = '{}' WHERE space_id = %(space_id)s")
    harness.model.dags["bills"].name = "Invoices"
    harness.fake.requests.clear()
    sync = await harness.sync(trigger="schedule")
    assert not any(requests.startswith("GET /api/") and "/dags?" in requests for requests in harness.fake.requests)
    assert sync["provider_requests"] == 2 if reason == "large mode" else 3
    assert (await harness.mirrored()).pipelines["bills"]["name"] == "bills"
    await harness.force_full_check()
    await harness.sync(trigger="schedule")
    assert (await harness.mirrored()).pipelines["bills"]["name"] == "Invoices"


async def test_dag_list_reverted_after_interrupted_sync_is_stored_again(harness: SyncHarness) -> None:
    """The digest is of what is stored: back to what it was, it is stored too."""
    await harness.settle()
    dag = harness.model.dags["bills"]
    dag.name = "Invoices"
    faults = harness.fake.faults
    faults.chance, faults.kinds, faults.where = 1.0, ("503",), "taskInstances"
    broken = await harness.sync(trigger="schedule")
    assert broken["status"] == "partial"
    assert (await harness.mirrored()).pipelines["bills"]["name"] == "Invoices"
    faults.chance, faults.where = 0.0, ""
    dag.name = None
    await harness.sync(trigger="schedule")
    assert (await harness.mirrored()).pipelines["bills"]["name"] == "bills"


async def test_idle_syncs_without_event_log_send_four_requests(harness: SyncHarness) -> None:
    harness.fake.api.shows_events = False
    await harness.settle()
    harness.model.let_pass(1_200)
    requests = [(await harness.sync(trigger="schedule"))["provider_requests"] for _ in range(5)]
    assert requests == [4] * 5, harness.fake.requests
