"""Microsoft Teams: an Adaptive Card to the URL of a workflow ("When a Teams webhook request is received").

202 says that the workflow was started, not that the card arrived. The rules are those of learn.microsoft.com; they were
not tried on Teams itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import orjson
from pydantic import AfterValidator

from windsock.notifications.channels.base import (
    REPETITION,
    ChannelPart,
    Content,
    HttpRequest,
    Outbound,
    Outcome,
    SecretText,
    check_url,
    exchange,
    item_line,
    shorten,
    url_secrets,
)

MAX_TEXT, MAX_ITEM, MAX_BLOCKS = 1_000, 400, 12
"""Characters of a block, and of one per incident. The whole request may have 28 kB, of up to four bytes a character."""


class TeamsConfig(ChannelPart):
    """Empty: the URL of the workflow is the secret, since it allows posting."""


class TeamsSecret(ChannelPart):
    webhook_url: Annotated[SecretText, AfterValidator(check_url)]


@dataclass(frozen=True, slots=True)
class Teams:
    config: TeamsConfig
    secret: TeamsSecret
    is_idempotent = False
    follows_state = False

    @property
    def secrets(self) -> tuple[str, ...]:
        return url_secrets(self.secret.webhook_url)

    async def send(self, content: Content, ref: Mapping[str, str] | None, outbound: Outbound) -> Outcome:  # noqa: ARG002 - the protocol
        body = orjson.dumps({"type": "message", "attachments": [_attachment(content)]})
        return await exchange(
            outbound, HttpRequest(self.secret.webhook_url, body, {"Content-Type": "application/json"})
        )


def _attachment(content: Content) -> dict[str, Any]:
    blocks = [_block(escape(content.title), weight="Bolder", size="Medium")]
    blocks += [_block(escape(content.text))] if content.text else []
    blocks += [
        _block(f"[{escape(item.name)}]({item.url}) {escape(item_line(item))}", MAX_ITEM)
        for item in content.items[:MAX_BLOCKS]
    ]
    left_out = content.more + max(0, len(content.items) - MAX_BLOCKS)
    blocks += [_block(f"and {left_out} more")] if left_out else []
    blocks += [_block(REPETITION, isSubtle=True)] if content.is_repetition else []
    blocks.append(_block(escape(content.reason), isSubtle=True))
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": blocks,
        "actions": [
            {"type": "Action.OpenUrl", "title": "Open", "url": content.url},
            {"type": "Action.OpenUrl", "title": "Why, and change it", "url": content.settings_url},
        ],
    }
    return {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}


def _block(text: str, limit: int = MAX_TEXT, **style: object) -> dict[str, Any]:
    return {"type": "TextBlock", "text": shorten(text, limit), "wrap": True, **style}


def escape(text: str) -> str:
    """Cards read Markdown: a name must not become a link."""
    return text.replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]").replace("<", "&lt;")
