"""What people do in the pages, in Chromium on a real Airflow: comments, forms, connectors, settings, the keyboard."""

import re

import pytest
from playwright.sync_api import Browser, Page, expect

from airflow.harness import PASSWORD
from airflow.morning import FAILS, ZONE, Morning

LONG = 120_000
"""Milliseconds: a sync, or a run of a DAG, on a busy machine."""
STARTED = "supplier_file"
"""A DAG of which these tests start runs."""
MAX_TAB_STOPS = 60
FOCUSABLE = """() => Array.from(document.querySelectorAll("a[href], button, input, select, textarea"))
  .filter((control) => control.tabIndex >= 0 && control.checkVisibility({visibilityProperty: true})).length"""


def confirm(page: Page, action: str) -> None:
    page.locator("dialog#confirm").get_by_role("button", name=action).click()


def test_comments_are_replied_to_edited_deleted_counted_and_survive_an_expired_session(
    morning: Morning, page: Page
) -> None:
    run = morning.runs(FAILS, "failed")[1]
    page.goto(morning.address(f"/runs/{run.id}"))
    page.get_by_label("Your comment").fill("See **https://bank.example/status**")
    page.get_by_role("button", name="Comment", exact=True).click()
    first = page.locator(".comment", has_text="bank.example")
    expect(first.locator("strong").get_by_role("link", name="https://bank.example/status")).to_be_visible()
    first.get_by_role("link", name="Reply").click()
    page.get_by_label("Your reply").fill("They know.")
    page.get_by_role("button", name="Reply").click()
    reply = page.locator(".comment.reply")
    reply.get_by_role("link", name="Edit").click()
    page.get_by_label("Edit your comment").fill("They know it.")
    page.get_by_role("button", name="Save").click()
    expect(reply.locator(".said")).to_have_text("They know it.")
    page.get_by_role("link", name="Comment on send_to_bank").first.click()
    page.get_by_label("Your comment").fill("This task.")
    page.get_by_role("button", name="Comment", exact=True).click()
    expect(page.locator("#comments h3")).to_contain_text("send_to_bank")
    page.goto(morning.address(f"/runs?q={FAILS}"))
    link = page.locator("tr.row", has=page.locator(f'a[href$="{run.id}"]')).locator(".comments-count")
    expect(link).to_have_text("3")
    page.goto(morning.address(f"/runs/{run.id}"))
    reply.get_by_role("link", name="Delete").click()
    reply.get_by_role("button", name="Delete").click()
    expect(reply).to_have_count(0)
    page.get_by_label("Your comment").fill("A draft.")
    page.context.clear_cookies(name="windsock_session")
    page.get_by_role("button", name="Comment", exact=True).click()
    page.get_by_label("API key").fill(morning.keys["ada"])
    page.get_by_role("button", name="Sign in").click()
    expect(page).to_have_url(morning.address(f"/runs/{run.id}"))
    expect(page.get_by_label("Your comment")).to_have_value("A draft.")


def test_back_after_trigger_starts_no_second_run_in_airflow(morning: Morning, page: Page) -> None:
    def count() -> int:
        found: int = morning.airflow.api("GET", f"/dags/{STARTED}/dagRuns")["total_entries"]
        return found

    before = count()
    page.goto(morning.pipeline(STARTED))
    page.get_by_role("link", name="Trigger", exact=True).click()
    page.get_by_role("button", name="Trigger").click()
    expect(page.locator(".toast")).to_contain_text("The run is started.", timeout=LONG)
    run = page.url
    page.go_back()
    page.get_by_role("button", name="Trigger").click()
    expect(page.locator(".toast")).to_contain_text("had started this run before", timeout=LONG)
    assert page.url == run
    assert count() == before + 1
    expect(page.locator(".head .state")).to_have_text("success", timeout=LONG)
    expect(page.locator("#grid .line", has_text="import_file").locator(".state.success")).to_be_visible(timeout=LONG)


