"""The inbox in a browser: its keys, the count in the title of the tab, and fields in which its keys are text."""

import re

import psycopg
import pytest
from playwright.sync_api import Locator, Page, expect

from browser.conftest import Visitor
from live_server import LiveServer
from windsock.db.database import CONNECTION_OPTIONS

NAMES = ["daily_report", "hourly_load", "never_run"]
"""Of the pipelines with an open incident, by urgency: of the same criticality, the oldest first."""
INCIDENTS = """
INSERT INTO incidents (space_id, connector_id, pipeline_id, kind, opened_at, last_failed_at)
SELECT space_id, connector_id, id, 'failed', at, at
FROM pipelines, LATERAL (SELECT now() - interval '1 hour' * array_position(%(names)s, name) AS at) opened
WHERE space_id = %(space_id)s AND name = ANY (%(names)s)
"""


@pytest.fixture(autouse=True)
def open_incidents(live: LiveServer) -> None:
    """Three, all open, in the order of NAMES."""
    space_id = live.tenants.finance.id
    with psycopg.connect(live.database_url, options=CONNECTION_OPTIONS) as connection:
        connection.execute("SELECT set_config('windsock.space_id', %s, true)", (str(space_id),))
        connection.execute("DELETE FROM incidents")
        connection.execute(INCIDENTS.encode(), {"space_id": space_id, "names": NAMES[::-1]})


@pytest.fixture
def inbox(visitor: Visitor) -> Page:
    visitor.sign_in("editor", "/spaces/finance/inbox")
    expect(visitor.page.locator("tr.row a.open")).to_have_text(NAMES)
    return visitor.page


def row(page: Page, name: str) -> Locator:
    return page.locator("tr.row", has=page.get_by_role("link", name=name, exact=True))


def expect_here(page: Page, name: str) -> None:
    """The one row that keys act on; its link has the focus."""
    expect(page.locator("tr.here")).to_have_count(1)
    expect(page.locator("tr.here a.open")).to_have_text(name)
    expect(page.locator("tr.here a.open")).to_be_focused()


def test_j_and_k_move_and_stop_at_the_ends(inbox: Page) -> None:
    for key, name in zip("jjjjkkk", [*NAMES, NAMES[2], NAMES[1], NAMES[0], NAMES[0]], strict=True):
        inbox.keyboard.press(key)
        expect_here(inbox, name)


def test_a_acknowledges_and_s_snoozes_row_of_focus_and_title_counts_what_is_open(inbox: Page) -> None:
    expect(inbox).to_have_title(re.compile(r"^\(3\) Inbox"))
    inbox.keyboard.press("j")
    inbox.keyboard.press("a")
    expect(row(inbox, NAMES[0]).locator(".incident-state")).to_have_text("acknowledged")
    expect(row(inbox, NAMES[0])).to_contain_text("Editor")
    expect(inbox).to_have_title(re.compile(r"^\(2\) Inbox"))
    expect_here(inbox, NAMES[0])
    inbox.keyboard.press("n")
    expect_here(inbox, NAMES[1])
    inbox.keyboard.press("s")
    expect(row(inbox, NAMES[1]).locator(".incident-state")).to_have_text("snoozed")
    expect(inbox).to_have_title(re.compile(r"^\(1\) Inbox"))


def test_e_resolves_and_the_next_row_gets_the_focus(inbox: Page) -> None:
    inbox.keyboard.press("j")
    for resolved in range(2):
        inbox.keyboard.press("e")
        expect(inbox.locator("tr.row a.open")).to_have_text(NAMES[resolved + 1 :])
        expect_here(inbox, NAMES[resolved + 1])
    inbox.keyboard.press("e")
    expect(inbox.get_by_role("heading", name="Nothing needs attention")).to_be_visible()
    expect(inbox).to_have_title(re.compile(r"^Inbox"))


def test_n_skips_what_is_acknowledged_and_begins_again_at_the_end(inbox: Page) -> None:
    row(inbox, NAMES[1]).get_by_role("button", name="Acknowledge").click()
    expect(inbox.locator("tr.row a.open")).to_have_text([NAMES[0], NAMES[2], NAMES[1]])
    for name in (NAMES[0], NAMES[2], NAMES[0]):
        inbox.keyboard.press("n")
        expect_here(inbox, name)


def test_keys_are_ignored_in_fields_and_dialogs(inbox: Page, visitor: Visitor) -> None:
    inbox.keyboard.press("j")
    visitor.requests.clear()
    search = inbox.get_by_label("Search incidents")
    search.press_sequentially("jkasen")
    expect(search).to_have_value("jkasen")
    inbox.keyboard.press("Escape")
    inbox.keyboard.press("?")
    expect(inbox.locator("dialog#keys")).to_contain_text("Acknowledge")
    for key in "jkasen":
        inbox.keyboard.press(key)
    inbox.keyboard.press("Escape")
    expect(inbox.locator("tr.here a.open")).to_have_text(NAMES[0])
    expect(inbox.locator(".incident-state")).to_have_text(["open"] * 3)
    assert not [url for url in visitor.requests if "/incidents/" in url]


def test_viewer_has_no_keys_that_act(visitor: Visitor) -> None:
    visitor.sign_in("viewer", "/spaces/finance/inbox")
    for key in "jase":
        visitor.page.keyboard.press(key)
    expect_here(visitor.page, NAMES[0])
    expect(visitor.page.locator(".incident-state")).to_have_text(["open"] * 3)
    assert not [url for url in visitor.requests if "/incidents/" in url]
