"""Previews: the messages of a rule in the past, and the recipients of a pipeline now."""

import asyncio
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from windsock.db.database import Row, Transaction
from windsock.errors import NotFound
from windsock.notifications.evaluation import Evaluator
from windsock.notifications.evaluation_state import State
from windsock.notifications.evaluation_types import Incident, IncidentEvent, Message, Recipient, Rule, uuid7
from windsock.notifications.queue import load_incidents, load_recipients, load_rules, read_event, read_rule
from windsock.notifications.rule_models import RuleIn
from windsock.notifications.sentences import OUTCOMES
from windsock.notifications.store import QUERIES, check_references

DAYS, MAX_EVENTS, MAX_MESSAGES, MAX_NAMES = 30, 20_000, 100, 20
NOTE = (
    "Computed from the incidents of the last 30 days with today's teams, criticality, watchers and personal settings; "
    "without repetitions, and as if this were the only rule."
)
STATES = {
    "opened": "open", "reopened": "open", "acknowledgement_ended": "open", "snooze_ended": "open",
    "acknowledged": "acknowledged", "snoozed": "snoozed", "resolved": "resolved",
}  # fmt: skip
OPENINGS = frozenset({"opened", "reopened"})


class Simulation:
    """Feeds the evaluation with past events: incidents are as they were, messages are sent when they are due."""

    def __init__(
        self,
        rule: Rule,
        recipients: Mapping[UUID, Recipient],
        incidents: Iterable[Incident],
        successes_before: Mapping[UUID, int],
    ) -> None:
        """`successes_before`: by the event that opened or reopened an incident."""
        past = {incident.id: replace(incident, state="open", failures=1, is_held_back=False) for incident in incidents}
        self.state = State(incidents=past)
        self._rule, self._recipients, self._successes_before = rule, recipients, successes_before
        self._recent: deque[tuple[datetime, UUID]] = deque()
        self.decisions: list[str] = []

    def run(self, events: Iterable[IncidentEvent]) -> list[Message]:
        """Every message, in the order of their creation."""
        for event in events:
            self._apply(event)
            self._send_due(event.happened_at)
            evaluator = Evaluator([self._rule], self._recipients, self.state, event.happened_at)
            before = len(self.state.messages)
            evaluator.evaluate(event)
            self.decisions += [decision.outcome for decision in evaluator.decisions]
            new = self.state.messages[before:]
            self._recent += [(event.happened_at, item.recipient_id) for item in new if item.event == "opened"]
        return [message for message in self.state.messages if message.state != "dropped"]

    def _apply(self, event: IncidentEvent) -> None:
        for incident_id in {event.incident_id, *event.incident_ids}:
            incident = self.state.incidents.get(incident_id)
            if incident is not None:
                incident.state = STATES.get(event.kind, incident.state)
                if event.kind in OPENINGS:
                    incident.failures = event.pipelines
                    incident.successes_before = self._successes_before.get(event.id, 0)
                else:
                    incident.failures += event.kind == "failed_again"
                incident.is_held_back = event.kind == "held_back" or (
                    incident.is_held_back and event.kind not in {"released", "resolved"}
                )

    def _send_due(self, now: datetime) -> None:
        for group_id, message in list(self.state.pending.items()):
            if message.due_at <= now:
                self.state.groups[group_id].notified_at = message.due_at
                del self.state.pending[group_id]
        while self._recent and self._recent[0][0] <= now - timedelta(hours=1):
            _, recipient_id = self._recent.popleft()
            self.state.sent_last_hour[recipient_id] -= 1  # the evaluation counts them up


