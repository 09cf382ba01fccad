"""axe-core finds nothing on any page, in light and dark mode and on a phone."""

import re
from typing import Literal
from urllib.parse import urlsplit

import pytest
from fastapi.routing import iter_route_contexts

from browser.axe import violations
from browser.conftest import Visitor
from browser.every_page import NO_PAGES, WITHOUT_SESSION, every_page
from invariants.operations import is_page


def test_every_page_of_the_application_is_covered(visitor: Visitor) -> None:
    """A new page must be added to every_page, a new part of a page to NO_PAGES."""
    routes = {
        str(route.path)
        for route in iter_route_contexts(visitor.live.app.routes)
        if is_page(str(route.path)) and "GET" in (route.methods or set())
    } - NO_PAGES
    patterns = {path: re.compile(re.sub(r"\{\w+\}", "[^/]+", path)) for path in routes}
    visited = [urlsplit(address).path for address in every_page(visitor)]
    assert {path for path, pattern in patterns.items() if not any(map(pattern.fullmatch, visited))} == WITHOUT_SESSION


def test_pages_have_no_axe_violations(visitor: Visitor) -> None:
    page = visitor.page
    page.goto(f"{visitor.live.url}/sign-in")
    found = violations(page)
    page.goto(f"{visitor.live.url}/sign-in/link?token=used")
    found += violations(page)
    visitor.complaints.clear()  # Chromium notes the 401 that this is
    visitor.sign_in("superadmin")
    for address in (*every_page(visitor), f"{visitor.live.url}/spaces/finance/nothing-here"):
        page.goto(address, wait_until="networkidle")
        found += violations(page)
    visitor.complaints[:] = [text for text in visitor.complaints if "404" not in text]
    assert found == []


def test_open_menus_and_dialogs_have_no_axe_violations(visitor: Visitor) -> None:
    page = visitor.page
    visitor.sign_in("admin")
    visitor.open_account_menu()
    found = violations(page)
    page.get_by_role("navigation", name="Spaces").get_by_role("button").click()
    found += violations(page)
    page.keyboard.press("Escape")
    for key in ("?", "Control+k"):
        page.keyboard.press(key)
        page.wait_for_load_state("networkidle")
        found += violations(page)
        page.keyboard.press("Escape")
    page.goto(f"{visitor.live.url}/api-keys")
    page.get_by_role("button", name="Revoke").first.click()
    page.locator("dialog#confirm[open]").wait_for()
    found += violations(page)
    assert found == []


BORDERS = """() => {
  const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const luminance = (colour) => {
    const linear = parts(colour).slice(0, 3).map((part) => part / 255)
      .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  };
  const ground = (element) => {
    const colour = getComputedStyle(element).backgroundColor;
    return parts(colour)[3] === 0 && element.parentElement ? ground(element.parentElement) : colour;
  };
  return [...document.querySelectorAll("main input, main select, main textarea")]
    .filter((control) => control.checkVisibility() && !["checkbox", "hidden"].includes(control.type))
    .map((control) => {
      const levels = [luminance(getComputedStyle(control).borderTopColor), luminance(ground(control.parentElement))];
      return [control.name, (Math.max(...levels) + 0.05) / (Math.min(...levels) + 0.05)];
    });
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_borders_of_inputs_stand_out_from_their_ground(visitor: Visitor, scheme: str) -> None:
    page = visitor.page
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    visitor.sign_in("superadmin")
    for path in ("/spaces/finance/pipelines", "/spaces/finance/connectors/new", "/spaces/finance/members", "/api-keys"):
        page.goto(f"{visitor.live.url}{path}")
        ratios = page.evaluate(BORDERS)
        assert len(ratios) >= 2, path
        assert [(name, ratio) for name, ratio in ratios if ratio < 3] == [], path


POST = """(address) => {
  const form = Object.assign(document.createElement("form"), { method: "post", action: address });
  document.body.append(form);
  form.submit();
}"""


def test_confirmations_and_refused_forms_have_no_axe_violations(visitor: Visitor) -> None:
    page, found = visitor.page, []
    visitor.sign_in("superadmin")
    team = f"/spaces/finance/teams/{visitor.live.tenants.finance.team_id}"
    refused = ("/api-keys", "/users", "/spaces", "/spaces/finance/members", "/spaces/finance/connectors/new")
    for path in ("/sessions/end-others", f"{team}/delete", *refused):
        page.evaluate(POST, path)
        page.wait_for_url(f"**{path}")
        page.wait_for_load_state("networkidle")
        found += violations(page)
        page.goto(f"{visitor.live.url}/sessions")
    visitor.complaints.clear()  # Chromium notes the 422 that these are
    assert found == []


@pytest.mark.parametrize("mode", [(1280, "light"), (390, "dark")])
def test_api_reference_has_no_axe_violations(visitor: Visitor, mode: tuple[int, Literal["light", "dark"]]) -> None:
    """It chooses its colours when it is loaded."""
    page, (width, scheme) = visitor.page, mode
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(f"{visitor.live.url}/api/v1.0/docs", wait_until="networkidle")
    operations = page.locator(".opblock-summary-control")
    operations.first.wait_for()
    for place in (0, 2, 4):
        operations.nth(place).click()
    page.locator(".responses-table").nth(2).wait_for()
    # The rest is more of the same, and axe takes long on it.
    page.evaluate("[...document.querySelectorAll('.opblock-tag-section')].slice(3).forEach((part) => part.remove())")
    assert violations(page, modes=[mode]) == []
    visitor.complaints.clear()  # Swagger UI warns of a component that it lacks
