"""Pages of failures: the error first on the page of a run, one line in lists, and groups of the same error."""

import re
from html import unescape
from typing import Any
from uuid import UUID

import pytest
from fastapi import FastAPI

from conftest import RolledBackDatabase
from factories import TwoTenants
from failures.faults import own
from failures.harness import OLD, FailureHarness
from web.conftest import OWN, Browser
from windsock.context import AppContext
from windsock.web.filters import ordinal

pytestmark = pytest.mark.anyio

RUNS, GROUPS = "/spaces/finance/runs", "/spaces/finance/fingerprints"
HTMX = {"HX-Request": "true", **OWN}


@pytest.fixture
async def harness(db: RolledBackDatabase, tenants: TwoTenants, process: AppContext) -> FailureHarness:
    """Without the failures of the world."""
    failures = FailureHarness(db, tenants.finance, process.secrets)
    for statement in ("DELETE FROM failure_reads", "DELETE FROM task_failures", "DELETE FROM fingerprints"):
        await failures.execute(statement)
    return failures


async def fail(harness: FailureHarness, run_id: str, message: str = "no account", **more: Any) -> UUID:
    harness.fake.logs = {"load": own(message)(3)}
    found = await harness.fail(run_id, **more)
    await harness.end_sync()
    await harness.read_due()
    return found