async def preview_rule(tx: Transaction, space_id: UUID, body: RuleIn, *, has_mail: bool) -> dict[str, Any]:
    """Raises NotFound for a team, connector or channel that is not of this space."""
    await check_references(tx, space_id, body.model_dump())
    rule = read_rule({"id": uuid7(), **body.model_dump()})
    rows = await tx.fetch_all(QUERIES["list_past_events"], space_id=space_id, days=DAYS, most=MAX_EVENTS)
    events = [read_event(row) for row in reversed(rows)]
    incidents = await load_incidents(tx, space_id, events, [rule])
    recipients = await load_recipients(tx, space_id, incidents.values(), has_mail=has_mail)
    successes_before = await _successes_before(tx, space_id, rule, events)
    simulation = Simulation(rule, recipients, incidents.values(), successes_before)
    sent = await asyncio.to_thread(simulation.run, events)  # seconds for 20,000 events: other requests go on
    messages = sorted(sent, key=lambda message: message.due_at, reverse=True)
    shown = messages[:MAX_MESSAGES]
    members = {message.id: sorted(simulation.state.groups[message.group_id].members) for message in shown}
    names = await _names(
        tx, space_id, [recipient.id for recipient in recipients.values() if recipient.is_user],
        sorted({incident_id for ids in members.values() for incident_id in ids[:MAX_NAMES]}),
    )  # fmt: skip
    return {
        "days": DAYS,
        "event_count": len(events),
        "message_count": len(messages),
        "messages": [
            {
                "at": message.due_at, "event": message.event, "recipient": _ref(message.recipient_id, names),
                "incidents": [_ref(id_, names) for id_ in members[message.id][:MAX_NAMES]],
                "incident_count": len(members[message.id]),
            }
            for message in shown
        ],
        "decisions": dict(sorted(Counter(simulation.decisions).items())),
        "note": NOTE,
    }  # fmt: skip


async def _successes_before(
    tx: Transaction, space_id: UUID, rule: Rule, events: Iterable[IncidentEvent]
) -> dict[UUID, int]:
    ids = [event.id for event in events if event.kind in OPENINGS] if rule.after_successes else []
    rows = await tx.fetch_all(QUERIES["list_successes_before_episodes"], space_id=space_id, event_ids=ids)
    return {row["event_id"]: row["successes_before"] for row in rows}


async def list_recipients(
    tx: Transaction, space_id: UUID, pipeline_id: UUID, kind: str, now: datetime, *, has_mail: bool
) -> list[dict[str, Any]]:
    """Whom the rules would tell if an incident of this pipeline opened now, and whom not."""
    row = await tx.fetch_one(QUERIES["get_pipeline_to_notify"], space_id=space_id, pipeline_id=pipeline_id)
    if row is None:
        raise NotFound("pipeline")
    incident = _hypothetical(row, kind)
    rules = await load_rules(tx, space_id)
    recipients = await load_recipients(tx, space_id, [incident], has_mail=has_mail)
    evaluator = Evaluator(rules, recipients, State(incidents={incident.id: incident}), now)
    evaluator.evaluate(IncidentEvent(uuid7(), incident.id, "opened", now))
    names = await _names(tx, space_id, [id_ for id_, recipient in recipients.items() if recipient.is_user], [])
    names |= {rule.id: rule.name for rule in rules}
    return [
        {
            "rule": decision.rule_id and _ref(decision.rule_id, names),
            "recipient": decision.recipient_id and _ref(decision.recipient_id, names),
            "is_user": bool(decision.recipient_id and recipients[decision.recipient_id].is_user),
            "outcome": decision.outcome,
            "explanation": OUTCOMES[decision.outcome],
        }
        for decision in evaluator.decisions
    ]


def _hypothetical(row: Row, kind: str) -> Incident:
    return Incident(
        id=uuid7(), kind=kind, state="open", connector_id=row["connector_id"], pipeline_id=row["pipeline_id"],
        criticality=row["criticality"], tags=frozenset(row["tags"]), team_ids=frozenset(row["team_ids"]),
        watcher_ids=tuple(row["watcher_ids"]), failures=1_000, successes_before=1_000,
    )  # fmt: skip


async def _names(tx: Transaction, space_id: UUID, user_ids: list[UUID], incident_ids: list[UUID]) -> dict[UUID, str]:
    rows = await tx.fetch_all(QUERIES["names_of_recipients"], space_id=space_id, user_ids=user_ids)
    if incident_ids:
        rows += await tx.fetch_all(QUERIES["names_of_incidents"], space_id=space_id, incident_ids=incident_ids)
    return {row["id"]: row["name"] for row in rows}


def _ref(id_: UUID, names: Mapping[UUID, str]) -> dict[str, Any]:
    return {"id": id_, "name": names.get(id_, "deleted")}
