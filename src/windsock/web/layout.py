"""Context of the layout of every page of a space."""

from typing import Any

from windsock.auth.authenticator import Caller, Space
from windsock.spaces.store import QUERIES


async def layout_context(space: Space) -> dict[str, Any]:
    return {"space": space, "caller": space.caller, "spaces": await list_visible_spaces(space.caller)}


async def list_visible_spaces(caller: Caller) -> list[dict[str, Any]]:
    """List the spaces visible to the caller, by name."""
    async with caller.transaction() as tx:
        return await tx.fetch_all(QUERIES["my_spaces"], user_id=caller.id, is_superadmin=caller.is_superadmin)
