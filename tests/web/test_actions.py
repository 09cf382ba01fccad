"""Buttons of the run and pipeline pages: a dry run first, then the action; the note and the page of approvals."""

import re

import pytest
from fastapi import FastAPI

from actions.connected_fake import executions, failed_run, install_fake_airflow
from conftest import RolledBackDatabase
from factories import TwoTenants
from fake_airflow.changes import request_approval
from fake_airflow.faults import FakeAirflow
from web.conftest import OWN, Browser, main_of
from windsock.context import AppContext

pytestmark = pytest.mark.anyio


@pytest.fixture
def airflow(app: FastAPI, process: AppContext) -> FakeAirflow:
    return install_fake_airflow(app, process, "v2")


@pytest.fixture
def run_page(tenants: TwoTenants) -> str:
    return f"/spaces/finance/runs/{tenants.finance.run_id}"


def hidden(text: str) -> dict[str, str]:
    return dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', main_of(text) or text))


async def test_run_page_clears_failed_tasks_after_their_list(
    editor: Browser, airflow: FakeAirflow, run_page: str
) -> None:
    page = await editor.open(run_page)
    assert "Clear failed tasks" in page.text
    assert "Mark as success" in page.text
    listed = await editor.send_form(f"{run_page}/clear")
    assert listed.status_code == 200
    assert re.findall(r'dir="auto">(\w+)</span></li>', listed.text) == ["load", "send"]
    assert executions(airflow) == {}
    fields = hidden(listed.text)
    for _ in range(2):  # a double click
        done = await editor.send_form(f"{run_page}/clear", confirmed="true", reason="it is back", **fields)
        assert (done.status_code, done.headers["location"]) == (303, run_page)
    assert executions(airflow) == {"load": 1, "send": 1}
    assert (failed_run(airflow).note or "").endswith(": it is back")
    shown = await editor.open(run_page)
    assert "Task runs cleared: 2. They run again." in shown.text
    assert "it is back" in shown.text


async def test_dialog_of_htmx_lists_tasks_of_one_task_and_offers_downstream(
    editor: Browser, airflow: FakeAirflow, run_page: str, tenants: TwoTenants
) -> None:
    task = str(tenants.finance.task_run_id)
    headers = OWN | {"HX-Request": "true"}
    listed = await editor.post(f"{run_page}/clear", data={"task_run_id": task}, headers=headers)
    assert "<html" not in listed.text
    assert "List with the tasks behind it" in listed.text
    more = await editor.send_form(f"{run_page}/clear", downstream="true", task_run_id=task)
    assert re.findall(r'dir="auto">(\w+)</span></li>', more.text) == ["load", "send"]
    await editor.send_form(f"{run_page}/clear", confirmed="true", **hidden(more.text))
    assert executions(airflow) == {"load": 1, "send": 1}


async def test_refused_clear_shows_airflows_words(editor: Browser, airflow: FakeAirflow, run_page: str) -> None:
    airflow.api.is_viewer = True
    response = await editor.send_form(f"{run_page}/clear")
    assert response.status_code == 422
    assert "Forbidden" in response.text
    airflow.api.is_viewer = False
    await editor.send_form(f"{run_page}/clear", confirmed="true")
    nothing = await editor.send_form(f"{run_page}/clear", confirmed="true")
    assert (nothing.status_code, "There is nothing to clear" in nothing.text) == (422, True)


async def test_missing_reason_is_shown_at_its_field(
    editor: Browser, airflow: FakeAirflow, run_page: str, db: RolledBackDatabase, tenants: TwoTenants
) -> None:
    async with db.tenant_transaction(tenants.finance.id):
        await db.connection.execute("UPDATE pipelines SET criticality = 'critical'")
        await db.connection.execute("UPDATE spaces SET requires_reason = true")
    for path, fields in (("clear", {}), ("mark", {"status": "success"})):
        refused = await editor.send_form(f"{run_page}/{path}", confirmed="true", **fields)
        assert refused.status_code == 422, path
        assert 'id="action-reason-error"' in refused.text
    assert executions(airflow) == {}


