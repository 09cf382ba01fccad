"""Runs whose ids have no address in Airflow's API, a slash in them above all: only proof of a deletion is one."""

from datetime import timedelta

import pytest

from sync.harness import SyncHarness

pytestmark = pytest.mark.anyio


async def full_check(harness: SyncHarness) -> None:
    harness.model.let_pass(400)
    await harness.force_full_check()
    sync = await harness.sync(trigger="schedule")
    assert sync["status"] == "complete", sync["error"]


def start(harness: SyncHarness, dag_id: str, run_id: str, *, hours: float = 1, state: str = "success") -> None:
    harness.model.start_run(dag_id, run_id, at=harness.model.now() - timedelta(hours=hours))
    for _ in range(12):
        harness.model.step((dag_id, run_id), fails=state == "failed")


async def test_airflow_with_only_slash_run_ids_is_not_mistaken_for_another(harness: SyncHarness) -> None:
    model = harness.model
    for key in list(model.runs):
        model._drop_run(key)
        start(harness, key[0], f"2026/11/{key[1]}", hours=2)
    await harness.settle()
    await harness.execute("UPDATE sync_states SET failures = 1")  # so that the next sync asks who answers
    await full_check(harness)
    assert (await harness.state())["quarantine"] is None
    await harness.assert_equal()


@pytest.mark.parametrize("run_id", ["2026/11/23", "~", "..", "x/taskInstances", "a%2Fb"])
async def test_note_on_unaddressable_run_removes_nothing(harness: SyncHarness, run_id: str) -> None:
    start(harness, "news", "before", hours=5, state="success")
    start(harness, "news", run_id, state="failed")
    await harness.settle()
    harness.model.note_run(("news", run_id), "seen by Ada")
    await full_check(harness)
    run = (await harness.runs())["news", run_id]
    assert (run["note"], run["status"], run["removed_at"]) == ("seen by Ada", "failed", None)
    assert (await harness.mirrored()).pipelines["news"]["status"] == "failed"
    await harness.assert_equal()


@pytest.mark.parametrize("run_id", ["2026/11/23", "~", "a b?#%;"])
async def test_deleted_unaddressable_run_is_removed_by_next_sync(harness: SyncHarness, run_id: str) -> None:
    start(harness, "news", run_id)
    await harness.settle()
    harness.model.delete_run(("news", run_id))
    harness.model.let_pass(60)
    await harness.sync(trigger="schedule")
    (row,) = await harness.rows("SELECT removed_at FROM runs WHERE external_id = %(id)s", {"id": run_id})
    assert row["removed_at"] is not None
    await harness.assert_equal()


async def test_changed_task_run_of_unaddressable_run_is_updated(harness: SyncHarness) -> None:
    """Also one from before the history, of which the run has to be fetched first."""
    start(harness, "news", "2026/01/01", hours=24 * 40)
    await harness.settle()
    task = next(task for task in harness.model.tasks_of(("news", "2026/01/01")))
    key = (task.dag_id, task.run_id, task.task_id, task.map_index)
    harness.model.mark_task(key, "failed")
    harness.model.note_task(key, "by hand")
    await full_check(harness)
    assert (await harness.tasks())[key]["status"] == "failed"
    assert (await harness.tasks())[key]["note"] == "by hand"


async def test_router_404_on_single_runs_removes_nothing(harness: SyncHarness) -> None:
    """It answers 404 as Airflow's own router does."""
    start(harness, "news", "plain", state="failed")
    await harness.settle()
    response = harness.fake.api._get

    def astray(parts: list[str], params: object) -> object:
        is_single = len(parts) >= 4 and parts[2] == "dagRuns" and parts[3] != "~"
        return response(["nowhere"] if is_single else parts, params)  # type: ignore[arg-type]

    harness.fake.api._get = astray  # type: ignore[method-assign, assignment]
    harness.model.note_run(("news", "plain"), "seen")
    await harness.execute("UPDATE sync_states SET failures = 1")
    await full_check(harness)
    assert (await harness.state())["quarantine"] is None
    assert (await harness.runs())["news", "plain"]["note"] == "seen"
    await harness.assert_equal()


@pytest.mark.parametrize("run_id", ["2026/11/23", "~"])
async def test_incomplete_task_runs_of_unaddressable_run_are_read_again(harness: SyncHarness, run_id: str) -> None:
    harness.fake.api.is_scoped = True
    start(harness, "news", run_id)
    odd = harness.fake.api.oddities.odd
    odd["news", run_id, "load", -1] = {"max_tries": -(2**70)}
    sync = await harness.sync()
    assert (sync["status"], sync["coverage"]["skipped"]) == ("complete", 1)
    odd.clear()
    await full_check(harness)
    assert (await harness.sync(trigger="schedule"))["coverage"]["skipped"] == 0
    await harness.settle()
    await harness.assert_equal()


@pytest.mark.parametrize("is_mirrored", [True, False])
@pytest.mark.parametrize("run_id", ["../23", "2026/11/23"])
async def test_warning_about_an_unreadable_run_that_was_deleted_disappears(
    harness: SyncHarness, run_id: str, *, is_mirrored: bool
) -> None:
    """One that is not mirrored was met as the parent of its task runs."""
    key, oddities = ("news", run_id), harness.fake.api.oddities
    await harness.settle()
    start(harness, *key)
    if is_mirrored:
        await harness.settle()
    oddities.poisoned, harness.unreadable = {key}, {key}
    harness.model.note_run(key, "its log entry leads to it")
    await full_check(harness)
    assert len(await harness.rows("SELECT * FROM skipped_rows")) >= 1
    harness.model.delete_run(key)
    oddities.poisoned = set()
    for _ in range(4):
        await full_check(harness)
    assert await harness.rows("SELECT * FROM skipped_rows") == []
    assert key not in await harness.runs()
