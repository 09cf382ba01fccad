"""An account with rights on single DAGs: rows that break their lists, and runs from before the history."""

from datetime import timedelta

import pytest

from sync.harness import SyncHarness
from sync.test_per_dag import sync

pytestmark = pytest.mark.anyio


async def test_dag_with_only_unreadable_rows_does_not_stop_sync(scoped: SyncHarness) -> None:
    await scoped.settle()
    oddities = scoped.fake.api.oddities
    bad = {key for key in scoped.model.runs if key[0] == "bills"}
    for number in range(3):
        run = scoped.model.start_run("bills", f"unreadable {number}")
        bad.add(("bills", run.run_id))
    oddities.poisoned |= bad
    fresh = scoped.model.start_run("news", "readable")
    for _ in range(2):
        row = await sync(scoped, is_full=True)
        assert row["coverage"]["skipped"] == len(bad)
    assert ("news", fresh.run_id) in await scoped.runs()
    assert ("bills", "run_0") in await scoped.runs(), "it is not taken for gone"
    oddities.poisoned.clear()
    await sync(scoped, is_full=True)
    await scoped.settle()
    await scoped.assert_equal()


@pytest.mark.parametrize("is_full", [False, True])
async def test_old_run_changed_while_dag_was_refused_or_before_full_sync_is_updated(
    scoped: SyncHarness, *, is_full: bool
) -> None:
    key = ("bills", "from before the history")
    scoped.model.start_run(*key, at=scoped.model.now() - timedelta(days=400))
    await scoped.settle()
    scoped.model.runs[key].state = "running"
    scoped.model.touch(scoped.model.runs[key])
    await sync(scoped)
    scoped.fake.api.refused = set() if is_full else {"bills"}
    scoped.model.runs[key].state = "failed"
    scoped.model.touch(scoped.model.runs[key])
    scoped.model.let_pass(1_000)
    await scoped.sync(trigger="schedule", is_full=is_full)
    scoped.fake.api.refused = set()
    await scoped.force_full_check()
    await scoped.settle()
    assert (await scoped.runs())[key]["status"] == "failed"


async def test_poisoned_row_does_not_affect_totals_of_its_dag(scoped: SyncHarness) -> None:
    await scoped.settle()
    scoped.fake.api.oddities.poisoned.add(("bills", "run_0"))
    await sync(scoped, is_full=True)
    for _ in range(3):
        await scoped.force_full_check()
        row = await sync(scoped)
    assert row["coverage"]["skipped"] == 1
    assert not any("totals" in warning for warning in row["warnings"])
    scoped.fake.api.oddities.poisoned.clear()
    for _ in range(3):
        await scoped.force_full_check()
        row = await sync(scoped)
    assert row["coverage"]["skipped"] == 0
    await scoped.settle()
    await scoped.assert_equal()
