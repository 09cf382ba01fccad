"""What the frame of every page of a space shows."""

from typing import Any

from windsock.access.space import QUERIES, Caller, Space


async def around(space: Space) -> dict[str, Any]:
    return {"space": space, "caller": space.caller, "spaces": await spaces_of(space.caller)}


async def spaces_of(caller: Caller) -> list[dict[str, Any]]:
    """Those the caller may see, by name."""
    async with caller.transaction() as tx:
        return await tx.rows(QUERIES["my_spaces"], user_id=caller.id, is_superadmin=caller.is_superadmin)
