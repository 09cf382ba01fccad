"""Teams: groups of a space's members who own pipelines."""

from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request, Response

from windsock.auth.authenticator import Space
from windsock.auth.permissions import CanAdminister, CanView
from windsock.db.database import Row, Transaction, map_constraint_errors
from windsock.db.queries import load
from windsock.errors import Conflict, NotFound
from windsock.http.pagination import LIST_HEADERS, PageQuery20
from windsock.http.responses import json_response, page_response
from windsock.spaces.models import Team, TeamDetail, TeamInput, TeamUpdate
from windsock.spaces.store import expect_row

QUERIES = load(__package__, "teams.sql")

router = APIRouter(prefix="/spaces/{slug}/teams", tags=["teams"])

LIST: dict[int | str, dict[str, Any]] = {200: {"headers": LIST_HEADERS}}


@router.get("", response_model=list[Team], responses=LIST, summary="List the teams")
async def list_teams(request: Request, space: CanView, paging: PageQuery20) -> Response:
    async with space.transaction() as tx:
        rows = await tx.fetch_json(QUERIES["list_teams"], space_id=space.id, limit=paging.size, offset=paging.offset)
        total = expect_row(await tx.fetch_one(QUERIES["count_teams"], space_id=space.id))["total"]
    return page_response(request, rows, total, paging)


@router.post("", response_model=TeamDetail, status_code=201, summary="Create a team")
async def create_team(request: Request, space: CanAdminister, body: TeamInput) -> Response:
    async with space.transaction() as tx:
        row = await _team(tx, space, await insert_team(tx, space, body))
    return json_response(request, row, status=201)


@router.get("/{team_id}", response_model=TeamDetail, summary="One team with its members")
async def get_team(request: Request, space: CanView, team_id: UUID) -> Response:
    async with space.transaction() as tx:
        row = await _team(tx, space, team_id)
    return json_response(request, row)


@router.patch(
    "/{team_id}", response_model=TeamDetail, name="update_team", summary="Rename a team, or change its contact"
)
async def change_team(request: Request, space: CanAdminister, team_id: UUID, body: TeamUpdate) -> Response:
    async with space.transaction() as tx:
        await update_team(tx, space, team_id, body)
        row = await _team(tx, space, team_id)
    return json_response(request, row)


@router.delete("/{team_id}", status_code=204, summary="Delete a team; its pipelines then have none")
async def delete_team(space: CanAdminister, team_id: UUID) -> Response:
    async with space.transaction() as tx:
        if not await tx.execute(QUERIES["delete_team"], space_id=space.id, team_id=team_id):
            raise NotFound("team")
    return Response(status_code=204)


@router.put(
    "/{team_id}/members/{user_id}",
    status_code=204,
    name="create_team_member",
    summary="Put a member of the space into a team",
)
async def add_team_member(space: CanAdminister, team_id: UUID, user_id: UUID) -> Response:
    async with space.transaction() as tx:
        await put_team_member(tx, space, team_id, user_id)
    return Response(status_code=204)


@router.delete(
    "/{team_id}/members/{user_id}", status_code=204, name="delete_team_member", summary="Take a member out of a team"
)
async def remove_team_member(space: CanAdminister, team_id: UUID, user_id: UUID) -> Response:
    async with space.transaction() as tx:
        if not await tx.execute(QUERIES["delete_team_member"], space_id=space.id, team_id=team_id, user_id=user_id):
            raise NotFound("member of this team")
    return Response(status_code=204)


async def insert_team(tx: Transaction, space: Space, body: TeamInput) -> UUID:
    with name_taken(body.name):
        row = await tx.fetch_one(QUERIES["create_team"], space_id=space.id, name=body.name, contact=body.contact)
    team_id: UUID = expect_row(row)["id"]
    return team_id


async def update_team(tx: Transaction, space: Space, team_id: UUID, body: TeamUpdate) -> None:
    sets_contact = "contact" in body.model_fields_set
    with name_taken(body.name or ""):
        found = await tx.execute(
            QUERIES["update_team"], space_id=space.id, team_id=team_id, name=body.name, contact=body.contact,
            sets_contact=sets_contact,
        )  # fmt: skip
    if not found:
        raise NotFound("team")


async def put_team_member(tx: Transaction, space: Space, team_id: UUID, user_id: UUID) -> None:
    missing = {"team_members_membership": NotFound("member"), "team_members_user_id_fkey": NotFound("member")}
    await _team(tx, space, team_id)
    with map_constraint_errors({**missing, "team_members_team": NotFound("team")}):
        await tx.execute(QUERIES["put_team_member"], space_id=space.id, team_id=team_id, user_id=user_id)


async def _team(tx: Transaction, space: Space, team_id: UUID) -> Row:
    found = await tx.fetch_json(QUERIES["get_team"], space_id=space.id, team_id=team_id)
    if not found:
        raise NotFound("team")
    return found[0]


def name_taken(name: str) -> Any:  # noqa: ANN401 - the context manager of `explained`
    return map_constraint_errors({"teams_name_unique": Conflict(f"There is a team {name} in this space already.")})
