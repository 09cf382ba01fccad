"""The caller, the caller's keys, and the users of the installation."""

from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request, Response

from windsock.auth.permissions import CurrentCaller, IsSuperadmin
from windsock.errors import NotFound
from windsock.http.pagination import LIST_HEADERS, PageQuery20
from windsock.http.responses import json_response, page_response
from windsock.spaces.models import ApiKey, ApiKeyIn, Me, NewApiKey, User, UserIn, UserUpdate
from windsock.spaces.store import QUERIES, create_key, create_user, expect_row, update_user

router = APIRouter(tags=["users"])

LIST: dict[int | str, dict[str, Any]] = {200: {"headers": LIST_HEADERS}}


@router.get("/users/me", response_model=Me, summary="Who am I, and which spaces may I see?")
async def get_me(request: Request, caller: CurrentCaller) -> Response:
    async with caller.transaction() as tx:
        spaces = await tx.fetch_json(QUERIES["my_spaces"], user_id=caller.id, is_superadmin=caller.is_superadmin)
    me = {"id": caller.id, "email": caller.email, "name": caller.name, "is_superadmin": caller.is_superadmin}
    return json_response(request, me | {"spaces": spaces})


@router.get("/users", response_model=list[User], responses=LIST, summary="List users (superadmin)")
async def list_users(request: Request, caller: IsSuperadmin, paging: PageQuery20) -> Response:
    async with caller.transaction() as tx:
        rows = await tx.fetch_json(QUERIES["list_users"], limit=paging.size, offset=paging.offset)
        total = expect_row(await tx.fetch_one(QUERIES["count_users"]))["total"]
    return page_response(request, rows, total, paging)


@router.post("/users", response_model=User, status_code=201, name="create_user", summary="Create a user (superadmin)")
async def make_user(request: Request, caller: IsSuperadmin, body: UserIn) -> Response:
    async with caller.transaction() as tx:
        row = await create_user(tx, email=body.email, name=body.name, is_superadmin=body.is_superadmin)
    return json_response(request, row, status=201)


@router.patch(
    "/users/{user_id}",
    response_model=User,
    name="update_user",
    summary="Deactivate or reactivate a user, make one superadmin, rename (superadmin)",
)
async def change_user(request: Request, caller: IsSuperadmin, user_id: UUID, body: UserUpdate) -> Response:
    async with caller.transaction() as tx:
        row = await update_user(tx, user_id, **body.model_dump())
    return json_response(request, row)


@router.get(
    "/api-keys/me/api-keys",
    response_model=list[ApiKey],
    responses=LIST,
    name="list_api_keys",
    summary="List the caller's keys",
)
async def list_keys(request: Request, caller: CurrentCaller, paging: PageQuery20) -> Response:
    async with caller.transaction() as tx:
        rows = await tx.fetch_json(QUERIES["list_keys"], user_id=caller.id, limit=paging.size, offset=paging.offset)
        total = expect_row(await tx.fetch_one(QUERIES["count_keys"], user_id=caller.id))["total"]
    return page_response(request, rows, total, paging)


@router.post(
    "/api-keys/me/api-keys",
    response_model=NewApiKey,
    status_code=201,
    name="create_api_key",
    summary="Make a key; shown once",
)
async def make_key(request: Request, caller: CurrentCaller, body: ApiKeyIn) -> Response:
    async with caller.transaction() as tx:
        row = await create_key(tx, caller.id, name=body.name, expires_in_days=body.expires_in_days)
    return json_response(request, row, status=201, headers={"Cache-Control": "no-store"})


@router.delete(
    "/api-keys/me/api-keys/{key_id}", status_code=204, name="delete_api_key", summary="Revoke a key, at once"
)
async def revoke_key(caller: CurrentCaller, key_id: UUID) -> Response:
    async with caller.transaction() as tx:
        if not await tx.execute(QUERIES["revoke_key"], key_id=key_id, user_id=caller.id):
            raise NotFound("API key of yours")
    return Response(status_code=204)
