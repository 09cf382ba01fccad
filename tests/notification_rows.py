"""Rows of notifications of a tenant: a channel, a message that was sent, and the decision about it."""

from typing import Any
from uuid import UUID

from windsock.db.database import Row, Transaction
from windsock.spaces.store import expect_row


async def add_notifications(tx: Transaction, space_id: UUID, incident_id: UUID) -> Row:
    """The ids as channel_id, rule_id and message_id."""
    channel = expect_row(await tx.fetch_one(CHANNEL, space_id=space_id))
    rule = expect_row(await tx.fetch_one(RULE, space_id=space_id))
    names = {"space_id": space_id, "incident_id": incident_id, "channel_id": channel["id"], "rule_id": rule["id"]}
    group = expect_row(await tx.fetch_one(GROUP, **names))
    message = expect_row(await tx.fetch_one(MESSAGE, **names, group_id=group["id"]))
    await tx.execute(REST, **names, group_id=group["id"], message_id=message["id"])
    return {"channel_id": channel["id"], "rule_id": rule["id"], "message_id": message["id"]}


CHANNEL: Any = """
INSERT INTO channels (space_id, name, kind, config)
VALUES (%(space_id)s, 'on call', 'email', '{"to": ["d@example.com"]}')
RETURNING id
"""
RULE: Any = "SELECT id FROM notification_rules WHERE space_id = %(space_id)s AND name = 'Watchers'"
GROUP: Any = """
INSERT INTO notification_groups (space_id, rule_id, channel_id, key, opened_at, notified_at)
VALUES (%(space_id)s, %(rule_id)s, %(channel_id)s, 'of the world', now(), now())
RETURNING id
"""
MESSAGE: Any = """
INSERT INTO messages (space_id, group_id, channel_id, event, dedup_key, state, reason, attempts, sent_at, content)
VALUES (%(space_id)s, %(group_id)s, %(channel_id)s, 'opened', 'of the world', 'sent', 'It is in the rule.', 1, now(),
        '{"title": "daily_report failed"}')
RETURNING id
"""
REST: Any = """
WITH attempt AS (
    INSERT INTO message_attempts (space_id, message_id, number, outcome, status, ms, detail)
    VALUES (%(space_id)s, %(message_id)s, 1, 'delivered', 250, 12, 'queued')
), member AS (
    INSERT INTO notification_group_incidents (space_id, group_id, incident_id)
    VALUES (%(space_id)s, %(group_id)s, %(incident_id)s)
)
INSERT INTO notification_decisions (space_id, event_id, incident_id, rule_id, channel_id, message_id, outcome)
SELECT space_id, id, incident_id, %(rule_id)s, %(channel_id)s, %(message_id)s, 'sent' FROM incident_events
WHERE space_id = %(space_id)s AND incident_id = %(incident_id)s
"""
