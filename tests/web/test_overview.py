"""The overview: each number counts the list that it opens, and empty spaces show the next step."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any

import pytest

from conftest import RolledBackDatabase
from factories import NOW, TwoTenants, make_run, make_task_run
from web.conftest import Browser
from windsock.db.queries import Query
from windsock.providers.base import ProviderRun
from windsock.sync.writer import MirrorWriter

pytestmark = pytest.mark.anyio
OVERVIEW = "/spaces/finance"


def indicators(text: str) -> dict[str, tuple[int, str]]:
    """Numbers and addresses of the overview by label."""
    raised = re.findall(r'<a class="\w+" href="([^"]*)"[^>]*><b>(\d+)</b> <span>([^<]*)</span>', text)
    quiet = re.findall(r'<a href="([^"]*)" title="[^"]*">(0) ([^<]*)</a>', text)
    return {label: (int(count), unescape(url)) for url, count, label in raised + quiet}


async def store(
    db: RolledBackDatabase,
    tenants: TwoTenants,
    runs: Sequence[ProviderRun],
    tasks: Sequence[Any] = (),
    slug: str = "finance",
) -> None:
    tenant = getattr(tenants, slug)
    async with db.tenant_transaction(tenant.id) as tx:
        writer = MirrorWriter(tenant.id, tenant.connector_id)
        await writer.store_runs(tx, list(runs), tenant.pipelines)
        await writer.store_task_runs(tx, list(tasks), tenant.pipelines)


async def execute(db: RolledBackDatabase, tenants: TwoTenants, statement: str, **values: object) -> None:
    async with db.tenant_transaction(tenants.finance.id) as tx:
        await tx.execute(Query(statement), space_id=tenants.finance.id, **values)


async def total_of(browser: Browser, url: str) -> int:
    """Rows of the list behind a number of the overview."""
    text = (await browser.open(url)).text
    return len(re.findall(r'<tr class="row', text))


async def test_failed_counts_failed_runs_although_a_rerun_succeeded(
    viewer: Browser, tenants: TwoTenants, db: RolledBackDatabase
) -> None:
    """A successful rerun must not hide three failures of the night."""
    failed = [make_run("hourly_load", f"night-{n}", "failed", hours_ago=n + 3, minutes=5) for n in range(3)]
    await store(db, tenants, [*failed, make_run("hourly_load", "rerun", "success", hours_ago=0.2, minutes=1)])
    text = (await viewer.open(OVERVIEW)).text
    count, url = indicators(text)["failed in 24 h"]
    assert (count, url) == (3, "/spaces/finance/runs?status=failed&period=24h")
    listed = (await viewer.open(url)).text
    assert re.findall(r"night-\d", listed) == ["night-0", "night-1", "night-2"]
    assert "daily_report" not in listed  # which failed 30 hours ago
    assert ("succeeded since" in text, '<td class="number times">3' in text) == (True, True)


async def test_run_that_started_before_the_window_and_failed_in_it_is_counted(
    viewer: Browser, tenants: TwoTenants, db: RolledBackDatabase
) -> None:
    await store(db, tenants, [make_run("daily_report", "long", "failed", hours_ago=26, minutes=480)])
    count, url = indicators((await viewer.open(OVERVIEW)).text)["failed in 24 h"]
    assert (count, await total_of(viewer, url)) == (1, 1)


async def test_newest_failure_names_failed_task_team_and_last_comment(
    viewer: Browser, tenants: TwoTenants, db: RolledBackDatabase
) -> None:
    tasks = [
        make_task_run("hourly_load", "broken", "load", "failed", ended_at=NOW - timedelta(minutes=50)),
        make_task_run("hourly_load", "broken", "late", "failed", ended_at=NOW - timedelta(minutes=40)),
        make_task_run("hourly_load", "broken", "publish", "upstream_failed"),
    ]
    await store(db, tenants, [make_run("hourly_load", "broken", "failed", hours_ago=0.5, minutes=5)], tasks)
    text = (await viewer.open(OVERVIEW)).text
    row = text[text.index('<table class="failures">') :]
    assert re.search(r'class="failed-task"[^>]*>load</span> <span class="quiet">\+1</span>', row)
    for part in ("hourly_load", "ingestion", "the first load", "Viewer"):
        assert part in row, part
    assert "publish" not in row


async def test_overdue_and_never_succeeded_count_their_lists(
    viewer: Browser, tenants: TwoTenants, db: RolledBackDatabase
) -> None:
    await execute(
        db, tenants,
        "UPDATE pipelines SET next_run_at = %(at)s"
        " WHERE space_id = %(space_id)s AND external_id = 'daily_report'",
        at=NOW - timedelta(hours=2),
    )  # fmt: skip
    await execute(db, tenants, "UPDATE sync_states SET pipelines_listed_at = now() WHERE space_id = %(space_id)s")
    await store(db, tenants, [make_run("never_run", "first", "failed", hours_ago=1, minutes=1)])
    numbers = indicators((await viewer.open(OVERVIEW)).text)
    for label in ("overdue", "without success in 7 days"):
        count, url = numbers[label]
        assert (count, await total_of(viewer, url)) == (1, 1), label


async def test_import_errors_are_counted_by_file(viewer: Browser) -> None:
    """A file that never was imported has no pipeline."""
    count, url = indicators((await viewer.open(OVERVIEW)).text)["import error"]
    assert (count, url) == (1, "/spaces/finance/import-errors")
    assert "finance/broken.py" in (await viewer.open(url)).text


async def finish(
    db: RolledBackDatabase, tenants: TwoTenants, many: int, minutes: float = 10, running_minutes: float = 60
) -> None:
    """Finished runs of never_run, and one that is running."""
    runs = [make_run("never_run", f"usual-{n}", "success", hours_ago=10 + n, minutes=minutes) for n in range(many)]
    start = datetime.now(UTC) - timedelta(minutes=running_minutes)
    slow = make_run("never_run", "slow", "running", minutes=None, started_at=start)
    await store(db, tenants, [*runs, slow])


@pytest.mark.parametrize(
    ("finished", "minutes", "running_minutes", "is_reported"),
    [(5, 10, 60, True), (4, 10, 60, False), (5, 10, 9, False), (5, 0.01, 0.5, False)],
)
async def test_run_above_p95_of_enough_runs_is_longer_than_usual(
    viewer: Browser,
    tenants: TwoTenants,
    db: RolledBackDatabase,
    finished: int,
    minutes: float,
    running_minutes: float,
    *,
    is_reported: bool,
) -> None:
    await finish(db, tenants, finished, minutes, running_minutes)
    text = (await viewer.open(OVERVIEW)).text
    count, url = indicators(text)["running longer than usual"]
    assert (count, await total_of(viewer, url)) == (int(is_reported), int(is_reported))
    assert ('<table class="long-running">' in text) is is_reported
    listed = (await viewer.open(url)).text
    assert (">slow<" in listed) is is_reported


async def test_stale_connector_is_named_with_its_reason(
    viewer: Browser, tenants: TwoTenants, db: RolledBackDatabase
) -> None:
    await execute(
        db, tenants,
        "UPDATE sync_states SET quarantine = NULL, failing_since = now(), last_error = 'Airflow answered 401.'"
        " WHERE space_id = %(space_id)s",
    )  # fmt: skip
    text = (await viewer.open(OVERVIEW)).text
    assert indicators(text)["stale connector"] == (1, "/spaces/finance/connectors")
    assert "Airflow answered 401." in text
    assert "never been read completely" in text


@pytest.mark.parametrize(
    ("statement", "role", "expected", "unexpected"),
    [
        ("DELETE FROM connectors WHERE space_id = %(space_id)s", "editor", "Connect an Airflow", "sync"),
        ("DELETE FROM connectors WHERE space_id = %(space_id)s", "viewer", "An editor or admin", "/connectors/new"),
        ("DELETE FROM pipelines WHERE space_id = %(space_id)s", "editor", "has not finished", "Connect an Airflow"),
    ],
)
async def test_empty_space_shows_the_next_step(
    browser: Browser,
    tenants: TwoTenants,
    db: RolledBackDatabase,
    statement: str,
    role: str,
    expected: str,
    unexpected: str,
) -> None:
    await execute(db, tenants, statement)
    await execute(db, tenants, "UPDATE sync_states SET quarantine = NULL WHERE space_id = %(space_id)s")
    await browser.sign_in(tenants.keys[role])
    text = (await browser.open(OVERVIEW)).text
    assert (expected in text, unexpected in text) == (True, False)


async def test_failing_connector_without_pipelines_is_shown_instead_of_an_invitation_to_connect(
    editor: Browser, tenants: TwoTenants, db: RolledBackDatabase
) -> None:
    await execute(db, tenants, "DELETE FROM pipelines WHERE space_id = %(space_id)s")
    await execute(
        db, tenants,
        "UPDATE sync_states SET quarantine = NULL, failing_since = now(), last_error = 'Connection refused.'"
        " WHERE space_id = %(space_id)s",
    )  # fmt: skip
    text = (await editor.open(OVERVIEW)).text
    assert "Connection refused." in text
    for part in ("Connect an Airflow", "as of never", "No run failed", "0 overdue"):
        assert part not in text, part


async def test_healthy_space_is_reported_as_fine(viewer: Browser, tenants: TwoTenants, db: RolledBackDatabase) -> None:
    await execute(
        db, tenants,
        "UPDATE sync_states SET quarantine = NULL, last_complete_at = now() WHERE space_id = %(space_id)s",
    )  # fmt: skip
    await execute(db, tenants, "DELETE FROM import_errors WHERE space_id = %(space_id)s")
    await execute(db, tenants, "DELETE FROM incidents WHERE space_id = %(space_id)s")
    text = (await viewer.open(OVERVIEW)).text
    assert "All 3 pipelines are fine" in text
    assert {count for count, _ in indicators(text).values()} == {0}


async def test_partial_is_refreshed_and_has_an_etag(viewer: Browser) -> None:
    part = await viewer.open(OVERVIEW, headers={"HX-Request": "true"})
    assert part.text.lstrip().startswith('<section id="list"')
    again = await viewer.open(OVERVIEW, headers={"HX-Request": "true", "If-None-Match": part.headers["etag"]})
    assert again.status_code in {200, 304}  # 200 in the next minute


async def test_overview_of_all_spaces_shows_only_the_spaces_of_the_caller(
    browser: Browser, tenants: TwoTenants, db: RolledBackDatabase
) -> None:
    for slug in ("finance", "marketing"):
        await store(db, tenants, [make_run("daily_report", f"of-{slug}", "failed", hours_ago=1)], slug=slug)
    await browser.sign_in(tenants.keys["superadmin"])
    text = (await browser.open("/")).text
    for slug in ("finance", "marketing"):
        assert f'href="/spaces/{slug}/runs?status=failed&amp;period=24h"' in text
    assert text.count("daily_report") == 2
    await browser.sign_in(tenants.keys["stranger"])
    response = await browser.open("/")
    assert (response.status_code, response.headers["location"]) == (303, "/spaces/marketing")
    assert "finance" not in (await browser.open("/spaces/marketing")).text.lower()
    assert (await browser.open("/spaces/finance")).status_code == 403


@pytest.mark.parametrize("page", ["0", "x", "-1"])
async def test_invalid_page_of_spaces_is_reported(browser: Browser, tenants: TwoTenants, page: str) -> None:
    await browser.sign_in(tenants.keys["superadmin"])
    assert (await browser.open(f"/?page={page}")).status_code == 400
    assert (await browser.open("/?page=99")).status_code == 200


async def test_midnight_is_that_of_the_zone_in_the_cookie(
    viewer: Browser, tenants: TwoTenants, db: RolledBackDatabase
) -> None:
    """In one of two zones that are 26 hours apart, midnight is less than 13 hours ago; in the other, more."""
    await store(db, tenants, [make_run("daily_report", "recent", "failed", hours_ago=0, minutes=0)])
    shown = {}
    for zone in ("Etc/GMT+12", "Pacific/Kiritimati", "", "Europe", "no/such", "../../etc/passwd", "%00", "x" * 500):
        viewer.cookies.set("windsock_zone", zone)
        text = (await viewer.open(OVERVIEW)).text
        shown[zone] = re.search(r'data-rendered-zone="([^"]*)"', text)[1]  # type: ignore[index]
        assert indicators(text)["failed in 24 h"][0] == 1
        viewer.cookies.delete("windsock_zone")
    assert list(shown.values()) == ["Etc/GMT+12", "Pacific/Kiritimati", "UTC", "UTC", "UTC", "UTC", "UTC", "UTC"]
