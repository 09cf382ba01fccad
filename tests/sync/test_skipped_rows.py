"""Rows that cannot be read stop no connector: they are named until they can be read, and nothing is taken for gone."""

from datetime import timedelta
from typing import Any

import pytest

from fake_airflow.oddities import key_of
from sync.harness import SyncHarness
from sync.skipping_provider import REASON, UnreadableSet, skip_unreadable
from sync.test_deletions import freshness, full_check
from windsock.providers.airflow.scans import Limits
from windsock.sync import skips

pytestmark = pytest.mark.anyio


@pytest.fixture
def bad(harness: SyncHarness) -> UnreadableSet:
    return skip_unreadable(harness)


async def is_whole_again(harness: SyncHarness, bad: UnreadableSet) -> None:
    """Everything can be read again, and soon all is here, and nothing is warned of."""
    bad.clear()
    for _ in range(2):
        await full_check(harness)
    sync = await full_check(harness)
    assert (sync["status"], sync["warnings"], sync["coverage"]["skipped"]) == ("complete", [], 0)
    assert await harness.rows("SELECT * FROM skipped_rows") == []
    assert (await freshness(harness))["reason"] is None
    await harness.settle()
    await harness.assert_equal()


async def full(harness: SyncHarness) -> Any:
    return await harness.carry_out(await harness.queue(is_full=True, trigger="manual"))


@pytest.mark.parametrize("names", [True, False])
async def test_unreadable_run_is_reported_while_other_rows_are_mirrored(
    harness: SyncHarness, bad: UnreadableSet, names: bool
) -> None:
    key = ("bills", "run_0")
    bad.runs.add(key)
    bad.names = names
    sync = await harness.sync()
    assert sync["status"] == "complete", sync["error"]
    assert sync["coverage"]["skipped"] == 1
    (warning,) = sync["warnings"]
    assert "Run run_0 of DAG bills" in warning, "its task runs tell its name where its listing does not"
    assert key not in await harness.runs()
    assert len(await harness.runs()) == len(harness.model.runs) - 1
    idle = await harness.sync(trigger="schedule")
    assert (idle["status"], idle["warnings"], idle["coverage"]["skipped"]) == ("complete", [warning], 1)
    assert "1 row of Airflow could not be read" in (await freshness(harness))["reason"]
    assert (await full(harness))["coverage"]["skipped"] == 1, "read again in other windows, it is the same row"
    assert (await harness.sync(trigger="schedule"))["coverage"]["skipped"] == 1, "and among changes"
    await is_whole_again(harness, bad)


async def test_idle_sync_with_skipped_rows_sends_no_extra_requests(harness: SyncHarness, bad: UnreadableSet) -> None:
    await harness.settle()
    harness.model.let_pass(1_000)
    clean = [(await harness.sync(trigger="schedule"))["provider_requests"] for _ in range(2)]
    bad.runs.add(("bills", "run_0"))
    bad.tasks.add(("news", "run_1", "load", -1))
    await full(harness)
    harness.model.let_pass(1_000)
    idle = [(await harness.sync(trigger="schedule"))["provider_requests"] for _ in range(2)]
    assert idle[1] == clean[1]
    await full_check(harness)
    request_counts = [(await full_check(harness))["provider_requests"] for _ in range(3)]
    assert max(request_counts) <= clean[1] + 16, "with the listing a few are read again"


async def test_idle_sync_after_unreadable_log_entry_sends_same_requests_as_clean_one(harness: SyncHarness) -> None:
    await harness.settle()
    harness.model.let_pass(1_000)
    clean = [(await harness.sync(trigger="schedule"))["provider_requests"] for _ in range(2)]
    harness.model.note_run(("bills", "run_0"), "logged, but in no list of changes")
    harness.fake.api.oddities.poisoned.add(key_of(harness.model.events[-1]))
    first = await harness.sync(trigger="schedule")
    assert first["status"] == "complete", first["error"]
    harness.model.let_pass(1_000)
    idle = [(await harness.sync(trigger="schedule"))["provider_requests"] for _ in range(2)]
    assert idle[1] == clean[1]


