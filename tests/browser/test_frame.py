"""Menus, theme, palette, keyboard access and focus, in a real browser."""

import re

import psycopg
import pytest
from playwright.sync_api import Browser, Page, expect

from browser.conftest import Visitor
from browser.every_page import every_page
from windsock.db.database import CONNECTION_OPTIONS

MAX_TAB_STOPS = 60
ADD_PIPELINES = """
INSERT INTO pipelines SELECT (jsonb_populate_record(p, jsonb_build_object(
    'id', gen_random_uuid(), 'external_id', 'copy_' || n, 'name', 'copy_' || n))).*
FROM pipelines p, generate_series(1, 11) n WHERE p.name = 'daily_report'
"""


def is_dark(page: Page) -> bool:
    """Whether the ground is dark."""
    color = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return sum(int(part) for part in re.findall(r"\d+", color)[:3]) < 3 * 128


@pytest.mark.parametrize(("scheme", "choice"), [("light", "Dark"), ("dark", "Light")])
def test_theme_choice_is_stored_and_applied_before_first_paint(visitor: Visitor, scheme: str, choice: str) -> None:
    page = visitor.page
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    visitor.sign_in()
    assert is_dark(page) == (scheme == "dark"), "as the system has it"
    visitor.open_account_menu()
    page.get_by_role("button", name=choice, exact=True).click()
    assert is_dark(page) == (choice == "Dark")
    page.add_init_script(
        "addEventListener('DOMContentLoaded', () => { window.themeAtParse = document.documentElement.dataset.theme })"
    )
    for path in ("/spaces/finance/pipelines", "/api-keys", "/api/v1.0/docs"):
        page.goto(visitor.live.url + path)
        assert page.evaluate("window.themeAtParse") == choice.lower(), "set by a script that blocks parsing"
        assert "defer" not in page.locator("script[src*='theme.js']").evaluate("script => script.outerHTML")
    page.goto(f"{visitor.live.url}/api-keys")
    visitor.open_account_menu()
    expect(page.get_by_role("button", name=choice, exact=True)).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name="System", exact=True).click()
    assert is_dark(page) == (scheme == "dark")


@pytest.mark.parametrize("name", ["Spaces", "Account"])
def test_menu_closes_on_escape_and_outside_click_and_returns_focus(visitor: Visitor, name: str) -> None:
    visitor.sign_in()
    page = visitor.page
    opener = page.get_by_role("navigation", name=name).get_by_role("button").first
    menu = page.locator(f"#{'space' if name == 'Spaces' else 'account'}-menu")
    opener.focus()
    page.keyboard.press("Enter")
    expect(menu).to_be_visible()
    page.keyboard.press("Tab")
    page.keyboard.press("Escape")
    expect(menu).to_be_hidden()
    expect(opener).to_be_focused()
    opener.click()
    expect(menu).to_be_visible()
    page.mouse.click(600, 700)
    expect(menu).to_be_hidden()


def test_menu_names_version_reference_and_sign_out(visitor: Visitor) -> None:
    visitor.sign_in()
    visitor.open_account_menu()
    menu = visitor.page.locator("#account-menu")
    expect(menu).to_contain_text(re.compile(r"Windsock \d+\.\d+"))
    expect(menu.get_by_role("button", name="Sign out")).to_be_visible()
    menu.get_by_role("link", name="API reference").click()
    expect(visitor.page.locator(".opblock").first).to_be_visible(timeout=20_000)


def test_star_keeps_focus_when_it_is_activated(visitor: Visitor) -> None:
    visitor.sign_in()
    page = visitor.page
    star = page.locator("tr.row .star button").first
    pressed = star.get_attribute("aria-pressed")
    star.focus()
    for expected in ("false" if pressed == "true" else "true", pressed or ""):
        page.keyboard.press("Enter")
        expect(star).to_have_attribute("aria-pressed", expected)
        expect(star).to_be_focused()


@pytest.fixture
def fourteen_pipelines(visitor: Visitor) -> Visitor:
    space_id = str(visitor.live.tenants.finance.id)
    with psycopg.connect(visitor.live.database_url, options=CONNECTION_OPTIONS, autocommit=False) as connection:
        connection.execute("SELECT set_config('windsock.space_id', %s, true)", (space_id,))
        connection.execute(ADD_PIPELINES)
    visitor.sign_in("editor")
    expect(visitor.page.locator("tr.row")).to_have_count(14)
    return visitor


