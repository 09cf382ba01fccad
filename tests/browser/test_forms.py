"""Forms: refused input, notices, confirmation, Back, double submission and drafts, in a real browser."""

import re

from playwright.sync_api import Browser, BrowserContext, expect

from browser.conftest import Visitor


def test_refused_form_keeps_input_and_back_shows_it_again(visitor: Visitor) -> None:
    visitor.sign_in()
    page = visitor.page
    page.goto(f"{visitor.live.url}/api-keys")
    page.locator("form.fields").evaluate("form => { form.noValidate = true }")
    page.get_by_label("Name").fill("night shift")
    page.get_by_label("Expires after days").fill("9999")
    page.get_by_role("button", name="Create key").click()
    days = page.get_by_label("Expires after days")
    expect(days).to_have_attribute("aria-invalid", "true")
    expect(days).to_be_focused()
    expect(page.get_by_role("alert")).to_have_text("Enter 3650 or less.")
    expect(page.get_by_label("Name")).to_have_value("night shift")
    visitor.complaints.clear()  # Chromium notes the 422 that this is
    page.get_by_role("navigation", name="This space").get_by_role("link", name="Timeline").click()
    page.go_back()
    expect(page.get_by_label("Name")).to_have_value("night shift")
    visitor.complaints.clear()


def test_new_key_can_be_copied_and_reload_creates_no_other(visitor: Visitor, context: BrowserContext) -> None:
    visitor.sign_in()
    page = visitor.page
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(f"{visitor.live.url}/api-keys")
    page.get_by_label("Name").fill("nightly")
    page.get_by_role("button", name="Create key").click()
    key = page.locator("#new-key-value").inner_text()
    page.get_by_role("button", name="Copy key").click()
    expect(page.get_by_role("button", name="Copied", exact=True)).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == key
    page.reload()
    expect(page.locator("td").filter(has_text="nightly")).to_have_count(1)
    expect(page.locator("#new-key-value")).to_have_count(0)


def test_revocation_is_confirmed_in_dialog_and_reported_in_toast(visitor: Visitor) -> None:
    visitor.sign_in()
    page = visitor.page
    page.goto(f"{visitor.live.url}/api-keys")
    page.get_by_label("Name").fill("short-lived")
    page.get_by_role("button", name="Create key").click()
    revoke = page.get_by_role("button", name="Revoke short-lived")
    revoke.click()
    dialog = page.locator("dialog#confirm")
    expect(dialog).to_contain_text("Revoke the API key “short-lived”?")
    expect(dialog.get_by_role("link", name="Cancel")).to_be_focused()
    page.keyboard.press("Escape")
    expect(revoke).to_be_focused()
    revoke.click()
    dialog.get_by_role("link", name="Cancel").click()
    expect(dialog).to_be_hidden()
    expect(revoke).to_be_visible()
    revoke.click()
    dialog.get_by_role("button", name="Revoke").click()
    expect(page.locator(".toast")).to_contain_text("The API key is revoked.")
    expect(revoke).to_have_count(0)
    page.reload()
    expect(page.locator(".toast")).to_have_count(0)


def test_revocation_is_confirmed_without_javascript(chromium: Browser, visitor: Visitor) -> None:
    context = chromium.new_context(java_script_enabled=False)
    plain = Visitor(context.new_page(), visitor.live)
    plain.sign_in()
    page = plain.page
    page.goto(f"{visitor.live.url}/api-keys")
    page.get_by_label("Name").fill("plain")
    page.get_by_role("button", name="Create key").click()
    page.get_by_role("button", name="Revoke plain").click()
    expect(page.locator("h1")).to_have_text("Revoke the API key “plain”?")
    page.get_by_role("link", name="Cancel").click()
    page.get_by_role("button", name="Revoke plain").click()
    page.get_by_role("button", name="Revoke").click()
    expect(page.locator(".toast")).to_have_text("The API key is revoked.")
    expect(page.get_by_role("button", name="Revoke plain")).to_have_count(0)
    context.close()


def test_bulk_edit_without_choice_shows_error_and_keeps_selection(visitor: Visitor) -> None:
    visitor.sign_in("editor")
    page = visitor.page
    box = page.locator("tr.row input[type=checkbox]").first
    box.check()
    page.get_by_role("button", name="Set").click()
    expect(page.locator("#govern-error")).to_have_text("Choose a team or a criticality to set.")
    visitor.complaints.clear()  # Chromium notes the 422 that this is
    expect(box).to_be_checked()
    page.locator("#govern select[name=criticality]").select_option("high")
    page.get_by_role("button", name="Set").click()
    expect(page.locator(".toast")).to_contain_text("Pipelines changed: 1.")


def test_back_after_trigger_shows_the_same_form_and_starts_no_second_run(visitor: Visitor) -> None:
    live, page = visitor.live, visitor.page
    live.runs.details, live.runs.faults = (200, {"params": {}}), []
    visitor.sign_in("editor")
    page.get_by_role("link", name="daily_report").first.click()
    page.get_by_role("link", name="Trigger").click()
    expect(page).to_have_url(re.compile(r"trigger\?key=[0-9a-f]{32}$"))
    before = len(live.runs.posts)
    page.get_by_role("button", name="Trigger").click()
    expect(page.locator(".toast")).to_contain_text("The run is started.")
    run = page.url
    page.go_back()
    page.get_by_role("button", name="Trigger").click()
    expect(page.locator(".toast")).to_contain_text("had started this run before")
    assert page.url == run
    assert len(live.runs.posts) == before + 1


def test_comment_survives_expired_session(visitor: Visitor, context: BrowserContext) -> None:
    visitor.sign_in()
    page = visitor.page
    run = f"{visitor.live.url}/spaces/finance/runs/{visitor.live.tenants.finance.run_id}"
    page.goto(run)
    page.get_by_label("Your comment").fill("The bank was late.\nCalled them.")
    context.clear_cookies(name="windsock_session")
    page.get_by_role("button", name="Comment").click()
    expect(page.locator("#draft-note")).to_be_visible()
    page.get_by_label("API key").fill(visitor.live.tenants.keys["viewer"])
    page.get_by_role("button", name="Sign in").click()
    expect(page).to_have_url(run)
    expect(page.get_by_label("Your comment")).to_have_value("The bank was late.\nCalled them.")
    expect(page.locator(".toast")).to_contain_text("it was not sent")
    page.get_by_role("button", name="Comment").click()
    expect(page.locator(".comment .said").last).to_have_text("The bank was late.\nCalled them.")
    page.goto(run)
    expect(page.get_by_label("Your comment")).to_have_value("")


def test_filter_after_expired_session_returns_to_the_filtered_list(visitor: Visitor, context: BrowserContext) -> None:
    visitor.sign_in()
    page = visitor.page
    page.goto(f"{visitor.live.url}/spaces/finance/pipelines?status=failed&days=30")
    context.clear_cookies(name="windsock_session")
    page.get_by_text("More filters").click()
    page.get_by_label("Criticality").first.select_option("high")
    page.get_by_label("API key").fill(visitor.live.tenants.keys["viewer"])
    visitor.complaints.clear()  # Chromium notes the 401 that this is
    page.get_by_role("button", name="Sign in").click()
    expect(page).to_have_url(f"{visitor.live.url}/spaces/finance/pipelines?status=failed&days=30")
