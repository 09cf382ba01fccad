"""The inbox, the page of an incident, and its panel on the pages of pipelines and runs."""

import pytest

from factories import TwoTenants
from incident_rows import INCIDENT
from web.conftest import OWN, Browser

pytestmark = pytest.mark.anyio
INBOX = "/spaces/finance/inbox"
ADDRESS = f"/spaces/finance/incidents/{INCIDENT}"


async def test_inbox_lists_open_incidents_with_their_number_in_the_title(viewer: Browser) -> None:
    page = (await viewer.open(INBOX)).text
    assert "<title>(1) Inbox" in page
    listed = page.split('<table class="incidents">')[1]
    assert f'href="{ADDRESS}"' in listed
    assert "hourly_load" not in listed, "another incident holds it back"
    assert "data-verb" not in page, "a viewer acts on nothing"
    held_back = (await viewer.open(f"{INBOX}?held_back_by_id={INCIDENT}")).text
    assert "hourly_load" in held_back.split('<table class="incidents">')[1]


async def test_inbox_of_a_state_without_incidents_shows_a_sentence(viewer: Browser) -> None:
    assert "No incident matches" in (await viewer.open(f"{INBOX}?state=snoozed")).text


async def test_inbox_part_has_an_etag_and_no_layout(viewer: Browser) -> None:
    part = await viewer.open(INBOX, headers={"HX-Request": "true"})
    assert part.text.lstrip().startswith('<section id="list"')
    assert part.headers["etag"]


async def test_pages_of_run_pipeline_and_overview_link_to_the_incident(viewer: Browser, tenants: TwoTenants) -> None:
    finance = tenants.finance
    for path in (f"/runs/{finance.run_id}", f"/pipelines/{finance.pipelines['daily_report']}"):
        page = (await viewer.open(f"/spaces/finance{path}")).text
        assert 'class="incident-panel open"' in page
        assert f'href="{ADDRESS}"' in page
    assert f'href="{INBOX}?state=open"' in (await viewer.open("/spaces/finance")).text


async def test_incident_is_acknowledged_snoozed_assigned_and_resolved(editor: Browser, tenants: TwoTenants) -> None:
    team = f"team:{tenants.finance.team_id}"
    for verb, fields, expected in (
        ("acknowledge", {"reason": "disk full", "hours": "4"}, "disk full"),
        ("snooze", {"hours": "1"}, "Snoozed until"),
        ("assign", {"assignee": team}, "ingestion"),
        ("assign", {"assignee": ""}, 'to <span dir="auto">nobody'),
        ("resolve", {}, "by <span"),
    ):
        sent = await editor.send_form(f"{ADDRESS}/{verb}", **fields)
        assert (sent.status_code, sent.headers["location"]) == (303, ADDRESS), verb
        assert expected in (await editor.open(ADDRESS)).text, verb
    refused = await editor.send_form(f"{ADDRESS}/resolve")
    assert refused.status_code == 422
    assert "resolved already" in refused.text


async def test_refused_values_are_shown_with_the_form(editor: Browser) -> None:
    for verb, fields in (
        ("acknowledge", {"hours": "5"}),
        ("acknowledge", {"hours": "9" * 5000}),
        ("acknowledge", {"hours": "00000000199999999999"}),
        ("acknowledge", {"reason": "x" * 1_001}),
        ("snooze", {"hours": "never"}),
        ("assign", {"assignee": "robot:1"}),
        ("assign", {"assignee": "user:1"}),
        ("assign", {"assignee": f"user:{INCIDENT}"}),
    ):
        refused = await editor.send_form(f"{ADDRESS}/{verb}", **fields)
        assert refused.status_code == 422, (verb, fields)
        assert 'role="alert"' in refused.text, (verb, fields)


async def test_acknowledging_in_the_inbox_lets_the_list_refresh(editor: Browser) -> None:
    headers = {**OWN, "HX-Request": "true"}
    done = await editor.post(f"{ADDRESS}/acknowledge", data={}, headers=headers)
    assert (done.status_code, done.headers["hx-trigger"]) == (204, "windsock-incidents")
    assert "<title>Inbox" in (await editor.open(INBOX)).text


async def test_viewer_and_strangers_cannot_act(viewer: Browser) -> None:
    assert "<h2>Timeline</h2>" in (await viewer.open(ADDRESS)).text
    assert (await viewer.send_form(f"{ADDRESS}/acknowledge")).status_code == 403
    assert (await viewer.open(ADDRESS.replace("finance", "marketing"))).status_code == 403
