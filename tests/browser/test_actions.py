"""The dialog of an action: opened, sent and closed with a keyboard and a mouse."""

import os
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from actions.connected_fake import executions
from browser.conftest import Visitor
from conftest import SECRET_KEY
from databases import Databases
from live_server import LiveServer, serve_two_tenants


@pytest.fixture
def live(make_database: Databases) -> Iterator[LiveServer]:
    with serve_two_tenants(make_database, SECRET_KEY, run_worker=False) as server:
        yield server


def test_failed_tasks_are_cleared_with_three_clicks(visitor: Visitor, live: LiveServer) -> None:
    page = visitor.page
    visitor.sign_in("editor", f"/spaces/finance/runs/{live.tenants.finance.run_id}")
    page.get_by_role("button", name="Clear failed tasks").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text("load")).to_be_visible()
    expect(dialog.get_by_text("send")).to_be_visible()
    if folder := os.environ.get("WINDSOCK_TEST_SHOTS"):
        page.screenshot(path=f"{folder}/clear.png")
    dialog.get_by_label("Reason").fill("the bank is back")
    dialog.get_by_role("button", name="Clear", exact=True).click()
    expect(page.get_by_text("Task runs cleared: 2. They run again.")).to_be_visible()
    expect(page.get_by_role("heading", level=1)).to_contain_text("queued")
    assert executions(live.airflow) == {"load": 1, "send": 1}


def test_task_of_failed_run_is_marked_in_a_dialog(visitor: Visitor, live: LiveServer) -> None:
    page = visitor.page
    visitor.sign_in("editor", f"/spaces/finance/runs/{live.tenants.finance.run_id}")
    page.get_by_text("Actions on load").click()
    page.get_by_role("button", name="Mark load as success").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("link", name="Cancel").click()
    expect(dialog).not_to_be_visible()
    page.get_by_role("button", name="Mark load as success").click()
    dialog.get_by_role("button", name="Mark as success").click()
    expect(page.get_by_text("Airflow has the new state.")).to_be_visible()
    page.goto(f"{live.url}/spaces/finance/pipelines/{live.tenants.finance.pipelines['daily_report']}")
    if folder := os.environ.get("WINDSOCK_TEST_SHOTS"):
        page.screenshot(path=f"{folder}/pipeline.png")
    page.get_by_role("button", name="Pause").click()
    page.get_by_role("dialog").get_by_role("button", name="Pause").click()
    expect(page.get_by_text("The pipeline is paused.")).to_be_visible()
