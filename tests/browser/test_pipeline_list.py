"""The pipeline list in a browser: filters and saved views by htmx, keyboard, phone, accessibility."""

import re

import psycopg
import pytest
from playwright.sync_api import Page, expect

from browser.axe import violations
from browser.conftest import Visitor
from live_server import LiveServer
from windsock.db.database import CONNECTION_OPTIONS

ROWS = 14
MANY = """
INSERT INTO pipelines (space_id, connector_id, external_id, name, owner, owners, tags, status, is_paused, is_active,
                       has_import_errors, next_run_at, last_run, last_run_at)
SELECT %(space_id)s, %(connector_id)s, 'many_' || n, 'many_' || n, 'carol', '{carol}', ARRAY['many', 'tag ' || n],
       CASE WHEN n = 1 THEN 'failed' ELSE 'success' END, false, true, false,
       now() + CASE WHEN n = 2 THEN interval '-1 hour' ELSE '1 hour' END, NULL, now()
FROM generate_series(1, %(many)s) n
"""
FOCUSABLE = """
() => Array.from(document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex]"))
  .filter((item) => item.tabIndex >= 0 && !item.disabled && item.type !== "hidden" && item.checkVisibility()
    && item.getClientRects().length > 0).length
"""


@pytest.fixture(scope="module", autouse=True)
def many(live: LiveServer) -> None:
    """As many pipelines as make ROWS with those of the world."""
    finance = live.tenants.finance
    names = {"space_id": finance.id, "connector_id": finance.connector_id, "many": ROWS - len(finance.pipelines)}
    with psycopg.connect(live.database_url, options=CONNECTION_OPTIONS) as connection:
        connection.execute("SELECT set_config('windsock.space_id', %s, true)", (str(finance.id),))
        connection.execute(MANY.encode(), names)
        connection.execute("UPDATE sync_states SET pipelines_listed_at = now(), quarantine = NULL")


def open_list(visitor: Visitor, query: str = "", who: str = "editor") -> Page:
    visitor.sign_in(who)
    visitor.page.goto(f"{visitor.live.url}/spaces/finance/pipelines{query}")
    return visitor.page


def names(page: Page) -> list[str]:
    return page.locator("tr.row a.open").all_inner_texts()


def test_owner_is_chosen_from_offered_values_and_filters_without_reload(visitor: Visitor) -> None:
    page = open_list(visitor)
    page.evaluate("window.stays = true")
    page.get_by_text("More filters").click()
    owner = page.get_by_label("Owner")
    owner.focus()
    expect(page.locator("#owner-values option")).to_have_count(4)
    owner.fill("bob")
    owner.press("Tab")
    page.wait_for_url("**owner=bob*")
    expect(page.locator("tr.row")).to_have_count(1)
    page.get_by_label("Order").select_option("attention")
    page.wait_for_url("**sort=attention*")
    expect(page.locator(".chips")).to_contain_text("Owner bob")
    assert page.evaluate("window.stays"), "the list alone is replaced"
    page.locator(".chips a").first.click()
    expect(page.locator("tr.row")).to_have_count(ROWS)
    assert names(page)[:3] == ["many_1", "many_2", "hourly_load"], "failed, overdue, running; the order stays"


