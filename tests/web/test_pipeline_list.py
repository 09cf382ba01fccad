"""The page of the pipeline list: filters, what the counters say, empty lists, what a row shows."""

import re
from datetime import datetime, timedelta
from html import unescape
from typing import Any

import pytest

from conftest import RolledBackDatabase
from factories import NOW, TwoTenants, make_run
from statements import count_statements
from validating_client import ValidatingClient
from web.conftest import Browser
from web.test_pages import API, FLEET, names
from windsock.db.queries import Query
from windsock.sync.writer import MirrorWriter

pytestmark = pytest.mark.anyio


def chips(text: str) -> list[tuple[str, str, str]]:
    """Label, value and address of each active filter."""
    found = re.findall(r'<li><a href="([^"]*)" title="Remove this filter"><span>(.*?)</span> <b[^>]*>(.*?)</b>', text)
    return [(label, unescape(value), unescape(href)) for href, label, value in found]


def minutes_before(time: re.Match[str]) -> str:
    """A time as its distance from NOW: its words depend on how long the tests have been running."""
    return f"{(NOW - datetime.fromisoformat(time[1])) / timedelta(minutes=1):.0f} min before"


def cell(text: str, name: str, column: str, *, has_exact_times: bool = False) -> str:
    """The text of a cell of a pipeline's row."""
    row = next(row for row in text.split('<tr class="row')[1:] if f">{name}</a>" in row)
    found = re.search(rf'<td class="[^"]*\b{column}\b[^"]*">(.*?)</td>', row, re.DOTALL)
    assert found
    content = re.sub(r'<time [^>]*datetime="([^"]+)"[^>]*>[^<]*</time>', minutes_before, found[1])
    return " ".join(re.sub(r"<[^>]*>", " ", content if has_exact_times else found[1]).split())


async def store(db: RolledBackDatabase, tenants: TwoTenants, *runs: Any) -> None:
    space = tenants.finance
    async with db.tenant_transaction(space.id) as tx:
        await MirrorWriter(space.id, space.connector_id).store_runs(tx, list(runs), space.pipelines)


@pytest.mark.parametrize(
    "query", ["?sort=attention", "?tag=raw", "?owner=alice&owner=bob", "?tag=raw&status=running&sort=attention"]
)
async def test_list_page_applies_new_filters_and_orders_as_the_api(
    viewer: Browser, client: ValidatingClient, tenants: TwoTenants, query: str
) -> None:
    listed = (await client.as_(tenants.keys["viewer"], "GET", f"{API}/pipelines{query}")).json()
    assert listed
    assert names((await viewer.open(f"{FLEET}{query}")).text) == [row["name"] for row in listed]


async def test_every_active_filter_is_a_chip_that_removes_it(viewer: Browser, tenants: TwoTenants) -> None:
    finance = tenants.finance
    query = (
        f"?q=load&owner=bob&owner=alice&tag=raw&team_id={finance.team_id}&connector_id={finance.connector_id}"
        "&status=running&criticality=medium&provider=airflow&is_paused=false&watched_only=false&sort=attention"
    )
    text = (await viewer.open(f"{FLEET}{query}")).text
    assert names(text) == ["hourly_load"]
    shown = chips(text)
    assert [(label, value) for label, value, _ in shown] == [
        ("Search", "load"), ("Owner", "bob"), ("Owner", "alice"), ("Tag", "raw"), ("Team", "ingestion"),
        ("Connector", "prod"), ("Newest run", "running"), ("Criticality", "medium"), ("Provider", "airflow"),
        ("Paused", "no"), ("Watched", "no"),
    ]  # fmt: skip
    for label, value, href in shown:
        fewer = chips((await viewer.open(href)).text)
        assert len(fewer) == len(shown) - 1, (label, value)
        assert (label, value) not in [(item[0], item[1]) for item in fewer]
        assert "sort=attention" in href, "the order stays"


async def test_filters_of_another_space_reveal_nothing(viewer: Browser, tenants: TwoTenants) -> None:
    theirs = tenants.marketing
    text = (await viewer.open(f"{FLEET}?team_id={theirs.team_id}&connector_id={theirs.connector_id}")).text
    assert names(text) == []
    assert [(label, value) for label, value, _ in chips(text)] == [("Team", "unknown"), ("Connector", "unknown")]
    assert "marketing" not in text.lower()


