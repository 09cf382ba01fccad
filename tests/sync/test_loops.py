"""Loops of Airflow 3.4 in the mirror: each iteration a task run, and none that a clear has taken away."""

from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import pytest

from airflow.mirrored import a_windsock
from airflow_double.api import Api
from airflow_double.faults import Double
from airflow_double.model import Model
from airflow_double.regions import LOOP, LOOPED, is_gate
from airflow_double.rows import Task
from conftest import SECRET_KEY
from sync.doubled import Doubled
from windsock.db import Row
from windsock.providers.base import ProviderTaskRun
from windsock.sync.writer import MirrorWriter
from world import a_task_run

pytestmark = pytest.mark.anyio

RUN = ("refined", "once")
PLAIN = ("mapped", "once")
IN_LOOP = {"loop_id": "repeat"}


@pytest.fixture
async def doubled(make_database: Callable[[str], str]) -> AsyncIterator[Doubled]:
    """A loop of three iterations around a mapped task, and a mapped task without one; both have ended."""
    model = Model("v2", has_regions=True)
    model.add_dag("refined", dict(LOOPED), mapped=frozenset({"repeat.work"}), loops=frozenset({LOOP}))
    model.add_dag("mapped", mapped=frozenset({"load"}))
    for key in (RUN, PLAIN):
        model.start_run(*key, at=model.now() - timedelta(hours=3))
    async with a_windsock(make_database, SECRET_KEY) as windsock:
        made = Doubled(windsock.process, Double(Api(model)))
        await made.connect_to_double()
        yield made


def go_on(doubled: Doubled, steps: int = 80) -> None:
    for _ in range(steps):
        doubled.model.step(RUN)
        doubled.model.step(PLAIN)


def gates(doubled: Doubled) -> list[Task]:
    return sorted((one for one in doubled.model.tasks.values() if is_gate(one)), key=lambda one: one.region_index)


@pytest.mark.parametrize("odd", [{"try_number": 2**40}, {"map_index": 2**31}])
async def test_skipped_iterations_of_a_task_differ_in_their_region(doubled: Doubled, odd: dict[str, Any]) -> None:
    """Each is named by its region; nothing else of the loop is spared or taken for one of them."""
    go_on(doubled)
    await doubled.settle()
    before = (await doubled.tasks()).keys()
    doubled.double.api.oddities.odd = {(*RUN, "repeat.gate", -1): odd}
    for _ in range(2):
        sync = await doubled.carry_out(await doubled.queue(is_full=True, trigger="manual"))
        assert (sync["status"], sync["coverage"]["skipped"]) == ("complete", 3), sync["warnings"]
    for gate in gates(doubled):
        start = f"Task repeat.gate (region {gate.region_id}, index {gate.region_index}) of run once"
        assert sum(warning.startswith(start) for warning in sync["warnings"]) == 1
    known = await doubled.rows("SELECT DISTINCT region_id, region_index FROM skipped_rows WHERE is_mirrored")
    assert {(row["region_id"], row["region_index"]) for row in known} == {
        (gate.region_id, gate.region_index) for gate in gates(doubled)
    }
    assert (await doubled.tasks()).keys() == before
    deleted = doubled.model.tasks.pop(next(key for key in doubled.model.tasks if key[2] == "repeat.choose"))
    for _ in range(2):
        await doubled.carry_out(await doubled.queue(is_full=True, trigger="manual"))
    assert (await doubled.tasks()).keys() == before - {deleted.key}
    doubled.double.api.oddities.odd = {}
    await doubled.look_closely()
    sync = await doubled.sync(trigger="schedule")
    assert (sync["warnings"], sync["coverage"]["skipped"]) == ([], 0)


async def live(doubled: Doubled) -> list[Row]:
    return await doubled.rows(
        "SELECT * FROM task_runs WHERE removed_at IS NULL AND loop_id = 'repeat'"
        " ORDER BY loop_iteration, external_id, map_index"
    )


async def test_each_iteration_is_a_task_run_and_each_instance_in_it(doubled: Doubled) -> None:
    for steps in (0, 5, 20, 80):
        go_on(doubled, steps)
        doubled.model.let_pass(5)
        assert (await doubled.sync(trigger="schedule"))["status"] == "complete"
        await doubled.assert_equal()
    found = [(row["loop_iteration"], row["external_id"], row["map_index"]) for row in await live(doubled)]
    one = [("repeat.choose", -1), ("repeat.gate", -1), *(("repeat.work", index) for index in range(3))]
    assert found == [(iteration, *instance) for iteration in range(3) for instance in one]
    (run,) = await doubled.rows(
        "SELECT task_counts FROM runs WHERE external_id = 'once' AND task_counts ->> 'success' = '15'"
    )
    assert run["task_counts"] == {"success": 15}


