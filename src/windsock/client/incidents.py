"""Incidents as operations of the client."""

from collections.abc import Collection
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import quote
from uuid import UUID

from pydantic import TypeAdapter

from windsock.client.operations import Call, get
from windsock.incidents.models import BulkAcknowledged, Incident, IncidentDetail, IncidentKind, IncidentState
from windsock.pipelines.filters import Criticality

T = TypeVar("T")


def incidents(
    space: str,
    *,
    state: IncidentState | Collection[IncidentState] | None = None,
    kind: IncidentKind | Collection[IncidentKind] | None = None,
    team_id: UUID | Collection[UUID] | None = None,
    criticality: Criticality | Collection[Criticality] | None = None,
    connector_id: UUID | Collection[UUID] | None = None,
    pipeline_id: UUID | Collection[UUID] | None = None,
    assignee_id: UUID | Collection[UUID] | None = None,
    mine: bool | None = None,
    is_held_back: bool | None = None,
    held_back_by_id: UUID | None = None,
    q: str | None = None,
    sort: str | None = None,
    size: int | None = None,
) -> Call[list[Incident]]:
    """Unresolved ones, or of these states; the most urgent first, or with `sort="newest"` the newest."""
    return get(
        _path(space), list[Incident],
        state=state, kind=kind, team_id=team_id, criticality=criticality, connector_id=connector_id,
        pipeline_id=pipeline_id, assignee_id=assignee_id, mine=mine, is_held_back=is_held_back,
        held_back_by_id=held_back_by_id, q=q, sort=sort, size=size,
    )  # fmt: skip


def incident(space: str, incident_id: UUID) -> Call[IncidentDetail]:
    """With its timeline."""
    return get(f"{_path(space)}/{incident_id}", IncidentDetail)


def acknowledge_incident(
    space: str,
    incident_id: UUID,
    *,
    until: datetime | None = None,
    until_success: bool = True,
    reason: str | None = None,
) -> Call[IncidentDetail]:
    body = {"until": until and until.isoformat(), "until_success": until_success, "reason": reason}
    return _post(f"{_path(space)}/{incident_id}/acknowledge", IncidentDetail, body)


def acknowledge_incidents(
    space: str,
    ids: Collection[UUID],
    *,
    until: datetime | None = None,
    until_success: bool = True,
    reason: str | None = None,
) -> Call[BulkAcknowledged]:
    """At most 1,000."""
    body = {"until": until and until.isoformat(), "until_success": until_success, "reason": reason}
    return _post(f"{_path(space)}/acknowledge", BulkAcknowledged, body | {"ids": [str(id_) for id_ in ids]})


def snooze_incident(space: str, incident_id: UUID, until: datetime) -> Call[IncidentDetail]:
    return _post(f"{_path(space)}/{incident_id}/snooze", IncidentDetail, {"until": until.isoformat()})


def assign_incident(
    space: str, incident_id: UUID, *, user_id: UUID | None = None, team_id: UUID | None = None
) -> Call[IncidentDetail]:
    """Assign it to a member or to a team, or to neither."""
    body = {"user_id": user_id and str(user_id), "team_id": team_id and str(team_id)}
    return _post(f"{_path(space)}/{incident_id}/assign", IncidentDetail, body)


def resolve_incident(space: str, incident_id: UUID, *, reason: str | None = None) -> Call[IncidentDetail]:
    """Not sent twice: the second time it is resolved already."""
    return _post(f"{_path(space)}/{incident_id}/resolve", IncidentDetail, {"reason": reason}, is_repeatable=False)


def _path(space: str) -> str:
    return f"/spaces/{quote(space, safe='')}/incidents"


def _post(path: str, response_type: type[T], body: dict[str, Any], *, is_repeatable: bool = True) -> Call[T]:
    """Setting a value is repeatable; the timeline then has two events."""
    return Call(
        method="POST", path=path, response_type=TypeAdapter(response_type), is_repeatable=is_repeatable, body=body
    )