@pytest.mark.parametrize("names", [True, False])
async def test_mirrored_run_that_becomes_unreadable_retains_its_state_while_others_are_removed(
    harness: SyncHarness,
    bad: UnreadableSet,
    names: bool,
) -> None:
    harness.fake.api.shows_events = False
    await harness.settle()
    bad.runs.add(("bills", "run_0"))
    bad.names = names
    harness.model.delete_run(("news", "run_1"))
    for _ in range(3):
        sync = await full(harness)
        assert sync["status"] == "complete", sync["error"]
        assert sync["coverage"]["skipped"] == 1
    runs = await harness.runs()
    assert runs["bills", "run_0"]["status"] == "success"
    assert all(row["missing_since_sync_id"] is None for row in runs.values() if row["external_id"] == "run_0")
    if names:
        assert ("news", "run_1") not in runs
    else:
        assert ("news", "run_1") in runs, "it may be the row that was skipped"
    bad.clear()
    for _ in range(2):
        await full(harness)
    assert ("news", "run_1") not in await harness.runs()
    await is_whole_again(harness, bad)


@pytest.mark.parametrize("names", [True, False])
async def test_mirrored_task_run_that_becomes_unreadable_is_not_removed(
    harness: SyncHarness,
    bad: UnreadableSet,
    names: bool,
) -> None:
    await harness.settle()
    before = await harness.tasks()
    key = ("news", "run_0", "load", -1)
    bad.tasks.add(key)
    bad.names = names
    harness.model.note_run(("news", "run_0"), "look at it")
    for _ in range(2):
        sync = await full(harness)
        assert sync["status"] == "complete", sync["error"]
        assert sync["coverage"]["skipped"] == 1
        assert REASON in sync["warnings"][0]
    assert (await harness.tasks()).keys() == before.keys()
    await is_whole_again(harness, bad)


@pytest.mark.parametrize("names", [True, False])
async def test_mirrored_pipeline_that_becomes_unreadable_stays_and_its_runs_are_updated(
    harness: SyncHarness,
    bad: UnreadableSet,
    names: bool,
) -> None:
    harness.fake.api.shows_events = False
    await harness.settle()
    bad.dags.add("bills")
    bad.names = names
    harness.model.delete_dag("news")
    run = harness.model.start_run("bills", "while it is unreadable")
    for _ in range(3):
        sync = await full_check(harness)
        assert sync["status"] == "complete", sync["error"]
        assert sync["coverage"]["skipped"] == 1
    assert ("bills", run.run_id) in await harness.runs()
    active = {row["external_id"] for row in await harness.rows("SELECT external_id FROM pipelines WHERE is_active")}
    assert active == ({"bills", "mapped"} if names else {"bills", "mapped", "news"})
    bad.clear()
    for _ in range(2):
        await full_check(harness)
    await is_whole_again(harness, bad)


async def test_new_unreadable_pipeline_is_reported_and_causes_no_extra_listing(
    harness: SyncHarness, bad: UnreadableSet
) -> None:
    await harness.settle()
    harness.model.add_dag("unreadable")
    bad.dags.add("unreadable")
    sync = await full_check(harness)
    (warning,) = sync["warnings"]
    assert warning.startswith("DAG unreadable is left as it was or left out: ")
    harness.model.start_run("unreadable", "its run")
    harness.fake.requests.clear()
    await harness.sync(trigger="schedule")
    lists = [request for request in harness.fake.requests if "/dags?" in request]
    assert len(lists) <= 1, "each sync lists few DAGs once"
    await is_whole_again(harness, bad)


async def test_warning_about_skipped_row_ends_when_row_is_deleted(harness: SyncHarness, bad: UnreadableSet) -> None:
    bad.runs.add(("bills", "run_0"))
    bad.tasks.add(("news", "run_0", "load", -1))
    assert (await harness.sync())["coverage"]["skipped"] == 2
    harness.model.delete_run(("bills", "run_0"))
    harness.model.delete_run(("news", "run_0"))
    for _ in range(2):
        sync = await full_check(harness)
    assert (sync["status"], sync["warnings"], sync["coverage"]["skipped"]) == ("complete", [], 0)