@pytest.mark.parametrize("sees_log", [True, False])
@pytest.mark.parametrize("steps", [0, 80])
async def test_iterations_that_a_clear_took_away_are_gone_with_the_next_sync(
    doubled: Doubled, steps: int, *, sees_log: bool
) -> None:
    """Whether or not others have come in their place by then."""
    doubled.double.api.shows_events = sees_log
    go_on(doubled)
    await doubled.settle()
    before = {row["id"]: row for row in await live(doubled)}
    said = next(row for row in before.values() if row["loop_iteration"] == 2)
    await doubled.execute(
        "INSERT INTO comments (space_id, run_id, task_run_id, content)"
        " VALUES (%(space_id)s, %(run)s, %(task)s, 'why?')",
        {"run": said["run_id"], "task": said["id"]},
    )
    doubled.model.clear_task(gates(doubled)[0].key)
    doubled.model.runs[RUN].state = "running"
    go_on(doubled, steps)
    doubled.model.let_pass(5)
    sync = await doubled.sync(trigger="schedule")
    assert (sync["status"], sync["task_runs"]["removed"]) == ("complete", 10)
    await doubled.assert_equal()
    now = await live(doubled)
    assert [row["id"] in before for row in now] == [row["loop_iteration"] == 0 for row in now]
    (comment,) = await doubled.rows("SELECT task_run_id FROM comments")
    assert comment["task_run_id"] == said["id"], "what was said stays where it was said"


async def test_a_whole_run_with_a_loop_is_cleared(doubled: Doubled) -> None:
    go_on(doubled)
    await doubled.settle()
    doubled.model.clear_run(RUN)
    doubled.model.clear_run(PLAIN)
    for steps in (0, 30, 80):
        go_on(doubled, steps)
        doubled.model.let_pass(5)
        assert (await doubled.sync(trigger="schedule"))["status"] == "complete"
        await doubled.assert_equal()


async def test_a_task_run_outside_of_loops_is_not_removed_at_the_first_look(doubled: Doubled) -> None:
    """A clear in a loop makes us look at the whole run; what else is missing there has but that one witness."""
    doubled.double.api.shows_events = False
    doubled.model.dags["refined"].tasks["report"] = []
    doubled.model.start_run("refined", "twice", at=doubled.model.now() - timedelta(hours=2))
    for _ in range(80):
        doubled.model.step(("refined", "twice"))
    await doubled.settle()
    (gate, *_) = [one for one in gates(doubled) if one.run_id == "twice" and one.region_index == 0]
    doubled.model.clear_task(gate.key)
    doubled.model.delete_task(("refined", "twice", "report", -1))
    doubled.model.let_pass(5)
    sync = await doubled.sync(trigger="schedule")
    assert (sync["status"], sync["task_runs"]["removed"]) == ("complete", 10)
    left = await doubled.rows("SELECT removed_at FROM task_runs WHERE external_id = 'report'")
    assert left == [{"removed_at": None}]


async def test_an_idle_sync_of_loops_writes_nothing(doubled: Doubled) -> None:
    go_on(doubled)
    await doubled.settle()
    before = await doubled.everything()
    sync = await doubled.sync(trigger="schedule")
    assert sync["provider_requests"] == 4
    assert await doubled.everything() == before


def instance(map_index: int, region: str, region_index: int, **more: Any) -> ProviderTaskRun:
    return a_task_run(
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
async def test_placeholders_are_those_of_their_region(
    doubled: Doubled, pages: list[list[tuple[str, int, int]]], expected: list[tuple[str, int, int]]
) -> None:
    await doubled.sync(trigger="schedule")
    mirror = MirrorWriter(doubled.space_id, doubled.connector_id)
    async with doubled.db.tenant_transaction(doubled.space_id) as tx:
        known = await mirror.known_pipelines(tx)
        for page in pages:
            await mirror.store_task_runs(tx, [instance(mapped, region, index) for region, mapped, index in page], known)
    rows = await doubled.rows(
        "SELECT region_id, map_index, region_index FROM task_runs WHERE external_id = 'work'"
        " ORDER BY region_id, map_index, region_index"
    )
    assert [tuple(row.values()) for row in rows] == expected
