"""Rows without a name among changes: the range of changes that holds them is read again until it holds none."""

from datetime import timedelta

import pytest

from fake_airflow.rows import TaskKey
from sync.harness import SyncHarness
from sync.skipping_provider import UnreadableSet, skip_unreadable
from windsock.db.database import Row

pytestmark = pytest.mark.anyio

OTHER, CHANGED = ("bills", "run_0", "load", -1), ("news", "run_0", "load", -1)


@pytest.fixture(params=[False, True], ids=["all", "per_dag"])
def reading(harness: SyncHarness, request: pytest.FixtureRequest) -> SyncHarness:
    """Through lists over all DAGs, or DAG by DAG; notes and deletions are in no log that can be read."""
    harness.fake.api.is_scoped = request.param
    harness.fake.api.shows_events = False
    return harness


@pytest.fixture
def bad(reading: SyncHarness) -> UnreadableSet:
    return skip_unreadable(reading)


async def check(harness: SyncHarness) -> Row:
    harness.model.let_pass(1_000)
    await harness.force_full_check()
    sync = await harness.sync(trigger="schedule")
    assert sync["status"] == "complete", sync["error"]
    return sync


async def assert_clean(harness: SyncHarness) -> None:
    assert await harness.rows("SELECT * FROM skipped_rows") == []
    await harness.settle()
    await harness.assert_equal()


def change(harness: SyncHarness, what: str) -> None:
    if what == "tasks":
        harness.model.mark_task(CHANGED, "failed")
    else:
        run = harness.model.runs[CHANGED[:2]]
        run.state = "failed"
        harness.model.touch(run)


@pytest.mark.parametrize("what", ["runs", "tasks"])
async def test_mirrored_row_that_changed_is_read_again(reading: SyncHarness, bad: UnreadableSet, what: str) -> None:
    await reading.settle()
    bad.names = False
    if what == "tasks":
        bad.tasks.add(CHANGED)
    else:
        bad.runs.add(CHANGED[:2])
    change(reading, what)
    await reading.sync(trigger="schedule")
    for _ in range(3):
        sync = await check(reading)
        assert sync["coverage"]["skipped"] == 1
        assert any("does not name" in warning for warning in sync["warnings"])
    bad.clear()
    sync = await check(reading)
    assert sync["coverage"]["skipped"] == 0
    assert (await reading.mirrored()).runs.keys() == reading.model.runs.keys()
    await assert_clean(reading)


@pytest.mark.parametrize("is_other_readable_first", [True, False])
@pytest.mark.parametrize("is_new", [True, False])
async def test_row_that_is_taken_for_a_recorded_one_is_read_again(
    reading: SyncHarness, bad: UnreadableSet, *, is_new: bool, is_other_readable_first: bool
) -> None:
    await reading.settle()
    bad.tasks.add(OTHER)
    assert (await reading.sync(is_full=True))["coverage"]["skipped"] == 1
    reading.model.let_pass(1_000)
    await reading.sync(trigger="schedule")
    bad.names = False
    key: TaskKey = CHANGED
    if is_new:
        run = reading.model.start_run("news", "new", at=reading.model.now() - timedelta(hours=1))
        key = ("news", run.run_id, "load", -1)
        bad.tasks.add(key)
        while run.state in {"queued", "running"}:
            reading.model.step(key[:2])
    else:
        bad.tasks.add(key)
        change(reading, "tasks")
    assert (await reading.sync(trigger="schedule"))["coverage"]["skipped"] >= 1
    if is_other_readable_first:
        bad.tasks.discard(OTHER)
        for _ in range(2):
            assert (await check(reading))["coverage"]["skipped"] >= 1, "the one that changed"
    bad.clear()
    for _ in range(2):
        sync = await check(reading)
    assert sync["coverage"]["skipped"] == 0
    assert (await reading.tasks())[key]["status"] == reading.model.tasks[key].state
    await assert_clean(reading)


async def test_new_run_that_its_task_runs_name_is_reported_once_and_read(
    reading: SyncHarness, bad: UnreadableSet
) -> None:
    await reading.settle()
    bad.names = False
    run = reading.model.start_run("news", "2026/11/29", at=reading.model.now() - timedelta(hours=1))
    bad.runs.add(("news", run.run_id))
    while run.state in {"queued", "running"}:
        reading.model.step(("news", run.run_id))
    await reading.sync(trigger="schedule")
    for _ in range(2):
        sync = await check(reading)
    assert sync["coverage"]["skipped"] == 1, sync["warnings"]
    bad.clear()
    for _ in range(2):
        sync = await check(reading)
    assert sync["coverage"]["skipped"] == 0
    await assert_clean(reading)


async def test_new_rows_in_two_ranges_are_all_read_again(reading: SyncHarness, bad: UnreadableSet) -> None:
    await reading.settle()
    bad.names = False
    for key in (OTHER, CHANGED):
        bad.tasks.add(key)
        reading.model.mark_task(key, "failed")
        await reading.sync(trigger="schedule")
        reading.model.let_pass(2_000)
    assert (await check(reading))["coverage"]["skipped"] == 2
    bad.tasks.discard(OTHER)
    assert (await check(reading))["coverage"]["skipped"] == 1
    assert (await reading.tasks())[OTHER]["status"] == "failed"
    bad.clear()
    assert (await check(reading))["coverage"]["skipped"] == 0
    await assert_clean(reading)


async def test_rights_on_all_dags_end_while_changes_are_unread(harness: SyncHarness) -> None:
    bad = skip_unreadable(harness)
    await harness.settle()
    bad.names = False
    bad.tasks.add(CHANGED)
    harness.model.mark_task(CHANGED, "failed")
    await harness.sync(trigger="schedule")
    harness.fake.api.is_scoped = True
    for _ in range(3):
        assert (await check(harness))["coverage"]["skipped"] == 1
    bad.clear()
    for _ in range(2):
        await check(harness)
    assert (await harness.tasks())[CHANGED]["status"] == "failed"
    harness.fake.api.is_scoped = False
    await check(harness)
    await assert_clean(harness)


@pytest.mark.parametrize("kind", ["run", "task"])
@pytest.mark.parametrize("is_mirrored", [True, False])
async def test_row_of_a_run_without_an_address_is_read_again(
    reading: SyncHarness, kind: str, *, is_mirrored: bool
) -> None:
    run = reading.model.start_run("news", "../23", at=reading.model.now() - timedelta(hours=1))
    key = ("news", run.run_id)
    if is_mirrored:
        await reading.settle()
    else:
        await check(reading)
    poisoned = key if kind == "run" else (*key, "load", -1)
    reading.fake.api.oddities.poisoned.add(poisoned)
    while run.state in {"queued", "running"}:
        reading.model.step(key)
    await reading.sync(trigger="schedule")
    for _ in range(3):
        assert (await check(reading))["coverage"]["skipped"] >= 1
    reading.fake.api.oddities.poisoned.clear()
    for _ in range(2):
        sync = await check(reading)
    assert sync["coverage"]["skipped"] == 0
    await assert_clean(reading)
