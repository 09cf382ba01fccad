"""Lanes over time: what is drawn where, and what is one piece."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from factories import TwoTenants
from validating_client import ValidatingClient
from web.conftest import Browser
from windsock.web.timeline import Span, merge_overlapping

pytestmark = pytest.mark.anyio

PATH = "/spaces/finance/timeline"
NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
SPAN = Span(NOW - timedelta(hours=10), NOW)


def make_run(begins: float, lasts: float | None, status: str = "success") -> dict[str, Any]:
    started = SPAN.begin + timedelta(hours=begins)
    ended = None if lasts is None else started + timedelta(hours=lasts)
    return {"id": f"{begins}", "external_id": f"run {begins}", "status": status, "began": started, "ended_at": ended}


def test_overlapping_runs_are_merged_with_worst_status() -> None:
    runs = [make_run(1, 1), make_run(1.5, 2, "failed"), make_run(3, 0.2), make_run(6, 1), make_run(9, None, "running")]
    found = [
        (item["left"], item["width"], item["many"], item["status"], item["failed"])
        for item in merge_overlapping(runs, SPAN, NOW)
    ]
    assert found == [(100, 250, 3, "failed", 1), (600, 100, 1, "success", 0), (900, 100, 1, "running", 0)]


def test_timeline_bars_are_clipped_to_span_with_minimum_width() -> None:
    found = merge_overlapping([make_run(-5, 6), make_run(5, 0)], SPAN, NOW)
    assert [(row["left"], row["width"]) for row in found] == [(0, 100), (500, 3)]


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
        labels = {re.sub(r"\D.*", "", match): match for match in re.findall(r'aria-label="(\d+ runs of [^"]*)"', text)}
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
