"""Task instances of Airflow 2, which come in no order, are read whole by windows of time."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from windsock.errors import ProviderHTTPError, ProviderIncomplete, ProviderTimedOut
from windsock.providers.airflow.scans import Limits
from windsock.providers.airflow.windowed_scan import split
from windsock.providers.base import Page, ProviderTaskRun
from windsock.providers.miscounts import Miscounts
from windsock.providers.scopes import Resume, RunRange, ScanScope, SingleRun, UpdatedSince

if TYPE_CHECKING:
    from collections.abc import Callable

    from providers.conftest import Lab, Reply, Request
    from windsock.providers.airflow import Airflow

NOW = datetime(2026, 11, 23, 14, 35, 33, tzinfo=UTC)
START = NOW - timedelta(hours=1)
ALL_ROWS = UpdatedSince(START)


class Tasks:
    """Task instances with the time of their last change; the server gives the youngest first."""

    def __init__(self, lab: "Lab", count: int, every: timedelta, field: str = "updated_at") -> None:
        self.lab = lab
        self.field = field
        self.times = {f"t{number}": START + every * number for number in range(count)}

    def script(self, request: "Request") -> "Reply":
        start = datetime.fromisoformat(request.params[f"{self.field}_gte"])
        end = datetime.fromisoformat(request.params.get(f"{self.field}_lte", "9999-01-01T00:00:00Z"))
        found = [name for name, time in self.times.items() if start <= time <= end][::-1]
        rows = [{"dag_id": "d", "dag_run_id": "r", "task_id": name} for name in found]
        return self.lab.Reply({"task_instances": rows[: int(request.params["limit"])], "total_entries": len(rows)})


def reading(scope: ScanScope = ALL_ROWS, resume: Resume | None = None, most: int = 10**6) -> "Callable[[Airflow], Any]":
    async def read(airflow: "Airflow") -> list[Page[ProviderTaskRun]]:
        pages: list[Page[ProviderTaskRun]] = []
        async for page in airflow.task_runs(scope, resume):
            pages.append(page)
            if len(pages) == most:
                break
        return pages

    return read


def names(pages: list[Page[ProviderTaskRun]]) -> set[str]:
    return {row.external_id for page in pages for row in page.rows}


def test_idle_scan_sends_one_request_supported_by_every_version(lab: "Lab") -> None:
    pages, scripted = lab.against(Tasks(lab, 0, timedelta()).script, reading(), "v1")
    assert [request.params for request in scripted.requests] == [
        {"updated_at_gte": "2026-11-23T13:35:33Z", "limit": "2000"}
    ]
    assert (pages[0].rows, pages[0].expected, pages[0].resume) == ([], 0, None)


@pytest.mark.parametrize("count", [1, 10, 11, 101, 500])
def test_window_larger_than_response_limit_is_split(lab: "Lab", count: int) -> None:
    tasks = Tasks(lab, count, timedelta(seconds=7))
    pages, scripted = lab.against(tasks.script, reading(), "v1", limits=Limits(window=10))
    assert names(pages) == set(tasks.times)
    assert pages[0].expected == count
    assert all(page.resume for page in pages[:-1])
    assert pages[-1].resume is None
    assert len(scripted.requests) < 5 + count


@pytest.mark.parametrize("count", [50, 400, 1600])
def test_window_is_split_at_once_into_as_many_parts_as_its_total_needs(lab: "Lab", count: int) -> None:
    tasks = Tasks(lab, count, timedelta(seconds=3600 / count))
    pages, scripted = lab.against(tasks.script, reading(), "v1", limits=Limits(window=10))
    assert names(pages) == set(tasks.times)
    assert len(scripted.requests) <= 2 + 1.5 * count / 10


@pytest.mark.parametrize(("count", "every", "requests"), [(40, 0, 8), (40, 10, 8), (400, 10, 240)])
def test_clustered_rows_in_long_window_cost_few_extra_requests(
    lab: "Lab", count: int, every: int, requests: int
) -> None:
    """A mapped task has thousands of instances of one moment, which no split parts."""
    tasks = Tasks(lab, count, timedelta(milliseconds=every), "execution_date")
    pages, scripted = lab.against(tasks.script, reading(RunRange(START, NOW)), "v1", limits=Limits(window=10))
    assert names(pages) == set(tasks.times)
    assert len(scripted.requests) <= requests


def test_task_instances_of_single_run_cost_two_requests_regardless_of_count(lab: "Lab") -> None:
    tasks = Tasks(lab, 500, timedelta(), "execution_date")
    pages, scripted = lab.against(tasks.script, reading(SingleRun("d", "r")), "v1", limits=Limits(window=10))
    assert (len(names(pages)), len(scripted.requests)) == (500, 2)


def test_last_window_is_open_ended_and_read_last(lab: "Lab") -> None:
    """A task that is touched while the scan runs leaves its window for a later one."""
    tasks = Tasks(lab, 100, timedelta(seconds=30))
    touched = 0

    def script(request: "Request") -> "Reply":
        nonlocal touched
        reply = tasks.script(request)
        tasks.times[f"t{99 - touched}"] = NOW + timedelta(seconds=touched)
        touched = min(touched + 1, 50)
        return reply

    pages, scripted = lab.against(script, reading(), "v1", limits=Limits(window=10))
    assert names(pages) == set(tasks.times)
    assert "updated_at_lte" not in scripted.requests[-1].params


def test_rows_with_equal_timestamps_are_requested_with_larger_limit(lab: "Lab") -> None:
    tasks = Tasks(lab, 35, timedelta())
    pages, scripted = lab.against(tasks.script, reading(), "v1", limits=Limits(window=10))
    assert len(names(pages)) == 35
    assert int(max(scripted.requests, key=lambda item: int(item.params["limit"])).params["limit"]) >= 35


def test_withheld_rows_with_equal_timestamps_are_an_error(lab: "Lab") -> None:
    def script(request: "Request") -> "Reply":
        found = Tasks(lab, 35, timedelta()).script(request).body
        return lab.Reply({**found, "task_instances": found["task_instances"][:10]})

    with pytest.raises(ProviderIncomplete, match="promised 35"):
        lab.against(script, reading(), "v1", limits=Limits(window=10))


def test_server_with_row_cap_is_read_in_smaller_windows(lab: "Lab") -> None:
    tasks = Tasks(lab, 90, timedelta(seconds=30))

    def script(request: "Request") -> "Reply":
        found = tasks.script(request).body
        return lab.Reply({**found, "task_instances": found["task_instances"][:7]})

    pages, _ = lab.against(script, reading(), "v1")
    assert names(pages) == set(tasks.times)


@pytest.mark.parametrize("end", [None, NOW])
def test_task_instances_of_run_range_are_filtered_by_run_date(lab: "Lab", end: datetime | None) -> None:
    tasks = Tasks(lab, 200, timedelta(seconds=60), "execution_date")
    pages, scripted = lab.against(tasks.script, reading(RunRange(START, end)), "v1", limits=Limits(window=30))
    assert names(pages) == {name for name, time in tasks.times.items() if end is None or time <= end}
    assert ("execution_date_lte" in scripted.requests[0].params) == (end is not None)


def test_interrupted_windowed_scan_reads_only_remaining_windows(lab: "Lab") -> None:
    tasks = Tasks(lab, 100, timedelta(seconds=30))
    before, _ = lab.against(tasks.script, reading(most=2), "v1", limits=Limits(window=10))
    after, _ = lab.against(tasks.script, reading(resume=before[-1].resume), "v1", limits=Limits(window=10))
    assert names(before) | names(after) == set(tasks.times)
    assert len(names(after)) < 100
    assert after[0].as_of == before[0].as_of
    assert after[0].expected == 100


@pytest.mark.parametrize("resume", [{"windows": [[1]], "as_of": NOW.isoformat()}, {"windows": 3}, {"windows": ["x"]}])
def test_unreadable_resume_token_restarts_scan(lab: "Lab", resume: Resume) -> None:
    tasks = Tasks(lab, 5, timedelta(seconds=1))
    pages, _ = lab.against(tasks.script, reading(resume=resume), "v1")
    assert len(names(pages)) == 5


def test_slow_window_is_retried_in_smaller_windows(lab: "Lab") -> None:
    """However many are slow, as long as some are not."""
    tasks = Tasks(lab, 90, timedelta(seconds=30), "execution_date")
    slow = 0

    def script(request: "Request") -> "Reply":
        nonlocal slow
        reply = tasks.script(request)
        if reply.body["total_entries"] > 5:
            slow += 1
            return lab.Reply({"detail": "too slow"}, status=504)
        return reply

    pages, _ = lab.against(script, reading(RunRange(START, NOW)), "v1")
    assert names(pages) == set(tasks.times)
    assert slow > 12


def test_constantly_slow_server_is_abandoned(lab: "Lab") -> None:
    request_count = 0

    def script(_: "Request") -> "Reply":
        nonlocal request_count
        request_count += 1
        return lab.Reply({}, status=504)

    with pytest.raises(ProviderHTTPError):
        lab.against(script, reading(), "v1")
    assert request_count == (4 + 1) * 3, "four windows, and one question whether it counts at least"
    hanging = UpdatedSince(NOW.replace(year=2090))
    with pytest.raises(ProviderTimedOut):
        lab.against(lambda _: lab.Reply({}, delay=2), reading(hanging), "v1", timeout_seconds=1)


def test_split_windows_share_bounds_and_leave_no_gap() -> None:
    pieces = split((START, None), 5, NOW, timedelta(milliseconds=1))
    assert len(pieces) == 5
    assert (pieces[0][0], pieces[-1][1]) == (START, None)
    assert all(item[1] == following[0] for item, following in pairwise(pieces))
    assert split((START, START + timedelta(microseconds=1500)), 5, NOW, timedelta(milliseconds=1)) == []
    assert split((NOW, None), 5, START, timedelta(milliseconds=1)) == []


def test_rows_committed_between_list_and_count_are_not_lost(lab: "Lab") -> None:
    tasks, request_count = Tasks(lab, 8, timedelta(seconds=7)), 0

    def script(request: "Request") -> "Reply":
        nonlocal request_count
        request_count += 1
        reply = tasks.script(request)
        if request_count == 1:
            tasks.times["late"] = START + timedelta(minutes=5)
            reply.body["total_entries"] += 1
        offset = int(request.params.get("offset", "0"))
        return lab.Reply({**reply.body, "task_instances": reply.body["task_instances"][offset:]})

    pages, scripted = lab.against(script, reading(), "v1")
    assert names(pages) == set(tasks.times)
    assert [row for page in pages for row in page.skipped] == []
    assert len(scripted.requests) <= 3


def test_window_total_mismatch_is_an_error_unless_hidden_rows_are_expected(lab: "Lab") -> None:
    tasks = Tasks(lab, 40, timedelta(seconds=60))

    def script(request: "Request") -> "Reply":
        found = tasks.script(request).body
        offset = int(request.params.get("offset", "0"))
        rows = [row for row in found["task_instances"] if row["task_id"] != "t7"][offset:]
        return lab.Reply({**found, "task_instances": rows})

    with pytest.raises(ProviderIncomplete, match="promised 40 task instances and gave 39"):
        lab.against(script, reading(), "v1", limits=Limits(window=30))
    known = Limits(window=30, miscounts=Miscounts(hidden={"task_runs": 1}))
    pages, _ = lab.against(script, reading(), "v1", limits=known)
    assert names(pages) == set(tasks.times) - {"t7"}
    reasons = [row.reason for page in pages for row in page.skipped]
    assert reasons == ["Airflow counts 1 more task instance than it lists."]


def test_window_with_unverified_pages_is_split_further(lab: "Lab") -> None:
    """Pages without an order may hold a row twice and another one never."""
    tasks = Tasks(lab, 60, timedelta(seconds=30))
    request_count = 0

    def script(request: "Request") -> "Reply":
        nonlocal request_count
        request_count += 1
        start = datetime.fromisoformat(request.params["updated_at_gte"])
        end = datetime.fromisoformat(request.params.get("updated_at_lte", "9999-01-01T00:00:00Z"))
        found = [name for name, time in tasks.times.items() if start <= time <= end]
        if len(found) > 10 and request_count % 2:
            found.reverse()
        offset, limit = int(request.params.get("offset", "0")), int(request.params["limit"])
        shown = found[offset : offset + limit]
        if "t23" in shown:
            return lab.Reply({"detail": "no"}, status=500)
        rows = [{"dag_id": "d", "dag_run_id": "r", "task_id": name} for name in shown]
        return lab.Reply({"task_instances": rows, "total_entries": len(found)})

    pages, _ = lab.against(script, reading(), "v1", limits=Limits(naming_requests=0))
    assert names(pages) == set(tasks.times) - {"t23"}
    assert len({row for page in pages for row in page.skipped}) == 1
