"""Scans that are interrupted, or under which the list moves, still give every row."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from windsock.errors import ProviderIncomplete
from windsock.providers.base import Page, ProviderRun
from windsock.providers.scopes import Resume

if TYPE_CHECKING:
    from providers.conftest import Lab, Reply, Request


def ids(pages: list[Page[ProviderRun]]) -> list[str]:
    return [row.external_id for page in pages for row in page.rows]


@pytest.mark.parametrize("cursor", [True, False])
def test_interrupted_scan_resumes_at_last_page(lab: "Lab", *, cursor: bool) -> None:
    script = lab.by_cursor(lab.runs(250)) if cursor else lab.by_offset(lab.runs(250))
    before, _ = lab.against(script, lab.reading(most=1))
    after, scripted = lab.against(script, lab.reading(resume=before[-1].resume))
    assert set(ids(before) + ids(after)) == {row["dag_run_id"] for row in lab.runs(250)}
    assert len(scripted.requests) == 2
    assert after[0].as_of == before[0].as_of


def test_scan_resumed_by_offset_reads_shifted_rows(lab: "Lab") -> None:
    before, _ = lab.against(lab.by_offset(lab.runs(250)), lab.reading(most=1), "v1")
    left = lab.runs(250)[30:]
    after, _ = lab.against(lab.by_offset(left), lab.reading(resume=before[-1].resume), "v1")
    assert set(ids(before) + ids(after)) >= {row["dag_run_id"] for row in left}


def test_invalid_cursor_restarts_scan(lab: "Lab") -> None:
    script = lab.by_cursor(lab.runs(150))

    def forgetful(request: "Request") -> "Reply":
        if request.params["cursor"] == "old":
            return lab.Reply({"detail": "Invalid cursor token"}, status=400)
        return script(request)

    resume = {"cursor": "old", "as_of": "2026-01-01T00:00:00+00:00", "read": 100, "least": 150}
    pages, _ = lab.against(forgetful, lab.reading(resume=resume))
    assert len(ids(pages)) == 150
    assert pages[0].as_of == datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("resume", [{}, {"cursor": "x"}, {"offset": 3, "as_of": "?"}, {"windows": []}])
def test_unreadable_resume_token_restarts_scan(lab: "Lab", resume: Resume) -> None:
    pages, _ = lab.against(lab.by_cursor(lab.runs(3)), lab.reading(resume=resume))
    assert len(ids(pages)) == 3


def test_recreated_run_at_page_end_does_not_hide_shifted_rows(lab: "Lab") -> None:
    """It stands at the end of the same page, which proves nothing about the rows before it."""
    rows = lab.runs(6)

    def script(request: "Request") -> "Reply":
        reply = lab.by_offset(rows, cap=3)(request)
        if request.params["offset"] == "0" and len(rows) == 6:
            rows[:] = [*rows[2:], rows[0]]
        return reply

    pages, _ = lab.against(script, lab.reading(), "v1")
    assert {row["dag_run_id"] for row in lab.runs(6)} == set(ids(pages))


def test_list_with_pages_that_never_overlap_is_abandoned(lab: "Lab") -> None:
    """Rows slip away below each page, however far the scan steps back."""
    start = 0

    def script(request: "Request") -> "Reply":
        nonlocal start
        start += 200
        return lab.page("dag_runs", lab.runs(1000, start), request)

    with pytest.raises(ProviderIncomplete):
        lab.against(script, lab.reading(), "v1")


@given(
    changes=st.lists(st.tuples(st.integers(0, 399), st.booleans()), max_size=12),
    cap=st.sampled_from([7, 50, 100]),
    api=st.sampled_from(["v1", "v2"]),
)
@example(changes=[(0, False), (379, True), (0, False)], cap=100, api="v1")
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_remaining_rows_are_not_lost_while_others_are_deleted_or_inserted(
    lab: "Lab", changes: list[tuple[int, bool]], cap: int, api: str
) -> None:
    """Between two requests a stretch of rows is deleted, or rows that did not match before do now."""
    rows, late = lab.runs(400)[::2], lab.runs(400)[1::2]
    stays = {row["dag_run_id"] for row in rows}
    left = list(changes)

    def script(request: "Request") -> "Reply":
        reply = lab.by_offset(rows, cap)(request)
        if left:
            place, is_deleted = left.pop(0)
            number = f"run-{place:05}"
            if is_deleted:
                deleted = [row for row in rows if row["dag_run_id"] >= number][: 1 + place % 70]
                stays.difference_update(row["dag_run_id"] for row in deleted)
                rows[:] = [row for row in rows if row not in deleted]
            else:
                rows[:] = sorted([*rows, *late[place % 200 :][:5]], key=lambda row: str(row["dag_run_id"]))
                del late[place % 200 : place % 200 + 5]
        return reply

    pages, _ = lab.against(script, lab.reading(), api)
    assert stays <= set(ids(pages))
