"""What people decide about pipelines, one or many at once: the owning team and the criticality."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Form, Request, Response

from windsock.access.space import PageGovern, Space
from windsock.access.teams import QUERIES
from windsock.db import Transaction
from windsock.errors import BadRequest
from windsock.filters import Criticality
from windsock.pipelines.store import set_criticality, set_team
from windsock.web.rendering import back

router = APIRouter(include_in_schema=False)

MOST_TEAMS = 500
"""In a list to choose from."""
MOST_PIPELINES = 500
"""At once: a page has as many."""
NOBODY = "nobody"


@router.post("/spaces/{slug}/pipelines/govern")
async def govern(
    request: Request,
    space: PageGovern,
    pipeline: Annotated[list[UUID] | None, Form()] = None,
    team: Annotated[str, Form()] = "",
    criticality: Annotated[Criticality | None, Form()] = None,
) -> Response:
    """Of all of them, or of none. What is left empty stays as it is; `nobody` takes the team away."""
    if not pipeline:
        raise BadRequest("Choose the pipelines first: tick the box at the beginning of their rows.")
    if len(pipeline) > MOST_PIPELINES:
        raise BadRequest(f"At most {MOST_PIPELINES} pipelines at once.")
    async with space.transaction() as tx:
        if team:
            await set_team(tx, space, pipeline, None if team == NOBODY else _team_id(team))
        if criticality:
            await set_criticality(tx, space, pipeline, criticality)
    return back(request, f"/spaces/{space.slug}/pipelines")


async def teams_to_choose(tx: Transaction, space: Space) -> list[dict[str, Any]]:
    """By name; none for who may not set one."""
    if space.role == "viewer":
        return []
    return await tx.rows(QUERIES["list_teams"], space_id=space.id, limit=MOST_TEAMS, offset=0)


def _team_id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise BadRequest("This is no team. Choose one of the list.") from None
