"""A person in front of Chromium, Windsock with its worker, and a real Airflow: a morning from the first page on."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import pytest
from playwright.sync_api import Page, expect

from airflow.harness import PASSWORD, quiet
from airflow_lab import AirflowLab
from browser.conftest import launched
from conftest import SECRET_KEY
from databases import Databases
from live_server import serving
from windsock.app import create_app
from windsock.context import AppContext
from windsock.db.bootstrap import Storage
from windsock.db.database import Database
from windsock.settings import Settings
from windsock.spaces.store import create_key, create_space, create_user, upsert_member

LONG = 120_000
"""Milliseconds: a sync, or a run of a DAG, on a busy machine."""
FAILS, TRIES_AGAIN = "invoice_export", "exchange_rates"


async def _prepare(database_url: str) -> str:
    """A space with an admin in it and nothing else; the admin's key."""
    db = Database(database_url, pool_size=2)
    await db.open()
    try:
        async with db.transaction() as tx:
            space = await create_space(tx, slug="finance", name="Finance")
            ada = await create_user(tx, email="ada@example.com", name="Ada", is_superadmin=False)
            key = await create_key(tx, ada["id"], name="of the test", expires_in_days=None)
        async with db.tenant_transaction(space["id"]) as tx:
            await upsert_member(tx, space["id"], ada["id"], "admin")
    finally:
        await db.close()
    created: str = key["full_key"]
    return created


@pytest.fixture
def windsock(make_database: Databases) -> Iterator[tuple[str, str]]:
    """The address of a Windsock that carries out syncs, and a key."""
    database_url = make_database(f"browser_{uuid4().hex}")
    with ThreadPoolExecutor(1) as aside:
        key = aside.submit(asyncio.run, _prepare(database_url)).result()
    process = AppContext(Settings(data=Path("nowhere")), Storage(database_url, (SECRET_KEY,), None))
    with serving(create_app(process)) as url:
        yield url, key


@pytest.fixture
def page(windsock: tuple[str, str]) -> Iterator[Page]:
    complaints: list[str] = []
    with launched() as browser:
        opened = browser.new_context(viewport={"width": 1280, "height": 800}).new_page()
        opened.on("pageerror", lambda error: complaints.append(str(error)))
        opened.on("request", lambda request: complaints.extend([request.url] if windsock[0] not in request.url else []))
        yield opened
    assert complaints == []


def test_browser_user_connects_airflow_comments_on_failed_run_and_triggers(
    airflow: AirflowLab, windsock: tuple[str, str], page: Page
) -> None:
    quiet(airflow)
    airflow.trigger(FAILS)
    airflow.trigger(TRIES_AGAIN)
    airflow.wait_quiet()
    url, key = windsock
    page.goto(url)
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="No Airflow is connected yet")).to_be_visible()
    connect_wrong_and_then_right(page, airflow)
    give_it_to_a_team(page)
    comment_on_failed_run(page)
    page.goto(f"{url}/spaces/finance/pipelines?q={TRIES_AGAIN}")
    see_what_was_tried_again(page)
    page.goto(f"{url}/spaces/finance/pipelines?q=campaign_report")
    trigger_with_params_and_watch(page)


def connect_wrong_and_then_right(page: Page, airflow: AirflowLab) -> None:
    page.get_by_role("link", name="Connect an Airflow").click()
    page.get_by_label("Name", exact=True).fill("production")
    page.get_by_label("URL", exact=True).fill("http://127.0.0.1:9")
    page.get_by_label("User name").fill("admin")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Test the connection").click()
    expect(page.get_by_role("status")).to_contain_text("It does not work yet.", timeout=LONG)
    page.get_by_label("URL", exact=True).fill(airflow.url)
    page.get_by_role("button", name="Test the connection").click()
    expect(page.get_by_role("status")).to_contain_text(f"Connected to Airflow {airflow.version}", timeout=LONG)
    page.get_by_role("button", name="Connect", exact=True).click()
    expect(page.locator("h1")).to_have_text("production")
    page.get_by_role("button", name="Sync now").click()
    expect(page.locator(".sync").first).to_have_text("complete", timeout=LONG)


def give_it_to_a_team(page: Page) -> None:
    page.get_by_role("link", name="Settings", exact=True).click()
    page.get_by_role("link", name="Teams", exact=True).click()
    page.locator("input[name=name]").fill("Billing")
    page.get_by_role("button", name="Create").click()
    expect(page.locator("h1")).to_have_text("Billing")

    page.get_by_role("link", name="Pipelines", exact=True).click()
    page.locator("#q").fill("invoice")
    expect(page.locator("tr.row")).to_have_count(1)
    page.get_by_role("checkbox", name=f"Select {FAILS}").check()
    page.locator("#govern select[name=team]").select_option(label="Billing")
    page.get_by_role("button", name="Set", exact=True).click()
    expect(page.locator("tr.row .whose")).to_contain_text("Billing")


def comment_on_failed_run(page: Page) -> None:
    page.locator("tr.row a.open").click()
    page.get_by_role("navigation", name="By state").get_by_text("failed").click()
    page.locator("td.name a.open").first.click()
    expect(page.locator(".head .state")).to_have_text("failed")
    expect(page.locator("#grid .line").filter(has_text="send_to_bank").locator(".state.failed")).to_be_visible()
    page.get_by_label("Your comment").fill("The bank's door is shut again.")
    page.get_by_role("button", name="Comment", exact=True).click()
    expect(page.locator(".comment .said")).to_have_text("The bank's door is shut again.")
    page.get_by_role("navigation", name="Breadcrumbs").get_by_role("link", name=FAILS).click()
    expect(page.locator(".comment .said")).to_have_text("The bank's door is shut again.")


def see_what_was_tried_again(page: Page) -> None:
    page.locator("svg.strip a").last.click()
    line = page.locator("#grid .line").filter(has_text="fetch_rates")
    expect(line.locator(".try")).to_contain_text("3")
    expect(line.locator(".bar.earlier")).to_have_count(2, timeout=LONG)
    expect(line.locator(".bar.success")).to_have_count(1)
    expect(page.locator("#grid .line").filter(has_text="store_rates").locator(".bar.earlier")).to_have_count(0)


def trigger_with_params_and_watch(page: Page) -> None:
    page.locator("tr.row a.open").click()
    page.get_by_role("link", name="Trigger", exact=True).click()
    page.get_by_label("campaign").fill("x")
    page.get_by_role("button", name="Trigger").click()
    expect(page.get_by_role("alert")).to_contain_text("campaign", timeout=LONG)
    page.get_by_label("campaign").fill("winter")
    page.get_by_label("Country").select_option(label="FR")
    page.get_by_role("button", name="Trigger").click()
    expect(page.locator("#run-id")).to_contain_text("windsock", timeout=LONG)
    expect(page.locator(".head .state")).to_have_text("success", timeout=LONG)
    rendered = page.locator("#grid .line").filter(has_text="render_report")
    expect(rendered.locator(".state.success")).to_be_visible(timeout=LONG)
