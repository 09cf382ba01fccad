"""Rows that cannot be read stop no connector: they are named until they can be read, and nothing is taken for gone."""

from datetime import timedelta
from typing import Any

import pytest

from sync.doubled import Doubled
from sync.poison import REASON, Poison, poison
from sync.test_gone import freshness, look
from windsock.sync import skips

pytestmark = pytest.mark.anyio


@pytest.fixture
def bad(doubled: Doubled) -> Poison:
    return poison(doubled)


async def is_whole_again(doubled: Doubled, bad: Poison) -> None:
    """Everything can be read again, and soon all is here, and nothing is warned of."""
    bad.clear()
    for _ in range(2):
        await look(doubled)
    sync = await look(doubled)
    assert (sync["status"], sync["warnings"], sync["coverage"]["skipped"]) == ("complete", [], 0)
    assert await doubled.rows("SELECT * FROM skipped_rows") == []
    assert (await freshness(doubled))["reason"] is None
    await doubled.settle()
    await doubled.assert_equal()


async def full(doubled: Doubled) -> Any:
    return await doubled.carry_out(await doubled.queue(is_full=True, trigger="manual"))


@pytest.mark.parametrize("names", [True, False])
async def test_unreadable_run_is_named_while_all_else_is_mirrored(doubled: Doubled, bad: Poison, names: bool) -> None:
    key = ("bills", "run_0")
    bad.runs.add(key)
    bad.names = names
    sync = await doubled.sync()
    assert sync["status"] == "complete", sync["error"]
    assert sync["coverage"]["skipped"] == 1
    (warning,) = sync["warnings"]
    assert "Run run_0 of DAG bills" in warning, "its task runs tell its name where its listing does not"
    assert key not in await doubled.runs()
    assert len(await doubled.runs()) == len(doubled.model.runs) - 1
    idle = await doubled.sync(trigger="schedule")
    assert (idle["status"], idle["warnings"], idle["coverage"]["skipped"]) == ("complete", [warning], 1)
    assert "1 row of Airflow could not be read" in (await freshness(doubled))["reason"]
    assert (await full(doubled))["coverage"]["skipped"] == 1, "read again in other windows, it is the same row"
    assert (await doubled.sync(trigger="schedule"))["coverage"]["skipped"] == 1, "and among changes"
    await is_whole_again(doubled, bad)


async def test_idle_sync_with_skipped_rows_asks_what_a_clean_one_asks(doubled: Doubled, bad: Poison) -> None:
    await doubled.settle()
    doubled.model.let_pass(1_000)
    clean = [(await doubled.sync(trigger="schedule"))["provider_requests"] for _ in range(2)]
    bad.runs.add(("bills", "run_0"))
    bad.tasks.add(("news", "run_1", "load", -1))
    await full(doubled)
    doubled.model.let_pass(1_000)
    idle = [(await doubled.sync(trigger="schedule"))["provider_requests"] for _ in range(2)]
    assert idle[1] == clean[1]
    await look(doubled)
    looks = [(await look(doubled))["provider_requests"] for _ in range(3)]
    assert max(looks) <= clean[1] + 16, "with the listing a few are read again"


@pytest.mark.parametrize("names", [True, False])
async def test_mirrored_run_that_becomes_unreadable_keeps_its_state_and_others_are_removed(
    doubled: Doubled,
    bad: Poison,
    names: bool,
) -> None:
    doubled.double.api.shows_events = False
    await doubled.settle()
    bad.runs.add(("bills", "run_0"))
    bad.names = names
    doubled.model.delete_run(("news", "run_1"))
    for _ in range(3):
        sync = await full(doubled)
        assert sync["status"] == "complete", sync["error"]
        assert sync["coverage"]["skipped"] == 1
    runs = await doubled.runs()
    assert runs["bills", "run_0"]["status"] == "success"
    assert all(row["missed_by"] is None for row in runs.values() if row["external_id"] == "run_0")
    if names:
        assert ("news", "run_1") not in runs
    else:
        assert ("news", "run_1") in runs, "it may be the row that was skipped"
    bad.clear()
    for _ in range(2):
        await full(doubled)
    assert ("news", "run_1") not in await doubled.runs()
    await is_whole_again(doubled, bad)


@pytest.mark.parametrize("names", [True, False])
async def test_mirrored_task_run_that_becomes_unreadable_is_not_removed(
    doubled: Doubled,
    bad: Poison,
    names: bool,
) -> None:
    await doubled.settle()
    before = await doubled.tasks()
    key = ("news", "run_0", "load", -1)
    bad.tasks.add(key)
    bad.names = names
    doubled.model.note_run(("news", "run_0"), "look at it")
    for _ in range(2):
        sync = await full(doubled)
        assert sync["status"] == "complete", sync["error"]
        assert sync["coverage"]["skipped"] == 1
        assert REASON in sync["warnings"][0]
    assert (await doubled.tasks()).keys() == before.keys()
    await is_whole_again(doubled, bad)


