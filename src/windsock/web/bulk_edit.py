"""Edits the owning team and the criticality of one or many pipelines."""

from typing import Literal
from uuid import UUID

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, model_validator

from windsock.auth.authenticator import Space
from windsock.auth.permissions import PageAssign
from windsock.db.database import Reader, Row, Statement
from windsock.pipelines.filters import Criticality
from windsock.pipelines.store import set_criticality, set_team
from windsock.spaces.teams import QUERIES
from windsock.web.forms import WHOLE_FORM, FormInvalid, FormState, errors_at, read_fields, validate_form
from windsock.web.layout import layout_context
from windsock.web.templates import form_page, is_htmx_partial, redirect_back, render

router = APIRouter(include_in_schema=False)

MAX_TEAMS = 500
"""In a list to choose from."""
MAX_PIPELINES = 500
"""At once: a page has as many."""


class BulkForm(BaseModel):
    """An empty field changes nothing."""

    team: UUID | Literal["nobody"] | None = None
    criticality: Criticality | None = None

    @model_validator(mode="after")
    def _require_change(self) -> "BulkForm":
        if self.team is None and self.criticality is None:
            raise ValueError("choose a team or a criticality to set")
        return self


@router.post("/spaces/{slug}/pipelines/govern")
async def bulk_update(request: Request, space: PageAssign) -> Response:
    """Update all selected pipelines or none."""
    fields = await read_fields(request)
    values = dict(fields)
    chosen = [value for name, value in fields if name == "pipeline"]
    back = form_page(request) or f"/spaces/{space.slug}/pipelines"
    try:
        pipelines, body = _pipeline_ids(chosen), validate_form(BulkForm, values)
        with errors_at("team"):
            async with space.transaction() as tx:
                if body.team is not None:
                    await set_team(tx, space, pipelines, body.team if isinstance(body.team, UUID) else None)
                if body.criticality:
                    await set_criticality(tx, space, pipelines, body.criticality)
    except FormInvalid as error:
        form = FormState(values, error.errors, "govern")
        if is_htmx_partial(request):
            return render(request, "form_errors.html", status_code=form.status_code, form=form)
        async with space.transaction() as tx:
            teams = await teams_to_choose(tx, space)
        return render(
            request, "bulk_edit.html", status_code=form.status_code, **await layout_context(space), form=form,
            chosen=chosen[:MAX_PIPELINES], teams=teams, back=values.get("back") or back,
        )  # fmt: skip
    return redirect_back(request, f"/spaces/{space.slug}/pipelines", "pipelines_changed", len(pipelines))


def _pipeline_ids(chosen: list[str]) -> list[UUID]:
    """Raises FormInvalid."""
    if not chosen:
        raise FormInvalid({WHOLE_FORM: "Select the pipelines first, by the checkbox at the beginning of their rows."})
    if len(chosen) > MAX_PIPELINES:
        raise FormInvalid({WHOLE_FORM: f"Select at most {MAX_PIPELINES} pipelines."})
    try:
        return [UUID(text) for text in chosen]
    except ValueError:
        raise FormInvalid({WHOLE_FORM: "A selected pipeline does not exist. Select them again."}) from None


async def teams_to_choose(reader: Reader, space: Space) -> list[Row]:
    """By name; none for who may not set one."""
    if space.role == "viewer":
        return []
    return (await reader.fetch_batch(team_options(space)))[0]


def team_options(space: Space) -> Statement:
    """Statement for the teams of the space, by name."""
    return Statement(QUERIES["list_teams"], {"space_id": space.id, "limit": MAX_TEAMS, "offset": 0})
