"""Settings, members, teams, users, spaces and the audit log in a real browser."""

from collections.abc import Iterator

import psycopg
import pytest
from playwright.sync_api import BrowserContext, expect

from browser.conftest import Visitor
from windsock.db.database import CONNECTION_OPTIONS

LONG = "x" * 195
WIDTHS = (1440, 390, 320)


def settings_pages(visitor: Visitor) -> list[str]:
    """A superadmin's."""
    tenants = visitor.live.tenants
    of_space = ("settings", "members", "teams", f"teams/{tenants.finance.team_id}", "audit")
    others = ("/spaces", "/users", f"/users/{tenants.users['viewer']}", "/users?q=nobody")
    return [f"{visitor.live.url}{path}" for path in (*(f"/spaces/finance/{item}" for item in of_space), *others)]


def pages_of_the_team(visitor: Visitor) -> list[str]:
    """Where the name of the team stands beside its pipeline."""
    pipeline = visitor.live.tenants.finance.pipelines["hourly_load"]
    paths = ("", "/runs", "/pipelines", f"/pipelines/{pipeline}", "/timeline")
    return [f"{visitor.live.url}/spaces/finance{path}" for path in paths]


@pytest.fixture
def long_names(visitor: Visitor) -> Iterator[None]:
    """A team, a member and a space with names of 195 characters without a space."""
    finance = visitor.live.tenants.finance
    values = {"long": LONG, "space_id": finance.id, "user_id": visitor.live.tenants.users["viewer"]}
    statements = {
        "UPDATE teams SET name = %(long)s, contact = 'https://' || %(long)s WHERE space_id = %(space_id)s": (
            "UPDATE teams SET name = 'ingestion', contact = NULL WHERE space_id = %(space_id)s"
        ),
        "UPDATE users SET name = %(long)s, email = %(long)s || '@example.com' WHERE id = %(user_id)s": (
            "UPDATE users SET name = 'Viewer', email = 'viewer@example.com' WHERE id = %(user_id)s"
        ),
        "UPDATE spaces SET name = %(long)s WHERE id = %(space_id)s": (
            "UPDATE spaces SET name = 'Finance' WHERE id = %(space_id)s"
        ),
    }
    with psycopg.connect(visitor.live.database_url, options=CONNECTION_OPTIONS, autocommit=True) as connection:
        connection.execute("SELECT set_config('windsock.space_id', %s, false)", (str(finance.id),))
        for statement in statements:
            connection.execute(statement.encode(), values)
        yield
        for statement in statements.values():
            connection.execute(statement.encode(), values)


@pytest.mark.usefixtures("long_names")
def test_long_names_do_not_overflow(visitor: Visitor) -> None:
    page = visitor.page
    visitor.sign_in("superadmin")
    for address in (*settings_pages(visitor), *pages_of_the_team(visitor)):
        page.goto(address)
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 800})
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (address, width)
            assert page.locator("main").evaluate("main => main.scrollWidth") <= width, (address, width)


def test_removal_of_only_admin_is_refused_in_a_toast(visitor: Visitor) -> None:
    visitor.sign_in("superadmin")
    page = visitor.page
    page.goto(f"{visitor.live.url}/spaces/marketing/members")
    page.get_by_role("button", name="Remove Stranger").click()
    expect(page.locator(".toast")).to_contain_text("without an admin. Make somebody else admin first.")
    expect(page.locator("dialog#confirm")).to_be_hidden()
    visitor.complaints.clear()  # Chromium notes the 409 that this is
    page.get_by_label("Role of Stranger", exact=True).select_option("viewer")
    page.get_by_role("button", name="Set the role of Stranger").click()
    expect(page.get_by_role("alert")).to_contain_text("without an admin.")
    expect(page.get_by_label("Role of Stranger", exact=True)).to_be_focused()
    visitor.complaints.clear()


def test_member_is_removed_after_confirmation(visitor: Visitor) -> None:
    visitor.sign_in("admin")
    page = visitor.page
    page.goto(f"{visitor.live.url}/spaces/finance/members")
    page.get_by_role("button", name="Remove Revoked").click()
    page.locator("dialog#confirm").get_by_role("button", name="Remove").click()
    expect(page.locator(".toast")).to_contain_text("The member is removed.")
    expect(page.locator("td").filter(has_text="revoked@example.com")).to_have_count(0)


def test_user_is_created_and_signs_in_with_copied_link(visitor: Visitor, context: BrowserContext) -> None:
    visitor.sign_in("superadmin")
    page = visitor.page
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    visitor.open_account_menu()
    page.get_by_role("link", name="Users").click()
    page.get_by_label("E-mail", exact=True).fill("grace@example.com")
    page.get_by_label("Name", exact=True).fill("Grace")
    page.get_by_role("button", name="Create").click()
    expect(page.locator(".toast")).to_contain_text("The user is created.")
    page.get_by_role("button", name="Create a sign-in link").click()
    page.get_by_role("button", name="Copy link").click()
    expect(page.get_by_role("button", name="Copied", exact=True)).to_be_visible()
    link = page.evaluate("navigator.clipboard.readText()")
    page.reload()
    expect(page.locator("#sign-in-link")).to_have_count(0)
    page.goto(link)
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator("h1")).to_contain_text("You are in no space yet")


def test_audit_log_is_filtered_by_form_and_links(visitor: Visitor) -> None:
    visitor.sign_in("admin")
    page = visitor.page
    page.goto(f"{visitor.live.url}/spaces/finance/teams")
    page.get_by_label("Name").fill("Billing")
    page.get_by_label("Contact").fill("#billing")
    page.get_by_role("button", name="Create").click()
    page.get_by_role("navigation", name="Settings").or_(page.locator(".crumbs")).get_by_role(
        "link", name="Settings"
    ).first.click()
    page.get_by_role("link", name="Audit log").click()
    page.get_by_label("Person").select_option(label="Admin")
    page.get_by_label("Kind").select_option(label="team")
    page.get_by_role("button", name="Filter").click()
    entry = page.locator("tbody tr").first
    expect(entry).to_contain_text("Admin created the team Billing")
    expect(entry).to_contain_text("contact: #billing")
    entry.get_by_role("link", name="Billing", exact=True).click()
    expect(page.locator("h1")).to_have_text("Billing")
