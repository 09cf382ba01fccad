"""The log of a task in a real browser: opened in the page of its run, filtered, searched, linked, on a phone."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from browser.axe import violations
from browser.conftest import Visitor
from live_server import LiveServer


@pytest.fixture
def opened(visitor: Visitor) -> Visitor:
    """The run's page with the panel."""
    visitor.sign_in()
    visitor.page.goto(f"{visitor.live.url}/spaces/finance/runs/{visitor.live.tenants.finance.run_id}")
    visitor.page.locator(".failed-tasks").get_by_role("link", name="Log of load").click()
    expect(visitor.page.locator(".task-log li")).to_have_count(2)
    return visitor


def visible_lines(page: Page) -> list[str]:
    return [line.inner_text() for line in page.locator(".task-log li .event:visible").all()]


def test_panel_opens_below_failures_with_focus_and_closes(opened: Visitor) -> None:
    page = opened.page
    expect(page.locator("#log-title")).to_be_focused()
    assert "BankError: the account is closed" in page.locator("#L2").inner_text()
    assert page.url.endswith(str(opened.live.tenants.finance.run_id)), "the page of the run stays"
    page.get_by_role("button", name="Close").click()
    expect(page.locator(".task-log")).to_have_count(0)
    expect(page.locator(".failed-tasks").get_by_role("link", name="Log of load")).to_be_focused()


def test_level_and_search_hide_lines(opened: Visitor) -> None:
    page = opened.page
    page.get_by_label("Level").select_option("error")
    assert len(visible_lines(page)) == 1
    expect(page.locator(".matches")).to_have_text("1 of 2 lines")
    page.get_by_label("Level").select_option("")
    page.locator(".task-log").get_by_label("Search").fill("ACCOUNT")
    assert page.locator(".task-log mark").all_inner_texts() == ["account"]
    assert len(visible_lines(page)) == 1
    page.locator(".task-log").get_by_label("Search").fill("")
    assert len(visible_lines(page)) == 2
    assert page.locator(".task-log mark").count() == 0


def test_wrap_is_switched_off(opened: Visitor) -> None:
    event = opened.page.locator("#L2 .event")
    expect(event).to_have_css("white-space", "pre-wrap")
    opened.page.get_by_label("Wrap").uncheck()
    expect(event).to_have_css("white-space", "pre")


def test_number_of_line_copies_link_to_page_of_log(opened: Visitor) -> None:
    page = opened.page
    page.locator("#L2 .n").click()
    expect(page.locator("#L2 .n")).to_have_text("Copied")
    link = page.locator("#L2 .n").get_attribute("data-copy") or ""
    assert re.fullmatch(rf"{opened.live.url}/spaces/finance/task-runs/[0-9a-f-]+/log\?try=1#L2", link)
    page.goto(link)
    expect(page.locator("h1")).to_contain_text("Log of load")
    expect(page.locator("li:target")).to_contain_text("BankError")


def test_log_of_row_in_grid_opens_panel(visitor: Visitor) -> None:
    visitor.sign_in()
    visitor.page.goto(f"{visitor.live.url}/spaces/finance/runs/{visitor.live.tenants.finance.run_id}")
    row = visitor.page.locator("#grid .line").filter(has_text="extract")
    row.hover()
    row.get_by_role("link", name="Log of extract").click()
    expect(visitor.page.locator("#log-title")).to_contain_text("Log of extract")


@pytest.fixture
def plain(chromium: Browser, live: LiveServer) -> Iterator[Visitor]:
    context = chromium.new_context(java_script_enabled=False)
    visitor = Visitor(context.new_page(), live)
    visitor.sign_in()
    yield visitor
    context.close()


def test_log_without_javascript_is_a_page_with_filter(plain: Visitor) -> None:
    page = plain.page
    page.goto(f"{plain.live.url}/spaces/finance/runs/{plain.live.tenants.finance.run_id}")
    page.locator(".failed-tasks").get_by_role("link", name="Log of load").click()
    expect(page.locator("h1")).to_contain_text("Log of load")
    page.get_by_label("Level").select_option("error")
    page.get_by_role("button", name="Show").click()
    expect(page.locator(".task-log li")).to_have_count(1)


def test_log_is_accessible_and_fits_a_phone(opened: Visitor) -> None:
    assert violations(opened.page, ".task-log") == []
    for width in (1280, 390):
        opened.page.set_viewport_size({"width": width, "height": 800})
        assert opened.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