def test_refused_forms_keep_their_input_and_removals_are_confirmed(morning: Morning, page: Page) -> None:
    page.goto(morning.address("/teams"))
    page.get_by_label("Name").fill("Billing")
    page.get_by_label("Contact").fill("nobody@example.com")
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_label("Name")).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_label("Contact")).to_have_value("nobody@example.com")
    page.goto(morning.address("/members"))
    page.get_by_label("E-mail").fill("vic@example.com")
    page.get_by_label("Role", exact=True).select_option("editor")
    page.get_by_role("button", name="Add").click()
    expect(page.get_by_role("alert")).to_be_visible()
    page.goto(morning.address("/members"))
    expect(page.get_by_label("Role of Vic", exact=True)).to_have_value("viewer")
    page.get_by_role("button", name="Leave this space").click()
    expect(page.locator(".toast")).to_contain_text("without an admin")
    page.goto(f"{morning.url}/api-keys")
    page.get_by_label("Name").fill("nightly")
    page.get_by_role("button", name="Create key").click()
    expect(page.get_by_role("button", name="Copy key")).to_be_visible()
    page.reload()
    expect(page.locator("td").filter(has_text="nightly")).to_have_count(1)
    page.get_by_role("button", name="Revoke nightly").click()
    expect(page.get_by_role("button", name="Revoke nightly")).to_have_count(1)
    confirm(page, "Revoke")
    expect(page.locator(".toast")).to_contain_text("The API key is revoked.")


def test_session_is_ended_after_confirmation_only(morning: Morning, page: Page, chromium: Browser) -> None:
    context = chromium.new_context(user_agent="Old phone")
    other = context.new_page()
    morning.sign_in(other)
    page.goto(f"{morning.url}/sessions")
    page.get_by_role("button", name="Sign out Old phone").click()
    expect(page.locator("dialog#confirm")).to_contain_text("Sign out “Old phone”?")
    other.reload()
    expect(other.locator("h1")).to_have_text("Overview")
    confirm(page, "Sign out")
    expect(page.locator(".toast")).to_contain_text("That browser is signed out.")
    other.reload()
    expect(other).to_have_url(re.compile("/sign-in"))
    context.close()


def test_connector_header_agrees_with_its_syncs_without_reload(morning: Morning, page: Page) -> None:
    page.goto(morning.address("/connectors/new", "marketing"))
    page.get_by_label("Name", exact=True).fill("second")
    page.get_by_label("URL", exact=True).fill("http://127.0.0.1:9")
    page.get_by_label("User name").fill("admin")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Connect", exact=True).click()
    expect(page.locator(".head .fresh")).to_have_text("failing", timeout=LONG)
    expect(page.locator(".doubt")).to_be_visible()
    connector = page.url
    page.get_by_role("link", name="Edit").click()
    page.get_by_label("URL", exact=True).fill(morning.airflow.url)
    page.get_by_label("What Airflow asks for").or_(page.locator("select[name=auth_type]")).first.select_option(
        "password"
    )
    page.get_by_label("User name").fill("admin")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Save").click()
    expect(page).to_have_url(connector)
    page.evaluate("window.stays = true")
    page.get_by_role("button", name="Sync now").click()
    expect(page.locator(".sync").first).to_have_text("complete", timeout=LONG)
    expect(page.locator(".head .fresh")).to_have_text("fresh")
    expect(page.locator(".doubt")).to_have_count(0)
    expect(page.locator("dl.facts div", has_text="As of")).not_to_contain_text("no complete sync yet")


def test_connector_page_folds_equal_syncs_and_leads_to_import_errors(morning: Morning, page: Page) -> None:
    page.goto(morning.connector())
    expect(page.locator(".sync.complete + .quiet").first).to_be_visible(timeout=LONG)
    page.get_by_role("button", name="Full sync").click()
    expect(page.get_by_text("by hand, full").first).to_be_visible(timeout=LONG)
    page.get_by_role("link", name="1 import error").click()
    error = page.locator("li.card")
    expect(error.get_by_role("heading")).to_contain_text("vendor_feed.py")
    expect(error.locator(".exception")).to_contain_text("No module named 'vendor_sdk_not_installed'")
    expect(error).to_contain_text("since")
    error.get_by_text("Stack trace").click()
    expect(error.locator("pre")).to_contain_text("Traceback")
    error.get_by_role("link", name="production").click()
    expect(page.locator("h1")).to_have_text("production")