async def test_values_of_owner_and_tag_are_offered(viewer: Browser) -> None:
    owners = await viewer.open(f"{FLEET}/values?field=owner")
    assert re.findall(r'value="([^"]*)"', owners.text) == ["airflow", "alice", "bob"]
    tags = await viewer.open(f"{FLEET}/values?field=tag")
    assert re.findall(r'value="([^"]*)"', tags.text) == ["100%", "raw", "tier-1"]
    assert (await viewer.open(f"{FLEET}/values?field=password")).status_code == 400
    page = (await viewer.open(FLEET)).text
    assert '<option value="">any</option>' in page
    assert ">ingestion</option>" in page


async def test_form_without_javascript_does_not_filter_by_its_empty_fields(viewer: Browser) -> None:
    response = await viewer.open(f"{FLEET}?q=&owner=&tag=raw&team_id=&sort=name")
    assert (response.status_code, response.headers["location"]) == (303, f"{FLEET}?tag=raw&sort=name")


async def test_counters_say_what_they_count(viewer: Browser, tenants: TwoTenants, db: RolledBackDatabase) -> None:
    """A pipeline that failed, and then succeeded, is not among those whose newest run failed."""
    text = (await viewer.open(FLEET)).text
    counters = " ".join(re.sub(r"<[^>]*>", " ", text.split('<nav class="counters"')[1].split("</nav>")[0]).split())
    assert "3 pipelines Newest run 1 running 1 succeeded 1 never run" in counters
    assert "Now 1 paused" in counters
    assert cell(text, "daily_report", "failures") == "1"
    assert f"/pipelines/{tenants.finance.pipelines['daily_report']}?status=failed" in text
    await store(db, tenants, make_run("daily_report", "r3", "failed", hours_ago=0.5))
    assert re.search(r"<b>1</b> failed</a>", (await viewer.open(FLEET)).text)


@pytest.mark.parametrize(
    ("query", "last"),
    [("?page=99&tag=raw", "?tag=raw"), ("?page=99&size=2", "?size=2&page=2"), ("?page=99&q=no", "?q=no")],
)
async def test_page_past_the_end_leads_to_the_last_page(viewer: Browser, query: str, last: str) -> None:
    response = await viewer.open(f"{FLEET}{query}")
    assert (response.status_code, response.headers["location"]) == (303, f"{FLEET}{last}")
    assert ("Nothing matches" in (await viewer.open(f"{FLEET}{last}")).text) == ("q=no" in query)


async def test_list_has_heading_and_no_empty_header_cell(viewer: Browser) -> None:
    text = (await viewer.open(FLEET)).text
    assert "<h1>Pipelines</h1>" in text
    headers = re.findall(r"<th[^>]*>(.*?)</th>", text, re.DOTALL)
    assert len(headers) == 11
    assert all(re.sub(r"<[^>]*>", "", header).strip() for header in headers)


async def empty(db: RolledBackDatabase, tenants: TwoTenants, statement: str) -> None:
    async with db.tenant_transaction(tenants.finance.id) as tx:
        await tx.execute(Query(statement), space_id=tenants.finance.id)


async def test_failing_connector_without_pipelines_is_named(
    viewer: Browser, tenants: TwoTenants, db: RolledBackDatabase
) -> None:
    await empty(db, tenants, "DELETE FROM pipelines WHERE space_id = %(space_id)s")
    await empty(
        db,
        tenants,
        "UPDATE sync_states SET last_complete_at = NULL, quarantine = NULL, last_sync_status = 'failed', failures = 9,"
        " last_sync_at = now(), failing_since = now() - interval '3 hours', last_error = 'Nobody answers.'"
        " WHERE space_id = %(space_id)s",
    )
    text = (await viewer.open(FLEET)).text
    assert "nothing of it has been read yet" in text
    assert "see above what is wrong with the connector" in text
    for wrong in ("as of never", "Connect an Airflow", "late sync", "with old data"):
        assert wrong not in text


