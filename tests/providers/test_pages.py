"""Scans by cursor and by offset give every row, or raise."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from windsock.errors import ProviderBadResponse, ProviderIncomplete
from windsock.providers.airflow.clock import MOST_BEHIND
from windsock.providers.airflow.scans import Limits
from windsock.providers.base import Page, ProviderRun
from windsock.providers.scopes import RunRange, UpdatedSince

if TYPE_CHECKING:
    from providers.conftest import Lab, Reply, Request
    from windsock.providers.airflow import Airflow


def ids(pages: list[Page[ProviderRun]]) -> list[str]:
    return [row.external_id for page in pages for row in page.rows]


@pytest.mark.parametrize("count", [0, 1, 99, 100, 101, 250])
def test_cursor_is_followed_to_last_page(lab: "Lab", count: int) -> None:
    pages, scripted = lab.against(lab.by_cursor(lab.runs(count)), lab.reading())
    assert ids(pages) == [row["dag_run_id"] for row in lab.runs(count)]
    assert len(scripted.requests) == max(1, -(-count // 100))
    assert [page.resume is None for page in pages] == [*[False] * (len(pages) - 1), True]
    assert scripted.requests[0].params == {
        "updated_at_gte": "2026-11-23T12:00:00.000005Z",
        "order_by": "id",
        "limit": "100",
        "cursor": "",
    }


@pytest.mark.parametrize("api", ["v1", "v2"])
@pytest.mark.parametrize("cap", [10, 50, 100])
@pytest.mark.parametrize("count", [0, 1, 100, 101, 250])
def test_offset_pages_overlap_by_one_row_and_yield_each_row_once(lab: "Lab", api: str, cap: int, count: int) -> None:
    pages, scripted = lab.against(lab.by_offset(lab.runs(count), cap), lab.reading(), api)
    assert ids(pages) == [row["dag_run_id"] for row in lab.runs(count)]
    assert len(scripted.requests) == max(1, -(-(count - 1) // (cap - 1)))
    assert ("cursor" in scripted.requests[0].params) == (api == "v2")


def test_idle_scan_sends_one_request(lab: "Lab") -> None:
    for api, script in (("v2", lab.by_cursor([])), ("v2", lab.by_offset([])), ("v1", lab.by_offset([]))):
        pages, scripted = lab.against(script, lab.reading(), api)
        assert (len(scripted.requests), len(pages), pages[0].expected, pages[0].resume) == (1, 1, 0, None)


@pytest.mark.parametrize("deleted", [1, 5, 60, 190])
def test_rows_shifted_across_page_boundary_are_fetched(lab: "Lab", deleted: int) -> None:
    rows = lab.runs(330)
    request_count = 0

    def script(request: "Request") -> "Reply":
        nonlocal request_count
        request_count += 1
        if request_count == 3:
            del rows[:deleted]
        return lab.by_offset(rows)(request)

    pages, _ = lab.against(script, lab.reading(), "v1")
    assert set(ids(pages)) == {row["dag_run_id"] for row in lab.runs(330)}


def test_rows_inserted_before_page_cause_no_loss(lab: "Lab") -> None:
    rows = lab.runs(250, start=200)
    count = 0

    def script(request: "Request") -> "Reply":
        nonlocal count
        rows.insert(0, lab.runs(1, start=count)[0])
        count += 1
        return lab.by_offset(rows)(request)

    pages, _ = lab.against(script, lab.reading(), "v1")
    assert {row["dag_run_id"] for row in lab.runs(250, start=200)} <= set(ids(pages))


@pytest.mark.parametrize("api", ["v1", "v2"])
def test_server_that_ignores_offset_is_detected(lab: "Lab", api: str) -> None:
    for total in (250, 100_000):
        body = {"dag_runs": lab.runs(100), "total_entries": total}
        with pytest.raises(ProviderIncomplete):
            lab.against(lambda _, body=body: lab.Reply(body), lab.reading(), api)  # type: ignore[misc]


def test_single_row_pages_cannot_verify_completeness(lab: "Lab") -> None:
    with pytest.raises(ProviderIncomplete):
        lab.against(lab.by_offset(lab.runs(9), cap=1), lab.reading(), "v1")


def test_fewer_rows_than_total_is_an_error(lab: "Lab") -> None:
    with pytest.raises(ProviderIncomplete, match="promised 20 dag runs and gave 9"):
        lab.against(lab.by_cursor(lab.runs(9), total_entries=20), lab.reading())
    with pytest.raises(ProviderIncomplete):
        lab.against(lambda _: lab.Reply({"dag_runs": [], "total_entries": 9}), lab.reading(), "v1")


def test_missing_total_is_accepted_in_cursor_scan(lab: "Lab") -> None:
    pages, _ = lab.against(lab.by_cursor(lab.runs(40), total_entries=None), lab.reading())
    assert (len(ids(pages)), pages[0].expected) == (40, None)


def test_capped_total_is_a_lower_bound(lab: "Lab") -> None:
    capped: dict[str, Any] = {"total_entries": 50, "total_entries_limit": 50}
    assert len(ids(lab.against(lab.by_cursor(lab.runs(250), **capped), lab.reading())[0])) == 250
    with pytest.raises(ProviderIncomplete, match="promised 50 dag runs and gave 40"):
        lab.against(lab.by_cursor(lab.runs(40), **capped), lab.reading())


def test_rows_deleted_during_cursor_scan_are_no_error(lab: "Lab") -> None:
    rows = lab.runs(250)

    def script(request: "Request") -> "Reply":
        if request.params["cursor"] == "100":
            del rows[240:]
        return lab.by_cursor(rows)(request)

    pages, _ = lab.against(script, lab.reading())
    assert len(ids(pages)) == 240


@pytest.mark.parametrize(("stored", "before"), [(100, ""), (200, "100")])
def test_deletion_of_all_rows_after_cursor_is_no_error(lab: "Lab", stored: int, before: str) -> None:
    rows = lab.runs(250)

    def script(request: "Request") -> "Reply":
        if request.params["cursor"] == str(stored):
            del rows[stored:]
        return lab.by_cursor(rows, total_entries=None)(request)

    pages, scripted = lab.against(script, lab.reading())
    assert len(ids(pages)) == stored
    assert [request.params["cursor"] for request in scripted.requests[-2:]] == [str(stored), before]


@pytest.mark.parametrize("emptied", ["100", "200"])
def test_empty_page_in_middle_of_cursor_scan_is_an_error(lab: "Lab", emptied: str) -> None:
    def script(request: "Request") -> "Reply":
        if request.params["cursor"] == emptied:
            return lab.Reply({"dag_runs": [], "total_entries": None, "next_cursor": None})
        return lab.by_cursor(lab.runs(250), total_entries=None)(request)

    with pytest.raises(ProviderIncomplete, match="empty page"):
        lab.against(script, lab.reading())


def test_repeated_cursor_is_detected(lab: "Lab") -> None:
    """Even where each answer brings rows that are new."""
    starts = iter(range(0, 100, 5))

    def script(_: "Request") -> "Reply":
        return lab.Reply({"dag_runs": lab.runs(5, next(starts)), "total_entries": None, "next_cursor": "x"})

    with pytest.raises(ProviderIncomplete, match="circles"):
        lab.against(script, lab.reading())
    assert next(starts) == 10


def test_cursors_without_new_rows_are_detected(lab: "Lab") -> None:
    def script(request: "Request") -> "Reply":
        body = {"dag_runs": lab.runs(5), "total_entries": None, "next_cursor": request.params["cursor"] + "x"}
        return lab.Reply(body)

    with pytest.raises(ProviderIncomplete, match="circles"):
        lab.against(script, lab.reading())


def test_scan_is_bounded_in_rows_and_requests(lab: "Lab") -> None:
    with pytest.raises(ProviderIncomplete, match="More than 150"):
        lab.against(lab.by_cursor(lab.runs(250)), lab.reading(), limits=Limits(rows=150))
    with pytest.raises(ProviderIncomplete, match="After 2 requests"):
        lab.against(lab.by_cursor(lab.runs(250)), lab.reading(), limits=Limits(requests=2))


def test_server_time_is_slightly_before_date_header(lab: "Lab") -> None:
    pages, _ = lab.against(lab.by_cursor(lab.runs(250)), lab.reading())
    date = datetime(2026, 11, 23, 14, 35, 33, tzinfo=UTC)
    assert {page.as_of for page in pages} == {pages[0].as_of}
    assert 0 < (date - pages[0].as_of).total_seconds() < 5


@pytest.mark.parametrize("date", ["", "yesterday"])
def test_server_time_without_date_header_is_local_time_minus_max_lag(lab: "Lab", date: str) -> None:
    before_scan = datetime.now(UTC)
    body = {"dag_runs": [], "total_entries": 0}
    pages, _ = lab.against(lambda _: lab.Reply(body, headers={"Date": date}), lab.reading())
    assert before_scan <= pages[0].as_of + MOST_BEHIND <= datetime.now(UTC)


def test_run_range_is_filtered_by_run_after_or_execution_date(lab: "Lab") -> None:
    start, end = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
    for api, field in (("v2", "run_after"), ("v1", "execution_date")):
        _, scripted = lab.against(lab.by_offset([]), lab.reading(RunRange(start, end)), api)
        sent = scripted.requests[0].params
        assert (sent[f"{field}_gte"], sent[f"{field}_lte"]) == ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z")
        _, scripted = lab.against(lab.by_offset([]), lab.reading(RunRange(start, None)), api)
        assert f"{field}_lte" not in scripted.requests[0].params


@pytest.mark.parametrize("api", ["v1", "v2"])
def test_run_range_can_be_limited_to_one_pipeline(lab: "Lab", api: str) -> None:
    """With the same filters as of all pipelines, and its total too."""
    start, end = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)

    async def use(airflow: "Airflow", dag: str | None) -> None:
        window = RunRange(start, end, pipeline_external_id=dag)
        assert [page.rows async for page in airflow.runs(window)] == [[]]
        assert [page.rows async for page in airflow.task_runs(window)] == [[]]
        assert (await airflow.count_runs(window), await airflow.count_task_runs(window)) == (0, 0)

    def script(_: "Request") -> "Reply":
        return lab.Reply({"dag_runs": [], "task_instances": [], "total_entries": 0})

    _, of_all = lab.against(script, lambda airflow: use(airflow, None), api)
    _, of_one = lab.against(script, lambda airflow: use(airflow, "a/ü?"), api)
    runs, tasks = f"/api/{api}/dags/a/ü?/dagRuns", f"/api/{api}/dags/a/ü?/dagRuns/~/taskInstances"
    assert [request.path for request in of_one.requests] == [runs, tasks, runs, tasks]
    assert [request.params for request in of_one.requests] == [request.params for request in of_all.requests]


def test_task_instances_with_new_ids_after_retry_are_not_mistaken_for_a_cycle(lab: "Lab") -> None:
    """The same three tasks, cleared while they were read: measured on 3.x, they come again under later ids."""

    def script(request: "Request") -> "Reply":
        start, upcoming = {"": (0, "a"), "a": (3, "b"), "b": (6, None)}[request.params["cursor"]]
        row = {"dag_id": "d", "dag_run_id": "r", "try_number": start}
        rows = [{**row, "id": f"i{start + n}", "task_id": f"t{n}"} for n in range(3)]
        return lab.Reply({"task_instances": rows, "total_entries": 3, "next_cursor": upcoming})

    async def read(airflow: "Airflow") -> list[int]:
        return [
            row.try_number
            async for page in airflow.task_runs(UpdatedSince(datetime(2026, 1, 1, tzinfo=UTC)))
            for row in page.rows
        ]

    found, _ = lab.against(script, read)
    assert found == [0, 0, 0, 3, 3, 3, 6, 6, 6]


def test_list_without_total_and_cursor_is_bad_response(lab: "Lab") -> None:
    with pytest.raises(ProviderBadResponse):
        lab.against(lambda _: lab.Reply({"dag_runs": []}), lab.reading())
