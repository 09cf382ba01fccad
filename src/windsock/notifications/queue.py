"""Evaluates the events of a space in one transaction: claims them, decides, writes decisions and messages."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from windsock.db.database import Database, Row, Transaction
from windsock.db.queries import load, read_fragments
from windsock.notifications.evaluation import Evaluator
from windsock.notifications.evaluation_state import State
from windsock.notifications.evaluation_types import Group, Incident, IncidentEvent, Message, Recipient, Rule, uuid7
from windsock.notifications.schedule import Schedule

QUERIES = load(__package__, "notifications.sql", shared=read_fragments(__package__, "episodes.sql"))

MAX_EVENTS = 20_000
"""In one transaction: what fails together is announced together."""
FOLLOWING_KINDS = frozenset({"pagerduty", "alertmanager"})


async def evaluate_space(db: Database, space_id: UUID, *, has_mail: bool, now: datetime | None = None) -> int:
    """Evaluate what is due in a space, unless another process does; the number of events."""
    now = now or datetime.now(UTC)
    async with db.tenant_transaction(space_id) as tx:
        lock = await tx.fetch_one(QUERIES["lock_evaluation"], space_id=space_id)
        if lock is None or not lock["is_locked"]:
            return 0
        events = [
            read_event(row) for row in await tx.fetch_all(QUERIES["claim_events"], space_id=space_id, limit=MAX_EVENTS)
        ]
        if events:
            await _evaluate(tx, space_id, events, now, has_mail=has_mail)
        await _repeat(tx, space_id, now)
        return len(events)


async def _evaluate(
    tx: Transaction, space_id: UUID, events: Sequence[IncidentEvent], now: datetime, *, has_mail: bool
) -> None:
    rules = await load_rules(tx, space_id)
    incidents = await load_incidents(tx, space_id, events, rules)
    recipients = await load_recipients(tx, space_id, incidents.values(), has_mail=has_mail)
    state = await _load_state(tx, space_id, incidents)
    evaluator = Evaluator(rules, recipients, state, now)
    evaluator.evaluate_all(events)
    await _store(tx, space_id, evaluator)
    await tx.execute(QUERIES["finish_events"], space_id=space_id, event_ids=[event.id for event in events])


def read_event(row: Row) -> IncidentEvent:
    ids = row["details"].get("incident_ids", []) if row["kind"] == "late_summary" else []
    return IncidentEvent(
        row["id"], row["incident_id"], row["kind"], row["happened_at"], tuple(UUID(text) for text in ids),
        row["details"].get("pipelines", 1),
    )  # fmt: skip


async def load_rules(tx: Transaction, space_id: UUID) -> list[Rule]:
    return [read_rule(row) for row in await tx.fetch_all(QUERIES["list_active_rules"], space_id=space_id)]


def read_rule(row: Mapping[str, Any]) -> Rule:
    return Rule(
        id=row["id"],
        name=row["name"],
        kinds=frozenset(row["kinds"]),
        min_criticality=row["min_criticality"],
        team_ids=frozenset(row["team_ids"]),
        connector_ids=frozenset(row["connector_ids"]),
        tags=frozenset(row["tags"]),
        channel_ids=tuple(row["channel_ids"]),
        to_team_channels=row["to_team_channels"],
        to_watchers=row["to_watchers"],
        events=frozenset(row["events"]),
        min_failures=row["min_failures"],
        after_successes=row["after_successes"],
        hold_seconds=row["hold_seconds"],
        group_by=tuple(row["group_by"]),
        repeat_seconds=row["repeat_seconds"],
        schedule=read_schedule(row),
    )


def read_schedule(row: Mapping[str, Any]) -> Schedule:
    return Schedule(
        row["time_zone"], row["quiet_start"], row["quiet_end"], row.get("digest_at"), row["critical_passes"]
    )


async def load_incidents(
    tx: Transaction, space_id: UUID, events: Iterable[IncidentEvent], rules: Iterable[Rule]
) -> dict[UUID, Incident]:
    ids = sorted({id_ for event in events for id_ in (event.incident_id, *event.incident_ids)})
    rows = await tx.fetch_all(
        QUERIES["list_incidents_by_id"], space_id=space_id, incident_ids=ids,
        counts_successes=any(rule.after_successes for rule in rules),
    )  # fmt: skip
    return {row["id"]: read_incident(row) for row in rows}


def read_incident(row: Row) -> Incident:
    return Incident(
        **{name: row[name] for name in ("id", "kind", "state", "connector_id", "pipeline_id", "fingerprint_id")},
        **{name: row[name] for name in ("criticality", "failures", "successes_before", "is_held_back")},
        tags=frozenset(row["tags"]), team_ids=frozenset(row["team_ids"]), watcher_ids=tuple(row["watcher_ids"]),
    )  # fmt: skip


async def load_recipients(
    tx: Transaction, space_id: UUID, incidents: Iterable[Incident], *, has_mail: bool
) -> dict[UUID, Recipient]:
    """Every channel of the space, and the users who watch one of the incidents' pipelines."""
    channels = await tx.fetch_all(QUERIES["list_channels_to_notify"], space_id=space_id)
    user_ids = sorted({user_id for incident in incidents for user_id in incident.watcher_ids})
    users = await tx.fetch_all(QUERIES["list_users_to_notify"], space_id=space_id, user_ids=user_ids)
    return {
        **{
            row["id"]: Recipient(
                id=row["id"], team_id=row["team_id"], max_per_hour=row["max_per_hour"], muted=not row["is_usable"],
                follows_state=row["kind"] in FOLLOWING_KINDS or (row["kind"] == "slack" and row["is_bot"]),
            )
            for row in channels
        },
        **{
            row["id"]: Recipient(
                id=row["id"], is_user=True, muted=not (has_mail and row["is_reachable"]), schedule=read_schedule(row)
            )
            for row in users
        },
    }  # fmt: skip


