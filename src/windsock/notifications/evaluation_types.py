"""The values of the evaluation: incidents, events, rules, recipients, groups, messages and decisions, all in memory."""

import secrets
import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from windsock.notifications.schedule import Schedule

ALL_EVENTS = frozenset({"opened", "changed", "acknowledged", "resolved"})
"""What a rule can announce."""
ALWAYS = Schedule()
CRITICALITIES = ("low", "medium", "high", "critical")
OPENING = frozenset(
    {
        "opened", "failed_again", "fingerprint_changed", "reopened", "acknowledgement_ended", "snooze_ended",
        "released", "late_summary",
    }
)  # fmt: skip
"""Kinds of events with which an incident can be announced to somebody who was not told of it yet."""
CHANGES = OPENING - {"opened", "failed_again", "late_summary"}


@dataclass(slots=True)
class Incident:
    """`failures`, `successes_before`: since it was opened or reopened last, and before the first of them."""

    id: UUID
    kind: str
    state: str
    connector_id: UUID
    pipeline_id: UUID | None = None
    fingerprint_id: UUID | None = None
    criticality: str = "medium"
    tags: frozenset[str] = frozenset()
    team_ids: frozenset[UUID] = frozenset()
    watcher_ids: tuple[UUID, ...] = ()
    failures: int = 1
    successes_before: int = 0
    is_held_back: bool = False


@dataclass(frozen=True, slots=True)
class IncidentEvent:
    """`incident_ids`: of a late_summary, the incidents that it stands for. `pipelines`: of an outage that opens."""

    id: UUID
    incident_id: UUID
    kind: str
    happened_at: datetime
    incident_ids: tuple[UUID, ...] = ()
    pipelines: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    id: UUID
    name: str
    kinds: frozenset[str] = frozenset()
    min_criticality: str = "low"
    team_ids: frozenset[UUID] = frozenset()
    connector_ids: frozenset[UUID] = frozenset()
    tags: frozenset[str] = frozenset()
    channel_ids: tuple[UUID, ...] = ()
    to_team_channels: bool = False
    to_watchers: bool = False
    events: frozenset[str] = ALL_EVENTS
    min_failures: int = 1
    after_successes: int = 0
    hold_seconds: int = 0
    group_by: tuple[str, ...] = ("team", "connector", "fingerprint")
    repeat_seconds: int | None = None
    schedule: Schedule = ALWAYS

    def mismatch(self, incident: Incident) -> str | None:
        """The outcome for an incident that this rule does not announce; None for one that it does."""
        if (
            (self.kinds and incident.kind not in self.kinds)
            or (self.connector_ids and incident.connector_id not in self.connector_ids)
            or (self.team_ids and not self.team_ids & incident.team_ids)
            or (self.tags and not self.tags & incident.tags)
        ):
            return "not_matching"
        if CRITICALITIES.index(incident.criticality) < CRITICALITIES.index(self.min_criticality):
            return "below_criticality"
        return None

    def group_key(self, incident: Incident) -> str:
        parts = {
            "team": "+".join(sorted(map(str, incident.team_ids))),
            "connector": str(incident.connector_id),
            "pipeline": str(incident.pipeline_id),
            "fingerprint": str(incident.fingerprint_id or incident.id),
            "kind": incident.kind,
        }
        return "/".join([str(self.id), *(parts[name] for name in self.group_by or ("pipeline", "kind"))])


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipient:
    """A channel, or a user. `muted`: nothing is sent; `follows_state`: see channels/base.py."""

    id: UUID
    is_user: bool = False
    team_id: UUID | None = None
    max_per_hour: int = 60
    follows_state: bool = False
    muted: bool = False
    schedule: Schedule = ALWAYS


@dataclass(slots=True, kw_only=True)
class Group:
    """`others_unresolved`: unresolved incidents of the group that are not loaded."""

    id: UUID
    recipient_id: UUID
    key: str
    opened_at: datetime
    rule_id: UUID | None = None
    is_collection: bool = False
    closed_at: datetime | None = None
    notified_at: datetime | None = None
    members: set[UUID] = field(default_factory=set)
    others_unresolved: int = 0
    is_new: bool = False
    is_changed: bool = False
    new_members: set[UUID] = field(default_factory=set)


@dataclass(slots=True, kw_only=True)
class Message:
    """A message that is not leased yet."""

    id: UUID
    group_id: UUID
    recipient_id: UUID
    event: str
    due_at: datetime
    happened_at: datetime
    dedup_key: str = ""
    reason: str = ""
    state: str = "queued"
    is_new: bool = False


class Collection(NamedTuple):
    """A message that collects what is not told at once."""

    outcome: str
    key: str
    due_at: datetime
    event: str


@dataclass(frozen=True, slots=True)
class Decision:
    event_id: UUID
    incident_id: UUID
    rule_id: UUID | None
    recipient_id: UUID | None
    outcome: str
    message_id: UUID | None = None


def uuid7() -> UUID:
    """A UUID version 7, as the function of the database makes them."""
    bits = time.time_ns() // 1_000_000 << 80 | secrets.randbits(80)
    return UUID(int=bits & ~(0xF << 76) & ~(0x3 << 62) | 0x7 << 76 | 0x2 << 62)
