"""Loops of Airflow 3.4 in the mirror: each iteration a task run, and none that a clear has taken away."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from airflow.harness import open_windsock
from conftest import SECRET_KEY
from databases import Databases
from factories import make_task_run
from fake_airflow.api import Api
from fake_airflow.faults import FakeAirflow
from fake_airflow.model import Model
from fake_airflow.regions import LOOP, LOOPED, is_gate
from fake_airflow.rows import Task
from sync.harness import SyncHarness
from windsock.db.database import Row
from windsock.providers.base import ProviderTaskRun
from windsock.sync.writer import MirrorWriter

pytestmark = pytest.mark.anyio

RUN = ("refined", "once")
PLAIN = ("mapped", "once")
IN_LOOP = {"loop_id": "repeat"}


@pytest.fixture
async def harness(make_database: Databases) -> AsyncIterator[SyncHarness]:
    """A loop of three iterations around a mapped task, and a mapped task without one; both have ended."""
    model = Model("v2", has_regions=True)
    model.add_dag("refined", dict(LOOPED), mapped=frozenset({"repeat.work"}), loops=frozenset({LOOP}))
    model.add_dag("mapped", mapped=frozenset({"load"}))
    for key in (RUN, PLAIN):
        model.start_run(*key, at=model.now() - timedelta(hours=3))
    async with open_windsock(make_database, SECRET_KEY) as windsock:
        sync_harness = SyncHarness(windsock.process, FakeAirflow(Api(model)))
        await sync_harness.connect_to_double()
        yield sync_harness


def go_on(harness: SyncHarness, steps: int = 80) -> None:
    for _ in range(steps):
        harness.model.step(RUN)
        harness.model.step(PLAIN)


def gates(harness: SyncHarness) -> list[Task]:
    return sorted(
        (iteration for iteration in harness.model.tasks.values() if is_gate(iteration)),
        key=lambda iteration: iteration.region_index,
    )


@pytest.mark.parametrize("odd", [{"try_number": 2**40}, {"map_index": 2**31}])
async def test_skipped_loop_iterations_are_distinguished_by_region(harness: SyncHarness, odd: dict[str, Any]) -> None:
    """Each is named by its region; nothing else of the loop is spared or taken for one of them."""
    go_on(harness)
    await harness.settle()
    before = (await harness.tasks()).keys()
    harness.fake.api.oddities.odd = {(*RUN, "repeat.gate", -1): odd}
    for _ in range(2):
        sync = await harness.carry_out(await harness.queue(is_full=True, trigger="manual"))
        assert (sync["status"], sync["coverage"]["skipped"]) == ("complete", 3), sync["warnings"]
    for gate in gates(harness):
        start = f"Task repeat.gate (region {gate.region_id}, index {gate.region_index}) of run once"
        assert sum(warning.startswith(start) for warning in sync["warnings"]) == 1
    known = await harness.rows("SELECT DISTINCT region_id, region_index FROM skipped_rows WHERE is_mirrored")
    assert {(row["region_id"], row["region_index"]) for row in known} == {
        (gate.region_id, gate.region_index) for gate in gates(harness)
    }
    assert (await harness.tasks()).keys() == before
    deleted = harness.model.tasks.pop(next(key for key in harness.model.tasks if key[2] == "repeat.choose"))
    for _ in range(2):
        await harness.carry_out(await harness.queue(is_full=True, trigger="manual"))
    assert (await harness.tasks()).keys() == before - {deleted.key}
    harness.fake.api.oddities.odd = {}
    await harness.force_full_check()
    sync = await harness.sync(trigger="schedule")
    assert (sync["warnings"], sync["coverage"]["skipped"]) == ([], 0)


async def live(harness: SyncHarness) -> list[Row]:
    return await harness.rows(
        "SELECT * FROM task_runs WHERE removed_at IS NULL AND loop_id = 'repeat'"
        " ORDER BY loop_iteration, external_id, map_index"
    )


async def test_loop_iterations_and_their_mapped_instances_are_mirrored_as_task_runs(harness: SyncHarness) -> None:
    for steps in (0, 5, 20, 80):
        go_on(harness, steps)
        harness.model.let_pass(5)
        assert (await harness.sync(trigger="schedule"))["status"] == "complete"
        await harness.assert_equal()
    found = [(row["loop_iteration"], row["external_id"], row["map_index"]) for row in await live(harness)]
    item = [("repeat.choose", -1), ("repeat.gate", -1), *(("repeat.work", index) for index in range(3))]
    assert found == [(iteration, *instance) for iteration in range(3) for instance in item]
    (run,) = await harness.rows(
        "SELECT task_counts FROM runs WHERE external_id = 'once' AND task_counts ->> 'success' = '15'"
    )
    assert run["task_counts"] == {"success": 15}


@pytest.mark.parametrize("sees_log", [True, False])
@pytest.mark.parametrize("steps", [0, 80])
async def test_cleared_loop_iterations_are_removed_by_next_sync(
    harness: SyncHarness, steps: int, *, sees_log: bool
) -> None:
    """Whether or not others have come in their place by then."""
    harness.fake.api.shows_events = sees_log
    go_on(harness)
    await harness.settle()
    before = {row["id"]: row for row in await live(harness)}
    commented = next(row for row in before.values() if row["loop_iteration"] == 2)
    await harness.execute(
        "INSERT INTO comments (space_id, run_id, task_run_id, content)"
        " VALUES (%(space_id)s, %(run)s, %(task)s, 'why?')",
        {"run": commented["run_id"], "task": commented["id"]},
    )
    harness.model.clear_task(gates(harness)[0].key)
    harness.model.runs[RUN].state = "running"
    go_on(harness, steps)
    harness.model.let_pass(5)
    sync = await harness.sync(trigger="schedule")
    assert (sync["status"], sync["task_runs"]["removed"]) == ("complete", 10)
    await harness.assert_equal()
    now = await live(harness)
    assert [row["id"] in before for row in now] == [row["loop_iteration"] == 0 for row in now]
    (comment,) = await harness.rows("SELECT task_run_id FROM comments")
    assert comment["task_run_id"] == commented["id"], "what was said stays where it was said"


async def test_mirror_equals_airflow_after_run_with_loop_is_cleared(harness: SyncHarness) -> None:
    go_on(harness)
    await harness.settle()
    harness.model.clear_run(RUN)
    harness.model.clear_run(PLAIN)
    for steps in (0, 30, 80):
        go_on(harness, steps)
        harness.model.let_pass(5)
        assert (await harness.sync(trigger="schedule"))["status"] == "complete"
        await harness.assert_equal()


async def test_task_run_outside_loops_is_not_removed_at_first_check(harness: SyncHarness) -> None:
    """A clear in a loop makes us look at the whole run; what else is missing there has but that one witness."""
    harness.fake.api.shows_events = False
    harness.model.dags["refined"].tasks["report"] = []
    harness.model.start_run("refined", "twice", at=harness.model.now() - timedelta(hours=2))
    for _ in range(80):
        harness.model.step(("refined", "twice"))
    await harness.settle()
    (gate, *_) = [
        iteration for iteration in gates(harness) if iteration.run_id == "twice" and iteration.region_index == 0
    ]
    harness.model.clear_task(gate.key)
    harness.model.delete_task(("refined", "twice", "report", -1))
    harness.model.let_pass(5)
    sync = await harness.sync(trigger="schedule")
    assert (sync["status"], sync["task_runs"]["removed"]) == ("complete", 10)
    left = await harness.rows("SELECT removed_at FROM task_runs WHERE external_id = 'report'")
    assert left == [{"removed_at": None}]


async def test_idle_sync_with_loops_writes_nothing(harness: SyncHarness) -> None:
    go_on(harness)
    await harness.settle()
    before = await harness.row_versions()
    sync = await harness.sync(trigger="schedule")
    assert sync["provider_requests"] == 4
    assert await harness.row_versions() == before


def instance(map_index: int, region: str, region_index: int, **more: Any) -> ProviderTaskRun:
    return make_task_run(
        "refined", "once", "work", "success", map_index=map_index, region_id=region, region_index=region_index, **more
    )


@pytest.mark.parametrize(
    ("pages", "expected"),
    [
        # The placeholder has the region of its instances; on an Airflow that was upgraded meanwhile it has none.
        ([[("a", -1, -1)], [("a", 0, 0), ("a", 1, 1)]], [("a", 0, 0), ("a", 1, 1)]),
        ([[("", -1, -1)], [("a", 0, 0), ("a", 1, 1)]], [("a", 0, 0), ("a", 1, 1)]),
        ([[("a", -1, -1), ("a", 0, 0)]], [("a", 0, 0)]),
        ([[("a", 0, 0)], [("a", -1, -1)], [("a", 1, 1)]], [("a", 0, 0), ("a", 1, 1)]),
        # That of another iteration stays, and so do iterations, which are no placeholders.
        ([[("a", -1, -1), ("b", -1, -1)], [("b", 0, 0)]], [("a", -1, -1), ("b", 0, 0)]),
        ([[("a", -1, 0), ("a", -1, 1)], [("a", 0, 0)]], [("a", -1, 0), ("a", -1, 1), ("a", 0, 0)]),
        # As before: Airflows without regions.
        ([[("", -1, -1)], [("", 0, -1), ("", 1, -1)]], [("", 0, -1), ("", 1, -1)]),
    ],
)
async def test_placeholder_is_replaced_only_by_instances_of_its_region(
    harness: SyncHarness, pages: list[list[tuple[str, int, int]]], expected: list[tuple[str, int, int]]
) -> None:
    await harness.sync(trigger="schedule")
    mirror = MirrorWriter(harness.space_id, harness.connector_id)
    async with harness.db.tenant_transaction(harness.space_id) as tx:
        known = await mirror.known_pipelines(tx)
        for page in pages:
            await mirror.store_task_runs(tx, [instance(mapped, region, index) for region, mapped, index in page], known)
    rows = await harness.rows(
        "SELECT region_id, map_index, region_index FROM task_runs WHERE external_id = 'work'"
        " ORDER BY region_id, map_index, region_index"
    )
    assert [tuple(row.values()) for row in rows] == expected
