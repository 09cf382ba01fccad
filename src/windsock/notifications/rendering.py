"""Builds the content of a message from its group of incidents."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from windsock.connectors.encryption import Encryption
from windsock.db.database import Row, Transaction
from windsock.notifications.channels.base import MAX_ITEMS, Content, Item, MessageEvent, shorten
from windsock.notifications.evaluation_types import CRITICALITIES
from windsock.notifications.queue import QUERIES
from windsock.spaces.store import expect_row

SENTENCES = {
    "failed": "{name} failed",
    "import_error": "{name} cannot be imported",
    "sync": "Connector {name} is not synced",
    "approval": "{name} waits for input",
}
PREFIXES: dict[str, str] = {
    "opened": "",
    "changed": "Changed: ",
    "acknowledged": "Acknowledged: ",
    "resolved": "Resolved: ",
    "reminder": "Still open: ",
}
COLLECTED = {"catch_up": "Collected", "digest": "Daily digest"}
MAX_TITLE = 200


@dataclass(frozen=True, slots=True)
class Links:
    """Addresses of pages for people, below `base_url`."""

    base_url: str
    slug: str

    def incident(self, incident_id: UUID) -> str:
        return f"{self.base_url}/spaces/{self.slug}/incidents/{incident_id}"

    def message(self, message_id: UUID) -> str:
        return f"{self.base_url}/spaces/{self.slug}/notifications/messages#message-{message_id}"

    def rule(self, rule_id: UUID | None) -> str:
        page = f"{self.base_url}/spaces/{self.slug}/notifications"
        return f"{page}#rule-{rule_id}" if rule_id else page

    def channel(self, channel_id: UUID) -> str:
        return f"{self.base_url}/spaces/{self.slug}/notifications/channels/{channel_id}"

    def personal(self) -> str:
        return f"{self.base_url}/notifications"

    def unsubscribe(self, token: str) -> str:
        return f"{self.base_url}/unsubscribe/{token}"


def unsubscribe_token(secrets: Encryption, user_id: UUID, space_id: UUID) -> str:
    return secrets.encrypt({"unsubscribe": str(user_id), "space": str(space_id)}).decode()


async def build_content(
    tx: Transaction, space_id: UUID, message: Row, *, base_url: str, secrets: Encryption
) -> Content:
    """Render the current state of the message's group."""
    space = expect_row(await tx.fetch_one(QUERIES["get_space_name"], space_id=space_id))
    links = Links(base_url, space["slug"])
    group = expect_row(await tx.fetch_one(QUERIES["get_group"], space_id=space_id, group_id=message["group_id"]))
    rows = await tx.fetch_all(
        QUERIES["get_group_items"], space_id=space_id, group_id=message["group_id"], most=MAX_ITEMS
    )
    items = tuple(_item(row, links) for row in rows)
    total = rows[0]["total"] if rows else 0
    user_id = message["user_id"]
    unsubscribe_url = links.unsubscribe(unsubscribe_token(secrets, user_id, space_id)) if user_id else None
    return Content(
        message_id=message["id"],
        group_id=message["group_id"],
        event=message["event"],
        criticality=max((item.criticality for item in items), key=CRITICALITIES.index, default="medium"),
        space=space["slug"],
        title=build_title(message["event"], items, total),
        items=items,
        more=total - len(items),
        opened_at=min((item.opened_at for item in items), default=group["opened_at"]),
        created_at=datetime.now(UTC),
        url=items[0].url if total == 1 else links.message(message["id"]),
        reason=message["reason"],
        settings_url=links.personal() if user_id else links.rule(group["rule_id"]),
        unsubscribe_url=unsubscribe_url,
        is_group_closed=group["closed_at"] is not None,
    )


def build_title(event: MessageEvent, items: Sequence[Item], total: int) -> str:
    if not items:
        return "Incidents that are deleted meanwhile"
    sentence = SENTENCES[items[0].kind].format(name=items[0].name)
    subject = sentence if total == 1 else f"{sentence}, and {total - 1} more"
    if event in COLLECTED:
        unresolved = sum(item.state != "resolved" for item in items)
        noun = "incident" if total == 1 else "incidents"
        return shorten(f"{COLLECTED[event]}: {total} {noun}, {unresolved or 'none'} unresolved. {subject}", MAX_TITLE)
    return shorten(f"{PREFIXES[event]}{subject}", MAX_TITLE)


def _item(row: Row, links: Links) -> Item:
    fields: dict[str, Any] = {name: row[name] for name in Item.model_fields if name != "url"}
    return Item(**fields, url=links.incident(row["incident_id"]))


def build_note(
    message_id: UUID, event: MessageEvent, links: Links, *, title: str, text: str, reason: str, settings_url: str
) -> Content:
    """The content of a message that is about no incident: a test, or a notice to admins."""
    now = datetime.now(UTC)
    return Content(
        message_id=message_id, group_id=message_id, event=event, criticality="low", space=links.slug, title=title,
        text=text, opened_at=now, created_at=now, url=settings_url, reason=reason, settings_url=settings_url,
    )  # fmt: skip
