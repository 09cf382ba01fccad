"""Whether the data is fresh, what the syncs say, and a sync on demand."""

import re
from html import unescape

import pytest

from conftest import RolledBackDatabase
from factories import PASSWORD, TwoTenants
from validating_client import ValidatingClient
from web.conftest import Browser
from windsock.db.queries import Query

pytestmark = pytest.mark.anyio

PATH = "/spaces/finance/connectors"
API = "/catalog/spaces/finance"


async def test_connector_pages_show_freshness_and_syncs_of_api(
    viewer: Browser, client: ValidatingClient, tenants: TwoTenants
) -> None:
    listed = (await client.as_(tenants.keys["viewer"], "GET", f"{API}/connectors")).json()
    shown = (await viewer.open(PATH)).text
    for row in listed:
        assert row["name"] in shown
        if row["freshness"]:
            assert f'<span class="fresh {row["freshness"]["state"]}">' in shown
        page = await viewer.open(f"{PATH}/{row['id']}")
        assert page.status_code == 200
        assert row["config"].get("base_url", "") in page.text
        syncs = (await client.as_(tenants.keys["viewer"], "GET", f"{API}/sync-history?connector_id={row['id']}")).json()
        assert page.text.count('<span class="sync ') == len(syncs)
        for sync in syncs:
            assert f'<span class="sync {sync["status"]}">' in page.text
            assert (sync["error"] or "") in page.text
        assert PASSWORD not in page.text


async def test_connector_pages_hide_other_spaces(viewer: Browser, tenants: TwoTenants) -> None:
    assert "marketing" not in (await viewer.open(PATH)).text.lower()
    for method, path in (("GET", ""), ("POST", "/sync")):
        headers = {"Origin": "http://windsock.test"}
        response = await viewer.request(method, f"{PATH}/{tenants.marketing.connector_id}{path}", headers=headers)
        assert response.status_code == (404 if method == "GET" else 403), "a viewer may not sync at all"


async def test_editor_can_request_single_sync_and_follow_progress(
    browser: Browser, tenants: TwoTenants, db: RolledBackDatabase
) -> None:
    await browser.sign_in(tenants.keys["editor"])
    async with db.tenant_transaction(tenants.finance.id) as tx:
        ended = "UPDATE sync_runs SET status = 'complete', started_at = now(), finished_at = now()"
        await tx.execute(Query(f"{ended} WHERE space_id = %(space_id)s"), space_id=tenants.finance.id)
    path = f"{PATH}/{tenants.finance.connector_id}"
    assert "Sync now" in (await browser.open(path)).text
    response = await browser.send_form(f"{path}/sync")
    assert (response.status_code, response.headers["location"]) == (303, path)
    page = (await browser.open(path)).text
    assert '<span class="sync queued">' in page
    assert 'hx-trigger="every 1s"' in page, "it is followed while it goes on"
    part = await browser.open(path, headers={"HX-Request": "true"})
    assert part.text.lstrip().startswith('<section id="list"')
    again = await browser.send_form(f"{path}/sync")
    assert again.status_code == 303
    assert (await browser.open(path)).text.count('<span class="sync queued">') == 1, "a double click does no harm"
    theirs = await browser.send_form(f"{PATH}/{tenants.marketing.connector_id}/sync")
    assert theirs.status_code == 404


async def test_viewer_sees_no_sync_button_and_cannot_sync(viewer: Browser, tenants: TwoTenants) -> None:
    path = f"{PATH}/{tenants.finance.connector_id}"
    assert "Sync now" not in (await viewer.open(path)).text
    refused = await viewer.send_form(f"{path}/sync")
    assert refused.status_code == 403
    assert "Only the role editor or above may start a sync" in refused.text


async def test_pipeline_list_marks_stale_connectors(
    viewer: Browser, tenants: TwoTenants, db: RolledBackDatabase
) -> None:
    async with db.tenant_transaction(tenants.finance.id) as tx:
        await tx.execute(
            Query(
                "UPDATE sync_states SET last_complete_at = now() - interval '2 days', failures = 5,"
                " last_error = 'Airflow <b>refused</b>.' WHERE connector_id = %(id)s AND space_id = %(space_id)s"
            ),
            id=tenants.finance.connector_id,
            space_id=tenants.finance.id,
        )
    text = (await viewer.open("/spaces/finance/pipelines")).text
    assert 'class="doubt"' in text
    assert "as of <time" in text.partition('class="doubt"')[2]
    assert "<b>refused" not in text
    assert f"{PATH}/{tenants.finance.connector_id}" in text
    found = await behind_counters(viewer, text)
    assert found == {
        "pipelines": 3, "succeeded": 1, "running": 1, "never run": 1, "paused": 1, "with old data": 3,
    }  # fmt: skip


async def test_pipeline_list_counters_link_to_matching_filters(
    viewer: Browser, tenants: TwoTenants, db: RolledBackDatabase
) -> None:
    async with db.tenant_transaction(tenants.finance.id) as tx:
        failed = "UPDATE runs SET status = 'failed' WHERE status = 'success' AND pipeline_id = %(id)s"
        await tx.execute(Query(failed), id=tenants.finance.pipelines["hourly_load"])
    found = await behind_counters(viewer, (await viewer.open("/spaces/finance/pipelines")).text)
    assert found["never succeeded"] == 1
    assert "with old data" not in found
    shown = (await viewer.open("/spaces/finance/pipelines?is_paused=true&never_succeeded=true&q=_")).text
    assert '<option value="true" selected>yes</option>' in shown, "a search keeps it"
    assert 'name="never_succeeded" value="true" checked' in shown
    assert re.search(r'href="/spaces/finance/pipelines\?q=_"[^>]*><b>3</b> pipelines', shown)


async def behind_counters(viewer: Browser, text: str) -> dict[str, int]:
    """Their numbers, which are those of the rows that they lead to."""
    counters = text.partition('<nav class="counters"')[2].partition("</nav>")[0]
    found = {}
    for href, number, name in re.findall(r'<a href="([^"]+)"[^>]*><b>(\d+)</b> ([^<]+)</a>', counters):
        found[name] = int(number)
        assert (await viewer.open(unescape(href))).text.count('<tr class="row') == int(number), name
    return found