async def test_skipped_changed_row_that_becomes_readable_is_mirrored_without_new_change(
    harness: SyncHarness, bad: UnreadableSet
) -> None:
    await harness.settle()
    run = harness.model.start_run("news", "new one")
    bad.runs.add(("news", run.run_id))
    sync = await harness.sync(trigger="schedule")
    assert sync["coverage"]["skipped"] == 1
    harness.model.let_pass(3_000)
    await harness.sync(trigger="schedule")
    bad.clear()
    sync = await full_check(harness)
    assert (sync["warnings"], sync["coverage"]["skipped"]) == ([], 0)
    assert ("news", run.run_id) in await harness.runs()
    await is_whole_again(harness, bad)


async def test_skipped_rows_and_their_warnings_are_bounded(
    harness: SyncHarness, bad: UnreadableSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(skips, "MAX_ROWS", 30)
    for number in range(60):
        run = harness.model.start_run(
            "news", f"r{number:02}", at=harness.model.now() - timedelta(hours=5, minutes=number)
        )
        if number % 3:
            bad.runs.add(("news", run.run_id))
    sync = await full(harness)
    assert sync["status"] == "complete", sync["error"]
    assert sync["coverage"]["skipped"] == 30
    assert len(sync["warnings"]) == 21
    assert sync["warnings"][-1] == "And 10 more rows of Airflow could not be read or stored completely."
    assert len(await harness.runs()) == len(harness.model.runs) - 40
    harness.fake.requests.clear()
    sync = await full_check(harness)
    assert sync["status"] == "complete", sync["error"]
    assert len(harness.fake.requests) < 100
    bad.clear()
    await full(harness)
    await is_whole_again(harness, bad)


async def test_deletion_while_rows_are_skipped_is_found_by_totals(harness: SyncHarness, bad: UnreadableSet) -> None:
    harness.fake.api.shows_events = False
    bad.runs.add(("bills", "run_0"))
    await harness.sync()
    for _ in range(2):
        await full_check(harness)
    harness.model.delete_run(("news", "run_1"))
    for _ in range(3):
        await full_check(harness)
    assert ("news", "run_1") not in await harness.runs()
    assert ("news", "run_0") in await harness.runs()


@pytest.mark.parametrize("state", ["queued", "success"])
async def test_run_with_unreadable_state_stays_reported_at_no_cost_to_idle_sync(
    harness: SyncHarness, state: str
) -> None:
    await harness.settle()
    harness.model.start_run("news", "waits for long")
    harness.model.let_pass(1_000)
    clean = [(await harness.sync(trigger="schedule"))["provider_requests"] for _ in range(3)]
    run = harness.model.start_run("bills", "of an odd state")
    await harness.sync()
    run.state = state
    harness.model.touch(run)
    harness.fake.api.oddities.odd["bills", run.run_id] = {"state": []}
    await harness.settle()
    harness.model.let_pass(1_000)
    idle = [await harness.sync(trigger="schedule") for _ in range(3)]
    assert [sync["coverage"]["skipped"] for sync in idle] == [1, 1, 1]
    assert [sync["provider_requests"] for sync in idle[1:]] == clean[1:], harness.fake.requests[-8:]


@pytest.mark.parametrize("what", ["runs", "tasks"])
async def test_rows_without_names_on_different_pages_are_counted_separately(
    harness: SyncHarness, bad: UnreadableSet, what: str
) -> None:
    model = harness.model
    for number in range(4):
        model.start_run("news", f"row {number}")
    await harness.settle()
    harness._limits = Limits(page=3)
    rows = [key for key in (model.runs if what == "runs" else model.tasks) if str(key[1]).startswith("row")]
    getattr(bad, what).update({rows[0][:4], rows[-1][:4]})
    bad.names = False
    assert (await full(harness))["coverage"]["skipped"] == 2
    await is_whole_again(harness, bad)
