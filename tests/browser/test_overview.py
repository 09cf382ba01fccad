"""The overview and the list of runs in a browser: zone, filters, narrow screens, accessibility, no JavaScript."""

import re
from collections.abc import Iterator

from playwright.sync_api import Browser, expect

from browser.axe import violations
from browser.conftest import Visitor
from live_server import LiveServer

PATHS = ("/spaces/finance", "/spaces/finance/runs", "/spaces/finance/runs?status=failed&period=30d", "/")


def visit(browser: Browser, live: LiveServer, **options: object) -> Iterator[Visitor]:
    context = browser.new_context(**options)  # type: ignore[arg-type]
    visitor = Visitor(context.new_page(), live)
    visitor.sign_in("superadmin", "/spaces/finance")
    yield visitor
    context.close()


def test_number_opens_its_list_and_the_failed_run_in_two_clicks(visitor: Visitor) -> None:
    visitor.sign_in("viewer", "/spaces/finance")
    page = visitor.page
    expect(page.locator("h1")).to_have_text("Overview")
    page.goto(f"{visitor.live.url}/spaces/finance/runs")
    page.get_by_role("navigation", name="Common questions").get_by_text("Running", exact=True).click()
    expect(page.locator("tr.row .state")).to_have_text(["running"])
    page.locator("tr.row a.open").click()
    expect(page).to_have_url(re.compile(r"/runs/[0-9a-f-]{36}$"))


def test_zone_of_the_browser_is_used_after_the_first_visit(chromium: Browser, live: LiveServer) -> None:
    for visitor in visit(chromium, live, timezone_id="Asia/Tokyo"):
        page = visitor.page
        expect(page.locator("#list")).to_have_attribute("data-rendered-zone", "Asia/Tokyo")
        page.wait_for_load_state("networkidle")  # htmx prepares what it has swapped in some milliseconds later
        page.keyboard.press("u")
        expect(page.locator("#list")).to_have_attribute("data-rendered-zone", "UTC")
        page.goto(f"{live.url}/spaces/finance/runs")
        expect(page.locator(".summary")).to_contain_text("Times in UTC")
        page.keyboard.press("u")
        expect(page.locator(".summary")).to_contain_text("Times in Asia/Tokyo")


def test_filters_of_runs_update_list_and_url(visitor: Visitor) -> None:
    visitor.sign_in("viewer", "/spaces/finance/runs")
    page = visitor.page
    page.get_by_label("State").select_option("failed")
    expect(page).to_have_url(re.compile(r"/runs\?status=failed$"))
    expect(page.locator("tr.row .state")).to_have_text(["failed"])
    expect(page.locator(".failed-task")).to_have_text(["load"])
    page.get_by_label("State").select_option("")
    page.get_by_text("More filters").click()
    page.get_by_label("Team").select_option(label="ingestion")
    expect(page.locator("tr.row a.open")).to_have_text(["hourly_load", "hourly_load"])
    page.reload()
    expect(page.get_by_label("Team")).to_be_visible()
    expect(page.locator("tr.row a.open")).to_have_text(["hourly_load", "hourly_load"])
    page.go_back()
    expect(page.locator("tr.row")).to_have_count(4)


def test_pages_fit_and_have_no_axe_violations(visitor: Visitor) -> None:
    visitor.sign_in("superadmin", "/spaces/finance")
    for path in PATHS:
        visitor.page.goto(f"{visitor.live.url}{path}")
        expect(visitor.page.locator("h1")).to_be_visible()
        for width in (1440, 390, 320):
            visitor.page.set_viewport_size({"width": width, "height": 800})
            assert visitor.page.evaluate("document.querySelector('#list').scrollWidth <= innerWidth"), (path, width)
            assert visitor.page.evaluate(WIDER_THAN_THE_WINDOW) == [], (path, width)
        assert violations(visitor.page) == []


WIDER_THAN_THE_WINDOW = """
[...document.querySelectorAll("#main *")]
  .filter((element) => element.getBoundingClientRect().right > innerWidth + 1 && !element.closest(".scroll, .hidden"))
  .map((element) => element.outerHTML.slice(0, 120))
"""


def test_overview_and_runs_work_without_javascript(chromium: Browser, live: LiveServer) -> None:
    for visitor in visit(chromium, live, java_script_enabled=False):
        page = visitor.page
        expect(page.locator("#list")).to_have_attribute("data-rendered-zone", "UTC")
        page.goto(f"{live.url}/spaces/finance/runs")
        page.get_by_label("State").select_option("success")
        page.get_by_role("button", name="Show").click()
        expect(page).to_have_url(re.compile(r"/runs\?status=success$"))
        expect(page.locator("tr.row .state")).to_have_text(["success", "success"])
        with page.expect_download() as download:
            page.get_by_role("link", name="Export CSV").click()
        assert download.value.suggested_filename == "finance-runs.csv"
