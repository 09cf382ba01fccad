"""Members and teams of a space, and its audit log."""

from typing import Annotated, Any, get_args
from uuid import UUID

from fastapi import APIRouter, Form, Query, Request, Response
from pydantic import ValidationError

from windsock.audit.models import TargetType
from windsock.audit.routes import QUERIES as AUDIT
from windsock.auth.authenticator import Space
from windsock.auth.permissions import PageAdminister, PageAudit, PageView
from windsock.connectors.store import list_connectors_of
from windsock.db.database import Transaction
from windsock.errors import BadRequest, NotFound
from windsock.http.pagination import PageParams, PageQuery20
from windsock.http.validation import StorableText
from windsock.spaces.models import Role, TeamInput, UserIn
from windsock.spaces.store import QUERIES, create_user, delete_membership, expect_row, set_role
from windsock.spaces.teams import QUERIES as TEAMS
from windsock.spaces.teams import name_taken, put_team_member
from windsock.web.layout import layout_context
from windsock.web.templates import redirect, render, to_jsonable

router = APIRouter(include_in_schema=False, prefix="/spaces/{slug}")

MOST = 500
"""Members and teams on one page."""
TEAM_NAME = 200


@router.get("/settings")
async def show_settings(request: Request, space: PageView) -> Response:
    every = {"space_id": space.id, "limit": MOST, "offset": 0}
    async with space.transaction() as tx:
        members = await tx.fetch_all(QUERIES["list_members"], **every)
        teams = await tx.fetch_all(TEAMS["list_teams"], **every)
    return render(
        request, "settings.html", **await layout_context(space), members=to_jsonable(members), teams=to_jsonable(teams),
        roles=get_args(Role.__value__),
    )  # fmt: skip


@router.post("/members")
async def add_member(
    space: PageAdminister,
    email: Annotated[StorableText, Form()],
    role: Annotated[Role, Form()],
    name: Annotated[StorableText, Form()] = "",
) -> Response:
    """Add a member by e-mail address; a superadmin may create the user by adding a name."""
    async with space.transaction() as tx:
        user_id = await _find_user(tx, space, email.strip(), name.strip())
        await set_role(tx, space, user_id, role)
    return redirect(f"/spaces/{space.slug}/settings")


@router.post("/members/{user_id}")
async def change_member(space: PageAdminister, user_id: UUID, role: Annotated[Role, Form()]) -> Response:
    async with space.transaction() as tx:
        await set_role(tx, space, user_id, role)
    return redirect(f"/spaces/{space.slug}/settings")


@router.post("/members/{user_id}/remove")
async def delete_member(space: PageAdminister, user_id: UUID) -> Response:
    async with space.transaction() as tx:
        await delete_membership(tx, space, user_id)
    return redirect(f"/spaces/{space.slug}/settings")


@router.post("/teams")
async def make_team(space: PageAdminister, name: Annotated[StorableText, Form()]) -> Response:
    body = _team_name(name)
    async with space.transaction() as tx:
        with name_taken(body):
            row = expect_row(await tx.fetch_one(TEAMS["create_team"], space_id=space.id, name=body))
    return redirect(f"/spaces/{space.slug}/teams/{row['id']}")


@router.get("/teams/{team_id}")
async def show_team(request: Request, space: PageView, team_id: UUID) -> Response:
    async with space.transaction() as tx:
        row = await tx.fetch_one(TEAMS["get_team"], space_id=space.id, team_id=team_id)
        members = await tx.fetch_all(QUERIES["list_members"], space_id=space.id, limit=MOST, offset=0)
    if row is None:
        raise NotFound("team")
    team = to_jsonable(row)
    inside = {member["user_id"] for member in team["members"]}
    others = [member for member in to_jsonable(members) if member["user_id"] not in inside]
    return render(request, "team.html", **await layout_context(space), team=team, others=others)


@router.post("/teams/{team_id}")
async def rename_team(space: PageAdminister, team_id: UUID, name: Annotated[StorableText, Form()]) -> Response:
    body = _team_name(name)
    async with space.transaction() as tx:
        with name_taken(body):
            if not await tx.execute(TEAMS["update_team"], space_id=space.id, team_id=team_id, name=body):
                raise NotFound("team")
    return redirect(f"/spaces/{space.slug}/teams/{team_id}")


