"""The runs of a space: the filters of the API, times in the viewer's zone, and keyset pagination."""

import re
from collections.abc import Sequence
from datetime import timedelta
from html import unescape
from typing import Any

import pytest

from conftest import RolledBackDatabase
from factories import NOW, TwoTenants, make_run, make_task_run
from validating_client import ValidatingClient
from web.conftest import Browser
from windsock.providers.base import ProviderRun
from windsock.sync.writer import MirrorWriter

pytestmark = pytest.mark.anyio
RUNS = "/spaces/finance/runs"
API = "/spaces/finance/orchestration/runs"


def listed(text: str) -> list[str]:
    """Ids of the listed runs."""
    return re.findall(r'<a class="open"[^>]*href="/spaces/finance/runs/([0-9a-f-]{36})"', text)


def link(text: str, name: str) -> str | None:
    found = re.search(rf'<a rel="\w+" href="([^"]*)">{name}</a>', text)
    return unescape(found[1]) if found else None


async def store(
    db: RolledBackDatabase, tenants: TwoTenants, runs: Sequence[ProviderRun], tasks: Sequence[Any] = ()
) -> None:
    async with db.tenant_transaction(tenants.finance.id) as tx:
        writer = MirrorWriter(tenants.finance.id, tenants.finance.connector_id)
        await writer.store_runs(tx, list(runs), tenants.finance.pipelines)
        await writer.store_task_runs(tx, list(tasks), tenants.finance.pipelines)


@pytest.mark.parametrize(
    "query",
    [
        "",
        "?status=failed",
        "?status=failed&status=running",
        "?run_type=scheduled&run_type=manual",
        "?owner=bob",
        "?q=report",
        "?criticality=medium",
        "?criticality=critical",
        "?watched_only=true",
        "?is_paused=false",
        "?has_import_errors=true",
        "?overdue=true",
        "?started_from=2020-01-01T00:00:00Z&started_to=2100-01-01T00:00:00Z",
        "?ended_from=2020-01-01T00:00:00Z&ended_to=2100-01-01T00:00:00Z",
        "?include_removed=true",
        "?size=2",
    ],
)
async def test_page_lists_the_runs_of_the_api(
    viewer: Browser, client: ValidatingClient, tenants: TwoTenants, query: str
) -> None:
    expected = await client.as_(tenants.keys["viewer"], "GET", f"{API}{query}")
    page = await viewer.open(f"{RUNS}{query}")
    assert page.status_code == 200
    assert listed(page.text) == [row["id"] for row in expected.json()]
    part = await viewer.open(f"{RUNS}{query}", headers={"HX-Request": "true"})
    assert part.text.lstrip().startswith('<section id="list"')
    assert listed(part.text) == listed(page.text)


async def test_team_and_connector_are_filters(viewer: Browser, tenants: TwoTenants) -> None:
    team = (await viewer.open(f"{RUNS}?team_id={tenants.finance.team_id}")).text
    assert len(listed(team)) == 2
    assert "daily_report" not in team
    other = (await viewer.open(f"{RUNS}?connector_id={tenants.finance.other_connector_id}")).text
    assert (listed(other), "No run matches" in other) == ([], True)


async def test_older_pages_follow_by_cursor_and_lead_back_to_the_newest(viewer: Browser) -> None:
    all_runs = listed((await viewer.open(RUNS)).text)
    address, walked = f"{RUNS}?size=1&run_type=scheduled", []
    for number in range(1, len(all_runs) + 1):
        text = (await viewer.open(address)).text
        walked += listed(text)
        assert f"<span>Page {number}</span>" in text
        assert (link(text, "Newest") is None) == (number == 1)
        if number > 1:
            assert link(text, "Newest") == f"{RUNS}?size=1&run_type=scheduled"
        address = link(text, "Older") or ""
        assert address, "a page that is full has a next one"
    assert walked == all_runs
    behind_end = (await viewer.open(address)).text
    assert "Back to the newest runs" in behind_end


async def test_line_has_failed_task_team_owner_and_comments(
    viewer: Browser, tenants: TwoTenants, db: RolledBackDatabase
) -> None:
    task = make_task_run("hourly_load", "broken", "load", "failed", map_index=7)
    await store(db, tenants, [make_run("hourly_load", "broken", "failed", hours_ago=0.5, minutes=5)], [task])
    text = (await viewer.open(f"{RUNS}?q=hourly")).text
    first, *_, last = re.findall(r'<tr class="row.*?</tr>', text, re.DOTALL)
    assert re.search(r'class="failed-task"[^>]*>load\[7\]</span>', first)
    for part in ("hourly_load", "broken", "ingestion", "bob, alice", "scheduled", "5 min"):
        assert part in first, part
    assert 'aria-label="1 comment"' in last
    assert "failed-task" not in last


