"""Spaces and their members."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Body, Request, Response

from windsock.access.models import Member, MemberChange, SpaceChange, SpaceIn, SpaceOut
from windsock.access.space import QUERIES, CanAdminister, CanView, IsCaller, IsSuperadmin
from windsock.access.store import create_space, end_membership, present, put_member, set_role
from windsock.db import Row
from windsock.errors import Conflict, Forbidden
from windsock.pages import LIST_HEADERS, SmallPage, answer, answer_page

router = APIRouter(tags=["spaces"])

LIST: dict[int | str, dict[str, Any]] = {200: {"headers": LIST_HEADERS}}


@router.get("/spaces", response_model=list[SpaceOut], responses=LIST, summary="List the caller's spaces")
async def list_spaces(request: Request, caller: IsCaller, paging: SmallPage) -> Response:
    who = {"user_id": caller.id, "is_superadmin": caller.is_superadmin}
    async with caller.transaction() as tx:
        rows = await tx.answers(QUERIES["list_spaces"], **who, limit=paging.size, offset=paging.offset)
        total = present(await tx.row(QUERIES["count_spaces"], **who))["total"]
    return answer_page(request, rows, total, paging)


@router.post(
    "/spaces", response_model=SpaceOut, status_code=201, name="create_space", summary="Create a space (superadmin)"
)
async def make_space(request: Request, caller: IsSuperadmin, body: SpaceIn) -> Response:
    async with caller.transaction() as tx:
        row = await create_space(tx, slug=body.slug, name=body.name)
    async with caller.transaction_in(row["id"]) as tx:
        await put_member(tx, row["id"], caller.id, "admin")
    return answer(request, row, status=201)


@router.get("/spaces/{slug}", response_model=SpaceOut, summary="One space")
async def get_space(request: Request, space: CanView) -> Response:
    async with space.transaction() as tx:
        row = await tx.row(QUERIES["get_space"], space_id=space.id)
    return answer(request, _still_there(row))


@router.patch(
    "/spaces/{slug}",
    response_model=SpaceOut,
    name="update_space",
    summary="Rename a space, or say how long it keeps runs",
)
async def change_space(request: Request, space: CanAdminister, body: SpaceChange) -> Response:
    async with space.transaction() as tx:
        row = await tx.row(
            QUERIES["update_space"],
            space_id=space.id,
            name=body.name,
            sets_retention="retention_days" in body.model_fields_set,
            retention_days=body.retention_days,
        )
    return answer(request, _still_there(row))


def _still_there(row: Row | None) -> Row:
    """It was there when the permission was asked for, and may have been deleted since."""
    if row is None:
        raise Conflict("This space has just been deleted.")
    return row


@router.delete("/spaces/{slug}", status_code=204, summary="Delete a space with everything in it (superadmin)")
async def delete_space(space: CanView) -> Response:
    if not space.caller.is_superadmin:
        raise Forbidden("Deleting a space needs a superadmin.")
    async with space.transaction() as tx:
        await tx.run(QUERIES["delete_space"], space_id=space.id)
    return Response(status_code=204)


@router.get("/spaces/{slug}/members", response_model=list[Member], responses=LIST, summary="List the members")
async def list_members(request: Request, space: CanView, paging: SmallPage) -> Response:
    async with space.transaction() as tx:
        rows = await tx.answers(QUERIES["list_members"], space_id=space.id, limit=paging.size, offset=paging.offset)
        total = present(await tx.row(QUERIES["count_members"], space_id=space.id))["total"]
    return answer_page(request, rows, total, paging)


@router.put(
    "/spaces/{slug}/members/{user_id}",
    response_model=Member,
    name="update_member",
    summary="Add a member, or change the role",
)
async def set_member(
    request: Request, space: CanAdminister, user_id: UUID, body: Annotated[MemberChange, Body()]
) -> Response:
    async with space.transaction() as tx:
        row = await set_role(tx, space, user_id, body.role)
    return answer(request, row)


@router.delete("/spaces/{slug}/members/{user_id}", status_code=204, name="delete_member", summary="Remove a member")
async def remove_member(space: CanAdminister, user_id: UUID) -> Response:
    async with space.transaction() as tx:
        await end_membership(tx, space, user_id)
    return Response(status_code=204)
