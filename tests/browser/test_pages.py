"""What people do every morning, in a real browser."""

import re
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest
from playwright.sync_api import BrowserContext, Page, expect

from browser.conftest import Visitor
from browser.every_page import every_page
from windsock.db.database import CONNECTION_OPTIONS

HOSTILE = "<img src=x onerror=alert(1)><script>alert(1)</script>\u202egnp.exe"


def rows(page: Page) -> list[str]:
    return page.locator("tr.row a.open").all_inner_texts()


def test_user_can_sign_in_open_failed_run_and_comment(visitor: Visitor) -> None:
    page = visitor.page
    page.goto(f"{visitor.live.url}/spaces/finance/pipelines?sort=-failed_count")
    page.get_by_label("API key").fill("wsk_not_a_key_of_this_server")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("unknown, expired or revoked")
    visitor.complaints.clear()  # Chromium notes the 401 that this is
    page.get_by_label("API key").fill(visitor.live.tenants.keys["viewer"])
    page.get_by_role("button", name="Sign in").click()
    expect(page).to_have_url(re.compile(r"/spaces/finance/pipelines\?sort=-failed_count$"))
    expect(page.locator("th[aria-sort=descending]")).to_contain_text("Failed")

    run = page.locator("svg.strip a:has(rect.bad)").first
    run.click()
    expect(page.locator(".head .state")).to_have_text("failed")
    page.get_by_label("Your comment").fill("The bank was late again.")
    page.get_by_role("button", name="Comment").click()
    expect(page.locator(".comment .said").last).to_have_text("The bank was late again.")
    expect(page.locator(".comment .by").last).to_contain_text("Viewer")

    page.locator(".crumbs a").last.click()
    expect(page.locator("h1")).to_be_visible()
    page.get_by_role("navigation", name="By state").get_by_text("failed").click()
    expect(page.locator("tbody .state").first).to_have_text("failed")
    assert set(page.locator("tbody .state").all_inner_texts()) == {"failed"}


def test_search_input_updates_list_and_url_with_debounce(visitor: Visitor) -> None:
    visitor.sign_in()
    page = visitor.page
    all_rows = rows(page)
    word = all_rows[0].split("_")[0]
    before = len(visitor.requests)
    page.keyboard.press("/")
    page.keyboard.type(word, delay=20)
    page.wait_for_url(f"**?*q={word}*")
    expect(page.locator("tr.row")).to_have_count(sum(word in name for name in all_rows))
    assert parse_qs(urlsplit(page.url).query)["q"] == [word]
    assert "criticality" not in page.url, "what says nothing stays out of the address"
    assert len(visitor.requests) - before <= 2, "one question when somebody has stopped typing, not one for each key"
    page.go_back()
    expect(page.locator("tr.row")).to_have_count(len(all_rows))


def test_keyboard_shortcuts_navigate_and_toggle_persistent_watch(visitor: Visitor) -> None:
    visitor.sign_in("editor")
    page = visitor.page
    star = page.locator("tr.row .star button").nth(1)
    was = star.get_attribute("aria-pressed")
    other = {"true": "false", "false": "true"}[was or ""]
    page.keyboard.press("j")
    page.keyboard.press("j")
    expect(page.locator("tr.row.here a.open")).to_have_text(rows(page)[1])
    page.keyboard.press("w")
    expect(star).to_have_attribute("aria-pressed", other)
    page.reload()
    expect(star).to_have_attribute("aria-pressed", other)
    page.keyboard.press("?")
    expect(page.locator("dialog#keys")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    page.keyboard.press("k")
    name = rows(page)[0]
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text(name)


def test_list_refresh_preserves_selected_and_focused_row(visitor: Visitor) -> None:
    visitor.sign_in()
    page = visitor.page
    page.keyboard.press("j")
    name = rows(page)[0]
    with psycopg.connect(visitor.live.database_url, options=CONNECTION_OPTIONS, autocommit=False) as connection:
        space_id = str(visitor.live.tenants.finance.id)
        connection.execute("SELECT set_config('windsock.space_id', %s, true)", (space_id,))
        connection.execute("UPDATE pipelines SET owner = 'somebody new' WHERE name = %s", (name,))
    page.evaluate("htmx.ajax('GET', location.pathname + location.search, {target: '#list', swap: 'outerHTML'})")
    expect(page.locator("tr.row").first).to_contain_text("somebody new")
    expect(page.locator("tr.row.here a.open")).to_have_text(name)
    expect(page.locator("tr.row.here a.open")).to_be_focused()


def test_user_text_is_rendered_inert(visitor: Visitor) -> None:
    alarms: list[str] = []
    visitor.page.on("dialog", lambda dialog: alarms.append(dialog.message))
    finance = visitor.live.tenants.finance
    with psycopg.connect(visitor.live.database_url, options=CONNECTION_OPTIONS, autocommit=False) as connection:
        connection.execute("SELECT set_config('windsock.space_id', %s, true)", (str(finance.id),))
        connection.execute(
            "UPDATE pipelines SET description = %(x)s, owner = %(x)s, tags = ARRAY[%(x)s],"
            " schedule_description = %(x)s",
            {"x": HOSTILE},
        )
        connection.execute("UPDATE runs SET note = %s", (HOSTILE,))
    visitor.sign_in()
    page = visitor.page
    expect(page.locator(".tag").first).to_have_text(HOSTILE)
    page.locator("tr.row a.open").first.click()
    expect(page.locator("main > p").first).to_have_text(HOSTILE)
    page.goto(f"{visitor.live.url}/spaces/finance/runs/{finance.run_id}")
    for text in (HOSTILE, "x" * 10_000):
        page.get_by_label("Your comment").fill(text)
        page.get_by_role("button", name="Comment").click()
        expect(page.locator(".comment .said").last).to_have_text(text)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), "nothing sticks out"
    assert alarms == []


def test_sign_out_ends_session_in_other_tab(visitor: Visitor, context: BrowserContext) -> None:
    visitor.sign_in()
    other = context.new_page()
    other.goto(f"{visitor.live.url}/spaces/finance/pipelines")
    visitor.open_account_menu()
    visitor.page.get_by_role("button", name="Sign out").click()
    expect(visitor.page).to_have_url(re.compile("/sign-in$"))
    other.locator("tr.row a.open").first.click()
    expect(other).to_have_url(re.compile("/sign-in"))


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_fit_viewport_width(visitor: Visitor, width: int, scheme: str) -> None:
    page = visitor.page
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    page.set_viewport_size({"width": width, "height": 800})
    visitor.sign_in("superadmin")
    for address in every_page(visitor):
        page.goto(address)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, address
    page.goto(f"{visitor.live.url}/spaces/finance/nothing-here")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    visitor.complaints.clear()  # Chromium notes the 404 that this is


def test_lists_and_comment_forms_work_without_javascript(visitor: Visitor) -> None:
    browser = visitor.page.context.browser
    assert browser is not None
    context = browser.new_context(java_script_enabled=False)
    plain = Visitor(context.new_page(), visitor.live)
    plain.sign_in()
    page = plain.page
    page.locator("#q").fill(rows(page)[0])
    page.get_by_role("button", name="Show").click()
    expect(page.locator("tr.row")).to_have_count(1)
    page.goto(f"{visitor.live.url}/spaces/finance/runs/{visitor.live.tenants.finance.run_id}")
    page.get_by_label("Your comment").fill("Without a script.")
    page.get_by_role("button", name="Comment").click()
    expect(page.locator(".comment .said").last).to_have_text("Without a script.")
    context.close()