@pytest.mark.parametrize("names", [True, False])
async def test_mirrored_pipeline_that_becomes_unreadable_stays_and_its_runs_are_followed(
    doubled: Doubled,
    bad: Poison,
    names: bool,
) -> None:
    doubled.double.api.shows_events = False
    await doubled.settle()
    bad.dags.add("bills")
    bad.names = names
    doubled.model.delete_dag("news")
    run = doubled.model.start_run("bills", "while it is unreadable")
    for _ in range(3):
        sync = await look(doubled)
        assert sync["status"] == "complete", sync["error"]
        assert sync["coverage"]["skipped"] == 1
    assert ("bills", run.run_id) in await doubled.runs()
    active = {row["external_id"] for row in await doubled.rows("SELECT external_id FROM pipelines WHERE is_active")}
    assert active == ({"bills", "mapped"} if names else {"bills", "mapped", "news"})
    bad.clear()
    for _ in range(2):
        await look(doubled)
    await is_whole_again(doubled, bad)


async def test_new_pipeline_that_is_unreadable_is_named_and_no_reason_to_list_again(
    doubled: Doubled, bad: Poison
) -> None:
    await doubled.settle()
    doubled.model.add_dag("unreadable")
    bad.dags.add("unreadable")
    sync = await look(doubled)
    (warning,) = sync["warnings"]
    assert warning.startswith("DAG unreadable is left as it was or left out: ")
    doubled.model.start_run("unreadable", "its run")
    doubled.double.asked.clear()
    await doubled.sync(trigger="schedule")
    lists = [asked for asked in doubled.double.asked if "/dags?" in asked]
    assert len(lists) <= 1, "each sync lists few DAGs once"
    await is_whole_again(doubled, bad)


async def test_warning_goes_with_its_row(doubled: Doubled, bad: Poison) -> None:
    bad.runs.add(("bills", "run_0"))
    bad.tasks.add(("news", "run_0", "load", -1))
    assert (await doubled.sync())["coverage"]["skipped"] == 2
    doubled.model.delete_run(("bills", "run_0"))
    doubled.model.delete_run(("news", "run_0"))
    for _ in range(2):
        sync = await look(doubled)
    assert (sync["status"], sync["warnings"], sync["coverage"]["skipped"]) == ("complete", [], 0)


async def test_row_among_changes_that_becomes_readable_without_a_change_is_read_again(
    doubled: Doubled, bad: Poison
) -> None:
    await doubled.settle()
    run = doubled.model.start_run("news", "new one")
    bad.runs.add(("news", run.run_id))
    sync = await doubled.sync(trigger="schedule")
    assert sync["coverage"]["skipped"] == 1
    doubled.model.let_pass(3_000)
    await doubled.sync(trigger="schedule")
    bad.clear()
    sync = await look(doubled)
    assert (sync["warnings"], sync["coverage"]["skipped"]) == ([], 0)
    assert ("news", run.run_id) in await doubled.runs()
    await is_whole_again(doubled, bad)


async def test_warnings_and_register_are_bounded(
    doubled: Doubled, bad: Poison, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(skips, "MAX_ROWS", 30)
    for number in range(60):
        run = doubled.model.start_run(
            "news", f"r{number:02}", at=doubled.model.now() - timedelta(hours=5, minutes=number)
        )
        if number % 3:
            bad.runs.add(("news", run.run_id))
    sync = await full(doubled)
    assert sync["status"] == "complete", sync["error"]
    assert sync["coverage"]["skipped"] == 30
    assert len(sync["warnings"]) == 21
    assert sync["warnings"][-1] == "And 10 more rows of Airflow could not be read or stored completely."
    assert len(await doubled.runs()) == len(doubled.model.runs) - 40
    doubled.double.asked.clear()
    sync = await look(doubled)
    assert sync["status"] == "complete", sync["error"]
    assert len(doubled.double.asked) < 100
    bad.clear()
    await full(doubled)
    await is_whole_again(doubled, bad)


async def test_deletion_beside_skipped_rows_is_seen_by_the_totals(doubled: Doubled, bad: Poison) -> None:
    doubled.double.api.shows_events = False
    bad.runs.add(("bills", "run_0"))
    await doubled.sync()
    for _ in range(2):
        await look(doubled)
    doubled.model.delete_run(("news", "run_1"))
    for _ in range(3):
        await look(doubled)
    assert ("news", "run_1") not in await doubled.runs()
    assert ("news", "run_0") in await doubled.runs()


@pytest.mark.parametrize("state", ["queued", "success"])
async def test_run_whose_state_cannot_be_read_stays_named_and_costs_an_idle_sync_nothing(
    doubled: Doubled, state: str
) -> None:
    await doubled.settle()
    doubled.model.start_run("news", "waits for long")
    doubled.model.let_pass(1_000)
    clean = [(await doubled.sync(trigger="schedule"))["provider_requests"] for _ in range(3)]
    run = doubled.model.start_run("bills", "of an odd state")
    await doubled.sync()
    run.state = state
    doubled.model.touch(run)
    doubled.double.api.oddities.odd["bills", run.run_id] = {"state": []}
    await doubled.settle()
    doubled.model.let_pass(1_000)
    idle = [await doubled.sync(trigger="schedule") for _ in range(3)]
    assert [sync["coverage"]["skipped"] for sync in idle] == [1, 1, 1]
    assert [sync["provider_requests"] for sync in idle[1:]] == clean[1:], doubled.double.asked[-8:]
