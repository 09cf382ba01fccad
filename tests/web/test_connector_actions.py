"""What people do about a connector on its page: full sync, cancel, accept; its import errors; equal syncs folded."""

import re
from typing import Any

import pytest

from conftest import RolledBackDatabase
from factories import TRACE, TwoTenants
from validating_client import ValidatingClient
from web.conftest import Browser
from windsock.db.queries import Query
from windsock.web.connectors import fold_equal_syncs

pytestmark = pytest.mark.anyio

PATH = "/spaces/finance/connectors"
ENDED = Query(
    "UPDATE sync_runs SET status = 'complete', started_at = now(), finished_at = now() WHERE space_id = %(space_id)s"
)
EQUAL_SYNCS = Query(
    """INSERT INTO sync_runs (space_id, connector_id, status, trigger, queued_at, started_at, finished_at, error)
    SELECT %(space_id)s, %(connector_id)s, status, 'schedule', at, at, now(), error
    FROM generate_series(1, 5) n, (VALUES ('failed', 'no luck', 10), ('partial', 'half', 20)) s (status, error, later),
         LATERAL (SELECT now() - (n + later) * interval '1 min' AS at) t"""
)


@pytest.fixture
async def editor(browser: Browser, tenants: TwoTenants, db: RolledBackDatabase) -> Browser:
    await browser.sign_in(tenants.keys["editor"])
    async with db.tenant_transaction(tenants.finance.id) as tx:
        await tx.execute(ENDED, space_id=tenants.finance.id)
    return browser


async def newest_sync(client: ValidatingClient, tenants: TwoTenants) -> dict[str, Any]:
    rows = await client.as_(tenants.keys["viewer"], "GET", "/catalog/spaces/finance/sync-history?size=1")
    sync: dict[str, Any] = rows.json()[0]
    return sync


async def test_full_sync_is_requested_and_cancelled(
    editor: Browser, client: ValidatingClient, tenants: TwoTenants
) -> None:
    path = f"{PATH}/{tenants.finance.connector_id}"
    assert (await editor.send_form(f"{path}/sync", full="true")).headers["location"] == path
    sync = await newest_sync(client, tenants)
    assert (sync["is_full"], sync["status"]) == (True, "queued")
    shown = (await editor.open(path)).text
    assert f'action="{path}/syncs/{sync["id"]}/cancel"' in shown
    assert "<dd>queued</dd>" in shown, "the facts say what the row says"
    for _ in range(2):  # a second click finds it ended
        assert (await editor.send_form(f"{path}/syncs/{sync['id']}/cancel")).status_code == 303
    assert (await newest_sync(client, tenants))["status"] == "cancelled"
    assert "/cancel" not in (await editor.open(path)).text


async def test_viewer_and_other_spaces_cannot_cancel_or_accept(
    viewer: Browser, tenants: TwoTenants, client: ValidatingClient
) -> None:
    sync = await newest_sync(client, tenants)
    mine, theirs = tenants.finance.connector_id, tenants.marketing.connector_id
    for path in (f"{mine}/syncs/{sync['id']}/cancel", f"{mine}/accept", f"{theirs}/accept"):
        assert (await viewer.send_form(f"{PATH}/{path}", kind="mass_loss")).status_code == 403
    await viewer.sign_in(tenants.keys["editor"])
    assert (await viewer.send_form(f"{PATH}/{theirs}/accept", kind="mass_loss")).status_code == 404


async def test_held_change_is_shown_with_reason_and_accepted(editor: Browser, tenants: TwoTenants) -> None:
    path = f"{PATH}/{tenants.finance.connector_id}"
    shown = (await editor.open(path)).text
    for text in ("wait for a decision", "2 of 2 are gone.", "2 pipelines, 0 runs, 0 task runs", "gone_1, gone_2"):
        assert text in shown, text
    assert (await editor.send_form(f"{path}/accept", kind="nonsense")).status_code in {400, 422}
    other = await editor.send_form(f"{path}/accept", kind="other_airflow", confirmed="true")
    assert other.status_code == 409, "not what was shown"
    page = await editor.send_form(f"{path}/accept", kind="mass_loss")
    assert (page.status_code, "Accept the deletions in prod?" in page.text) == (200, True)
    assert "wait for a decision" in (await editor.open(path)).text
    assert (await editor.send_form(f"{path}/accept", kind="mass_loss", confirmed="true")).status_code == 303
    assert "wait for a decision" not in (await editor.open(path)).text


async def test_equal_syncs_in_a_row_are_one_row(editor: Browser, tenants: TwoTenants, db: RolledBackDatabase) -> None:
    space = tenants.finance
    async with db.tenant_transaction(space.id) as tx:
        await tx.execute(EQUAL_SYNCS, space_id=space.id, connector_id=space.connector_id)
    shown = (await editor.open(f"{PATH}/{space.connector_id}")).text
    assert shown.count(" 5</span>") == 2
    assert (shown.count("no luck"), shown.count("half")) == (1, 1)


def test_syncs_with_changes_are_not_folded() -> None:
    base: dict[str, Any] = dict.fromkeys(("trigger", "is_full", "pipelines", "task_runs", "error", "queued_at"), None)
    quiet: dict[str, Any] = {**base, "status": "complete", "runs": {"created": 0}, "warnings": [], "started_at": "1"}
    busy, warned = quiet | {"runs": {"created": 3}}, quiet | {"warnings": ["odd"]}
    folded = fold_equal_syncs([quiet, quiet | {"started_at": "0"}, busy, warned, quiet])
    assert [(sync["count"], sync["since"]) for sync in folded] == [(2, "0"), (1, "1"), (1, "1"), (1, "1")]


async def test_import_errors_have_a_page_and_badges(viewer: Browser, tenants: TwoTenants) -> None:
    page = await viewer.open("/spaces/finance/import-errors")
    assert page.status_code == 200
    for text in ("finance/broken.py", "No module named", "Stack trace, 4 lines", "dags-folder", "prod"):
        assert text in page.text, text
    assert re.search(r"since <time [^>]+>[34] h( \d+ min)? ago</time>", page.text)
    assert TRACE.splitlines()[1].strip().partition(" line")[0].replace('"', "&#34;") in page.text
    assert "marketing" not in page.text.lower()
    address = f"/spaces/finance/import-errors?connector_id={tenants.finance.connector_id}"
    for path in (PATH, f"{PATH}/{tenants.finance.connector_id}"):
        shown = (await viewer.open(path)).text
        assert re.search(rf'href="{re.escape(address)}">1 import error</a>', shown), path
    empty = await viewer.open(f"/spaces/finance/import-errors?connector_id={tenants.marketing.connector_id}")
    assert "No import errors" in empty.text
    beyond = await viewer.open("/spaces/finance/import-errors?page=9")
    assert (beyond.status_code, beyond.headers["location"]) == (303, "/spaces/finance/import-errors")
