"""The page of an error clears all failed runs that have it: a dry run, the reason, the progress, a result per run."""

import re

import pytest
from fastapi import FastAPI

from actions.connected_fake import executions, install_fake_airflow
from conftest import RolledBackDatabase
from factories import TwoTenants
from fake_airflow.faults import FakeAirflow
from web.conftest import OWN, Browser, main_of
from windsock.actions.bulk import QUERIES
from windsock.context import AppContext

pytestmark = pytest.mark.anyio


@pytest.fixture
def airflow(app: FastAPI, process: AppContext) -> FakeAirflow:
    return install_fake_airflow(app, process, "v2")


@pytest.fixture
def group(tenants: TwoTenants) -> str:
    return f"/spaces/finance/fingerprints/{tenants.finance.fingerprint_id}"


async def work(process: AppContext) -> None:
    """What a worker does with what is due."""
    async with process.db.transaction() as tx:
        due = await tx.fetch_all(QUERIES["list_due_bulk_clears"])
    for row in due:
        await process.bulk_clears.execute(row["space_id"], row["id"])


async def test_page_of_error_lists_runs_clears_them_and_shows_each_result(
    editor: Browser, airflow: FakeAirflow, process: AppContext, group: str
) -> None:
    assert "Clear all failed runs" in (await editor.open(group)).text
    listed = await editor.send_form(f"{group}/clear")
    assert listed.status_code == 200
    assert re.findall(r'dir="auto">(r\d)</span> <span class="quiet" dir="auto">([\w, ]+)</span>', listed.text) == [
        ("r1", "load")
    ]
    fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', main_of(listed.text)))
    sent = [await editor.send_form(f"{group}/clear", confirmed="true", reason="it is back", **fields) for _ in range(2)]
    address = sent[0].headers["location"]
    assert [(done.status_code, done.headers["location"]) for done in sent] == [(303, address)] * 2
    waiting = (await editor.open(address)).text
    assert "0 of 1 runs done." in waiting
    assert f'hx-get="{address}" hx-trigger="every 1s"' in waiting
    await work(process)
    part = (await editor.open(address, headers=OWN | {"HX-Request": "true"})).text
    assert "<html" not in part
    assert "Cleared 1 of 1 runs." in part
    assert "hx-get" not in part
    assert "it is back" in (await editor.open(address)).text
    assert executions(airflow) == {"load": 1, "send": 1}
    nothing = await editor.send_form(f"{group}/clear")
    assert (nothing.status_code, "There is nothing to clear" in nothing.text) == (422, True)


async def test_refused_run_has_airflows_words_on_the_page(
    editor: Browser, airflow: FakeAirflow, process: AppContext, group: str
) -> None:
    dialog = await editor.post(f"{group}/clear", headers=OWN | {"HX-Request": "true"})
    assert "<html" not in dialog.text
    airflow.api.is_viewer = True
    address = (await editor.send_form(f"{group}/clear", confirmed="true")).headers["location"]
    await work(process)
    shown = (await editor.open(address)).text
    assert "Cleared 0 of 1 runs. 1 could not be cleared." in shown
    assert "Forbidden" in shown


async def test_bulk_clear_without_required_reason_shows_it_at_the_field(
    editor: Browser, airflow: FakeAirflow, db: RolledBackDatabase, tenants: TwoTenants, group: str
) -> None:
    async with db.tenant_transaction(tenants.finance.id):
        await db.connection.execute("UPDATE pipelines SET criticality = 'critical'")
        await db.connection.execute("UPDATE spaces SET requires_reason = true")
    refused = await editor.send_form(f"{group}/clear", confirmed="true")
    assert (refused.status_code, 'id="action-reason-error"' in refused.text) == (422, True)
    assert airflow.requests == []


async def test_viewer_sees_progress_but_no_button(viewer: Browser, group: str, tenants: TwoTenants) -> None:
    assert "Clear all failed runs" not in (await viewer.open(group)).text
    assert (await viewer.send_form(f"{group}/clear")).status_code == 403
    shown = await viewer.open(f"{group}/clear/{tenants.finance.bulk_clear_id}")
    assert "Airflow refuses" in shown.text
    foreign = f"{group}/clear/{tenants.marketing.bulk_clear_id}"
    assert (await viewer.open(foreign)).status_code == 404
