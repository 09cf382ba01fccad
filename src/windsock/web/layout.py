"""Context of the layout of every page: the space, the user and the navigation."""

from typing import Any

from fastapi import Request

from windsock.auth.authenticator import COOKIE, SLUG, Caller, Space, authenticate_session
from windsock.db.database import Statement
from windsock.errors import WindsockError
from windsock.spaces.store import QUERIES

NAVIGATION = (
    ("/inbox", "Inbox"),
    ("", "Overview"),
    ("/runs", "Runs"),
    ("/pipelines", "Pipelines"),
    ("/timeline", "Timeline"),
    ("/approvals", "Approvals"),
    ("/connectors", "Connectors"),
    ("/settings", "Settings"),
)
"""Pages of a space in the menu: path below /spaces/{slug}, and label. The overview has the empty path."""
SECTIONS = {
    "/teams": "/settings",
    "/notifications/why": "/inbox",
    "/notifications": "/settings",
    "/audit": "/settings",
    "/members": "/settings",
    "/import-errors": "/connectors",
    "/fingerprints": "/runs",
    "/incidents": "/inbox",
}
"""Paths that belong to an entry of NAVIGATION without beginning with its path."""
SPACE_COOKIE = "windsock_space"
"""Slug of the space visited last. Pages outside a space, such as API keys and errors, show its navigation."""
NO_LAYOUT: dict[str, Any] = {"space": None, "caller": None, "spaces": [], "menu_space": None}
"""Context of a page without a user."""


async def layout_context(space: Space) -> dict[str, Any]:
    """Context of a page of a space."""
    spaces = await list_visible_spaces(space.caller)
    name = next((row["name"] for row in spaces if row["slug"] == space.slug), space.slug)
    return {
        "space": space,
        "caller": space.caller,
        "spaces": spaces,
        "menu_space": {"slug": space.slug, "name": name},
    }


async def page_context(space: Space, *, is_part: bool) -> dict[str, Any]:
    """As layout_context; a part of a page that htmx refreshes has no layout."""
    return {"space": space} if is_part else await layout_context(space)


async def account_context(request: Request, caller: Caller) -> dict[str, Any]:
    """Context of a page outside a space. The menu is that of the space visited last, or of the first."""
    spaces = await list_visible_spaces(caller)
    visited = request.cookies.get(SPACE_COOKIE)
    menu_space = next((row for row in spaces if row["slug"] == visited), spaces[0] if spaces else None)
    return {"space": None, "caller": caller, "spaces": spaces, "menu_space": menu_space}


async def error_context(request: Request) -> dict[str, Any]:
    """As account_context, for an error page: nothing of a user whose session cannot be read."""
    if COOKIE not in request.cookies:
        return NO_LAYOUT
    try:
        caller, _ = await authenticate_session(request, None)
        return await account_context(request, caller)
    except WindsockError:
        return NO_LAYOUT


def offline_context(request: Request) -> dict[str, Any]:
    """As error_context, without the database, which may be the cause of the error."""
    slug = request.cookies.get(SPACE_COOKIE, "")
    menu_space = {"slug": slug, "name": slug} if COOKIE in request.cookies and SLUG.fullmatch(slug) else None
    return {**NO_LAYOUT, "menu_space": menu_space}


def navigation_links(path: str, slug: str) -> list[dict[str, str | None]]:
    """The entries of the menu. `current` is the value of aria-current: page, true for a page below it, or None."""
    base = f"/spaces/{slug}"
    below = path.removeprefix(base) if path.startswith((f"{base}/", base)) else None
    for prefix, section in SECTIONS.items():
        if below is not None and below.startswith(prefix):
            below = f"{section}/"
    return [{"url": f"{base}{place}", "label": label, "current": _current(place, below)} for place, label in NAVIGATION]


def _current(place: str, below: str | None) -> str | None:
    if below == place:
        return "page"
    return "true" if place and below is not None and below.startswith(f"{place}/") else None


async def list_visible_spaces(caller: Caller) -> list[dict[str, Any]]:
    """List the spaces visible to the caller, by name."""
    parameters = {"user_id": caller.id, "is_superadmin": caller.is_superadmin}
    (spaces,) = await caller.fetch_batch(Statement(QUERIES["my_spaces"], parameters))
    return spaces
