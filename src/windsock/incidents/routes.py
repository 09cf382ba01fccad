"""Incidents: the inbox of a space, one incident with its timeline, and what editors do with them."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response

from windsock.auth.authenticator import Space
from windsock.auth.permissions import CanEditIncidents, ConditionalView
from windsock.http.pagination import LONG_LIST_HEADERS, CursorPageQuery
from windsock.http.responses import json_response, page_response
from windsock.http.validation import StorableText
from windsock.incidents.models import (
    AcknowledgeInput,
    AssignInput,
    BulkAcknowledged,
    BulkAcknowledgeInput,
    Incident,
    IncidentDetail,
    IncidentKind,
    IncidentState,
    ResolveInput,
    SnoozeInput,
)
from windsock.incidents.store import (
    IncidentFilter,
    Sort,
    acknowledge_incident,
    acknowledge_incidents,
    assign_incident,
    get_incident,
    list_incidents,
    resolve_incident,
    snooze_incident,
)
from windsock.pipelines.filters import Criticality

router = APIRouter(prefix="/spaces/{slug}/incidents", tags=["incidents"])

LONG_LIST: dict[int | str, dict[str, Any]] = {200: {"headers": LONG_LIST_HEADERS}}


async def _incident_filter(
    state: Annotated[
        list[IncidentState] | None, Query(description="Several mean any of them. Default: all but resolved.")
    ] = None,
    kind: Annotated[list[IncidentKind] | None, Query(description="Several mean any of them.")] = None,
    team_id: Annotated[
        list[UUID] | None, Query(description="The team that owns the pipeline. Several mean any of them.")
    ] = None,
    criticality: Annotated[list[Criticality] | None, Query(description="Several mean any of them.")] = None,
    connector_id: Annotated[list[UUID] | None, Query(description="Several mean any of them.")] = None,
    pipeline_id: Annotated[list[UUID] | None, Query(description="Several mean any of them.")] = None,
    assignee_id: Annotated[list[UUID] | None, Query(description="A user or a team. Several mean any of them.")] = None,
    mine: Annotated[bool, Query(description="Only those assigned to the caller or to a team of the caller.")] = False,  # noqa: FBT002 - a query parameter
    is_held_back: Annotated[
        bool | None, Query(description="Only incidents that one of their connector does, or does not, hold back.")
    ] = None,
    held_back_by_id: Annotated[UUID | None, Query(description="Only incidents that this one holds back.")] = None,
    q: Annotated[
        StorableText | None,
        Query(
            max_length=500, description="Every word must occur in the names of pipeline and connector, or the error."
        ),
    ] = None,
) -> IncidentFilter:
    return IncidentFilter(
        state=list(state) if state else None,
        kind=list(kind) if kind else None,
        team_id=team_id,
        criticality=list(criticality) if criticality else None,
        connector_id=connector_id,
        pipeline_id=pipeline_id,
        assignee_id=assignee_id,
        mine=mine,
        is_held_back=is_held_back,
        held_back_by_id=held_back_by_id,
        q=q,
    )


IncidentFilterQuery = Annotated[IncidentFilter, Depends(_incident_filter)]


@router.get(
    "", response_model=list[Incident], responses=LONG_LIST, name="list_incidents", summary="Incidents of the space"
)
async def list_all_incidents(
    request: Request,
    space: ConditionalView,
    paging: CursorPageQuery,
    which: IncidentFilterQuery,
    sort: Annotated[
        Sort, Query(description="urgency: by criticality, those that nobody has acknowledged first, then the oldest.")
    ] = "urgency",
) -> Response:
    rows, total, behind = await list_incidents(space, space, paging, which, sort)
    return page_response(request, rows, total, paging, behind, etag=space.etag)


@router.post(
    "/acknowledge",
    response_model=BulkAcknowledged,
    name="acknowledge_incidents",
    summary="Acknowledge many incidents",
)
async def acknowledge_all(request: Request, space: CanEditIncidents, body: BulkAcknowledgeInput) -> Response:
    """All of them or, where one is not of this space, none."""
    async with space.transaction() as tx:
        count = await acknowledge_incidents(tx, space, body.ids, body)
    return json_response(request, {"acknowledged": count})


@router.get(
    "/{incident_id}", response_model=IncidentDetail, name="get_incident", summary="One incident with its timeline"
)
async def get_one_incident(request: Request, space: ConditionalView, incident_id: UUID) -> Response:
    return json_response(request, await get_incident(space, space.id, incident_id), etag=space.etag)


@router.post(
    "/{incident_id}/acknowledge",
    response_model=IncidentDetail,
    name="acknowledge_incident",
    summary="Acknowledge an incident",
)
async def acknowledge(
    request: Request, space: CanEditIncidents, incident_id: UUID, body: AcknowledgeInput | None = None
) -> Response:
    """Ends with its time, with a success, with another fingerprint, or with ten times the occurrences."""
    async with space.transaction() as tx:
        await acknowledge_incident(tx, space, incident_id, body or AcknowledgeInput())
    return await _detail(request, space, incident_id)


@router.post(
    "/{incident_id}/snooze", response_model=IncidentDetail, name="snooze_incident", summary="Snooze an incident"
)
async def snooze(request: Request, space: CanEditIncidents, incident_id: UUID, body: SnoozeInput) -> Response:
    """It is open again after that time, unless it has been resolved."""
    async with space.transaction() as tx:
        await snooze_incident(tx, space, incident_id, body)
    return await _detail(request, space, incident_id)


@router.post(
    "/{incident_id}/assign", response_model=IncidentDetail, name="assign_incident", summary="Assign an incident"
)
async def assign(request: Request, space: CanEditIncidents, incident_id: UUID, body: AssignInput) -> Response:
    """Assign it to a member or to a team, or to neither."""
    async with space.transaction() as tx:
        await assign_incident(tx, space, incident_id, body)
    return await _detail(request, space, incident_id)


@router.post(
    "/{incident_id}/resolve", response_model=IncidentDetail, name="resolve_incident", summary="Resolve an incident"
)
async def resolve(
    request: Request, space: CanEditIncidents, incident_id: UUID, body: ResolveInput | None = None
) -> Response:
    """Only of kind failed: others last as long as their cause. The next failure within 24 hours reopens it."""
    async with space.transaction() as tx:
        await resolve_incident(tx, space, incident_id, body or ResolveInput())
    return await _detail(request, space, incident_id)


async def _detail(request: Request, space: Space, incident_id: UUID) -> Response:
    return json_response(request, await get_incident(space, space.id, incident_id))
