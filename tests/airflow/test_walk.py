"""From a failed run to a run that succeeds, in Chromium on a real Airflow 3: the error, what was said, a clear."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from airflow.added_dags import added_dags
from airflow.morning import Morning, open_morning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Locator, Page

    from airflow_lab import AirflowLab
    from databases import Databases

DAG, ERROR = "rates_import", "RatesUnavailable: the rates service answered 503 Service Unavailable for EUR/USD"
COMMENT_TEXT = "The rates proxy hung. Restart it, then clear."
RUNS, MAX_CLICKS = 3, 7
LONG = 120_000
"""Milliseconds: a sync, or a run of a DAG, on a busy machine."""
READ_SECONDS = 60
PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1440, "height": 900}


@pytest.fixture(scope="module")
def failed_runs(airflow3: AirflowLab) -> Iterator[None]:
    """Of a DAG whose task succeeds when it was cleared."""
    with added_dags(airflow3, "recovers.py", [DAG]):
        for _ in range(RUNS):  # one after the other: the newest failed last
            airflow3.trigger(DAG)
            airflow3.wait_quiet()
        yield


@pytest.fixture(scope="module")
def morning(
    airflow3: AirflowLab,
    failed_runs: None,  # noqa: ARG001 - before the first sync
    make_database: Databases,
) -> Iterator[Morning]:
    """With a comment on the oldest of the runs, and the errors of all."""
    with open_morning(airflow3, make_database) as opened:
        until = time.monotonic() + READ_SECONDS
        while len(runs := [run for run in opened.runs(DAG) if run.failure and run.failure.summary]) < RUNS:
            assert time.monotonic() < until, runs
            time.sleep(0.5)
        opened.client.comment_on_run(runs[-1].id, COMMENT_TEXT)
        yield opened


def is_in_view(page: Page, element: Locator) -> bool:
    """Whether the whole element is visible in a page that was not scrolled."""
    box, size = element.bounding_box(), page.viewport_size
    assert box is not None
    assert size is not None
    assert page.evaluate("window.scrollY") == 0
    return box["y"] >= 0 and box["y"] + box["height"] <= size["height"] and box["x"] + box["width"] <= size["width"]


def picture(page: Page, name: str) -> None:
    if folder := os.environ.get("WINDSOCK_TEST_SHOTS"):
        page.screenshot(path=f"{folder}/walk-{name}.png")


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_error_and_last_comment_of_failed_run_are_read_without_scrolling(
    morning: Morning, page: Page, size: dict[str, int]
) -> None:
    page.set_viewport_size({"width": size["width"], "height": size["height"]})
    page.goto(morning.address(f"/runs/{morning.runs(DAG, 'failed')[0].id}"))
    error = page.locator(".error")
    picture(page, f"error-{size['width']}")
    expect(error.get_by_role("heading")).to_have_text(ERROR)
    expect(error.locator(".memory")).to_contain_text(COMMENT_TEXT)
    for part in (error.get_by_role("heading"), error.locator("pre"), error.locator(".memory")):
        assert is_in_view(page, part), part


def test_failed_run_is_read_cleared_and_seen_to_succeed_with_few_clicks(morning: Morning, page: Page) -> None:
    run = morning.runs(DAG, "failed")[0]
    clicks = 0

    def click(element: Locator) -> None:
        nonlocal clicks
        clicks += 1
        element.click()

    page.goto(morning.address())
    click(page.locator("table.failures").get_by_role("link", name=DAG))
    expect(page.locator("#run-id")).to_have_text(run.external_id)
    error = page.locator(".error")
    expect(error.get_by_role("heading")).to_have_text(ERROR)
    expect(error.locator("pre")).to_contain_text("recovers.py")
    assert is_in_view(page, error), "the error is read without scrolling"
    expect(error.locator(".memory")).to_contain_text("3rd time in 30 days")
    expect(error.locator(".memory")).to_contain_text(f"Ada wrote: {COMMENT_TEXT}")

    click(page.locator(".failed-tasks").get_by_role("link", name="Log of fetch_rates"))
    log = page.locator(".task-log")
    expect(log.locator(".log-lines")).to_contain_text("Fetching the rates of 3 currencies")
    expect(log.locator(".log-lines")).to_contain_text("RatesUnavailable")
    picture(page, "log")

    click(page.get_by_role("button", name="Clear failed tasks"))
    dialog = page.get_by_role("dialog")
    expect(dialog.locator(".cleared-tasks")).to_contain_text("fetch_rates")
    picture(page, "clear")
    assert morning.airflow.api("GET", f"/dags/{DAG}/dagRuns/{run.external_id}")["state"] == "failed", "a dry run"
    click(dialog.get_by_role("button", name="Clear", exact=True))
    expect(page.locator("h1 .state")).to_have_text("success", timeout=LONG)
    expect(page.locator("#grid .line", has_text="store_rates").locator(".state.success")).to_be_visible(timeout=LONG)
    expect(page.locator(".error")).to_have_count(0)
    picture(page, "success")
    assert clicks <= MAX_CLICKS
    assert morning.airflow.api("GET", f"/dags/{DAG}/dagRuns/{run.external_id}")["state"] == "success"


def test_all_failed_runs_with_one_error_are_cleared_from_its_page(morning: Morning, page: Page) -> None:
    """Those that are left by the test before."""
    runs = morning.runs(DAG, "failed")
    assert len(runs) == RUNS - 1
    page.goto(morning.address(f"/runs/{runs[0].id}"))
    page.locator(".error").get_by_role("link", name="time in 30 days").click()
    page.get_by_role("button", name="Clear all failed runs").click()
    dialog = page.get_by_role("dialog")
    for run in runs:
        expect(dialog.locator(".cleared-tasks")).to_contain_text(run.external_id)
        assert morning.airflow.api("GET", f"/dags/{DAG}/dagRuns/{run.external_id}")["state"] == "failed", "a dry run"
    dialog.get_by_label("Reason").fill("The proxy is back")
    picture(page, "bulk-clear")
    dialog.get_by_role("button", name=f"Clear {len(runs)} runs").click()
    expect(page.get_by_role("status")).to_have_text(f"Cleared {len(runs)} of {len(runs)} runs.", timeout=LONG)
    expect(page.locator(".bulk-runs tbody tr")).to_have_count(len(runs))
    picture(page, "bulk-cleared")
    morning.airflow.wait_quiet()
    for run in runs:
        cleared = morning.airflow.api("GET", f"/dags/{DAG}/dagRuns/{run.external_id}")
        assert (cleared["state"], "The proxy is back" in cleared["note"]) == ("success", True)