def test_view_is_saved_with_the_filters_that_are_set_then(visitor: Visitor) -> None:
    page = open_list(visitor)
    page.locator("#q").fill("load")
    page.wait_for_url("**q=load*")
    page.locator(".views > summary").click()
    page.get_by_label("Save these filters as").fill("loads")
    page.get_by_label("Share with the space").check()
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("#toasts")).to_contain_text("The view is saved.")
    page.goto(f"{visitor.live.url}/spaces/finance/pipelines")
    page.locator(".views > summary").click()
    page.get_by_label("Save these filters as").fill("loads")
    page.get_by_role("button", name="Save", exact=True).last.click()
    expect(page.locator("#view-refusal")).to_contain_text("You have a view named “loads” already")
    expect(page.get_by_label("Save these filters as")).to_have_value("loads")
    visitor.complaints.clear()  # Chromium notes the 422 that this is
    page.get_by_role("link", name="loads").click()
    page.wait_for_url("**q=load*")
    assert names(page) == ["hourly_load"]
    page.locator(".views > summary").click()
    page.get_by_text("Change view loads").locator("..").click()
    page.get_by_role("button", name="Delete").click()
    page.locator("dialog#confirm").get_by_role("button", name="Delete").click()
    expect(page.locator("#toasts")).to_contain_text("The view is deleted.")
    page.locator(".views > summary").click()
    expect(page.get_by_role("link", name="loads")).to_have_count(0)


def test_bulk_edit_with_nothing_chosen_keeps_selection_and_success_is_reported(visitor: Visitor) -> None:
    page = open_list(visitor)
    box = page.get_by_label("Select many_1", exact=True)
    box.check()
    page.get_by_role("button", name="Set").click()
    expect(page.locator("#govern-error")).to_have_text("Choose a team or a criticality to set.")
    expect(box).to_be_checked()
    visitor.complaints.clear()  # Chromium notes the 422 that this is
    page.locator("#govern").get_by_label("Criticality").select_option("critical")
    page.get_by_role("button", name="Set").click()
    expect(page.locator("#toasts")).to_contain_text("Pipelines changed: 1.")


@pytest.mark.parametrize("who", ["viewer", "editor"])
def test_list_of_fourteen_rows_has_few_tab_stops(visitor: Visitor, who: str) -> None:
    page = open_list(visitor, who=who)
    expect(page.locator("tr.row")).to_have_count(ROWS)
    assert page.evaluate(FOCUSABLE) <= 60
    assert page.locator("svg.strip a:not([tabindex='-1'])").count() == 0
    page.keyboard.press("j")
    page.keyboard.press("w")
    expect(page.locator("tr.row.here .star button")).to_have_attribute("aria-pressed", re.compile("true|false"))


@pytest.mark.parametrize("width", [390, 320])
def test_phone_shows_owner_failures_next_run_and_order_without_overflow(visitor: Visitor, width: int) -> None:
    page = visitor.page
    page.set_viewport_size({"width": width, "height": 800})
    open_list(visitor, "?sort=attention&days=90")
    row = page.locator("tr.row", has=page.get_by_role("link", name="daily_report", exact=True))
    for column in (".whose", ".failures", ".next", ".last", ".runs svg"):
        expect(row.locator(column)).to_be_visible()
    expect(row.locator(".failures")).to_have_text("1")
    expect(page.get_by_label("Order")).to_be_visible()
    page.locator(".more > summary").click()
    page.locator(".views > summary").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_list_with_filters_and_views_open_has_no_axe_violations(visitor: Visitor) -> None:
    page = visitor.page
    visitor.sign_in("editor")
    for query in ("?sort=attention", "?tag=many&owner=carol&status=success", "?q=nothing"):
        page.goto(f"{visitor.live.url}/spaces/finance/pipelines{query}")
        page.locator(".more > summary").click()
        page.locator(".views > summary").click()
        assert violations(page) == []


def test_sparklines_end_below_the_end_of_their_header(visitor: Visitor) -> None:
    page = visitor.page
    page.set_viewport_size({"width": 1440, "height": 900})
    open_list(visitor)
    edges = page.evaluate("""() => {
      const inner = (cell) => cell.getBoundingClientRect().right - parseFloat(getComputedStyle(cell).paddingRight);
      const strips = Array.from(document.querySelectorAll("svg.strip"), (strip) => strip.getBoundingClientRect().right);
      return [inner(document.querySelector("th.runs")), ...strips];
    }""")
    assert len(edges) == 3, "of the two pipelines that have run"
    assert max(edges) - min(edges) < 1
