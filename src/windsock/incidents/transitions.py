"""The rules by which ends of runs open, change and resolve the incident of a pipeline, without a database."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

State = Literal["open", "acknowledged", "snoozed", "resolved"]

REGRESSION_WINDOW = timedelta(hours=24)
"""A failure so soon after an incident was resolved reopens it, unless the fault is known to be another one."""
ESCALATION_FACTOR = 10
"""So many times the occurrences that a user acknowledged end the acknowledgement."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """A run that ended. `run_at`: its position in the history of the pipeline.

    `is_applied`: applied before; only its fingerprint has become available since. `superseded_at`: when this run or a
    later one last succeeded, of the successes applied before.
    """

    id: UUID
    pipeline_id: UUID
    run_id: UUID
    run_at: datetime
    to_status: Literal["success", "failed"]
    happened_at: datetime
    is_late: bool = False
    fingerprint_id: UUID | None = None
    is_applied: bool = False
    superseded_at: datetime | None = None


@dataclass(slots=True, kw_only=True)
class Incident:
    """A row of the table incidents. `last_run_at`: the run_at of the last run.

    `occurrences_before`: those before it was reopened last.
    """

    id: UUID
    pipeline_id: UUID | None
    kind: str = "failed"
    state: State
    opened_at: datetime
    last_failed_at: datetime
    first_run_id: UUID | None = None
    last_run_id: UUID | None = None
    last_run_at: datetime | None = None
    fingerprint_id: UUID | None = None
    occurrences: int = 1
    occurrences_before: int = 0
    acknowledged_at: datetime | None = None
    acknowledged_until: datetime | None = None
    acknowledged_until_success: bool = True
    acknowledged_occurrences: int | None = None
    snoozed_until: datetime | None = None
    resolved_at: datetime | None = None
    resolved_by_user_id: UUID | None = None
    held_back_by_incident_id: UUID | None = None
    reopened_count: int = 0

    @property
    def is_unresolved(self) -> bool:
        return self.state != "resolved"


@dataclass(frozen=True, slots=True)
class Event:
    """A row of the table incident_events. `is_late`: a late_summary stands for it."""

    incident_id: UUID
    kind: str
    happened_at: datetime
    run_id: UUID | None = None
    details: dict[str, Any] = field(default_factory=dict)
    is_late: bool = False


def apply(transition: Transition, incident: Incident | None, new_id: UUID) -> tuple[Incident | None, list[Event]]:
    """Return the newest incident of the pipeline after a transition, and what happened to it.

    `incident`: the newest one before, which is changed. `new_id`: of an incident that is opened.
    """
    if transition.is_applied:
        return incident, _learn_fingerprint(incident, transition) if incident else []
    if transition.to_status == "success":
        return incident, _resolve(incident, transition) if incident else []
    if transition.superseded_at is not None and transition.superseded_at > transition.happened_at:
        return incident, []  # applied out of order: its incident would be resolved by now
    if incident is None or not incident.is_unresolved:
        if incident is not None and _is_regression(incident, transition):
            return incident, _reopen(incident, transition)
        return _open(transition, new_id)
    return incident, _count(incident, transition)


def _open(transition: Transition, new_id: UUID) -> tuple[Incident, list[Event]]:
    incident = Incident(
        id=new_id,
        pipeline_id=transition.pipeline_id,
        state="open",
        opened_at=transition.happened_at,
        last_failed_at=transition.happened_at,
        first_run_id=transition.run_id,
        last_run_id=transition.run_id,
        last_run_at=transition.run_at,
        fingerprint_id=transition.fingerprint_id,
    )
    return incident, [_event(incident, "opened", transition)]


def _resolve(incident: Incident, transition: Transition) -> list[Event]:
    """A later run, or the last one after a clear, has succeeded after the last failure."""
    is_later = incident.last_run_at is None or transition.run_at > incident.last_run_at
    if not incident.is_unresolved or transition.happened_at < incident.last_failed_at:
        return []
    if not is_later and transition.run_id != incident.last_run_id:
        return []
    if incident.acknowledged_until_success or incident.acknowledged_until is None:
        end_acknowledgement(incident)
    incident.state, incident.snoozed_until = "resolved", None
    incident.resolved_at, incident.resolved_by_user_id = transition.happened_at, None
    return [_event(incident, "resolved", transition)]


def _is_regression(incident: Incident, transition: Transition) -> bool:
    if incident.resolved_at is None or transition.happened_at - incident.resolved_at > REGRESSION_WINDOW:
        return False
    known = {incident.fingerprint_id, transition.fingerprint_id} - {None}
    return len(known) <= 1


def _reopen(incident: Incident, transition: Transition) -> list[Event]:
    incident.state = "open"
    if incident.acknowledged_at and incident.acknowledged_until:
        if incident.acknowledged_until > transition.happened_at:
            incident.state = "acknowledged"
        else:
            end_acknowledgement(incident)
    incident.resolved_at = incident.resolved_by_user_id = incident.held_back_by_incident_id = None
    incident.opened_at = incident.last_failed_at = transition.happened_at
    incident.last_run_id, incident.last_run_at = transition.run_id, transition.run_at
    incident.occurrences_before = incident.occurrences
    incident.occurrences += 1
    incident.reopened_count += 1
    events = [_event(incident, "reopened", transition, acknowledged=incident.state == "acknowledged")]
    return events + _escalate(incident, transition) + _learn_fingerprint(incident, transition)


def _count(incident: Incident, transition: Transition) -> list[Event]:
    incident.occurrences += 1
    incident.last_failed_at = max(incident.last_failed_at, transition.happened_at)
    if incident.last_run_at is None or transition.run_at >= incident.last_run_at:
        incident.last_run_id, incident.last_run_at = transition.run_id, transition.run_at
    events = [_event(incident, "failed_again", transition, occurrences=incident.occurrences)]
    return events + _escalate(incident, transition) + _learn_fingerprint(incident, transition)


def _escalate(incident: Incident, transition: Transition) -> list[Event]:
    limit = ESCALATION_FACTOR * (incident.acknowledged_occurrences or 1)
    if incident.state != "acknowledged" or incident.occurrences < limit:
        return []
    end_acknowledgement(incident)
    incident.state = "open"
    return [_event(incident, "acknowledgement_ended", transition, reason="occurrences")]


def _learn_fingerprint(incident: Incident, transition: Transition) -> list[Event]:
    """Take over the fingerprint of the last run; another one than that which was acknowledged ends that."""
    before, after = incident.fingerprint_id, transition.fingerprint_id
    if after is None or after == before or transition.run_id != incident.last_run_id:
        return []
    incident.fingerprint_id = after
    changed = {"from": None if before is None else str(before), "to": str(after)}
    events = [_event(incident, "fingerprint_changed", transition, **changed)]
    if before is not None and incident.state == "acknowledged":
        end_acknowledgement(incident)
        incident.state = "open"
        events.append(_event(incident, "acknowledgement_ended", transition, reason="fingerprint"))
    return events


def end_acknowledgement(incident: Incident) -> None:
    """Keep the user and the reason of the last acknowledgement."""
    incident.acknowledged_at = incident.acknowledged_until = incident.acknowledged_occurrences = None


def _event(incident: Incident, kind: str, transition: Transition, **details: object) -> Event:
    details |= {"late": True} if transition.is_late else {}
    return Event(incident.id, kind, transition.happened_at, transition.run_id, details, is_late=transition.is_late)
