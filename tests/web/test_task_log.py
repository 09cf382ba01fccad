"""The log of a task as a page and as a panel of the run page, without JavaScript."""

import pytest

from conftest import RolledBackDatabase
from factories import PASSWORD, TwoTenants
from failures.conftest import LoggedTask, logged
from failures.log_requests import set_task
from fake_airflow.logs import Raised
from web.conftest import Browser, main_of

pytestmark = pytest.mark.anyio

__all__ = ["logged"]
PARTIAL = {"HX-Request": "true"}


def log_path(tenants: TwoTenants) -> str:
    return f"/spaces/finance/task-runs/{tenants.finance.task_run_id}/log"


async def test_page_lists_numbers_and_levels_of_lines(viewer: Browser, tenants: TwoTenants, logged: LoggedTask) -> None:
    logged.write("::group::Pre Execute", "::endgroup::", "a <b> line")
    logged.write("Task failed with exception", level="error", raised=Raised("BankError", "not sent"))
    whole = (await viewer.open(log_path(tenants))).text
    page = main_of(whole)
    assert 'Log of <span dir="auto">load</span>' in page
    assert '<li id="L3" class="info">' in page
    assert "a &lt;b&gt; line" in page
    assert '<li id="L1" class="info group">' in page
    assert ">Pre Execute<" in page
    assert "::endgroup::" not in page
    assert '<li id="L4" class="error">' in page
    assert "BankError: not sent" in page
    assert "data-lines" not in page, "a try that has ended is not followed"
    assert f'href="/spaces/finance/runs/{tenants.finance.run_id}"' in whole


async def test_page_filters_by_level_and_links_to_tries(
    viewer: Browser, tenants: TwoTenants, logged: LoggedTask, db: RolledBackDatabase
) -> None:
    await set_task(db, tenants, "failed", try_number=3)
    logged.task.try_number = 3
    logged.write("quiet")
    logged.write("loud", level="error")
    page = main_of((await viewer.open(f"{log_path(tenants)}?level=error")).text)
    assert ("loud" in page, "quiet</span></li>" in page) == (True, False)
    assert f'href="{log_path(tenants)}?try=2&amp;level=error"' in page
    assert 'option value="error" selected' in page
    page = main_of((await viewer.open(f"{log_path(tenants)}?try=2")).text)
    assert "RuntimeError: try 2 fails" in page
    redirected = await viewer.get(f"{log_path(tenants)}?try=2&level=")
    assert redirected.headers["location"].endswith("?try=2"), "as the form sends it without JavaScript"
    assert "No lines of this level." in (await viewer.open(f"{log_path(tenants)}?level=critical")).text


async def test_panel_of_running_try_is_followed_from_its_cursor(
    viewer: Browser, tenants: TwoTenants, logged: LoggedTask, db: RolledBackDatabase
) -> None:
    await set_task(db, tenants, "running")
    logged.task.state = "running"
    logged.write("one", "two")
    panel = (await viewer.get(log_path(tenants), headers=PARTIAL)).text
    assert "<main" not in panel
    assert f'data-lines="{log_path(tenants)}/lines?try=1" data-cursor="2"' in panel
    more = await viewer.get(f"{log_path(tenants)}/lines?try=1&cursor=1")
    assert ("two" in more.text, "one" in more.text) == (True, False)
    assert (more.headers["x-log-cursor"], more.headers["x-log-finished"]) == ("2", "false")


async def test_unreadable_log_has_reason_on_page(viewer: Browser, tenants: TwoTenants, logged: LoggedTask) -> None:
    logged.airflow.api.logs.is_refused = True
    response = await viewer.open(log_path(tenants))
    assert response.status_code == 200
    assert "The log could not be read." in response.text
    assert "can read on Task Logs" in response.text
    assert PASSWORD not in response.text
    assert "Forbidden" in (await viewer.get(f"{log_path(tenants)}/lines?cursor=0")).text


async def test_missing_log_has_reason_from_airflow_on_page(
    viewer: Browser, tenants: TwoTenants, logged: LoggedTask
) -> None:
    logged.airflow.api.logs.cannot_be_read = True
    assert "Could not read served logs: 403 Client Error" in (await viewer.open(log_path(tenants))).text


async def test_run_page_links_to_logs_of_failed_tasks(viewer: Browser, tenants: TwoTenants) -> None:
    page = (await viewer.open(f"/spaces/finance/runs/{tenants.finance.run_id}")).text
    assert page.count(f'href="{log_path(tenants)}"') == 2, "beside the failure, and in the table of tasks"


@pytest.mark.parametrize("query", ["?try=0", "?try=x", "?level=loud"])
async def test_odd_parameters_of_log_page_are_refused(
    viewer: Browser, tenants: TwoTenants, logged: LoggedTask, query: str
) -> None:
    assert (await viewer.get(f"{log_path(tenants)}{query}")).status_code == 400
    assert (await viewer.get(f"{log_path(tenants)}/lines{query.replace('level=', 'cursor=')}")).status_code == 400
    assert logged.opened == []


async def test_log_page_of_task_run_of_other_space_is_404(
    viewer: Browser, tenants: TwoTenants, logged: LoggedTask
) -> None:
    for end in ("", "/lines?cursor=0"):
        path = f"/spaces/finance/task-runs/{tenants.marketing.task_run_id}/log{end}"
        assert (await viewer.get(path)).status_code == 404
    assert logged.opened == []
