"""A run id that is used again after a deletion in Airflow is another run; a run that is cleared stays the same."""

from datetime import timedelta
from typing import Any

import pytest

from sync.harness import SyncHarness

pytestmark = pytest.mark.anyio

KEY = ("news", "load_2026_11_23")


async def rows(harness: SyncHarness) -> list[dict[str, Any]]:
    return await harness.rows(
        "SELECT r.id, r.status, r.removed_at, r.archived_at, r.is_replaced, r.queued_at,"
        " (SELECT count(*) FROM task_runs t WHERE t.run_id = r.id AND t.status = 'failed') AS failed_tasks,"
        " (SELECT array_agg(content) FROM comments c WHERE c.run_id = r.id) AS said"
        " FROM runs r WHERE r.external_id = %(id)s ORDER BY r.created_at, r.id",
        {"id": KEY[1]},
    )


async def begin(harness: SyncHarness, *, hours: float = 2, logs: bool = True) -> None:
    """A failed run with a comment."""
    harness.fake.api.shows_events = logs
    harness.model.start_run(*KEY, at=harness.model.now() - timedelta(hours=hours))
    for _ in range(12):
        harness.model.step(KEY, fails=True)
    await harness.settle()
    await harness.execute(
        "INSERT INTO comments (space_id, run_id, content) SELECT space_id, id, 'the disk was full' FROM runs"
        " WHERE external_id = %(id)s",
        {"id": KEY[1]},
    )


async def use_again(harness: SyncHarness, *, at: Any = None) -> None:
    harness.model.start_run(*KEY, at=at)
    for _ in range(12):
        harness.model.step(KEY)
    await harness.settle()


def assert_parted(found: list[dict[str, Any]], *, failed_tasks: int | None = None) -> None:
    old, new = found
    assert (old["said"], new["said"]) == (["the disk was full"], None)
    assert (old["status"], new["status"]) == ("failed", "success")
    assert (old["removed_at"] is not None, new["removed_at"]) == (True, None)
    assert (old["is_replaced"], new["is_replaced"], new["failed_tasks"]) == (True, False, 0)
    if failed_tasks is not None:
        assert old["failed_tasks"] == failed_tasks


@pytest.mark.parametrize("logs", [True, False])
async def test_run_id_reused_between_syncs_with_another_date_is_a_new_run(harness: SyncHarness, *, logs: bool) -> None:
    await begin(harness, logs=logs)
    (before,) = await rows(harness)
    harness.model.delete_run(KEY)
    await use_again(harness)
    assert_parted(await rows(harness), failed_tasks=before["failed_tasks"])
    await harness.assert_equal()


@pytest.mark.parametrize("logs", [True, False])
async def test_run_id_reused_after_mirrored_deletion_is_a_new_run_even_with_same_date(
    harness: SyncHarness, *, logs: bool
) -> None:
    """As the scheduler makes a scheduled run anew that somebody deleted."""
    await begin(harness, logs=logs)
    at = harness.model.runs[KEY].run_after
    harness.model.delete_run(KEY)
    await harness.settle()
    (deleted,) = await rows(harness)
    assert deleted["removed_at"] is not None
    await use_again(harness, at=at)
    assert_parted(await rows(harness), failed_tasks=deleted["failed_tasks"])
    await harness.assert_equal()


async def test_run_id_used_three_times_is_three_runs(harness: SyncHarness) -> None:
    await begin(harness)
    for hours in (1, 3):
        harness.model.delete_run(KEY)
        await use_again(harness, at=harness.model.now() - timedelta(hours=hours))
    found = await rows(harness)
    assert [row["is_replaced"] for row in found] == [True, True, False]
    await harness.assert_equal()


async def test_cleared_run_remains_the_same_run(harness: SyncHarness) -> None:
    await begin(harness)
    harness.model.clear_run(KEY)
    for _ in range(12):
        harness.model.step(KEY)
    await harness.settle()
    (row,) = await rows(harness)
    assert (row["status"], row["said"], row["removed_at"]) == ("success", ["the disk was full"], None)
    await harness.assert_equal()


async def test_restored_run_remains_the_same_run(harness: SyncHarness) -> None:
    """As when Airflow's database was put back."""
    await begin(harness)
    model = harness.model
    run, tasks = model.runs[KEY], list(model.tasks_of(KEY))
    model.delete_run(KEY)
    await harness.settle()
    assert (await rows(harness))[0]["removed_at"] is not None
    model.runs[KEY] = run
    for task in tasks:
        model.tasks[task.dag_id, task.run_id, task.task_id, task.map_index] = task
    model.touch(run)
    await harness.settle()
    (row,) = await rows(harness)
    assert (row["said"], row["removed_at"]) == (["the disk was full"], None)


async def test_reused_id_of_archived_run_leaves_archived_run_unchanged(harness: SyncHarness) -> None:
    await begin(harness)
    await harness.execute("UPDATE runs SET archived_at = now() WHERE external_id = %(id)s", {"id": KEY[1]})
    harness.model.delete_run(KEY)
    harness.model.events.clear()
    await use_again(harness)
    old, new = await rows(harness)
    assert (old["archived_at"] is not None, old["removed_at"], old["said"]) == (True, None, ["the disk was full"])
    assert (new["archived_at"], new["removed_at"], new["status"]) == (None, None, "success")


async def test_only_reused_run_ids_in_a_page_become_new_runs(harness: SyncHarness) -> None:
    await begin(harness)
    before = {key: row["id"] for key, row in (await harness.runs()).items()}
    model = harness.model
    model.delete_run(KEY)
    for key in before.keys() - {KEY}:
        model.mark_run(key, "failed")
    await use_again(harness)
    after = {key: row["id"] for key, row in (await harness.runs()).items()}
    assert after.pop(KEY) != before.pop(KEY)
    assert after == before
    await harness.assert_equal()