def test_superadmin_manages_spaces_users_and_links_and_the_audit_log_names_them(
    morning: Morning, page: Page, chromium: Browser
) -> None:
    page.context.clear_cookies()
    morning.sign_in(page, "sue")
    page.goto(f"{morning.url}/spaces")
    page.get_by_label("Name").fill("Operations")
    page.get_by_label("Slug").fill("ops")
    page.get_by_role("button", name="Create").click()
    page.goto(morning.address("/settings", "ops"))
    page.get_by_label("Keep runs for days").fill("30")
    page.get_by_role("button", name="Save").click()
    page.get_by_role("button", name="Delete old runs").click()
    expect(page.locator(".toast")).to_contain_text("The settings are saved.")
    page.goto(f"{morning.url}/users")
    page.get_by_label("E-mail", exact=True).fill("grace@example.com")
    page.get_by_label("Name", exact=True).fill("Grace")
    page.get_by_role("button", name="Create").click()
    page.get_by_role("button", name="Create a sign-in link").click()
    link, user = page.locator("#sign-in-link").inner_text(), page.url
    context = chromium.new_context(timezone_id=ZONE)
    grace = context.new_page()
    grace.goto(link)
    grace.get_by_role("button", name="Sign in").click()
    expect(grace.locator("h1")).to_contain_text("You are in no space yet")
    page.goto(user)
    page.get_by_role("button", name="Deactivate Grace").click()
    confirm(page, "Deactivate")
    expect(page.locator(".toast")).to_contain_text("deactivated")
    grace.reload()
    expect(grace).to_have_url(re.compile("/sign-in"))
    context.close()
    page.goto(morning.address("/audit", "ops"))
    expect(page.locator("table.audit")).to_contain_text("Sue")
    text = page.locator("main").inner_text()
    assert not re.search(r"[0-9a-f]{8}-[0-9a-f]{4}-", text), "no ids"
    assert "{'" not in text, "no dictionaries of Python"


def test_keyboard_and_palette_reach_pipelines_and_runs_and_error_pages_keep_the_navigation(
    morning: Morning, page: Page
) -> None:
    page.goto(morning.address("/pipelines"))
    assert page.locator("tr.row").count() >= 14
    assert page.evaluate(FOCUSABLE) <= MAX_TAB_STOPS
    expect(page.locator(".places [aria-current=page]")).to_have_text("Pipelines")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent").startswith("Skip to")
    find = page.get_by_role("button", name="Find")
    find.click()
    page.keyboard.press("Escape")
    expect(find).to_be_focused()
    run = morning.runs(FAILS)[0]
    page.keyboard.press("Control+k")
    page.get_by_role("combobox", name="Find pipelines").fill(run.external_id)
    page.get_by_role("option", name=run.external_id).click()
    expect(page.locator("#run-id")).to_have_text(run.external_id)
    expect(page.get_by_role("navigation", name="Breadcrumbs").get_by_role("link", name=FAILS)).to_be_visible()
    account = page.get_by_role("navigation", name="Account").get_by_role("button").first
    account.click()
    page.get_by_role("button", name="Dark", exact=True).click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.keyboard.press("Escape")
    expect(account).to_be_focused()
    page.goto(morning.address("/nothing-here"))
    expect(page.get_by_role("navigation", name="This space").get_by_role("link")).to_have_count(8)


@pytest.mark.parametrize("key", ["Enter", "w"])
def test_star_keeps_its_focus_and_is_stored(morning: Morning, page: Page, key: str) -> None:
    page.goto(morning.address("/pipelines"))
    star = page.locator("tr.row .star button").first
    was = star.get_attribute("aria-pressed")
    other = {"true": "false", "false": "true"}[was or ""]
    star.focus()
    page.keyboard.press(key)
    expect(star).to_have_attribute("aria-pressed", other)
    expect(star).to_be_focused()
    page.reload()
    expect(star).to_have_attribute("aria-pressed", other)