async def _load_state(tx: Transaction, space_id: UUID, incidents: dict[UUID, Incident]) -> State:
    state = State(incidents=incidents)
    pending = await tx.fetch_all(QUERIES["lock_pending_messages"], space_id=space_id)
    groups = await tx.fetch_all(QUERIES["list_groups_to_evaluate"], space_id=space_id, incident_ids=list(incidents))
    for row in groups:
        state.add_group(Group(**{**row, "members": set(row["members"])}))
    state.pending = {row["group_id"]: Message(**row) for row in pending}
    for row in await tx.fetch_all(QUERIES["count_recent_messages"], space_id=space_id):
        state.sent_last_hour[row["recipient_id"]] = row["total"]
    return state


async def _store(tx: Transaction, space_id: UUID, evaluator: Evaluator) -> None:
    state = evaluator.state
    users = {id_ for id_, recipient in evaluator.recipients.items() if recipient.is_user}

    def to(recipient_id: UUID | None) -> dict[str, UUID | None]:
        is_user = recipient_id in users
        return {"channel_id": None if is_user else recipient_id, "user_id": recipient_id if is_user else None}

    # Before the new ones: of one key only one is open, and another may have opened after it was closed.
    changed = [group for group in state.groups.values() if group.is_changed and not group.is_new]
    await _write(tx, "update_groups", space_id, [{"id": group.id, "closed_at": group.closed_at} for group in changed])
    groups = [group for group in state.groups.values() if group.is_new]
    await _write(tx, "insert_groups", space_id, [
        {"id": group.id, "rule_id": group.rule_id, **to(group.recipient_id), "key": group.key,
         "is_collection": group.is_collection, "opened_at": group.opened_at, "closed_at": group.closed_at}
        for group in groups
    ])  # fmt: skip
    await _write(tx, "insert_group_incidents", space_id, [
        {"group_id": group.id, "incident_id": member} for group in state.groups.values() for member in group.new_members
    ])  # fmt: skip
    await _write(tx, "insert_messages", space_id, [
        {"id": message.id, "group_id": message.group_id, **to(message.recipient_id), "event": message.event,
         "dedup_key": message.dedup_key, "state": message.state, "happened_at": message.happened_at,
         "due_at": message.due_at, "reason": message.reason}
        for message in state.messages
    ])  # fmt: skip
    await _write(tx, "update_messages", space_id, [
        {"id": message.id, "event": message.event, "state": message.state} for message in state.changed.values()
    ])  # fmt: skip
    await _write(tx, "insert_decisions", space_id, [
        {"event_id": decision.event_id, "incident_id": decision.incident_id, "rule_id": decision.rule_id,
         **to(decision.recipient_id), "message_id": decision.message_id, "outcome": decision.outcome}
        for decision in evaluator.decisions
    ])  # fmt: skip


async def _write(tx: Transaction, query: str, space_id: UUID, rows: list[dict[str, Any]]) -> None:
    if rows:
        texts = [{name: _text(value) for name, value in row.items()} for row in rows]
        await tx.execute(QUERIES[query], space_id=space_id, rows=Jsonb(texts))


def _text(value: object) -> object:
    if isinstance(value, UUID):
        return str(value)
    return value.isoformat() if isinstance(value, datetime) else value


async def _repeat(tx: Transaction, space_id: UUID, now: datetime) -> None:
    """Announce groups again that are not acknowledged, each with a decision."""
    messages, decisions, postponed = [], [], []
    for row in await tx.fetch_all(QUERIES["list_groups_to_repeat"], space_id=space_id):
        schedule = read_schedule(row)
        until = schedule.quiet_until(now)
        if until is not None and not (row["criticality"] == "critical" and schedule.critical_passes):
            at = until - timedelta(seconds=row["repeat_seconds"])
            postponed.append({"id": row["id"], "notified_at": at})
            continue
        to = {"channel_id": row["channel_id"], "user_id": row["user_id"]}
        message_id = uuid7()
        postponed.append({"id": row["id"], "notified_at": now})
        messages.append({
            "id": message_id, "group_id": row["id"], **to, "event": "reminder", "state": "queued", "happened_at": now,
            "due_at": now, "dedup_key": f"reminder/{row['id']}/{row['notified_at'].isoformat()}",
            "reason": f"The rule “{row['rule_name']}” repeats what nobody has acknowledged.",
        })  # fmt: skip
        decisions.append({
            "event_id": row["event_id"], "incident_id": row["incident_id"], "rule_id": row["rule_id"], **to,
            "message_id": message_id, "outcome": "reminded",
        })  # fmt: skip
    await _write(tx, "insert_messages", space_id, messages)
    await _write(tx, "insert_decisions", space_id, decisions)
    await _write(tx, "postpone_repeats", space_id, postponed)
