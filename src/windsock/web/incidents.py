"""The inbox of a space, and one incident with its timeline and what editors do with it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request, Response
from pydantic import ValidationError

from windsock.auth.authenticator import Space
from windsock.auth.permissions import PageEditIncidents, PageView
from windsock.db.database import Row, Statement, Transaction
from windsock.errors import BadRequest
from windsock.http.pagination import CursorPageQuery
from windsock.incidents.models import AcknowledgeInput, AssignInput, ResolveInput, SnoozeInput
from windsock.incidents.routes import IncidentFilterQuery
from windsock.incidents.store import (
    Sort,
    acknowledge_incident,
    assign_incident,
    count_open_incidents,
    get_incident,
    list_incidents,
    resolve_incident,
    snooze_incident,
)
from windsock.spaces.store import QUERIES as SPACES
from windsock.tasks import run_together
from windsock.web.bulk_edit import team_options
from windsock.web.forms import FormInvalid, FormState, errors_at, read_form, validate_form
from windsock.web.layout import layout_context, page_context
from windsock.web.templates import HEADERS, PartialETag, is_htmx_partial, redirect_back, render, to_jsonable

router = APIRouter(include_in_schema=False, prefix="/spaces/{slug}")

HOURS = (1, 4, 24, 72, 168)
"""For how long an incident can be snoozed or acknowledged."""
MAX_MEMBERS = 200

Change = Callable[[Transaction, Space, UUID], Awaitable[None]]


@router.get("/inbox")
async def show_inbox(
    request: Request, space: PageView, etag: PartialETag, paging: CursorPageQuery, which: IncidentFilterQuery
) -> Response:
    """With the filters of the API's list. What another incident holds back is shown on request only."""
    if which.is_held_back is None and which.held_back_by_id is None:
        which = replace(which, is_held_back=False)
    sort: Sort = "newest" if which.state and "resolved" in which.state else "urgency"
    (rows, total, behind), open_count, (teams,), context = await run_together(
        list_incidents(space, space, paging, which, sort),
        count_open_incidents(space, space.id),
        space.fetch_batch(team_options(space)),
        page_context(space, is_part=etag is not None),
    )
    return render(
        request, "inbox_list.html" if etag else "inbox.html", etag=etag, **context, incidents=to_jsonable(rows),
        total=total, behind=behind and str(behind), which=which, open_count=open_count, teams=to_jsonable(teams),
    )  # fmt: skip


@router.get("/incidents/{incident_id}")
async def show_incident(request: Request, space: PageView, incident_id: UUID) -> Response:
    return await _render(request, space, incident_id, FormState())


@router.post("/incidents/{incident_id}/acknowledge")
async def acknowledge(request: Request, space: PageEditIncidents, incident_id: UUID) -> Response:
    """Without hours, until the incident is resolved."""
    values = await read_form(request)

    async def change(tx: Transaction, space: Space, incident_id: UUID) -> None:
        body = validate_form(AcknowledgeInput, {"reason": values.get("reason", "")})
        hours = values.get("hours", "")
        body.until = _in_hours(hours) if hours else None
        await acknowledge_incident(tx, space, incident_id, body)

    return await _change(request, space, incident_id, change, "incident_acknowledged", FormState(values, {}, "ack"))


@router.post("/incidents/{incident_id}/snooze")
async def snooze(request: Request, space: PageEditIncidents, incident_id: UUID) -> Response:
    values = await read_form(request)

    async def change(tx: Transaction, space: Space, incident_id: UUID) -> None:
        await snooze_incident(tx, space, incident_id, SnoozeInput(until=_in_hours(values.get("hours", "1"))))

    return await _change(request, space, incident_id, change, "incident_snoozed", FormState(values, {}, "snooze"))


@router.post("/incidents/{incident_id}/assign")
async def assign(request: Request, space: PageEditIncidents, incident_id: UUID) -> Response:
    """`assignee`: user:<id>, team:<id> or empty."""
    values = await read_form(request)

    async def change(tx: Transaction, space: Space, incident_id: UUID) -> None:
        await assign_incident(tx, space, incident_id, _assignee(values.get("assignee", "")))

    return await _change(request, space, incident_id, change, "incident_assigned", FormState(values, {}, "assign"))


@router.post("/incidents/{incident_id}/resolve")
async def resolve(request: Request, space: PageEditIncidents, incident_id: UUID) -> Response:
    async def change(tx: Transaction, space: Space, incident_id: UUID) -> None:
        await resolve_incident(tx, space, incident_id, ResolveInput())

    return await _change(request, space, incident_id, change, "incident_resolved", FormState({}, {}, "resolve"))


async def _change(
    request: Request, space: Space, incident_id: UUID, change: Change, notice: str, form: FormState
) -> Response:
    """Carry it out. The inbox reads its list again; other pages are loaded again."""
    try:
        with errors_at():
            async with space.transaction() as tx:
                await change(tx, space, incident_id)
    except FormInvalid as error:
        if is_htmx_partial(request):
            raise BadRequest(str(error)) from None
        return await _render(request, space, incident_id, replace(form, errors=error.errors))
    if is_htmx_partial(request):
        return Response(status_code=204, headers={**HEADERS, "HX-Trigger": "windsock-incidents"})
    return redirect_back(request, f"/spaces/{space.slug}/incidents/{incident_id}", notice)


async def _render(request: Request, space: Space, incident_id: UUID, form: FormState) -> Response:
    incident = to_jsonable(await get_incident(space, space.id, incident_id))
    people: dict[str, Any] = {"teams": [], "members": []}
    if space.role != "viewer":
        members = Statement(SPACES["list_members"], {"space_id": space.id, "limit": MAX_MEMBERS, "offset": 0})
        teams, found = await space.fetch_batch(team_options(space), members)
        people = {"teams": to_jsonable(teams), "members": to_jsonable(found)}
    return render(
        request, "incident.html", status_code=form.status_code, **await layout_context(space), incident=incident,
        events=[_described(event, people) for event in incident["timeline"]], form=form, hours=HOURS, **people,
    )  # fmt: skip


def _described(event: Row, people: Mapping[str, Any]) -> Row:
    """With the name of whom the incident was assigned to, if it is one of `people`."""
    details = event["details"]
    names = {row["user_id"]: row["name"] for row in people["members"]} | {
        row["id"]: row["name"] for row in people["teams"]
    }
    assignee = details.get("user_id") or details.get("team_id")
    shown = {"until": None, "reason": None, **details}
    return {**event, "details": shown, "is_assigned": assignee is not None, "assignee": names.get(assignee)}


def _in_hours(text: str) -> datetime:
    """Raises FormInvalid for what is not in the list."""
    if text not in map(str, HOURS):
        raise FormInvalid({"hours": "Choose one of the list."})
    return datetime.now(UTC) + timedelta(hours=int(text))


def _assignee(text: str) -> AssignInput:
    """Raises FormInvalid for what is no assignee."""
    kind, _, id_ = text.partition(":")
    if not text:
        return AssignInput()
    if kind not in {"user", "team"}:
        raise FormInvalid({"assignee": "Choose one of the list."})
    try:
        return AssignInput.model_validate({f"{kind}_id": id_})
    except ValidationError:
        raise FormInvalid({"assignee": "Choose one of the list."}) from None
