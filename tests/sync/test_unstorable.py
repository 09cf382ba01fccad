"""Values that PostgreSQL cannot store keep nothing else from being mirrored, and are named."""

import pytest

from airflow.extremes import cjk, depth_of, nested
from airflow.harness import open_client
from fake_airflow.rows import Task
from sync.harness import SyncHarness

pytestmark = pytest.mark.anyio


def a_task(harness: SyncHarness, dag_id: str = "mapped") -> Task:
    return next(task for key, task in harness.model.tasks.items() if key[0] == dag_id and task.map_index >= 0)


@pytest.mark.parametrize("levels", [252, 253, 254])
async def test_deeply_nested_conf_and_trigger_arguments_are_stored_unchanged(harness: SyncHarness, levels: int) -> None:
    run = harness.model.runs["bills", "run_0"]
    run.conf = nested(levels)
    task = a_task(harness)
    task.trigger = {"kwargs": nested(min(levels, 252))}
    sync = await harness.sync()
    assert (sync["status"], sync["warnings"], sync["coverage"]["skipped"]) == ("complete", [], 0)
    await harness.assert_equal()
    (row,) = await harness.rows("SELECT id FROM runs WHERE conf <> '{}'")
    async with open_client(harness, f"deep-{levels}-{harness.model.api}@example.com") as (client, key):
        (space,) = await harness.rows("SELECT slug FROM spaces WHERE id = current_space()")
        response = await client.as_(key, "GET", f"/spaces/{space['slug']}/orchestration/runs/{row['id']}")
        assert depth_of(response.json()["conf"]) == levels
        page = await client.get(f"/spaces/{space['slug']}/runs/{row['id']}", headers={"Accept": "text/html"})
        assert page.status_code < 500


@pytest.mark.parametrize("levels", [253, 254, 900])
async def test_too_deeply_nested_trigger_is_dropped_and_reported(harness: SyncHarness, levels: int) -> None:
    task = a_task(harness)
    task.trigger = {"kwargs": nested(levels)}
    sync = await harness.sync()
    assert (sync["status"], sync["coverage"]["skipped"]) == ("complete", 1)
    (warning,) = sync["warnings"]
    assert f"Task {task.task_id}" in warning
    assert "is stored without trigger" in warning
    assert len(await harness.tasks()) == len(harness.model.tasks)


async def test_display_names_of_a_thousand_cjk_characters_are_mirrored_and_listed(harness: SyncHarness) -> None:
    for number, dag in enumerate(harness.model.dags.values()):
        dag.name = cjk(1_000 * (number + 1) if number < 2 else 2_000, number)
    sync = await harness.sync()
    assert (sync["status"], sync["warnings"]) == ("complete", [])
    await harness.settle()
    await harness.assert_equal()
    async with open_client(harness, f"cjk-{harness.model.api}@example.com") as (client, key):
        (space,) = await harness.rows("SELECT slug FROM spaces WHERE id = current_space()")
        response = await client.as_(key, "GET", f"/spaces/{space['slug']}/orchestration/pipelines")
        names = [row["name"] for row in response.json()]
    assert names == sorted(dag.name or "" for dag in harness.model.dags.values())


@pytest.mark.parametrize("changes", [{"map_index": 2**31}, {"map_index": 2**70}])
async def test_task_run_with_oversized_identity_is_skipped_and_reported(
    harness: SyncHarness, changes: dict[str, int]
) -> None:
    task = a_task(harness)
    before = len(harness.model.tasks)
    task.map_index = changes["map_index"]
    sync = await harness.sync()
    assert sync["status"] == "complete", sync["error"]
    assert sync["coverage"]["skipped"] == 1
    (warning,) = sync["warnings"]
    assert f"Task {task.task_id}" in warning
    assert f"run {task.run_id} of DAG {task.dag_id}" in warning
    assert str(changes["map_index"])[:40] in warning
    assert len(await harness.tasks()) == before - 1
    idle = await harness.sync(trigger="schedule")
    assert (idle["status"], idle["warnings"]) == ("complete", [warning]), "it is still so"


@pytest.mark.parametrize(
    ("field", "value"),
    [("try_number", 2**40), ("try_number", -(2**70)), ("max_tries", 2**31)],
)
async def test_oversized_task_run_field_is_dropped_until_it_fits(harness: SyncHarness, field: str, value: int) -> None:
    task = a_task(harness)
    was = getattr(task, field)
    setattr(task, field, value)
    sync = await harness.sync()
    assert (sync["status"], sync["coverage"]["skipped"]) == ("complete", 1)
    (warning,) = sync["warnings"]
    assert f"is stored without {field}" in warning
    stored = await harness.tasks()
    assert len(stored) == len(harness.model.tasks)
    mine = stored[task.dag_id, task.run_id, task.task_id, task.map_index]
    assert (mine[field], mine["status"]) == (0, task.state)
    setattr(task, field, was)
    await harness.force_full_check()
    again = await harness.sync(trigger="schedule")
    assert (again["status"], again["warnings"], again["coverage"]["skipped"]) == ("complete", [], 0)
    await harness.settle()
    await harness.assert_equal()


async def test_rows_with_several_oversized_fields_are_stored_without_them(harness: SyncHarness) -> None:
    tasks = list(harness.model.tasks.values())
    for task in tasks[::3]:
        task.try_number, task.max_tries, task.note = 2**40, 2**50, "kept"
    sync = await harness.sync()
    assert (sync["status"], sync["coverage"]["skipped"]) == ("complete", len(tasks[::3]))
    assert all("without max_tries, try_number" in warning for warning in sync["warnings"]), sync["warnings"]
    stored = await harness.tasks()
    assert len(stored) == len(tasks)
    assert sum(row["note"] == "kept" for row in stored.values()) == len(tasks[::3])


async def test_pipelines_and_runs_with_text_too_long_for_index_are_skipped_and_reported(harness: SyncHarness) -> None:
    harness.model.add_dag(cjk(3_000))
    harness.model.start_run("bills", cjk(3_000, 1))
    harness.model.runs["bills", "run_0"].run_type = cjk(3_000, 2)
    sync = await harness.sync()
    assert sync["status"] == "complete", sync["error"]
    runs = await harness.runs()
    assert {("bills", "run_1"), ("news", "run_0")} <= runs.keys()
    assert ("bills", "run_0") not in runs
    assert len(await harness.rows("SELECT id FROM pipelines")) == 3
    assert sync["coverage"]["skipped"] == len(sync["warnings"]) == 3
    assert any("Run run_0 of DAG bills" in warning and "index row" in warning for warning in sync["warnings"])
