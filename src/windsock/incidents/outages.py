"""Outages: when many pipelines of a connector fail at once, one incident holds back theirs."""

from collections.abc import Collection, Sequence
from datetime import timedelta
from uuid import UUID

from windsock.incidents.transitions import Event, Incident

OUTAGE_PIPELINES = 5
OUTAGE_WINDOW = timedelta(minutes=2)


def find_outage(recent: Collection[Incident], opened: Collection[UUID]) -> list[Incident]:
    """Return the incidents of an outage: at least five that were opened within two minutes, one of them of `opened`.

    `recent`: incidents of pipelines of one connector that were opened lately.
    """
    ordered = sorted((incident for incident in recent if incident.is_unresolved), key=lambda row: row.opened_at)
    members: dict[UUID, Incident] = {}
    first = 0
    for last, incident in enumerate(ordered):
        while incident.opened_at - ordered[first].opened_at > OUTAGE_WINDOW:
            first += 1
        window = ordered[first : last + 1]
        if len(window) >= OUTAGE_PIPELINES and any(row.id in opened for row in window):
            members |= {row.id: row for row in window}
    return list(members.values())


def hold_back(parent: Incident, members: Sequence[Incident]) -> list[Event]:
    """Hold back incidents that nothing else holds back; an outage counts them."""
    held = [incident for incident in members if incident.held_back_by_incident_id is None]
    for incident in held:
        incident.held_back_by_incident_id = parent.id
    if parent.kind == "failed" and held:
        parent.occurrences += len(held)
        parent.last_failed_at = max(parent.last_failed_at, *(incident.opened_at for incident in held))
    return [
        Event(incident.id, "held_back", incident.opened_at, incident.last_run_id, {"incident_id": str(parent.id)})
        for incident in held
    ]


def open_outage(new_id: UUID, members: Sequence[Incident]) -> tuple[Incident, Event]:
    opened_at = max(incident.opened_at for incident in members)
    outage = Incident(
        id=new_id, pipeline_id=None, state="open", opened_at=opened_at, last_failed_at=opened_at, occurrences=0
    )
    return outage, Event(new_id, "opened", opened_at, details={"pipelines": len(members)})
