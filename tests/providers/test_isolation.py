"""Rows that cannot be listed are passed over and named, and everything else of the list is read."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from fake_airflow.faults import FakeAirflow, Faults
from fake_airflow.oddities import Key
from fake_airflow.rows import RunKey
from providers.fake_airflow_helpers import (
    BEGIN,
    BETWEEN,
    CHANGED,
    KINDS,
    ids,
    keys,
    make_fake_airflow,
    reading,
    skipped,
    use,
)
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
def test_poisoned_runs_are_reported_and_all_others_are_read(
    kind: str, numbers: list[int], scope: Any, page: int
) -> None:
    fake = make_fake_airflow(kind)
    every = set(fake.model.runs)
    poisoned = {(f"dag_{number % 3:02}", f"run_{number:03}") for number in numbers}
    fake.api.oddities.poisoned = set(poisoned)
    pages = use(fake, reading("runs", scope), Limits(page=page))
    assert keys(pages, "runs") == every - poisoned
    assert {ids(row) for row in skipped(pages)} == poisoned
    assert len(skipped(pages)) == len(poisoned)
    assert all(row.kind == "runs" and "500" in row.reason for row in skipped(pages))
    assert pages[-1].resume is None


@pytest.mark.parametrize("numbers", [[0], [79], [33], [5, 6], [0, 40, 78, 79]])
@pytest.mark.parametrize("kind", KINDS)
def test_poisoned_task_runs_are_reported_and_all_others_are_read(kind: str, numbers: list[int]) -> None:
    fake = make_fake_airflow(kind)
    every = list(fake.model.tasks)
    poisoned = {every[number] for number in numbers}
    fake.api.oddities.poisoned = set(poisoned)
    for scope in (CHANGED, BETWEEN):
        pages = use(fake, reading("task_runs", scope))
        assert keys(pages, "task_runs") == set(every) - poisoned
        assert {ids(row) for row in skipped(pages)} == poisoned


@pytest.mark.parametrize("instances", [1, 8])
@pytest.mark.parametrize("scope", [CHANGED, BETWEEN, SingleRun("dag_01", "run_001")])
def test_unreadable_task_run_in_unordered_list_is_skipped(scope: Any, instances: int) -> None:
    """Its instances are of one moment, so that no window of time parts them, and no pages either."""
    fake = make_fake_airflow("v1", runs=3)
    key = ("dag_01", "run_001")
    first = fake.model.tasks[(*key, "load", -1)]
    first.updated_at -= timedelta(seconds=30)
    for number in range(2, instances):
        task = replace(first, id=1_000 + number, task_id=f"more_{number}")
        task.updated_at -= timedelta(seconds=7 * number - 25)
        fake.model.tasks[task.key] = task
    poisoned = (*key, "load", -1)
    fake.api.oddities.poisoned, fake.api.oddities.has_no_order = {poisoned}, True
    pages = use(fake, reading("task_runs", scope))
    expected = {task for task in fake.model.tasks if not isinstance(scope, SingleRun) or task[:2] == key}
    assert keys(pages, "task_runs") == expected - {poisoned}
    assert len(skipped(pages)) == 1
    assert len(fake.requests) < 250


@pytest.mark.parametrize("kind", KINDS)
def test_poisoned_mapped_instance_is_reported_by_map_index(kind: str) -> None:
    fake = make_fake_airflow(kind, runs=3)
    for key in list(fake.model.runs):
        for _ in range(8):
            fake.model.step(key)
    mapped = [key for key in fake.model.tasks if key[3] == 1]
    assert mapped
    fake.api.oddities.poisoned = {mapped[0]}
    pages = use(fake, reading("task_runs", CHANGED))
    assert keys(pages, "task_runs") == set(fake.model.tasks) - {mapped[0]}
    assert [ids(row) for row in skipped(pages)] == [mapped[0]]


@pytest.mark.parametrize("kind", KINDS)
def test_poisoned_task_run_in_list_of_its_run_is_skipped(kind: str) -> None:
    fake = make_fake_airflow(kind)
    key = ("dag_01", "run_001", "load", -1)
    fake.api.oddities.poisoned = {key}
    pages = use(fake, reading("task_runs", SingleRun("dag_01", "run_001")))
    assert keys(pages, "task_runs") == {("dag_01", "run_001", "extract", -1)}
    assert [ids(row) for row in skipped(pages)] == [key]


@pytest.mark.parametrize("api", ["v1", "v2"])
@pytest.mark.parametrize("numbers", [[0], [119], [50, 51], [3, 99, 100]])
def test_poisoned_dags_are_reported_and_all_others_are_listed(api: str, numbers: list[int]) -> None:
    fake = make_fake_airflow(api, dags=120, runs=120)
    poisoned = {(f"dag_{number:02}",) for number in numbers}
    fake.api.oddities.poisoned = set(poisoned)
    listing = use(fake, lambda airflow: airflow.list_pipelines())
    assert {(row.external_id,) for row in listing.rows} == {(dag,) for dag in fake.model.dags} - poisoned
    named = {ids(row) for row in listing.skipped if row.pipeline_external_id}
    assert named <= poisoned
    assert len(listing.skipped) == len(poisoned)
    assert all("it stands" in row.reason for row in listing.skipped if not row.pipeline_external_id)


def test_unreadable_row_without_id_is_described_by_its_neighbours() -> None:
    fake = make_fake_airflow("v2")
    fake.api.oddities.poisoned = {("dag_01", "run_007")}
    pages = use(fake, reading("runs", CHANGED), Limits(naming_requests=0))
    (row,) = skipped(pages)
    assert ids(row) == ()
    assert "behind run run_006 of DAG dag_00 and before run run_008 of DAG dag_02" in row.reason
    pages = use(fake, reading("runs", RunRange(BEGIN, None, "dag_01")), Limits(naming_requests=0))
    assert [item.pipeline_external_id for item in skipped(pages)] == ["dag_01"], "the list is of one DAG"


@pytest.mark.parametrize("api", ["v1", "v2"])
def test_poisoned_event_log_entry_is_skipped_and_log_is_incomplete(api: str) -> None:
    fake = make_fake_airflow(api)
    for number in range(5):
        fake.model.note_run(("dag_00", "run_000") if number == 2 else ("dag_01", "run_001"), "x")
    fake.api.oddities.poisoned = {("event", fake.model.events[1]["event_log_id"])}
    hints = use(fake, lambda airflow: airflow.read_event_log(BEGIN, [], []))
    assert set(hints.runs) == {("dag_00", "run_000"), ("dag_01", "run_001")}
    assert not hints.is_complete
    fake.api.oddities.poisoned = set()
    assert use(fake, lambda airflow: airflow.read_event_log(BEGIN, [], [])).is_complete


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("what", ["runs", "task_runs"])
def test_server_that_fails_at_every_row_raises_error(kind: str, what: str) -> None:
    fake = make_fake_airflow(kind, dags=3, runs=9)
    fake.api.oddities.poisoned = {*fake.model.runs, *fake.model.tasks}
    with pytest.raises(ProviderHTTPError):
        use(fake, reading(what, CHANGED))
    assert len(fake.requests) < 50


@pytest.mark.parametrize("status", ["500", "503"])
@pytest.mark.parametrize("kind", KINDS)
def test_constantly_failing_server_gets_few_further_requests(kind: str, status: str) -> None:
    for what in ("runs", "task_runs"):
        fake = make_fake_airflow(kind)
        fake.faults = Faults(chance=1.0, kinds=(status,), where="/dags")
        with pytest.raises(ProviderHTTPError):
            use(fake, reading(what, CHANGED))
        assert sum("/dags" in request for request in fake.requests) <= (2 if status == "500" else 6)


@pytest.mark.parametrize("kind", KINDS)
def test_poisoned_run_is_skipped_when_it_is_the_only_change(kind: str) -> None:
    """Others are shown to be readable by a list without the filter."""
    fake = make_fake_airflow(kind)
    fake.model.let_pass(3600)
    since = UpdatedSince(fake.model.now() - timedelta(minutes=5))
    key = ("dag_02", "run_005")
    fake.model.mark_run(key, "failed")
    fake.api.oddities.poisoned = {key}
    pages = use(fake, reading("runs", since))
    assert (keys(pages, "runs"), [ids(row) for row in skipped(pages)]) == (set(), [key])


@pytest.mark.parametrize("kind", KINDS)
def test_single_500_costs_few_extra_requests(kind: str) -> None:
    fake = make_fake_airflow(kind)
    clean = make_fake_airflow(kind)
    pages = use(clean, reading("runs", CHANGED), Limits(page=10))
    fake.faults.plan, fake.faults.where = ["500"], "/dagRuns"
    again = use(fake, reading("runs", CHANGED), Limits(page=10))
    assert keys(again, "runs") == keys(pages, "runs")
    assert skipped(again) == []
    # Before it shows the words of a server, it asks once which program that is.
    assert len(fake.requests) <= len(clean.requests) + 3


def test_page_size_recovers_after_poisoned_row() -> None:
    fake = make_fake_airflow("v2", runs=1200)
    fake.api.oddities.poisoned = {("dag_00", "run_006")}
    fake.faults = Faults()
    pages = use(fake, reading("runs", CHANGED))
    assert len(skipped(pages)) == 1
    assert len(fake.requests) < 12 + 25


@pytest.mark.parametrize("kind", KINDS)
def test_rows_deleted_while_poisoned_row_is_isolated_do_not_hide_others(kind: str) -> None:
    for when in range(2, 14):
        fake = make_fake_airflow(kind, runs=30)
        fake.api.oddities.poisoned = {("dag_02", "run_011")}
        doomed = [("dag_01", "run_004"), ("dag_00", "run_015")]
        request_count = 0

        def between(when: int = when, fake: FakeAirflow = fake, doomed: list[RunKey] = doomed) -> None:
            nonlocal request_count
            request_count += 1
            if request_count == when:
                for key in doomed:
                    fake.model.delete_run(key)

        fake.between = between
        pages = use(fake, reading("runs", CHANGED), Limits(page=20))
        assert set(fake.model.runs) - {("dag_02", "run_011")} <= keys(pages, "runs"), when
        assert ("dag_02", "run_011") in {ids(row) for row in skipped(pages)}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("what", ["runs", "task_runs"])
def test_interrupted_scan_resumes_after_poisoned_row(kind: str, what: str) -> None:
    fake = make_fake_airflow(kind)
    every: list[Key] = list(fake.model.runs if what == "runs" else fake.model.tasks)
    fake.api.oddities.poisoned = {every[12]}

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

    pages = use(fake, read, Limits(page=9, window=9))
    assert keys(pages, what) == set(every) - {every[12]}
    assert {ids(row) for row in skipped(pages)} == {every[12]}


@pytest.mark.parametrize("kind", KINDS)
def test_every_fiftieth_row_poisoned_costs_a_bounded_number_of_requests(kind: str) -> None:
    fake, clean = make_fake_airflow(kind, dags=10, runs=1000), make_fake_airflow(kind, dags=10, runs=1000)
    poisoned = {key for number, key in enumerate(fake.model.runs) if number % 50 == 25}
    use(clean, reading("runs", CHANGED))
    fake.api.oddities.poisoned = set(poisoned)
    pages = use(fake, reading("runs", CHANGED), Limits(naming_requests=0))
    assert len(keys(pages, "runs")) == 980
    assert len(skipped(pages)) == 20
    assert len(fake.requests) <= len(clean.requests) + 12 * 20


@pytest.mark.parametrize("kind", KINDS)
def test_every_fiftieth_row_with_an_odd_value_costs_no_more_requests(kind: str) -> None:
    fake, clean = make_fake_airflow(kind, dags=10, runs=1000), make_fake_airflow(kind, dags=10, runs=1000)
    use(clean, reading("runs", CHANGED))
    odd = {key for number, key in enumerate(fake.model.runs) if number % 50 == 25}
    fake.api.oddities.odd = {key: {"end_date": 5} for key in odd}
    pages = use(fake, reading("runs", CHANGED))
    assert keys(pages, "runs") == set(fake.model.runs)
    assert {ids(row) for row in skipped(pages)} == odd
    assert len(fake.requests) == len(clean.requests)