async def test_empty_space_and_space_before_its_first_sync_say_what_comes_next(
    editor: Browser, tenants: TwoTenants, db: RolledBackDatabase
) -> None:
    await empty(db, tenants, "DELETE FROM pipelines WHERE space_id = %(space_id)s")
    await empty(db, tenants, "UPDATE sync_states SET quarantine = NULL WHERE space_id = %(space_id)s")
    assert "appear here after the first sync" in (await editor.open(FLEET)).text
    filtered = (await editor.open(f"{FLEET}?tag=raw")).text
    assert "Nothing matches" in filtered
    assert chips(filtered)
    await empty(db, tenants, "DELETE FROM connectors WHERE space_id = %(space_id)s")
    text = (await editor.open(FLEET)).text
    assert f'href="{FLEET.removesuffix("pipelines")}connectors/new">Connect an Airflow' in text
    assert 'class="counters"' not in text


async def test_row_shows_last_success_beside_a_last_run_that_failed(
    viewer: Browser, tenants: TwoTenants, db: RolledBackDatabase
) -> None:
    await store(db, tenants, make_run("daily_report", "r3", "failed", hours_ago=0.5))
    text = (await viewer.open(FLEET)).text
    assert cell(text, "daily_report", "last", has_exact_times=True) == "30 min before success 340 min before"
    assert cell(text, "hourly_load", "last", has_exact_times=True) == "60 min before success 119 min before"
    assert cell(text, "daily_report", "last").count(" ago") == 2
    assert cell(text, "never_run", "last") == "never"
    await store(db, tenants, make_run("never_run", "r1", "failed", hours_ago=0.5))
    text = (await viewer.open(FLEET)).text
    assert cell(text, "never_run", "last", has_exact_times=True) == "30 min before no success yet"


async def test_row_shows_change_of_median_against_previous_window(
    viewer: Browser, tenants: TwoTenants, db: RolledBackDatabase
) -> None:
    runs = [
        make_run("never_run", f"{day} {n}", "success", hours_ago=day * 24 + n, minutes=minutes)
        for day, minutes in ((2, 15), (10, 10))
        for n in range(6)
    ]
    await store(db, tenants, *runs)
    text = (await viewer.open(FLEET)).text
    assert re.search(r"\+(4[7-9]|5[0-3]) %$", cell(text, "never_run", "times"))
    assert "slower" in text
    assert "%" not in cell((await viewer.open(f"{FLEET}?days=1")).text, "never_run", "times")


async def test_overdue_and_failing_rows_stand_out_and_healthy_ones_do_not(
    viewer: Browser, tenants: TwoTenants, db: RolledBackDatabase
) -> None:
    async with db.tenant_transaction(tenants.finance.id) as tx:
        await tx.execute(
            Query("UPDATE pipelines SET next_run_at = %(at)s WHERE space_id = %(space_id)s AND name = 'hourly_load'"),
            at=NOW - timedelta(minutes=20), space_id=tenants.finance.id,
        )  # fmt: skip
        await tx.execute(
            Query("UPDATE sync_states SET pipelines_listed_at = now() WHERE space_id = %(space_id)s"),
            space_id=tenants.finance.id,
        )
    text = (await viewer.open(f"{FLEET}?sort=attention")).text
    assert names(text) == ["hourly_load", "daily_report", "never_run"]
    assert re.findall(r'<tr class="row (\w+)"', text) == ["overdue", "calm", "calm"]
    assert cell(text, "hourly_load", "status") == "running overdue"
    assert cell(text, "hourly_load", "next").startswith("due since ")
    assert "20 min before" in cell(text, "hourly_load", "next", has_exact_times=True)


async def test_list_page_uses_the_same_number_of_queries_for_any_order(viewer: Browser, db: RolledBackDatabase) -> None:
    executed = count_statements(db)
    counts = set()
    for query in ("", "?sort=attention", "?sort=-criticality", "?days=365", "?size=1", "?q=nothing"):
        before = len(executed)
        await viewer.open(f"{FLEET}{query}")
        counts.add(len([item for item in executed[before:] if "set_config" not in item]))
    assert len(counts) == 1, counts
