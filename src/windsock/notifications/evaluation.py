"""Decides for each event of an incident who is notified: a message, a place in a waiting message, or a reason why not.

It works in memory. queue.py loads what it needs and stores what it decides; preview.py feeds it with the past.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from windsock.notifications.evaluation_state import State
from windsock.notifications.evaluation_types import (
    ALL_EVENTS,
    CHANGES,
    OPENING,
    Collection,
    Decision,
    Group,
    Incident,
    IncidentEvent,
    Message,
    Recipient,
    Rule,
    uuid7,
)
from windsock.notifications.schedule import latest_quiet_end
from windsock.notifications.sentences import explain

GROUP_INTERVAL = timedelta(seconds=60)
"""Between two messages about one group that grows."""
EVENT_OF_KIND = {"acknowledged": "acknowledged", "snoozed": "acknowledged", **dict.fromkeys(CHANGES, "changed")}


class Evaluator:
    """Feed it events in their order; `decisions` and the state have what follows from them."""

    def __init__(
        self, rules: Sequence[Rule], recipients: Mapping[UUID, Recipient], state: State, now: datetime
    ) -> None:
        self.rules, self.recipients, self.state, self.now = rules, recipients, state, now
        self.decisions: list[Decision] = []
        self._rules = {rule.id: rule for rule in rules}
        self._channels_of_team: dict[UUID, list[UUID]] = {}
        for recipient in recipients.values():
            if recipient.team_id is not None:
                self._channels_of_team.setdefault(recipient.team_id, []).append(recipient.id)

    def evaluate(self, event: IncidentEvent) -> None:
        for incident_id in event.incident_ids or (event.incident_id,):
            incident = self.state.incidents.get(incident_id)
            if incident is not None:
                self._evaluate(event, incident)

    def _evaluate(self, event: IncidentEvent, incident: Incident) -> None:
        updated = self._update_groups(event, incident)
        matches = False
        for rule in self.rules:
            if (mismatch := rule.mismatch(incident)) is not None:
                if not any(decision.rule_id == rule.id for decision in updated.values()):
                    self._decide(event, incident, rule.id, None, mismatch)
                continue
            matches = True
            recipients = self.recipients_of(rule, incident)
            if not recipients:
                self._decide(event, incident, rule.id, None, "no_recipient")
            for recipient in recipients:
                if (before := updated.get(recipient.id)) is None:
                    updated[recipient.id] = self._announce(event, incident, rule, recipient)
                elif before.rule_id != rule.id:
                    outcome = "grouped" if before.message_id else self._outcome_after(before)
                    if outcome is None:  # nothing was sent by the other rule: this one decides for itself
                        updated[recipient.id] = self._announce(event, incident, rule, recipient)
                    else:
                        self._decide(event, incident, rule.id, recipient.id, outcome, before.message_id)
        if not matches:
            self._decide(event, incident, None, None, "no_rule")

    @staticmethod
    def _outcome_after(before: Decision) -> str | None:
        """Of another rule for the same recipient: None where the earlier rule's own conditions withheld the message."""
        own = {"too_few_failures", "flapping", "not_announced", "never_announced"}
        return None if before.outcome in own else before.outcome

    def recipients_of(self, rule: Rule, incident: Incident) -> list[Recipient]:
        """Each once: the channels of the rule, those of the owning teams, the watchers."""
        ids: list[UUID] = list(rule.channel_ids)
        if rule.to_team_channels:
            ids += [channel for team in sorted(incident.team_ids) for channel in self._channels_of_team.get(team, ())]
        if rule.to_watchers:
            ids += incident.watcher_ids
        return [self.recipients[id_] for id_ in dict.fromkeys(ids) if id_ in self.recipients]

    # --- Those who were told of the incident before.

    def _update_groups(self, event: IncidentEvent, incident: Incident) -> dict[UUID, Decision]:
        decided: dict[UUID, Decision] = {}
        for group in self.state.open_groups(incident.id):
            recipient = self.recipients.get(group.recipient_id)
            if recipient is None or recipient.id in decided:
                if incident.state == "resolved" and self.state.is_resolved(group):
                    self.state.close(group, self.now)
                continue
            outcome, message = self._update(event, incident, group, recipient)
            decided[recipient.id] = self._decide(
                event, incident, group.rule_id, recipient.id, outcome, message.id if message else None
            )
        return decided

    def _update(  # noqa: PLR0911 - one return for each reason
        self, event: IncidentEvent, incident: Incident, group: Group, recipient: Recipient
    ) -> tuple[str, Message | None]:
        rule = self._rules.get(group.rule_id) if group.rule_id else None
        announced = rule.events if rule else ALL_EVENTS
        pending = self.state.pending.get(group.id)
        if incident.state == "resolved":
            return self._resolve(event, incident, group, recipient, rule)
        kind = EVENT_OF_KIND.get(event.kind)
        if kind is None:
            return ("already_sent" if event.kind in OPENING | {"resolved"} else "not_announced"), None
        if kind == "changed" and incident.state in {"acknowledged", "snoozed"}:
            return incident.state, None
        if incident.is_held_back:
            return "held_back", None
        if pending is not None:
            if pending.event == "acknowledged":
                self._change(pending, kind)
            return "grouped", pending
        if kind not in announced:
            return "not_announced", None
        return self._follow_up(event, incident, group, recipient, rule, kind)

    def _resolve(
        self, event: IncidentEvent, incident: Incident, group: Group, recipient: Recipient, rule: Rule | None
    ) -> tuple[str, Message | None]:
        pending = self.state.pending.get(group.id)
        if event.kind != "resolved":
            return "resolved_before", None
        if not self.state.is_resolved(group):
            return "grouped", pending
        self.state.close(group, self.now)
        if pending is not None:
            if pending.event == "opened":
                self._change(pending, "opened", state="dropped")
                del self.state.pending[group.id]
                return "resolved_before", pending
            if not group.is_collection:
                self._change(pending, "resolved")
            return "grouped", pending
        if rule is not None and "resolved" not in rule.events:
            return "not_announced", None
        return self._follow_up(event, incident, group, recipient, rule, "resolved")

    def _follow_up(
        self, event: IncidentEvent, incident: Incident, group: Group, recipient: Recipient, rule: Rule | None, kind: str
    ) -> tuple[str, Message | None]:
        """A further message about a group, or a place in what quiet hours collect."""
        if recipient.muted:
            return "muted", None
        if recipient.follows_state:  # collected it would be an alert of its own, which nothing resolves
            return "sent", self._queue(event, incident, group, kind, self.now, rule)
        collection = self._collection(event, incident, rule, recipient)
        if collection is not None:
            return self._collect(event, incident, rule, recipient, collection, closes=True)
        return "sent", self._queue(event, incident, group, kind, self.now, rule)

    # --- Those who were not.

    def _announce(self, event: IncidentEvent, incident: Incident, rule: Rule, recipient: Recipient) -> Decision:
        outcome, message = self._open(event, incident, rule, recipient)
        return self._decide(event, incident, rule.id, recipient.id, outcome, message.id if message else None)

    def _open(
        self, event: IncidentEvent, incident: Incident, rule: Rule, recipient: Recipient
    ) -> tuple[str, Message | None]:
        if (reason := self._withheld(event, incident, rule, recipient)) is not None:
            return reason, None
        if (collection := self._collection(event, incident, rule, recipient)) is not None:
            return self._collect(event, incident, rule, recipient, collection, closes=False)
        key = rule.group_key(incident)
        group = self.state.by_key.get((recipient.id, key))
        if group is not None:
            self.state.join(group, incident.id)
            if (pending := self.state.pending.get(group.id)) is not None:
                return "grouped", pending
            due = max(self.now + timedelta(seconds=rule.hold_seconds), (group.notified_at or self.now) + GROUP_INTERVAL)
            return "sent", self._queue(event, incident, group, "changed", due, rule)
        if self.state.sent_last_hour.get(recipient.id, 0) >= recipient.max_per_hour:
            due = self.now.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
            collection = Collection("rate_limited", f"rate:{due.isoformat()}", due, "catch_up")
            return self._collect(event, incident, rule, recipient, collection, closes=False)
        group = self._new_group(rule.id, recipient, key, is_collection=False)
        self.state.join(group, incident.id)
        due = self.now + timedelta(seconds=rule.hold_seconds)
        self.state.sent_last_hour[recipient.id] = self.state.sent_last_hour.get(recipient.id, 0) + 1
        return "sent", self._queue(event, incident, group, "opened", due, rule)

    def _withheld(  # noqa: PLR0911 - one return for each reason
        self, event: IncidentEvent, incident: Incident, rule: Rule, recipient: Recipient
    ) -> str | None:
        if event.kind not in OPENING:
            return "never_announced" if event.kind == "resolved" else "not_announced"
        if incident.state == "resolved" and event.kind != "late_summary":
            return "resolved_before"
        if incident.is_held_back:
            return "held_back"
        if incident.state in {"acknowledged", "snoozed"}:
            return incident.state
        if "opened" not in rule.events:
            return "not_announced"
        if incident.failures < rule.min_failures:
            return "too_few_failures"
        if incident.kind == "failed" and incident.pipeline_id and incident.successes_before < rule.after_successes:
            return "flapping"
        return "muted" if recipient.muted else None

    def _collection(
        self, event: IncidentEvent, incident: Incident, rule: Rule | None, recipient: Recipient
    ) -> Collection | None:
        """None where it is sent at once."""
        schedules = tuple(filter(None, (rule.schedule if rule else None, recipient.schedule)))
        passes = incident.criticality == "critical" and all(schedule.critical_passes for schedule in schedules)
        if not passes:
            if (until := latest_quiet_end(schedules, self.now)) is not None:
                return Collection("quiet", f"quiet:{until.isoformat()}", until, "catch_up")
            digests = [due for schedule in schedules if (due := schedule.digest_due(self.now)) is not None]
            if digests:
                return Collection("digest", f"digest:{max(digests).isoformat()}", max(digests), "digest")
        if event.kind == "late_summary":
            return Collection("late", f"late:{event.happened_at.isoformat()}", self.now, "catch_up")
        return None

    def _collect(
        self,
        event: IncidentEvent,
        incident: Incident,
        rule: Rule | None,
        recipient: Recipient,
        collection: Collection,
        *,
        closes: bool,
    ) -> tuple[str, Message | None]:
        """`closes`: the incident belongs to another group, so that this one only carries the message."""
        group = self.state.by_key.get((recipient.id, collection.key))
        if group is None:
            group = self._new_group(rule.id if rule else None, recipient, collection.key, is_collection=True)
            if closes:
                group.closed_at = self.now
        elif not closes and group.closed_at is not None:
            group.closed_at, group.is_changed = None, True
        self.state.join(group, incident.id)
        pending = self.state.pending.get(group.id)
        queued = pending or self._queue(event, incident, group, collection.event, collection.due_at, rule)
        return collection.outcome, queued

    def _new_group(self, rule_id: UUID | None, recipient: Recipient, key: str, *, is_collection: bool) -> Group:
        group = Group(
            id=uuid7(), rule_id=rule_id, recipient_id=recipient.id, key=key, is_collection=is_collection,
            opened_at=self.now, is_new=True,
        )  # fmt: skip
        self.state.add_group(group)
        return group

    def _queue(
        self, event: IncidentEvent, incident: Incident, group: Group, kind: str, due: datetime, rule: Rule | None
    ) -> Message:
        dedup_key = f"{event.id}/{incident.id}" if event.incident_ids else str(event.id)
        message = Message(
            id=uuid7(), group_id=group.id, recipient_id=group.recipient_id, event=kind, due_at=due,
            happened_at=event.happened_at, dedup_key=dedup_key, is_new=True,
            reason=explain(rule, self.recipients[group.recipient_id], incident),
        )  # fmt: skip
        self.state.pending[group.id] = message
        self.state.messages.append(message)
        return message

    def _change(self, message: Message, kind: str, state: str = "queued") -> None:
        message.event, message.state = kind, state
        if not message.is_new:
            self.state.changed[message.id] = message

    def _decide(
        self,
        event: IncidentEvent,
        incident: Incident,
        rule_id: UUID | None,
        recipient_id: UUID | None,
        outcome: str,
        message_id: UUID | None = None,
    ) -> Decision:
        decision = Decision(event.id, incident.id, rule_id, recipient_id, outcome, message_id)
        self.decisions.append(decision)
        return decision

    def evaluate_all(self, events: Iterable[IncidentEvent]) -> None:
        for event in events:
            self.evaluate(event)
