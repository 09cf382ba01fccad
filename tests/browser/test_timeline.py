"""The timeline and the charts in Chromium: ticks in the viewer's zone, failures at every width, a phone."""

import re
from typing import Final, Literal

import pytest
from playwright.sync_api import Page, expect

from browser.axe import violations
from browser.conftest import Visitor

AFTERNOON = "2026-11-30T16:07:33Z"
SCHEMES: Final[tuple[Literal["light", "dark"], ...]] = ("light", "dark")


def ticks(page: Page) -> list[str]:
    return page.locator("#ticks text").all_text_contents()


def open_timeline(visitor: Visitor, query: str, *, zone: str = "Asia/Kolkata") -> Page:
    browser = visitor.page.context.browser
    assert browser is not None
    page = browser.new_context(timezone_id=zone, viewport={"width": 1280, "height": 800}).new_page()
    Visitor(page, visitor.live).sign_in()
    page.goto(f"{visitor.live.url}/spaces/finance/timeline?{query}")
    return page


@pytest.mark.parametrize(
    ("hours", "zone", "expected"),
    [
        (168, "Asia/Kolkata", [f"{day} Nov" for day in ("Thu 26", "Fri 27", "Sat 28", "Sun 29", "Mon 30")]),
        (6, "Asia/Kolkata", ["Mon 30 Nov", "16:00", "17:00", "18:00", "19:00", "20:00", "21:00"]),
        (72, "America/New_York", [
            "Sat 28 Nov", "00:00", "12:00", "Sun 29 Nov", "00:00", "12:00", "Mon 30 Nov", "00:00",
        ]),
    ],
)  # fmt: skip
def test_ticks_are_round_in_time_zone_of_viewer(visitor: Visitor, hours: int, zone: str, expected: list[str]) -> None:
    page = open_timeline(visitor, f"hours={hours}&until={AFTERNOON}", zone=zone)
    found = ticks(page)
    assert found[-len(expected) :] == expected or found == expected
    page.keyboard.press("u")
    utc = ticks(page)
    assert utc != found or hours == 168
    assert all(re.fullmatch(r"\d\d:00|\w{3} \d+ Nov", text) for text in utc)
    expect(page.locator("#zone-name")).to_have_text("UTC")
    page.keyboard.press("u")
    expect(page.locator("#zone-name")).to_have_text(zone.replace("Kolkata", "Calcutta"))  # Chromium's name of it
    page.context.close()


def test_texts_of_runs_have_time_of_zone_on_hover(visitor: Visitor) -> None:
    page = open_timeline(visitor, "hours=72")
    bar = page.locator(".lane a", has=page.locator("use.bad"))
    assert "UTC" in (bar.locator("title").text_content() or "")
    bar.locator("rect").hover()
    assert re.search(
        r"failed: \d+ \w{3} \d\d:\d\d Asia/(Kolkata|Calcutta), 10 min", bar.locator("title").text_content() or ""
    )
    page.context.close()


@pytest.mark.parametrize("width", [320, 390, 1440])
def test_failure_is_recognisable_at_every_width_and_zoom(visitor: Visitor, width: int) -> None:
    page = visitor.page
    page.set_viewport_size({"width": width, "height": 900})
    visitor.sign_in()
    for hours in (72, 168):
        page.goto(f"{visitor.live.url}/spaces/finance/timeline?hours={hours}")
        cross, lane = page.locator("use.cross.bad"), page.locator(".lane").first
        expect(cross).to_have_count(1)
        box, lanes = cross.bounding_box(), lane.bounding_box()
        assert box is not None
        assert lanes is not None
        assert box["width"] >= 7
        assert lanes["width"] >= width * 0.6, "a lane is wide enough to read"
        stroke = "(bar) => getComputedStyle(bar).stroke"
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme)
            colours = [page.locator(f".lane rect.{kind}").first.evaluate(stroke) for kind in ("bad", "ok")]
            assert colours[0] != colours[1]
        texts = [label.bounding_box() for label in page.locator("#ticks text").all() if label.is_visible()]
        ends = [(text["y"], text["x"], text["x"] + text["width"]) for text in texts if text]
        for (row, _, end), (next_row, begin, _) in zip(sorted(ends), sorted(ends)[1:], strict=False):
            assert row != next_row or end <= begin, "labels overlap"
        assert page.locator("main").evaluate("(main) => main.scrollWidth") <= width


def test_timeline_is_accessible(visitor: Visitor) -> None:
    visitor.sign_in()
    visitor.page.goto(f"{visitor.live.url}/spaces/finance/timeline?hours=72")
    expect(visitor.page.locator("use.cross.bad")).to_have_count(1)
    assert violations(visitor.page) == []


def test_pipeline_page_fits_and_is_accessible(visitor: Visitor) -> None:
    page = visitor.page
    visitor.sign_in("editor")
    page.goto(f"{visitor.live.url}/spaces/finance/pipelines/{visitor.live.tenants.finance.pipelines['daily_report']}")
    for width in (320, 390, 1440):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.locator("main").evaluate("(main) => main.scrollWidth") <= width
    expect(page.get_by_role("button", name="Save")).to_be_hidden()
    page.get_by_text("Values as a table").click()
    expect(page.get_by_role("table").filter(has_text="Longest")).to_be_visible()
    page.get_by_text("Edit team and criticality").click()
    expect(page.get_by_role("button", name="Save")).to_be_visible()
    assert violations(page) == []
