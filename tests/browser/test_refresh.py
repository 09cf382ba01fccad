"""Chromium revalidates the refresh of an open list by its ETag, and the list stays on the page."""

import pytest
from playwright.sync_api import expect
from prometheus_client import REGISTRY

from browser.conftest import Visitor

REFRESH = """(selector) => {
  const list = document.querySelector(selector);
  return htmx.ajax("GET", list.getAttribute("hx-get"), { target: selector, swap: "outerHTML" });
}"""
"""What the timer of the list does every 30 s."""


def count_responses(path: str, status: int) -> float:
    labels = {"method": "GET", "route": f"/spaces/{{slug}}/{path}", "status": str(status)}
    return REGISTRY.get_sample_value("windsock_http_requests_total", labels) or 0.0


@pytest.mark.parametrize("path", ["pipelines", "timeline"])
def test_unchanged_list_is_revalidated_and_stays(visitor: Visitor, path: str) -> None:
    visitor.sign_in()
    visitor.page.goto(f"{visitor.live.url}/spaces/finance/{path}")
    names = visitor.page.locator("#list a.open")
    shown = names.all_text_contents()
    assert shown
    before = count_responses(path, 304)
    for _ in range(4):  # the first one stores the response; a minute may end before one of the others
        visitor.page.evaluate(REFRESH, "#list")
    assert 2 <= count_responses(path, 304) - before <= 3
    assert names.all_text_contents() == shown


def test_changed_list_is_shown(visitor: Visitor) -> None:
    visitor.sign_in()
    visitor.page.goto(f"{visitor.live.url}/spaces/finance/pipelines")
    for _ in range(2):
        visitor.page.evaluate(REFRESH, "#list")
    star = visitor.page.locator("#list tr.row button[aria-label=Watch]").first
    is_watched = star.get_attribute("aria-pressed") == "true"
    star.click()
    expect(star).to_have_attribute("aria-pressed", "false" if is_watched else "true")
    visitor.page.evaluate(REFRESH, "#list")
    expect(star).to_have_attribute("aria-pressed", "false" if is_watched else "true")


def test_refresh_after_sign_out_shows_login_page(visitor: Visitor) -> None:
    visitor.sign_in()
    visitor.page.goto(f"{visitor.live.url}/spaces/finance/pipelines")
    for _ in range(2):
        visitor.page.evaluate(REFRESH, "#list")
    visitor.page.context.clear_cookies()
    visitor.page.evaluate(REFRESH, "#list")
    visitor.page.wait_for_url("**/sign-in**")
    visitor.complaints.clear()  # the browser reports the 401
