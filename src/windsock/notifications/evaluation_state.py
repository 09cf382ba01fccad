"""The state that the evaluation reads and changes: incidents, groups, and messages that wait."""

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from windsock.notifications.evaluation_types import Group, Incident, Message


@dataclass(slots=True)
class State:
    """The groups and waiting messages that events can change. Messages of closed collections may still wait."""

    incidents: dict[UUID, Incident] = field(default_factory=dict)
    groups: dict[UUID, Group] = field(default_factory=dict)
    pending: dict[UUID, Message] = field(default_factory=dict)
    """By group."""
    sent_last_hour: dict[UUID, int] = field(default_factory=dict)
    """By recipient."""
    messages: list[Message] = field(default_factory=list)
    """New ones."""
    changed: dict[UUID, Message] = field(default_factory=dict)
    """Those that waited before and were changed or dropped."""
    by_key: dict[tuple[UUID, str], Group] = field(default_factory=dict)
    by_incident: dict[UUID, list[Group]] = field(default_factory=dict)

    def add_group(self, group: Group) -> None:
        self.groups[group.id] = group
        self.by_key[group.recipient_id, group.key] = group
        for incident_id in group.members:
            self.by_incident.setdefault(incident_id, []).append(group)

    def join(self, group: Group, incident_id: UUID) -> None:
        if incident_id not in group.members:
            group.members.add(incident_id)
            group.new_members.add(incident_id)
            self.by_incident.setdefault(incident_id, []).append(group)

    def close(self, group: Group, now: datetime) -> None:
        group.closed_at, group.is_changed = now, True
        if not group.is_collection:
            del self.by_key[group.recipient_id, group.key]

    def is_resolved(self, group: Group) -> bool:
        return not group.others_unresolved and all(
            self.incidents[member].state == "resolved" for member in group.members if member in self.incidents
        )

    def open_groups(self, incident_id: UUID) -> list[Group]:
        """The groups of an incident: at most one for each recipient first, collections behind."""
        found = [group for group in self.by_incident.get(incident_id, ()) if group.closed_at is None]
        return sorted(found, key=lambda group: group.is_collection)
