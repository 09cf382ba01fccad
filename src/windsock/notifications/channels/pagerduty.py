"""PagerDuty Events API v2: idempotent, since events with the same dedup_key belong to one alert.

The rules are those of developer.pagerduty.com; they were not tried on PagerDuty itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import orjson
from pydantic import AfterValidator, Field

from windsock.notifications.channels.base import (
    ChannelPart,
    Content,
    HttpRequest,
    Outbound,
    Outcome,
    SecretText,
    UrlText,
    check_url,
    exchange,
    item_line,
    shorten,
)

EVENTS_URL = "https://events.pagerduty.com/v2/enqueue"
MAX_SUMMARY = 1_024
SEVERITIES = {"low": "info", "medium": "warning", "high": "error", "critical": "critical"}


class PagerDutyConfig(ChannelPart):
    url: Annotated[
        UrlText,
        AfterValidator(check_url),
        Field(description="Of the Events API v2; https://events.eu.pagerduty.com/v2/enqueue in the EU."),
    ] = EVENTS_URL


class PagerDutySecret(ChannelPart):
    routing_key: Annotated[SecretText, Field(description="The integration key of a service.")]


def _action(content: Content) -> str:
    if content.is_over:
        return "resolve"
    return "acknowledge" if content.event == "acknowledged" else "trigger"


@dataclass(frozen=True, slots=True)
class PagerDuty:
    config: PagerDutyConfig
    secret: PagerDutySecret
    is_idempotent = True
    follows_state = True

    @property
    def secrets(self) -> tuple[str, ...]:
        return (self.secret.routing_key,)

    async def send(self, content: Content, ref: Mapping[str, str] | None, outbound: Outbound) -> Outcome:  # noqa: ARG002 - the protocol
        event: dict[str, Any] = {
            "routing_key": self.secret.routing_key,
            "event_action": _action(content),
            "dedup_key": f"windsock/{content.group_id}",
            "client": "Windsock",
            "client_url": content.url,
            "links": [{"href": content.settings_url, "text": "Why, and change it"}],
            "payload": {
                "summary": shorten(content.title, MAX_SUMMARY),
                "source": f"windsock/{content.space}",
                "severity": SEVERITIES[content.criticality],
                "timestamp": content.opened_at.isoformat(),
                "custom_details": {
                    "incidents": [item_line(item) for item in content.items],
                    "more": content.more,
                    "reason": content.reason,
                },
            },
        }
        request = HttpRequest(self.config.url, orjson.dumps(event), {"Content-Type": "application/json"})
        return await exchange(outbound, request)