async def test_run_and_task_are_marked_after_confirmation(
    editor: Browser, airflow: FakeAirflow, run_page: str, tenants: TwoTenants
) -> None:
    task = str(tenants.finance.task_run_id)
    for fields in ({"status": "skipped", "task_run_id": task}, {"status": "success"}):
        confirmation = await editor.send_form(f"{run_page}/mark", **fields)
        assert (confirmation.status_code, f"as {fields['status']}" in confirmation.text) == (200, True)
        done = await editor.send_form(f"{run_page}/mark", confirmed="true", **hidden(confirmation.text))
        assert done.status_code == 303, done.text
    assert failed_run(airflow).state == "success"
    assert "skipped" in {task.state for task in airflow.model.tasks_of(("daily_report", "r1"))}
    assert (await editor.send_form(f"{run_page}/mark", status="running")).status_code == 422


async def test_note_of_run_and_task_is_written_and_removed(
    editor: Browser, airflow: FakeAirflow, run_page: str, tenants: TwoTenants
) -> None:
    assert "It replaces the note" in (await editor.open(f"{run_page}/note")).text
    assert (await editor.send_form(f"{run_page}/note", note="known")).status_code == 303
    assert (failed_run(airflow).note or "").startswith("known")
    assert (await editor.send_form(f"{run_page}/note", note="")).status_code == 303
    assert not failed_run(airflow).note
    task = str(tenants.finance.task_run_id)
    assert "Note on load" in (await editor.open(f"{run_page}/note?task_run_id={task}")).text
    await editor.send_form(f"{run_page}/note", note="flaky", task_run_id=task)
    assert any((task.note or "").startswith("flaky") for task in airflow.model.tasks.values())
    assert (await editor.send_form(f"{run_page}/note", note="x" * 601)).status_code == 422


async def test_pipeline_page_pauses_and_resumes(editor: Browser, airflow: FakeAirflow, tenants: TwoTenants) -> None:
    page = f"/spaces/finance/pipelines/{tenants.finance.pipelines['daily_report']}"
    for verb, is_paused in (("Pause", True), ("Resume", False)):
        assert f"<button>{verb}</button>" in (await editor.open(page)).text
        confirmation = await editor.send_form(f"{page}/paused", is_paused=str(is_paused).lower())
        assert f"{verb} daily_report" in confirmation.text
        done = await editor.send_form(f"{page}/paused", confirmed="true", **hidden(confirmation.text))
        assert done.status_code == 303
        assert airflow.model.dags["daily_report"].is_paused is is_paused


async def test_viewer_has_no_buttons_and_no_right(viewer: Browser, airflow: FakeAirflow, run_page: str) -> None:
    page = await viewer.open(run_page)
    assert "Clear" not in main_of(page.text)
    refused = await viewer.send_form(f"{run_page}/clear")
    assert (refused.status_code, "editor" in refused.text) == (403, True)
    assert airflow.requests == []


async def test_approvals_are_listed_and_get_a_response(
    editor: Browser, airflow: FakeAirflow, db: RolledBackDatabase, tenants: TwoTenants
) -> None:
    assert "No task waits." in (await editor.open("/spaces/finance/approvals")).text
    task = next(task for task in airflow.model.tasks_of(("daily_report", "r1")) if task.task_id == "load")
    request_approval(airflow.api, task, "Pay <b>1,000</b>?", ["Approve", "Reject"])
    async with db.tenant_transaction(tenants.finance.id):
        await db.connection.execute("UPDATE sync_states SET api_version = 'v2'")
        await db.connection.execute("UPDATE runs SET status = 'running' WHERE id = %s", (tenants.finance.run_id,))
        await db.connection.execute(
            "UPDATE task_runs SET status = 'awaiting_input' WHERE id = %s", (tenants.finance.task_run_id,)
        )
    page = await editor.open("/spaces/finance/approvals")
    assert "Pay &lt;b&gt;1,000&lt;/b&gt;?" in page.text
    path = f"/spaces/finance/approvals/{tenants.finance.task_run_id}"
    assert (await editor.send_form(path)).status_code == 422
    done = await editor.send_form(path, option="Approve", **hidden(page.text))
    assert done.status_code == 303, done.text
    assert [row["chosen_options"] for row in airflow.api.approvals.values()] == [["Approve"]]
    late = await editor.send_form(path, option="Reject", reason="late")
    assert (late.status_code, "already been updated" in late.text) == (422, True)
