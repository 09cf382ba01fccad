"""Lanes over time: what is drawn where, and what is one piece."""

import re
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import RolledBackDatabase
from factories import TwoTenants, make_run
from validating_client import ValidatingClient
from web.conftest import Browser
from windsock.runs.store import list_timeline_pieces
from windsock.sync.writer import MirrorWriter
from windsock.web.lanes import ExpectedRun, Span
from windsock.web.scales import duration_ticks, time_ticks
from windsock.web.timeline import expected_run

pytestmark = pytest.mark.anyio

PATH = "/spaces/finance/timeline"
NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
DAYS = ("Fri 27", "Sat 28", "Sun 29", "Mon 30")
SPAN = Span(NOW - timedelta(hours=10), NOW + timedelta(hours=6))


async def test_timeline_pieces_merge_neighbouring_runs_of_one_status(
    db: RolledBackDatabase, tenants: TwoTenants
) -> None:
    """A slot is an hour: 160 of them in the window."""
    space, end = tenants.finance, datetime(2026, 1, 8, tzinfo=UTC)
    begin = end - timedelta(hours=160)
    at = [(0.2, 0.5, "success"), (1.4, 0.5, "success"), (1.6, 0.5, "failed"), (2.2, 30, "success"), (9, 1, "success")]
    runs = [
        make_run(
            "never_run", f"run {hour}", status, run_at=begin + timedelta(hours=hour),
            started_at=begin + timedelta(hours=hour), ended_at=begin + timedelta(hours=hour + lasts),
        )
        for hour, lasts, status in at
    ]  # fmt: skip
    async with db.tenant_transaction(space.id) as tx:
        await MirrorWriter(space.id, space.connector_id).store_runs(tx, runs, space.pipelines)
        which: Any = space
        pieces = await list_timeline_pieces(tx, which, [space.pipelines["never_run"]], begin, end)
        found = [
            (piece["status"], piece["total"], (piece["ended_at"] - begin) / timedelta(hours=1), bool(piece["run_id"]))
            for piece in pieces
        ]
        assert found == [("success", 3, 32.2, False), ("failed", 1, 2.1, True), ("success", 1, 10, True)]
        later = await list_timeline_pieces(tx, which, [space.pipelines["never_run"]], begin + timedelta(hours=20), end)
        assert [piece["total"] for piece in later] == [1], "a run that began before the window goes on in it"


@pytest.mark.parametrize(
    ("minutes", "paused", "expected"),
    [
        (60, False, ExpectedRun(NOW + timedelta(minutes=60), is_overdue=False)),
        (60, True, None),
        (-2, False, ExpectedRun(NOW - timedelta(minutes=2), is_overdue=False)),
        (-60, False, ExpectedRun(NOW - timedelta(minutes=60), is_overdue=True)),
        (-6000, False, ExpectedRun(NOW - timedelta(minutes=6000), is_overdue=True)),
        (600, False, None),
    ],
)
def test_expected_run_is_overdue_after_its_time(minutes: int, expected: ExpectedRun | None, *, paused: bool) -> None:
    row = {
        "next_run_at": NOW + timedelta(minutes=minutes), "is_paused": paused, "is_draining": False, "is_active": True,
    }  # fmt: skip
    assert expected_run(row, SPAN, NOW) == expected
    past = Span(NOW - timedelta(days=9), NOW - timedelta(days=8))
    assert expected_run(row, past, NOW) is None


async def test_overdue_run_is_outlined_and_named(viewer: Browser, tenants: TwoTenants, db: RolledBackDatabase) -> None:
    space = tenants.finance
    async with db.tenant_transaction(space.id):
        await db.connection.execute(
            "UPDATE pipelines SET next_run_at = now() - interval '2 hours' WHERE name = 'daily_report'"
        )
    text = (await viewer.open(PATH)).text
    assert text.count('<rect class="overdue"') == 1
    assert re.search(r'class="late">overdue <time[^>]*>2 h</time>', text)


async def test_failed_runs_have_cross_and_link_for_keyboard(viewer: Browser, tenants: TwoTenants) -> None:
    text = (await viewer.open(f"{PATH}?hours=72")).text
    assert text.count('<use class="cross bad"') == 1
    link = re.search(r'<a class="bad" href="([^"]+)" aria-label="1 failed runs of daily_report"', text)
    assert link
    listed = (await viewer.open(unescape(link[1]).split("#")[0])).text
    assert re.findall(r'<a class="open"[^>]*>(.*?)</a>', listed) == ["r1"]
    svg_links = re.findall(r'<a href="[^"]+"( tabindex="-1")?><title>', text)
    assert svg_links
    assert all(svg_links), "bars are for the pointer"
    assert str(tenants.finance.pipelines["daily_report"]) in link[1]


@pytest.mark.parametrize(
    ("hours", "ticks"),
    [
        (1, ["15:10 Mon 30 Nov", "15:20", "15:30", "15:40", "15:50", "16:00"]),
        (24, ["18:00 Sun 29 Nov", "21:00", "00:00 Mon 30 Nov", "03:00", "06:00", "09:00", "12:00", "15:00"]),
        (72, ["00:00 Sat 28 Nov", "12:00", "00:00 Sun 29 Nov", "12:00", "00:00 Mon 30 Nov", "12:00"]),
        (168, [f" {day} Nov" for day in ("Tue 24", "Wed 25", "Thu 26", "Fri 27", "Sat 28", "Sun 29", "Mon 30")]),
    ],
)  # fmt: skip
def test_ticks_are_round_times_with_dates(hours: int, ticks: list[str]) -> None:
    end = datetime(2026, 11, 30, 16, 7, 33, tzinfo=UTC)
    found = time_ticks(end - timedelta(hours=hours), end)
    assert [f"{tick.clock} {tick.weekday} {tick.date}".rstrip() for tick in found] == ticks
    assert all(0 <= tick.share < 1 for tick in found)


