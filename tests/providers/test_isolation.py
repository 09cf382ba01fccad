"""Rows that cannot be listed are passed over and named, and everything else of the list is read."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from airflow_double.faults import Double, Faults
from airflow_double.oddities import Key
from airflow_double.rows import RunKey
from providers.doubles import BEGIN, BETWEEN, CHANGED, KINDS, a_double, ids, keys, reading, skipped, use
from windsock.errors import ProviderHTTPError
from windsock.providers.airflow import Airflow
from windsock.providers.airflow.scans import Limits
from windsock.providers.base import (
    Page,
)
from windsock.providers.scopes import (
    RunRange,
    SingleRun,
    UpdatedSince,
)


@pytest.mark.parametrize("page", [5, 100])
@pytest.mark.parametrize("scope", [CHANGED, BETWEEN])
@pytest.mark.parametrize("numbers", [[0], [39], [7], [8, 9], [0, 17, 38, 39]])
@pytest.mark.parametrize("kind", KINDS)
def test_poisoned_runs_are_named_and_all_others_are_read(kind: str, numbers: list[int], scope: Any, page: int) -> None:
    double = a_double(kind)
    every = set(double.model.runs)
    poisoned = {(f"dag_{number % 3:02}", f"run_{number:03}") for number in numbers}
    double.api.oddities.poisoned = set(poisoned)
    pages = use(double, reading("runs", scope), Limits(page=page))
    assert keys(pages, "runs") == every - poisoned
    assert {ids(one) for one in skipped(pages)} == poisoned
    assert len(skipped(pages)) == len(poisoned)
    assert all(one.kind == "runs" and "500" in one.reason for one in skipped(pages))
    assert pages[-1].resume is None


@pytest.mark.parametrize("numbers", [[0], [79], [33], [5, 6], [0, 40, 78, 79]])
@pytest.mark.parametrize("kind", KINDS)
def test_poisoned_task_runs_are_named_and_all_others_are_read(kind: str, numbers: list[int]) -> None:
    double = a_double(kind)
    every = list(double.model.tasks)
    poisoned = {every[number] for number in numbers}
    double.api.oddities.poisoned = set(poisoned)
    for scope in (CHANGED, BETWEEN):
        pages = use(double, reading("task_runs", scope))
        assert keys(pages, "task_runs") == set(every) - poisoned
        assert {ids(one) for one in skipped(pages)} == poisoned


@pytest.mark.parametrize("instances", [1, 8])
@pytest.mark.parametrize("scope", [CHANGED, BETWEEN, SingleRun("dag_01", "run_001")])
def test_poisoned_task_run_of_a_run_whose_list_has_no_order_is_passed_over(scope: Any, instances: int) -> None:
    """Its instances are of one moment, so that no window of time parts them, and no pages either."""
    double = a_double("v1", runs=3)
    key = ("dag_01", "run_001")
    first = double.model.tasks[(*key, "load", -1)]
    first.updated_at -= timedelta(seconds=30)
    for number in range(2, instances):
        task = replace(first, id=1_000 + number, task_id=f"more_{number}")
        task.updated_at -= timedelta(seconds=7 * number - 25)
        double.model.tasks[task.key] = task
    poisoned = (*key, "load", -1)
    double.api.oddities.poisoned, double.api.oddities.has_no_order = {poisoned}, True
    pages = use(double, reading("task_runs", scope))
    expected = {task for task in double.model.tasks if not isinstance(scope, SingleRun) or task[:2] == key}
    assert keys(pages, "task_runs") == expected - {poisoned}
    assert len(skipped(pages)) == 1
    assert len(double.asked) < 250


@pytest.mark.parametrize("kind", KINDS)
def test_instances_of_a_mapped_task_are_named_by_their_index(kind: str) -> None:
    double = a_double(kind, runs=3)
    for key in list(double.model.runs):
        for _ in range(8):
            double.model.step(key)
    mapped = [key for key in double.model.tasks if key[3] == 1]
    assert mapped
    double.api.oddities.poisoned = {mapped[0]}
    pages = use(double, reading("task_runs", CHANGED))
    assert keys(pages, "task_runs") == set(double.model.tasks) - {mapped[0]}
    assert [ids(one) for one in skipped(pages)] == [mapped[0]]


@pytest.mark.parametrize("kind", KINDS)
def test_a_poisoned_task_run_in_the_list_of_its_run(kind: str) -> None:
    double = a_double(kind)
    key = ("dag_01", "run_001", "load", -1)
    double.api.oddities.poisoned = {key}
    pages = use(double, reading("task_runs", SingleRun("dag_01", "run_001")))
    assert keys(pages, "task_runs") == {("dag_01", "run_001", "extract", -1)}
    assert [ids(one) for one in skipped(pages)] == [key]


@pytest.mark.parametrize("api", ["v1", "v2"])
@pytest.mark.parametrize("numbers", [[0], [119], [50, 51], [3, 99, 100]])
def test_poisoned_dags_are_named_and_all_others_are_listed(api: str, numbers: list[int]) -> None:
    double = a_double(api, dags=120, runs=120)
    poisoned = {(f"dag_{number:02}",) for number in numbers}
    double.api.oddities.poisoned = set(poisoned)
    listing = use(double, lambda airflow: airflow.list_pipelines())
    assert {(row.external_id,) for row in listing.rows} == {(dag,) for dag in double.model.dags} - poisoned
    named = {ids(one) for one in listing.skipped if one.pipeline_external_id}
    assert named <= poisoned
    assert len(listing.skipped) == len(poisoned)
    assert all("it stands" in one.reason for one in listing.skipped if not one.pipeline_external_id)


def test_a_poisoned_row_that_nothing_names_is_told_by_its_neighbours() -> None:
    double = a_double("v2")
    double.api.oddities.poisoned = {("dag_01", "run_007")}
    pages = use(double, reading("runs", CHANGED), Limits(naming_requests=0))
    (one,) = skipped(pages)
    assert ids(one) == ()
    assert "behind run run_006 of DAG dag_00 and before run run_008 of DAG dag_02" in one.reason
    pages = use(double, reading("runs", RunRange(BEGIN, None, "dag_01")), Limits(naming_requests=0))
    assert [one.pipeline_external_id for one in skipped(pages)] == ["dag_01"], "the list is of one DAG"


@pytest.mark.parametrize("api", ["v1", "v2"])
def test_a_poisoned_entry_of_the_log_is_passed_over(api: str) -> None:
    double = a_double(api)
    for number in range(5):
        double.model.note_run(("dag_00", "run_000") if number == 2 else ("dag_01", "run_001"), "x")
    double.api.oddities.poisoned = {("event", double.model.events[1]["event_log_id"])}
    hints = use(double, lambda airflow: airflow.read_event_log(BEGIN, [], []))
    assert set(hints.runs) == {("dag_00", "run_000"), ("dag_01", "run_001")}
    assert not hints.is_whole
    double.api.oddities.poisoned = set()
    assert use(double, lambda airflow: airflow.read_event_log(BEGIN, [], [])).is_whole


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("what", ["runs", "task_runs"])
def test_a_server_that_fails_at_every_row_stays_a_failure(kind: str, what: str) -> None:
    double = a_double(kind, dags=3, runs=9)
    double.api.oddities.poisoned = {*double.model.runs, *double.model.tasks}
    with pytest.raises(ProviderHTTPError):
        use(double, reading(what, CHANGED))
    assert len(double.asked) < 50


@pytest.mark.parametrize("status", ["500", "503"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_server_that_fails_at_everything_is_asked_little_more(kind: str, status: str) -> None:
    for what in ("runs", "task_runs"):
        double = a_double(kind)
        double.faults = Faults(chance=1.0, kinds=(status,), where="/dags")
        with pytest.raises(ProviderHTTPError):
            use(double, reading(what, CHANGED))
        assert sum("/dags" in one for one in double.asked) <= (2 if status == "500" else 6)


@pytest.mark.parametrize("kind", KINDS)
def test_the_only_changed_run_may_be_the_poisoned_one(kind: str) -> None:
    """Others are shown to be readable by a list without the filter."""
    double = a_double(kind)
    double.model.let_pass(3600)
    since = UpdatedSince(double.model.now() - timedelta(minutes=5))
    key = ("dag_02", "run_005")
    double.model.mark_run(key, "failed")
    double.api.oddities.poisoned = {key}
    pages = use(double, reading("runs", since))
    assert (keys(pages, "runs"), [ids(one) for one in skipped(pages)]) == (set(), [key])


@pytest.mark.parametrize("kind", KINDS)
def test_a_single_500_costs_one_request_more(kind: str) -> None:
    double = a_double(kind)
    clean = a_double(kind)
    pages = use(clean, reading("runs", CHANGED), Limits(page=10))
    double.faults.plan, double.faults.where = ["500"], "/dagRuns"
    again = use(double, reading("runs", CHANGED), Limits(page=10))
    assert keys(again, "runs") == keys(pages, "runs")
    assert skipped(again) == []
    # Before it shows the words of a server, it asks once which program that is.
    assert len(double.asked) <= len(clean.asked) + 3


def test_pages_grow_again_after_a_large_row() -> None:
    double = a_double("v2", runs=1200)
    double.api.oddities.poisoned = {("dag_00", "run_006")}
    double.faults = Faults()
    pages = use(double, reading("runs", CHANGED))
    assert len(skipped(pages)) == 1
    assert len(double.asked) < 12 + 25


@pytest.mark.parametrize("kind", KINDS)
def test_rows_deleted_while_a_page_is_taken_apart_do_not_hide_others(kind: str) -> None:
    for when in range(2, 14):
        double = a_double(kind, runs=30)
        double.api.oddities.poisoned = {("dag_02", "run_011")}
        doomed = [("dag_01", "run_004"), ("dag_00", "run_015")]
        asked = 0

        def between(when: int = when, double: Double = double, doomed: list[RunKey] = doomed) -> None:
            nonlocal asked
            asked += 1
            if asked == when:
                for key in doomed:
                    double.model.delete_run(key)

        double.between = between
        pages = use(double, reading("runs", CHANGED), Limits(page=20))
        assert set(double.model.runs) - {("dag_02", "run_011")} <= keys(pages, "runs"), when
        assert ("dag_02", "run_011") in {ids(one) for one in skipped(pages)}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("what", ["runs", "task_runs"])
def test_an_interrupted_scan_goes_on_behind_a_poisoned_row(kind: str, what: str) -> None:
    double = a_double(kind)
    every: list[Key] = list(double.model.runs if what == "runs" else double.model.tasks)
    double.api.oddities.poisoned = {every[12]}

    async def read(airflow: Airflow) -> list[Page[Any]]:
        pages: list[Page[Any]] = []
        resume, is_over = None, False
        while not is_over:
            scan = airflow.runs(CHANGED, resume) if what == "runs" else airflow.task_runs(CHANGED, resume)
            async for page in scan:
                pages.append(page)
                resume, is_over = page.resume, page.resume is None
                break
        return pages

    pages = use(double, read, Limits(page=9, window=9))
    assert keys(pages, what) == set(every) - {every[12]}
    assert {ids(one) for one in skipped(pages)} == {every[12]}


@pytest.mark.parametrize("kind", KINDS)
def test_every_fiftieth_row_poisoned_costs_a_bounded_number_of_requests(kind: str) -> None:
    double, clean = a_double(kind, dags=10, runs=1000), a_double(kind, dags=10, runs=1000)
    poisoned = {key for number, key in enumerate(double.model.runs) if number % 50 == 25}
    use(clean, reading("runs", CHANGED))
    double.api.oddities.poisoned = set(poisoned)
    pages = use(double, reading("runs", CHANGED), Limits(naming_requests=0))
    assert len(keys(pages, "runs")) == 980
    assert len(skipped(pages)) == 20
    assert len(double.asked) <= len(clean.asked) + 12 * 20
