"""Single rows that are too large, or take too long, for any list: they are passed over as others that break it."""

from datetime import timedelta
from typing import Any

import pytest

from fake_airflow.api import Api
from fake_airflow.faults import FakeAirflow
from fake_airflow.model import Model
from fake_airflow.regions import LOOP, LOOPED
from providers.fake_airflow_helpers import BEGIN, CHANGED, KINDS, ids, keys, make_fake_airflow, reading, skipped, use
from windsock.providers.airflow.scans import Limits
from windsock.providers.scopes import RunRange, SingleRun


@pytest.mark.parametrize("cause", ["slow", "drop", "504", "cut", "large"])
@pytest.mark.parametrize("numbers", [[0], [-1], [7], [8, 9], [33]])
@pytest.mark.parametrize("what", ["runs", "task_runs"])
@pytest.mark.parametrize("kind", KINDS)
def test_row_that_alone_is_too_much_is_reported_and_all_others_are_read(
    kind: str, what: str, numbers: list[int], cause: Any
) -> None:
    """One row of 11 MB, or one that takes longer than the time-out."""
    fake = make_fake_airflow(kind)
    every: list[Any] = list(fake.model.runs if what == "runs" else fake.model.tasks)
    poisoned = {every[number] for number in numbers}
    fake.api.oddities.poisoned, fake.api.oddities.poisoned_by = set(poisoned), cause
    pages = use(fake, reading(what, CHANGED), Limits(page=10))
    assert keys(pages, what) == set(every) - poisoned
    assert {ids(row) for row in skipped(pages)} == poisoned


@pytest.mark.parametrize("cause", ["slow", "504"])
@pytest.mark.parametrize("kind", KINDS)
def test_slow_task_run_of_a_future_date_does_not_make_the_scan_endless(kind: str, cause: Any) -> None:
    """The open window that holds it was split at the present moment, again and again."""
    fake = make_fake_airflow(kind)
    key = ("dag_00", "of tomorrow")
    fake.model.start_run(*key, at=fake.model.now() + timedelta(hours=20))
    bad = (*key, "extract", -1)
    fake.api.oddities.poisoned, fake.api.oddities.poisoned_by = {bad}, cause
    pages = use(fake, reading("task_runs", RunRange(BEGIN, None)), Limits(requests=2_000))
    assert keys(pages, "task_runs") == set(fake.model.tasks) - {bad}
    assert {ids(row) for row in skipped(pages)} == {bad}
    assert len(fake.requests) < 150


@pytest.mark.parametrize("cause", ["500", "504"])
@pytest.mark.parametrize("task", [("repeat.gate", -1), ("repeat.choose", -1), ("repeat.work", 1)])
@pytest.mark.parametrize("cursors", ["none", "capped"])
@pytest.mark.parametrize("page", [2, 3, 50])
def test_iterations_of_a_loop_that_cannot_be_listed_are_counted_separately(
    cause: Any, task: tuple[str, int], cursors: Any, page: int
) -> None:
    """They share their ids and their address; a list of their run has no other name for them."""
    model = Model("v2", has_regions=True)
    model.add_dag("refined", dict(LOOPED), mapped=frozenset({"repeat.work"}), loops=frozenset({LOOP}))
    model.start_run("refined", "once", at=model.now() - timedelta(hours=3))
    for _ in range(80):
        model.step(("refined", "once"))
    bad = ("refined", "once", *task)
    others = [row.region_index for row in model.tasks.values() if (row.task_id, row.map_index) != task]
    fake = FakeAirflow(Api(model, cursors=cursors))
    fake.api.oddities.poisoned, fake.api.oddities.poisoned_by = {bad}, cause
    pages = use(fake, reading("task_runs", SingleRun("refined", "once", None)), Limits(page=page))
    rows = [row for found in pages for row in found.rows]
    assert sorted(row.region_index for row in rows) == sorted(others)
    assert len(skipped(pages)) == 3