@router.post("/teams/{team_id}/delete")
async def delete_team(space: PageAdminister, team_id: UUID) -> Response:
    async with space.transaction() as tx:
        if not await tx.execute(TEAMS["delete_team"], space_id=space.id, team_id=team_id):
            raise NotFound("team")
    return redirect(f"/spaces/{space.slug}/settings")


@router.post("/teams/{team_id}/members")
async def change_team(
    space: PageAdminister,
    team_id: UUID,
    user_id: Annotated[UUID, Form()],
    inside: Annotated[bool, Form()] = True,  # noqa: FBT002 - a form field
) -> Response:
    async with space.transaction() as tx:
        if inside:
            await put_team_member(tx, space, team_id, user_id)
        else:
            await tx.execute(TEAMS["delete_team_member"], space_id=space.id, team_id=team_id, user_id=user_id)
    return redirect(f"/spaces/{space.slug}/teams/{team_id}")


@router.get("/audit")
async def show_audit(
    request: Request,
    space: PageAudit,
    paging: PageQuery20,
    target_type: Annotated[list[TargetType] | None, Query()] = None,
    actor_id: Annotated[list[UUID] | None, Query()] = None,
    target_id: Annotated[list[UUID] | None, Query()] = None,
) -> Response:
    which = {
        "space_id": space.id, "actor_id": actor_id, "action": None, "target_type": target_type,
        "target_id": target_id, "created_from": None, "created_to": None,
    }  # fmt: skip
    async with space.transaction() as tx:
        rows = await tx.fetch_all(AUDIT["list_audit_events"], **which, limit=paging.size, offset=paging.offset)
        total = expect_row(await tx.fetch_one(AUDIT["count_audit_events"], **which))["total"]
        names = await _names(tx, space)
    return render(
        request,
        "audit.html",
        **await layout_context(space),
        events=[_audit_diff(event, names) for event in to_jsonable(rows)],
        total=total,
        number=paging.page,
        pages=max(1, -(-total // paging.size)),
        target_types=sorted(get_args(TargetType.__value__)),
        target_type=target_type or [],
        narrowed=bool(actor_id or target_id),
    )


async def _find_user(tx: Transaction, space: Space, email: str, name: str) -> UUID:
    found = await tx.fetch_one(QUERIES["find_user"], email=email)
    if found is not None:
        known: UUID = found["id"]
        return known
    if space.caller.is_superadmin and name:
        try:
            body = UserIn(email=email, name=name)
        except ValidationError:
            raise BadRequest("This needs an e-mail address, and a name of 1 to 200 characters.") from None
        created: UUID = (await create_user(tx, email=body.email, name=body.name, is_superadmin=False))["id"]
        return created
    if space.caller.is_superadmin:
        raise BadRequest(f"Nobody is known as {email} yet. Give a name too, and they will be.")
    raise BadRequest(f"Nobody is known as {email} yet. Ask whoever runs this Windsock to make them known.")


def _team_name(name: str) -> str:
    stripped = name.strip()
    if not 1 <= len(stripped) <= TEAM_NAME:
        raise BadRequest(f"The name of a team has 1 to {TEAM_NAME} characters.")
    return TeamInput(name=stripped).name


async def _names(tx: Transaction, space: Space) -> dict[str, str]:
    """Return the names of members, teams and connectors by id."""
    every = {"space_id": space.id, "limit": MOST, "offset": 0}
    members = {str(row["user_id"]): row["name"] for row in await tx.fetch_all(QUERIES["list_members"], **every)}
    teams = {str(row["id"]): row["name"] for row in await tx.fetch_all(TEAMS["list_teams"], **every)}
    connectors, _ = await list_connectors_of(tx, space.id, PageParams(1, MOST))
    return members | teams | {str(row["id"]): row["name"] for row in connectors}


def _audit_diff(event: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    """With what changed, one line for each: how it was, and how it became; ids by the names of what they are of."""

    def name_of(value: object) -> object:
        return names.get(value, value) if isinstance(value, str) else value

    before, after = event["before"] or {}, event["after"] or {}
    changes = [
        {"name": name.removesuffix("_id"), "before": name_of(before.get(name)), "after": name_of(after.get(name))}
        for name in dict.fromkeys((*before, *after))
        if before.get(name) != after.get(name)
    ]
    return event | {"changes": changes}
