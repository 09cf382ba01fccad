"""Spaces and their members."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Body, Request, Response

from windsock.auth.permissions import CanAdminister, CanView, CurrentCaller, IsSuperadmin
from windsock.db.database import Row
from windsock.errors import Conflict, Forbidden
from windsock.http.pagination import LIST_HEADERS, PageQuery20
from windsock.http.responses import json_response, page_response
from windsock.spaces.models import Member, MemberUpdate, SpaceIn, SpaceOut, SpaceUpdate
from windsock.spaces.store import QUERIES, create_own_space, delete_membership, expect_row, set_role

router = APIRouter(tags=["spaces"])

LIST: dict[int | str, dict[str, Any]] = {200: {"headers": LIST_HEADERS}}


@router.get("/spaces", response_model=list[SpaceOut], responses=LIST, summary="List the caller's spaces")
async def list_spaces(request: Request, caller: CurrentCaller, paging: PageQuery20) -> Response:
    who = {"user_id": caller.id, "is_superadmin": caller.is_superadmin}
    async with caller.transaction() as tx:
        rows = await tx.fetch_json(QUERIES["list_spaces"], **who, limit=paging.size, offset=paging.offset)
        total = expect_row(await tx.fetch_one(QUERIES["count_spaces"], **who))["total"]
    return page_response(request, rows, total, paging)


@router.post(
    "/spaces", response_model=SpaceOut, status_code=201, name="create_space", summary="Create a space (superadmin)"
)
async def make_space(request: Request, caller: IsSuperadmin, body: SpaceIn) -> Response:
    return json_response(request, await create_own_space(caller, body), status=201)


@router.get("/spaces/{slug}", response_model=SpaceOut, summary="One space")
async def get_space(request: Request, space: CanView) -> Response:
    async with space.transaction() as tx:
        row = await tx.fetch_one(QUERIES["get_space"], space_id=space.id)
    return json_response(request, or_conflict(row))


@router.patch(
    "/spaces/{slug}",
    response_model=SpaceOut,
    name="update_space",
    summary="Rename a space, say how long it keeps runs, and whether actions need a reason",
)
async def change_space(request: Request, space: CanAdminister, body: SpaceUpdate) -> Response:
    async with space.transaction() as tx:
        row = await tx.fetch_one(
            QUERIES["update_space"],
            space_id=space.id,
            name=body.name,
            sets_retention="retention_days" in body.model_fields_set,
            retention_days=body.retention_days,
            requires_reason=body.requires_reason,
        )
    return json_response(request, or_conflict(row))


def or_conflict(row: Row | None) -> Row:
    """Return the row, or raise Conflict if it was deleted after the permission check."""
    if row is None:
        raise Conflict("This space has just been deleted.")
    return row


@router.delete("/spaces/{slug}", status_code=204, summary="Delete a space with everything in it (superadmin)")
async def delete_space(space: CanView) -> Response:
    if not space.caller.is_superadmin:
        raise Forbidden("Deleting a space needs a superadmin.")
    async with space.transaction() as tx:
        await tx.execute(QUERIES["delete_space"], space_id=space.id)
    return Response(status_code=204)


@router.get("/spaces/{slug}/members", response_model=list[Member], responses=LIST, summary="List the members")
async def list_members(request: Request, space: CanView, paging: PageQuery20) -> Response:
    async with space.transaction() as tx:
        rows = await tx.fetch_json(QUERIES["list_members"], space_id=space.id, limit=paging.size, offset=paging.offset)
        total = expect_row(await tx.fetch_one(QUERIES["count_members"], space_id=space.id))["total"]
    return page_response(request, rows, total, paging)


@router.put(
    "/spaces/{slug}/members/{user_id}",
    response_model=Member,
    name="update_member",
    summary="Add a member, or change the role",
)
async def set_member(
    request: Request, space: CanAdminister, user_id: UUID, body: Annotated[MemberUpdate, Body()]
) -> Response:
    async with space.transaction() as tx:
        row = await set_role(tx, space, user_id, body.role)
    return json_response(request, row)


@router.delete("/spaces/{slug}/members/{user_id}", status_code=204, name="delete_member", summary="Remove a member")
async def remove_member(space: CanAdminister, user_id: UUID) -> Response:
    async with space.transaction() as tx:
        await delete_membership(tx, space, user_id)
    return Response(status_code=204)
