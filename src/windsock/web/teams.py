"""Teams of a space: name, contact and members."""

from uuid import UUID

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from windsock.auth.authenticator import Space
from windsock.auth.permissions import PageAdminister, PageView
from windsock.errors import NotFound
from windsock.spaces.models import TeamInput, TeamUpdate
from windsock.spaces.store import QUERIES as SPACES
from windsock.spaces.teams import QUERIES, insert_team, put_team_member, update_team
from windsock.web.forms import (
    Confirmed,
    FormInvalid,
    FormState,
    errors_at,
    read_form,
    render_confirmation,
    validate_form,
)
from windsock.web.layout import layout_context
from windsock.web.templates import redirect, render, to_jsonable

router = APIRouter(include_in_schema=False, prefix="/spaces/{slug}/teams")

MAX_TEAMS = MAX_MEMBERS = 500
"""On one page."""


class TeamMemberForm(BaseModel):
    user_id: UUID
    inside: bool = True


@router.get("")
async def show_teams(request: Request, space: PageView) -> Response:
    return await _render_teams(request, space, FormState())


@router.post("")
async def create_team(request: Request, space: PageAdminister) -> Response:
    values = await read_form(request)
    try:
        body = validate_form(TeamInput, values)
        with errors_at("name"):
            async with space.transaction() as tx:
                team_id = await insert_team(tx, space, body)
    except FormInvalid as error:
        return await _render_teams(request, space, FormState(values, error.errors, "new"))
    return redirect(f"/spaces/{space.slug}/teams/{team_id}", "team_created")


@router.get("/{team_id}")
async def show_team(request: Request, space: PageView, team_id: UUID) -> Response:
    return await _render_team(request, space, team_id, FormState())


@router.post("/{team_id}")
async def change_team(request: Request, space: PageAdminister, team_id: UUID) -> Response:
    """An empty contact removes it."""
    values = await read_form(request)
    try:
        body = validate_form(TeamInput, values)
        changes = TeamUpdate(name=body.name, contact=body.contact)
        with errors_at("name"):
            async with space.transaction() as tx:
                await update_team(tx, space, team_id, changes)
    except FormInvalid as error:
        return await _render_team(request, space, team_id, FormState(values, error.errors, "team"))
    return redirect(f"/spaces/{space.slug}/teams/{team_id}", "team_changed")


@router.post("/{team_id}/delete")
async def delete_team(
    request: Request,
    space: PageAdminister,
    team_id: UUID,
    confirmed: Confirmed = False,  # noqa: FBT002 - a form field
) -> Response:
    async with space.transaction() as tx:
        team = await tx.fetch_one(QUERIES["get_team"], space_id=space.id, team_id=team_id)
        if team is None:
            raise NotFound("team")
        if confirmed:
            await tx.execute(QUERIES["delete_team"], space_id=space.id, team_id=team_id)
            return redirect(f"/spaces/{space.slug}/teams", "team_deleted")
    return render_confirmation(
        request, await layout_context(space), title=f"Delete the team {team['name']}?",
        consequence="Its pipelines then have no team. Its members stay members of the space.", action="Delete",
        back=f"/spaces/{space.slug}/teams/{team_id}",
    )  # fmt: skip


@router.post("/{team_id}/members")
async def change_team_members(request: Request, space: PageAdminister, team_id: UUID) -> Response:
    values = await read_form(request)
    try:
        body = validate_form(TeamMemberForm, values)
        async with space.transaction() as tx:
            if body.inside:
                await put_team_member(tx, space, team_id, body.user_id)
            else:
                await tx.execute(
                    QUERIES["delete_team_member"], space_id=space.id, team_id=team_id, user_id=body.user_id
                )
    except FormInvalid as error:
        return await _render_team(request, space, team_id, FormState(values, error.errors, "add"))
    notice = "team_member_added" if body.inside else "team_member_removed"
    return redirect(f"/spaces/{space.slug}/teams/{team_id}", notice)


async def _render_teams(request: Request, space: Space, form: FormState) -> Response:
    async with space.transaction() as tx:
        teams = await tx.fetch_all(QUERIES["list_teams"], space_id=space.id, limit=MAX_TEAMS, offset=0)
    return render(
        request, "teams.html", status_code=form.status_code, **await layout_context(space), teams=to_jsonable(teams),
        form=form,
    )  # fmt: skip


async def _render_team(request: Request, space: Space, team_id: UUID, form: FormState) -> Response:
    async with space.transaction() as tx:
        row = await tx.fetch_one(QUERIES["get_team"], space_id=space.id, team_id=team_id)
        members = await tx.fetch_all(SPACES["list_members"], space_id=space.id, limit=MAX_MEMBERS, offset=0)
    if row is None:
        raise NotFound("team")
    team = to_jsonable(row)
    inside = {member["user_id"] for member in team["members"]}
    others = [member for member in to_jsonable(members) if member["user_id"] not in inside]
    return render(
        request, "team.html", status_code=form.status_code, **await layout_context(space), team=team, others=others,
        form=form,
    )  # fmt: skip