def text_of(html: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


async def test_run_page_begins_its_failed_tasks_with_the_error(viewer: Browser, harness: FailureHarness) -> None:
    run_id = await fail(harness, "f1")
    html = (await viewer.open(f"{RUNS}/{run_id}")).text
    section = html[html.index('<section class="failed-tasks"') :].split("</section>")[0]
    assert section.index("PaymentError: no account") < section.index("1 task failed")
    assert re.search(r"<code[^>]*>pay\.py:\d+ in load</code>", section)
    assert '<pre tabindex="0"' in section
    assert "1st time in 30 days" in section
    assert "hx-post" not in section, "nothing is left to read"


async def test_run_page_quotes_last_comment_and_runbook(
    viewer: Browser, harness: FailureHarness, tenants: TwoTenants
) -> None:
    first = await fail(harness, "f1", minutes_ago=200)
    second = await fail(harness, "f2", minutes_ago=100)
    await harness.execute(
        "INSERT INTO comments (space_id, run_id, author_id, content) VALUES (%(space_id)s, %(run_id)s, %(author)s,"
        " '<b>restart</b> the proxy')",
        space_id=tenants.finance.id, run_id=first, author=tenants.users["editor"],
    )  # fmt: skip
    await harness.execute(
        "UPDATE fingerprints SET runbook_comment_id = (SELECT id FROM comments WHERE content LIKE '<b>%%')"
    )
    shown = text_of((await viewer.open(f"{RUNS}/{second}")).text)
    assert re.search(r"2nd time in 30 days ; last time \(\d+ \w+\) Editor wrote: <b>restart</b> the proxy", shown)
    assert "; runbook: <b>restart</b> the proxy" in shown


async def test_page_of_run_on_demand_has_its_log_read_when_opened(
    viewer: Browser, harness: FailureHarness, app: FastAPI
) -> None:
    harness.fake.logs = {"load": own("no account")(3)}
    run_id = await harness.fail("f1")
    await harness.end_sync(OLD)
    await harness.read_due()
    html = (await viewer.open(f"{RUNS}/{run_id}")).text
    address = f"{RUNS}/{run_id}/errors"
    assert f'hx-post="{address}" hx-trigger="load"' in html
    assert harness.fake.requests == [], "opening by a program reads nothing"
    part = (await viewer.post(address, headers=HTMX)).text
    assert f'hx-get="{address}" hx-trigger="every 2s"' in part
    assert app.state.failure_jobs is not None
    await harness.read_due()
    part = (await viewer.open(address, headers=HTMX)).text
    assert "PaymentError: no account" in part
    assert "hx-get" not in part
    assert (await viewer.open(address)).status_code == 303


async def test_page_of_run_with_unreadable_log_shows_the_reason_and_may_ask_again(
    viewer: Browser, harness: FailureHarness
) -> None:
    harness.fake.logs = {"load": own("no account")(3)}
    run_id = await harness.fail("f1")
    await harness.execute(
        "INSERT INTO task_failures (space_id, run_id, task_run_id, try_number, place, failed_at, log_error)"
        " SELECT space_id, run_id, id, 1, 0, ended_at, 'Airflow refuses: <403>' FROM task_runs"
        " WHERE run_id = %(run_id)s AND external_id = 'load'",
        run_id=run_id,
    )
    await harness.execute(
        "UPDATE failure_reads SET state = 'unreadable', requests = 3, next_attempt_at = now() - interval '1 hour'"
    )
    html = (await viewer.open(f"{RUNS}/{run_id}")).text
    assert "the log could not be read. Airflow refuses: <403>" in text_of(html)
    assert "Read the log again" in html
    await viewer.send_form(f"{RUNS}/{run_id}/errors")
    await harness.end_sync()
    await harness.read_due()
    assert "PaymentError: no account" in (await viewer.open(f"{RUNS}/{run_id}")).text


async def test_run_page_names_the_setting_where_logs_are_not_read(
    viewer: Browser, harness: FailureHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("windsock.failures.policy.read_logs_setting", lambda *_: "off")
    run_id = await harness.fail("f1")
    await harness.end_sync()
    await harness.read_due()
    html = (await viewer.open(f"{RUNS}/{run_id}")).text
    assert "<code>read_logs</code> is off" in html
    await viewer.send_form(f"{RUNS}/{run_id}/errors")
    assert await harness.states() == ["on_demand"]


async def test_lists_show_the_error_in_one_line(viewer: Browser, harness: FailureHarness) -> None:
    await fail(harness, "f1")
    for path in ("/spaces/finance", "/spaces/finance/runs?status=failed"):
        assert (
            '<div class="failure-summary" dir="auto">PaymentError: no account</div>' in (await viewer.open(path)).text
        )


async def test_list_of_errors_links_to_groups_and_filters(viewer: Browser, harness: FailureHarness) -> None:
    await fail(harness, "f1")
    html = (await viewer.open(GROUPS)).text
    assert "PaymentError: no account" in html
    assert 'aria-current="true">Runs</a>' in html
    (group,) = re.findall(rf'href="({GROUPS}/[0-9a-f-]+)"', html)
    assert (await viewer.open(group)).status_code == 200
    assert "No error matches" in (await viewer.open(f"{GROUPS}?q=nothing")).text
    await harness.execute("DELETE FROM fingerprints")
    assert "No errors yet" in (await viewer.open(GROUPS)).text


async def test_page_of_group_has_failures_comments_and_trend(
    editor: Browser, harness: FailureHarness, tenants: TwoTenants
) -> None:
    run_id = await fail(harness, "f1")
    await editor.send_form(f"{RUNS}/{run_id}/comments", content="look at **this**")
    (group,) = re.findall(rf'href="({GROUPS}/[0-9a-f-]+)"', (await editor.open(GROUPS)).text)
    html = (await editor.open(group)).text
    assert f'href="{RUNS}/{run_id}">f1</a>' in html
    assert "look at <strong>this</strong>" in html
    assert "Runs by the day: 1 in 30 days, 1 failed" in html
    assert "Pin as runbook" in html
    assert (await editor.open(f"{GROUPS}/{tenants.marketing.fingerprint_id}")).status_code == 404
    await editor.sign_in(tenants.keys["viewer"])
    assert "Pin as runbook" not in (await editor.open(group)).text
    assert (await editor.send_form(f"{group}/name", name="x")).status_code == 403


async def test_editor_names_pins_splits_and_merges_on_the_page(editor: Browser, harness: FailureHarness) -> None:
    run_id = await fail(harness, "f1")
    await fail(harness, "f2", "no amount")
    await editor.send_form(f"{RUNS}/{run_id}/comments", content="restart it")
    (row,) = await harness.rows("SELECT id FROM fingerprints")
    group = f"{GROUPS}/{row['id']}"
    assert (await editor.send_form(f"{group}/name", name="Accounts")).headers["location"] == group
    assert '<h1 dir="auto">Accounts</h1>' in (await editor.open(group)).text
    assert (await editor.send_form(f"{group}/name", name="x" * 201)).status_code == 422
    await editor.send_form(f"{group}/name", name="")
    (comment,) = await harness.rows("SELECT id FROM comments WHERE content = 'restart it'")
    await editor.send_form(f"{group}/runbook", comment_id=str(comment["id"]))
    assert "Unpin" in (await editor.open(group)).text
    await editor.send_form(f"{group}/runbook")
    assert "Unpin" not in (await editor.open(group)).text
    (failure,) = await harness.rows("SELECT id FROM task_failures WHERE summary LIKE '%%amount'")
    refused = await editor.send_form(f"{group}/split")
    assert (refused.status_code, "Select the failures" in refused.text) == (422, True)
    split = (await editor.send_form(f"{group}/split", failure=str(failure["id"]))).headers["location"]
    assert split != group
    assert "Choose the group" in (await editor.send_form(f"{split}/merge", into="")).text
    confirmation = await editor.send_form(f"{split}/merge", into=str(row["id"]))
    assert "Merge these failures into the other group?" in confirmation.text
    done = await editor.send_form(f"{split}/merge", into=str(row["id"]), confirmed="true")
    assert done.headers["location"] == group
    assert "Merged into it" in (await editor.open(group)).text
    again = await editor.send_form(f"{split}/merge", into=str(row["id"]), confirmed="true")
    assert (again.status_code, "merged into another one already" in again.text) == (422, True)


@pytest.mark.parametrize(
    ("number", "text"),
    [(1, "1st"), (2, "2nd"), (3, "3rd"), (7, "7th"), (11, "11th"), (113, "113th"), (1_021, "1,021st")],
)
def test_ordinal_has_its_ending(number: int, text: str) -> None:
    assert ordinal(number) == text
