"""Runs whose ids have no address in Airflow's API, a slash in them above all: only proof of a deletion is one."""

from datetime import timedelta

import pytest

from sync.doubled import Doubled

pytestmark = pytest.mark.anyio


async def look(doubled: Doubled) -> None:
    doubled.model.let_pass(400)
    await doubled.look_closely()
    sync = await doubled.sync(trigger="schedule")
    assert sync["status"] == "complete", sync["error"]


def start(doubled: Doubled, dag_id: str, run_id: str, *, hours: float = 1, state: str = "success") -> None:
    doubled.model.start_run(dag_id, run_id, at=doubled.model.now() - timedelta(hours=hours))
    for _ in range(12):
        doubled.model.step((dag_id, run_id), fails=state == "failed")


async def test_an_airflow_whose_run_ids_all_have_slashes_is_not_taken_for_another(doubled: Doubled) -> None:
    model = doubled.model
    for key in list(model.runs):
        model._drop_run(key)
        start(doubled, key[0], f"2026/11/{key[1]}", hours=2)
    await doubled.settle()
    await doubled.execute("UPDATE sync_states SET failures = 1")  # so that the next sync asks who answers
    await look(doubled)
    assert (await doubled.state())["held"] is None
    await doubled.assert_equal()


@pytest.mark.parametrize("run_id", ["2026/11/23", "~", "..", "x/taskInstances", "a%2Fb"])
async def test_a_note_on_a_run_without_an_address_removes_nothing(doubled: Doubled, run_id: str) -> None:
    start(doubled, "news", "before", hours=5, state="success")
    start(doubled, "news", run_id, state="failed")
    await doubled.settle()
    doubled.model.note_run(("news", run_id), "seen by Ada")
    await look(doubled)
    run = (await doubled.runs())["news", run_id]
    assert (run["note"], run["status"], run["removed_at"]) == ("seen by Ada", "failed", None)
    assert (await doubled.mirrored()).pipelines["news"]["status"] == "failed"
    await doubled.assert_equal()


@pytest.mark.parametrize("run_id", ["2026/11/23", "~", "a b?#%;"])
async def test_a_run_without_an_address_that_is_deleted_is_removed_in_the_next_sync(
    doubled: Doubled, run_id: str
) -> None:
    start(doubled, "news", run_id)
    await doubled.settle()
    doubled.model.delete_run(("news", run_id))
    doubled.model.let_pass(60)
    await doubled.sync(trigger="schedule")
    (row,) = await doubled.rows("SELECT removed_at FROM runs WHERE external_id = %(id)s", {"id": run_id})
    assert row["removed_at"] is not None
    await doubled.assert_equal()


async def test_a_task_run_of_a_run_without_an_address_is_followed(doubled: Doubled) -> None:
    """Also one from before the history, of which the run has to be fetched first."""
    start(doubled, "news", "2026/01/01", hours=24 * 40)
    await doubled.settle()
    task = next(task for task in doubled.model.tasks_of(("news", "2026/01/01")))
    key = (task.dag_id, task.run_id, task.task_id, task.map_index)
    doubled.model.mark_task(key, "failed")
    doubled.model.note_task(key, "by hand")
    await look(doubled)
    assert (await doubled.tasks())[key]["status"] == "failed"
    assert (await doubled.tasks())[key]["note"] == "by hand"


async def test_a_proxy_that_lost_the_way_to_single_runs_removes_nothing(doubled: Doubled) -> None:
    """It answers 404 as Airflow's own router does."""
    start(doubled, "news", "plain", state="failed")
    await doubled.settle()
    answer = doubled.double.api._get

    def astray(parts: list[str], params: object) -> object:
        is_single = len(parts) >= 4 and parts[2] == "dagRuns" and parts[3] != "~"
        return answer(["nowhere"] if is_single else parts, params)  # type: ignore[arg-type]

    doubled.double.api._get = astray  # type: ignore[method-assign, assignment]
    doubled.model.note_run(("news", "plain"), "seen")
    await doubled.execute("UPDATE sync_states SET failures = 1")
    await look(doubled)
    assert (await doubled.state())["held"] is None
    assert (await doubled.runs())["news", "plain"]["note"] == "seen"
    await doubled.assert_equal()


@pytest.mark.parametrize("run_id", ["2026/11/23", "~"])
async def test_incomplete_task_runs_of_a_run_without_an_address_are_read_again(doubled: Doubled, run_id: str) -> None:
    doubled.double.api.is_scoped = True
    start(doubled, "news", run_id)
    odd = doubled.double.api.oddities.odd
    odd["news", run_id, "load", -1] = {"max_tries": -(2**70)}
    sync = await doubled.sync()
    assert (sync["status"], sync["coverage"]["skipped"]) == ("complete", 1)
    odd.clear()
    await look(doubled)
    assert (await doubled.sync(trigger="schedule"))["coverage"]["skipped"] == 0
    await doubled.settle()
    await doubled.assert_equal()