async def test_failed_since_midnight_is_by_the_end_and_other_states_by_the_start(
    viewer: Browser, tenants: TwoTenants, db: RolledBackDatabase
) -> None:
    runs = [
        make_run("never_run", "night", "failed", hours_ago=26, minutes=480),
        make_run("never_run", "long", "success", hours_ago=26, minutes=480),
        make_run("never_run", "old", "failed", hours_ago=26, minutes=5),
    ]
    await store(db, tenants, runs)
    failed = (await viewer.open(f"{RUNS}?status=failed&period=24h")).text
    assert (">night<" in failed, ">old<" in failed) == (True, False)
    assert "<strong>1</strong> run failed in the last 24 hours" in failed
    succeeded = (await viewer.open(f"{RUNS}?status=success&period=24h")).text
    assert ">long<" not in succeeded
    assert "by start" in succeeded


async def test_days_and_times_are_in_the_zone_of_the_cookie(
    viewer: Browser, tenants: TwoTenants, db: RolledBackDatabase
) -> None:
    """A run at 23:30 UTC is one of the next day east of Greenwich."""
    start = (NOW - timedelta(days=3)).replace(hour=23, minute=30, second=0)
    day, next_day = start.date(), start.date() + timedelta(days=1)
    await store(db, tenants, [make_run("never_run", "late", "success", started_at=start, ended_at=start)])
    for zone, found_on, text in (("UTC", day, f"{start.day} {start:%b} 23:30"), ("Asia/Tokyo", next_day, " 08:30<")):
        viewer.cookies.set("windsock_zone", zone.replace("/", "%2F"))
        for tried in (day, next_day):
            shown = (await viewer.open(f"{RUNS}?day_from={tried}&day_to={tried}")).text
            assert (">late<" in shown) is (tried == found_on), (zone, tried)
            if tried == found_on:
                assert text in shown
                assert f"Times in {zone}" in shown
        viewer.cookies.delete("windsock_zone")


@pytest.mark.parametrize(
    "query",
    [
        "period=yesterday", "day_from=soon", "day_from=0001-01-01", "day_to=9999-12-31", "longer_than_usual=maybe",
        "status=%00", "started_from=2026-01-01T00:00:00", "team_id=1", "criticality=huge", "size=0",
    ],
)  # fmt: skip
async def test_invalid_url_is_reported(viewer: Browser, query: str) -> None:
    assert (await viewer.open(f"{RUNS}?{query}")).status_code == 400
    assert (await viewer.open(f"{RUNS}?cursor=x")).status_code == 422


async def test_form_without_javascript_sends_empty_fields_that_are_dropped(
    viewer: Browser, tenants: TwoTenants
) -> None:
    query = "q=&status=failed&period=&run_type=&team_id=&connector_id=&criticality=&owner=&day_from=&day_to="
    response = await viewer.open(f"{RUNS}?{query}")
    assert (response.status_code, response.headers["location"]) == (303, f"{RUNS}?status=failed")
    text = (await viewer.open(RUNS)).text
    fields = set(re.findall(r'<(?:select|input)[^>]* name="(\w+)"', text))
    assert f'<option value="{tenants.finance.team_id}" dir="auto">ingestion</option>' in text
    assert {"q", "status", "period", "run_type", "team_id", "connector_id", "criticality", "owner"} <= fields
    assert "<noscript><button>Show</button></noscript>" in text


async def test_form_keeps_every_filter(viewer: Browser, tenants: TwoTenants) -> None:
    query = (
        f"q=x&status=failed&status=queued&period=7d&run_type=of_tomorrow&team_id={tenants.finance.team_id}&owner=me"
        "&criticality=high&watched_only=true&is_paused=true&overdue=true&has_import_errors=false&include_removed=true"
        "&longer_than_usual=true&started_from=2026-01-01T00:00:00Z&day_to=2026-11-01"
    )
    text = (await viewer.open(f"{RUNS}?{query}")).text
    for name, value in re.findall(r"(\w+)=([^&]+)", query):
        field = rf'name="{name}"[^>]* value="{value}"|value="{value}"[^>]*selected|<option selected>{value}<'
        assert re.search(field, text), (name, value)


async def test_runs_of_other_spaces_are_hidden(viewer: Browser, tenants: TwoTenants) -> None:
    text = (await viewer.open(RUNS)).text
    assert str(tenants.marketing.run_id) not in text
    assert listed((await viewer.open(f"{RUNS}?team_id={tenants.marketing.team_id}")).text) == []
    assert (await viewer.open("/spaces/marketing/runs")).status_code == 403


async def test_space_without_runs_explains_when_they_appear(
    viewer: Browser, tenants: TwoTenants, db: RolledBackDatabase
) -> None:
    async with db.tenant_transaction(tenants.finance.id) as tx:
        await tx.execute(DELETE_RUNS, space_id=tenants.finance.id)
    assert "No runs yet" in (await viewer.open(RUNS)).text
    assert "No run failed since midnight" in (await viewer.open(f"{RUNS}?status=failed&period=today")).text


DELETE_RUNS: Any = "DELETE FROM runs WHERE space_id = %(space_id)s"
