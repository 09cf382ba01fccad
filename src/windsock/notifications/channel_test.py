"""Test messages: real ones, sent at once, whose outcome is returned."""

from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from windsock.auth.authenticator import Space
from windsock.errors import Conflict
from windsock.notifications.delivery import LEASE_SECONDS, Delivery
from windsock.notifications.evaluation_types import uuid7
from windsock.notifications.queue import QUERIES
from windsock.notifications.rendering import Links, build_note
from windsock.notifications.store import get_channel

REASON = "It was requested on the page of the channel."


async def send_test_message(delivery: Delivery, space: Space, channel_id: UUID) -> dict[str, Any]:
    """Send a test message, also to a disabled channel, which a success enables again. Raises NotFound."""
    message_id = uuid7()
    links = Links(delivery.base_url, space.slug)
    async with space.transaction() as tx:
        channel = await get_channel(tx, space.id, channel_id)
        content = build_note(
            message_id, "test", links, title=f"Test of the channel {channel['name']}",
            text=f"{space.caller.name} tests whether messages of Windsock arrive here.", reason=REASON,
            settings_url=links.channel(channel_id),
        )  # fmt: skip
        await tx.execute(
            QUERIES["insert_message"], space_id=space.id, message_id=message_id, group_id=None, channel_id=channel_id,
            user_id=None, event="test", dedup_key=f"test/{message_id}", delay=LEASE_SECONDS, reason=REASON,
            content=Jsonb(content.model_dump(mode="json")),
        )  # fmt: skip
    outcome = await delivery.deliver_message(space.id, message_id)
    if outcome is None:
        raise Conflict("The secret of this channel cannot be read. Enter it again.")
    return {
        "success": outcome.kind == "delivered", "outcome": outcome.kind, "status": outcome.status,
        "detail": outcome.detail, "message_id": message_id,
    }  # fmt: skip
