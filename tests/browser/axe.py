"""Runs axe-core on a page, in light and dark mode, on a screen and on a phone, without loading the page again."""

from collections.abc import Sequence

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

MODES = ((390, "dark"), (390, "light"), (1280, "dark"), (1280, "light"))
"""Width in pixels and colour scheme. The test goes on in the last."""


def violations(
    page: Page, selector: str | None = None, *, modes: Sequence[tuple[int, str]] = MODES
) -> list[tuple[str, str, str, str]]:
    """Address, mode, rule and element of each violation, whatever its impact; within `selector`, if there is one.

    Dark mode changes colours only, so that only the rules about colours are checked there.
    """
    found = []
    for width, scheme in modes:
        page.set_viewport_size({"width": width, "height": 800})
        page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        options: dict[str, object] = {"resultTypes": ["violations"]}
        if scheme == "dark":
            options["runOnly"] = {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}
        found += [
            (page.url, f"{scheme}, {width} pixels", violation["id"], node["html"][:200])
            for violation in Axe().run(page, context=selector, options=options).response["violations"]
            for node in violation["nodes"]
        ]
    return found
