"""Saved views of the pipeline list: list, save, change, delete."""

from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request, Response

from windsock.auth.permissions import CanSaveView, CanView
from windsock.http.pagination import LIST_HEADERS, PageQuery20
from windsock.http.responses import json_response, page_response
from windsock.saved_views.models import SavedView, SavedViewIn, SavedViewUpdate
from windsock.saved_views.store import change_view, create_view, delete_view, list_views

router = APIRouter(prefix="/spaces/{slug}/orchestration/views", tags=["views"])

LIST: dict[int | str, dict[str, Any]] = {200: {"headers": LIST_HEADERS}}


@router.get(
    "", response_model=list[SavedView], responses=LIST, name="list_saved_views", summary="Saved views of the caller"
)
async def list_all_views(request: Request, space: CanView, paging: PageQuery20) -> Response:
    """The caller's own, by name, then those that others share with the space."""
    async with space.transaction() as tx:
        rows, total = await list_views(tx, space, paging)
    return page_response(request, rows, total, paging)


@router.post("", response_model=SavedView, status_code=201, name="create_saved_view", summary="Save a view")
async def save_view(request: Request, space: CanSaveView, body: SavedViewIn) -> Response:
    """Sharing it with the space needs the role editor."""
    async with space.transaction() as tx:
        row = await create_view(tx, space, body)
    return json_response(request, row, status=201)


@router.patch("/{view_id}", response_model=SavedView, name="update_saved_view", summary="Change a saved view")
async def update_view(request: Request, space: CanSaveView, view_id: UUID, body: SavedViewUpdate) -> Response:
    """Its owner may, and of a shared one admins of the space. Sharing it needs the role editor."""
    async with space.transaction() as tx:
        row = await change_view(tx, space, view_id, body)
    return json_response(request, row)


@router.delete("/{view_id}", status_code=204, name="delete_saved_view", summary="Delete a saved view")
async def remove_view(space: CanSaveView, view_id: UUID) -> Response:
    """Its owner may, and of a shared one admins of the space."""
    async with space.transaction() as tx:
        await delete_view(tx, space, view_id)
    return Response(status_code=204)
