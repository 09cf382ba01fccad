"""Edits the owning team and the criticality of one or many pipelines."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Form, Request, Response

from windsock.auth.authenticator import Space
from windsock.auth.permissions import PageAssign
from windsock.db.database import Reader, Row, Statement
from windsock.errors import BadRequest
from windsock.pipelines.filters import Criticality
from windsock.pipelines.store import set_criticality, set_team
from windsock.spaces.teams import QUERIES
from windsock.web.templates import redirect_back

router = APIRouter(include_in_schema=False)

TEAMS = {"limit": 500, "offset": 0}
"""In a list to choose from."""
MAX_PIPELINES = 500
"""At once: a page has as many."""
NO_TEAM = "nobody"


@router.post("/spaces/{slug}/pipelines/govern")
async def bulk_update(
    request: Request,
    space: PageAssign,
    pipeline: Annotated[list[UUID] | None, Form()] = None,
    team: Annotated[str, Form()] = "",
    criticality: Annotated[Criticality | None, Form()] = None,
) -> Response:
    """Update all listed pipelines or none. An empty value changes nothing; NO_TEAM removes the team."""
    if not pipeline:
        raise BadRequest("Choose the pipelines first: tick the box at the beginning of their rows.")
    if len(pipeline) > MAX_PIPELINES:
        raise BadRequest(f"At most {MAX_PIPELINES} pipelines at once.")
    async with space.transaction() as tx:
        if team:
            await set_team(tx, space, pipeline, None if team == NO_TEAM else _team_id(team))
        if criticality:
            await set_criticality(tx, space, pipeline, criticality)
    return redirect_back(request, f"/spaces/{space.slug}/pipelines")


async def teams_to_choose(reader: Reader, space: Space) -> list[Row]:
    """By name; none for who may not set one."""
    if space.role == "viewer":
        return []
    return (await reader.fetch_batch(Statement(QUERIES["list_teams"], {"space_id": space.id, **TEAMS})))[0]


def _team_id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise BadRequest("This is no team. Choose one of the list.") from None
