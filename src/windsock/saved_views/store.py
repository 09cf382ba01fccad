"""Saved views: who sees, shares and changes them."""

from contextlib import AbstractContextManager
from uuid import UUID

from windsock.auth.authenticator import Space
from windsock.auth.permissions import Permission, check_role
from windsock.db.database import Row, Statement, Transaction, map_constraint_errors
from windsock.db.queries import load
from windsock.errors import Conflict, Forbidden, NotFound
from windsock.http.pagination import PageParams
from windsock.saved_views.models import SavedViewIn, SavedViewUpdate
from windsock.spaces.store import expect_row

QUERIES = load(__package__, "saved_views.sql")

MAX_VIEWS = 50
"""Of one user in a space."""


async def list_views(tx: Transaction, space: Space, paging: PageParams) -> tuple[list[Row], int]:
    """A page of the views of the caller and of the shared ones, own first, and how many there are in all."""
    rows = await tx.fetch_all(QUERIES["list_saved_views"], **_keys(space), limit=paging.size, offset=paging.offset)
    total = expect_row(await tx.fetch_one(QUERIES["count_saved_views"], **_keys(space)))["total"]
    return rows, total


def list_statement(space: Space, limit: int) -> Statement:
    """As list_views, the first `limit` of them, to be executed together with other statements."""
    return Statement(QUERIES["list_saved_views"], {**_keys(space), "limit": limit, "offset": 0})


async def create_view(tx: Transaction, space: Space, body: SavedViewIn) -> Row:
    """Raises Forbidden for a viewer who shares, and Conflict for a name that is taken and beyond MAX_VIEWS."""
    _check_sharing(space, is_shared=body.is_shared)
    with _unique_name(body.name):
        created = await tx.fetch_one(
            QUERIES["create_saved_view"], **_keys(space), **body.model_dump(), maximum=MAX_VIEWS
        )
    if created is None:
        raise Conflict(f"You have {MAX_VIEWS} views, as many as one may have. Delete one first.")
    return await _get_view(tx, space, created["id"])


async def change_view(tx: Transaction, space: Space, view_id: UUID, body: SavedViewUpdate) -> Row:
    """Change what is not None. A viewer may rename a view that was shared before, and unshare it."""
    view = await get_editable_view(tx, space, view_id)
    content = {name: view[name] for name in ("name", "query", "is_shared")} | body.model_dump(exclude_none=True)
    if content["is_shared"] != view["is_shared"]:
        _check_sharing(space, is_shared=content["is_shared"])
    with _unique_name(content["name"]):
        await tx.execute(QUERIES["update_saved_view"], space_id=space.id, view_id=view_id, **content)
    return await _get_view(tx, space, view_id)


async def delete_view(tx: Transaction, space: Space, view_id: UUID) -> None:
    await get_editable_view(tx, space, view_id)
    await tx.execute(QUERIES["delete_saved_view"], space_id=space.id, view_id=view_id)


def may_edit(space: Space, view: Row) -> bool:
    """Whether the caller may rename, share and delete it: its owner, and of a shared one an admin."""
    return bool(view["is_own"]) or space.role == "admin"


async def _get_view(tx: Transaction, space: Space, view_id: UUID) -> Row:
    view = await tx.fetch_one(QUERIES["get_saved_view"], **_keys(space), view_id=view_id)
    if view is None:
        raise NotFound("view")
    return view


async def get_editable_view(tx: Transaction, space: Space, view_id: UUID) -> Row:
    """Raises NotFound also for another user's private view, and Forbidden for a shared one that is not the caller's."""
    view = await _get_view(tx, space, view_id)
    if not may_edit(space, view):
        raise Forbidden("Only its owner or an admin may change this view.")
    return view


def _keys(space: Space) -> dict[str, UUID]:
    return {"space_id": space.id, "user_id": space.caller.id}


def _unique_name(name: str) -> AbstractContextManager[None]:
    return map_constraint_errors({"saved_views_name_unique": Conflict(f"You have a view named “{name}” already.")})


def _check_sharing(space: Space, *, is_shared: bool) -> None:
    if is_shared:
        check_role(space.role, Permission.SHARE_VIEW)