def test_list_of_fourteen_rows_has_few_tab_stops_and_all_controls_are_reachable(fourteen_pipelines: Visitor) -> None:
    page = fourteen_pipelines.page
    stops = page.evaluate("""() => Array.from(document.querySelectorAll("a[href], button, input, select, textarea"))
        .filter((control) => control.tabIndex >= 0 && control.checkVisibility({visibilityProperty: true})).length""")
    assert stops <= MAX_TAB_STOPS
    row = page.locator("tr.row", has=page.locator("svg.strip a")).first
    row.locator("a.open").focus()
    reached = ["a.open"]
    for key in ("ArrowLeft", "ArrowRight", "ArrowRight"):
        page.keyboard.press(key)
        reached.append(page.evaluate("document.activeElement.type || document.activeElement.closest('svg')?.tagName"))
    assert reached[1] == "checkbox"
    page.keyboard.press("End")
    bars = row.locator("svg.strip a").count()
    for _ in range(bars + 1):
        page.keyboard.press("ArrowRight")
    expect(row.locator(".star button")).to_be_focused()
    page.keyboard.press("x")
    expect(row.locator("input[type=checkbox]")).to_be_checked()


def test_skip_link_leads_past_the_header(visitor: Visitor) -> None:
    visitor.sign_in()
    page = visitor.page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.tagName") == "MAIN"


def test_palette_opens_pipeline_by_keyboard_and_returns_focus(visitor: Visitor) -> None:
    visitor.sign_in("editor")
    page = visitor.page
    find = page.get_by_role("button", name="Find")
    options = page.locator("#palette-results [role=option]")
    find.click()
    query = page.get_by_role("combobox", name="Find pipelines")
    expect(query).to_be_focused()
    expect(page.get_by_role("option", name="Timeline")).to_be_visible()
    page.keyboard.press("Escape")
    expect(find).to_be_focused()
    page.keyboard.press("Control+k")
    query.fill("daily")
    expect(options.first).to_contain_text("daily_report")
    expect(options.first).to_have_attribute("aria-selected", "true")
    query.fill("trigger nothing at all")
    expect(page.locator("#palette-status")).to_have_text("Nothing found.")
    query.fill("daily")
    expect(options.last).to_contain_text("Trigger daily_report")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("daily_report")


def test_palette_opens_run_by_id_from_page_outside_the_space(visitor: Visitor) -> None:
    visitor.sign_in()
    page = visitor.page
    run_id = visitor.live.tenants.finance.run_id
    page.goto(f"{visitor.live.url}/api-keys")
    page.keyboard.press("Control+k")
    page.get_by_role("combobox", name="Find pipelines").fill(str(run_id))
    page.get_by_role("option", name="daily_report").click()
    expect(page).to_have_url(f"{visitor.live.url}/spaces/finance/runs/{run_id}")


def test_every_page_marks_its_place_and_has_one_heading(visitor: Visitor) -> None:
    visitor.sign_in("superadmin")
    page = visitor.page
    for address in every_page(visitor):
        page.goto(address)
        expect(page.locator("h1")).to_have_count(1)
        expect(page.get_by_role("navigation", name="Breadcrumbs").locator("[aria-current=page]")).to_have_count(1)
        assert page.locator("th").evaluate_all("all => all.every((th) => th.textContent.trim())"), address
    page.goto(f"{visitor.live.url}/spaces/finance/settings")
    expect(page.locator(".places [aria-current=page]")).to_have_text("Settings")


@pytest.mark.parametrize("width", [320, 390, 640, 1440])
def test_every_entry_of_the_navigation_is_reachable_without_scrolling_sideways(visitor: Visitor, width: int) -> None:
    page = visitor.page
    page.set_viewport_size({"width": width, "height": 800})
    visitor.sign_in()
    places = page.get_by_role("navigation", name="This space")
    assert places.evaluate("nav => nav.scrollWidth <= nav.clientWidth")
    entries = places.get_by_role("link").all()
    assert len(entries) == 8
    for entry in entries:
        box = entry.bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
        assert box["height"] >= 24


def test_menus_work_without_javascript(chromium: Browser, visitor: Visitor) -> None:
    context = chromium.new_context(java_script_enabled=False)
    plain = Visitor(context.new_page(), visitor.live)
    plain.sign_in()
    plain.open_account_menu()
    expect(plain.page.get_by_role("link", name="API keys")).to_be_visible()
    expect(plain.page.get_by_role("button", name="Find")).to_be_hidden()
    plain.page.get_by_role("button", name="Sign out").click()
    expect(plain.page.locator("#toasts")).to_have_text("You are signed out.")
    context.close()
