"""A message with everything in it, and how the tests send it through a channel."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from windsock import egress
from windsock.notifications.channels.base import Content, Item, Outcome
from windsock.notifications.kinds import KINDS
from windsock.notifications.outbound import NetworkOutbound, SmtpServer

LOCAL = egress.Policy.of("public,loopback", loopback=True)
PUBLIC = egress.Policy.of("public", loopback=False, setting="WINDSOCK_NOTIFICATION_EGRESS_ALLOW")


def outbound(policy: egress.Policy = LOCAL, smtp: SmtpServer | None = None) -> NetworkOutbound:
    return NetworkOutbound(policy, LOCAL, smtp)


def content(event: str = "opened", items: int = 1, **more: Any) -> Content:
    now = datetime.now(UTC)
    item = Item(
        incident_id=uuid4(), name="daily <report>", kind="failed", state="open", criticality="high", team="data",
        connector="prod", error="ValueError: <!channel> [click](http://evil.example)", occurrences=3, opened_at=now,
        url="https://w.example.com/i",
    )  # fmt: skip
    fields: dict[str, Any] = {
        "message_id": uuid4(), "group_id": uuid4(), "event": event, "criticality": "high", "space": "finance",
        "title": "daily <report> failed", "items": (item,) * items, "opened_at": now, "created_at": now,
        "url": "https://w.example.com/i", "reason": "You get this because you watch this pipeline.",
        "settings_url": "https://w.example.com/s", "unsubscribe_url": "https://w.example.com/u/t",
    }  # fmt: skip
    return Content(**fields | more)


async def send(kind: str, config: dict[str, Any], secret: dict[str, Any], message: Content, **more: Any) -> Outcome:
    found = KINDS[kind]
    channel = found.open(found.config.model_validate(config), found.secret.model_validate(secret))
    return await channel.send(message, more.pop("ref", None), more.pop("outbound", None) or outbound())