@pytest.mark.parametrize(
    ("zone", "end", "hours", "ticks"),
    [
        ("Asia/Kolkata", "2026-11-30T16:07Z", 6, ["16:00 Mon 30 Nov", "17:00", "18:00", "19:00", "20:00", "21:00"]),
        ("Europe/Berlin", "2026-11-30T22:00Z", 30, ["18:00 Sun 29 Nov", "00:00 Mon 30 Nov", "06:00", "12:00", "18:00"]),
        ("Europe/Berlin", "2026-10-25T03:30Z", 5, ["01:00 Sun 25 Oct", "02:00", "03:00", "04:00"]),
        ("Europe/Berlin", "2026-03-29T03:30Z", 5, ["00:00 Sun 29 Mar", "01:00", "03:00", "04:00", "05:00"]),
        ("America/New_York", "2026-11-30T16:00Z", 120, [f" {day} Nov" for day in ("Thu 26", *DAYS)]),
    ],
)  # fmt: skip
def test_ticks_are_round_times_of_the_zone(zone: str, end: str, hours: int, ticks: list[str]) -> None:
    until = datetime.fromisoformat(end)
    found = time_ticks(until - timedelta(hours=hours), until, ZoneInfo(zone))
    assert [f"{tick.clock} {tick.weekday} {tick.date}".rstrip() for tick in found] == ticks
    assert [tick.share for tick in found] == sorted(tick.share for tick in found)


@given(st.datetimes(timezones=st.just(UTC)), st.integers(60, 400 * 86_400))
def test_axis_has_few_ticks_at_every_length(begin: datetime, seconds: int) -> None:
    begin = begin.replace(year=2000 + begin.year % 99, day=min(begin.day, 28))
    found = time_ticks(begin, begin + timedelta(seconds=seconds))
    assert len(found) <= 9
    assert seconds < 600 or found


@pytest.mark.parametrize("longest", [0, 0.05, 3, 42, 700, 5_000, 90_000, 10**7])
def test_duration_axis_covers_longest(longest: float) -> None:
    ticks = duration_ticks(longest)
    assert ticks[0] == 0
    assert ticks[-1] >= longest
    assert 2 <= len(ticks) <= 6


async def test_timeline_shows_finished_runs_of_own_space_only(
    viewer: Browser, client: ValidatingClient, tenants: TwoTenants
) -> None:
    runs = (await client.as_(tenants.keys["viewer"], "GET", "/spaces/finance/orchestration/runs?size=500")).json()
    shown = 0
    for run in runs:
        if run["ended_at"] is None:
            continue
        until = (datetime.fromisoformat(run["ended_at"]) + timedelta(minutes=5)).isoformat().replace("+00:00", "Z")
        text = (await viewer.open(f"{PATH}?hours=1&until={until}")).text
        labels = {re.sub(r"\D.*", "", match): match for match in re.findall(r'aria-label="(\d+ runs? of [^"]*)"', text)}
        assert any(not label.startswith("0 ") for label in labels.values()), until
        shown += 1
    assert shown
    assert "marketing" not in text.lower()


@pytest.mark.parametrize("query", ["hours=0", "hours=169", "until=yesterday", "until=2026-11-27", "by=owner", "page=0"])
async def test_invalid_url_is_reported(viewer: Browser, query: str) -> None:
    assert (await viewer.open(f"{PATH}?{query}")).status_code == 400


@pytest.mark.parametrize("until", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "2026-11-27T00:00:00%2B14:00"])
async def test_timeline_accepts_extreme_dates(viewer: Browser, until: str) -> None:
    assert (await viewer.open(f"{PATH}?until={until}&by=connector&hours=168")).status_code == 200


async def test_timeline_refreshes_only_when_showing_current_time(viewer: Browser) -> None:
    assert 'hx-trigger="every 30s"' in (await viewer.open(PATH)).text
    assert "every 30s" not in (await viewer.open(f"{PATH}?until=2026-11-27T00:00:00Z")).text
    part = await viewer.open(PATH, headers={"HX-Request": "true"})
    assert part.text.lstrip().startswith('<section id="list"')


@pytest.mark.parametrize("query", ["", "?hours=6", "?by=connector&until=2026-11-27T00:00:00Z"])
async def test_empty_timeline_has_no_message_about_filters(
    viewer: Browser, tenants: TwoTenants, db: RolledBackDatabase, query: str
) -> None:
    assert "No pipelines match" in (await viewer.open(f"{PATH}?q=nothing")).text
    assert "No pipelines match" in (await viewer.open(f"{PATH}?watched_only=true&q=nothing")).text
    async with db.tenant_transaction(tenants.finance.id):
        await db.connection.execute("DELETE FROM pipelines")
    text = (await viewer.open(f"{PATH}{query}")).text
    assert "No pipelines yet." in text
    assert "match" not in text[text.index('id="list"') :]
