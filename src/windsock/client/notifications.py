"""Channels, rules and messages of notifications as operations of the client."""

from collections.abc import Collection
from datetime import datetime
from urllib.parse import quote
from uuid import UUID

from pydantic import TypeAdapter

from windsock.client.lists import LARGEST_PAGE
from windsock.client.operations import Call, get, orchestration_of
from windsock.incidents.models import IncidentKind
from windsock.notifications.models import Channel, ChannelTest, Message, MessageState, PipelineRecipients
from windsock.notifications.rule_models import Preview, Rule, RuleIn

SLOW_SECONDS = 60.0
"""A receiver may take half of it to answer a test."""


def channels(space: str) -> Call[list[Channel]]:
    """By name, each with its health."""
    return get(f"{_path(space)}/channels", list[Channel], size=LARGEST_PAGE)


def test_channel(space: str, channel_id: UUID) -> Call[ChannelTest]:
    """Send a real message, once; `success` and `detail` tell what the receiver said."""
    return Call(
        method="POST", path=f"{_path(space)}/channels/{channel_id}/test", response_type=TypeAdapter(ChannelTest),
        is_repeatable=False, seconds=SLOW_SECONDS,
    )  # fmt: skip


def notification_rules(space: str) -> Call[list[Rule]]:
    """By name, each with its sentence."""
    return get(f"{_path(space)}/rules", list[Rule], size=LARGEST_PAGE)


def preview_rule(space: str, rule: RuleIn | Rule) -> Call[Preview]:
    """Return the messages that a rule, stored or not, would have sent in the last 30 days."""
    body = rule.model_dump(mode="json", include=set(RuleIn.model_fields))
    return Call(
        method="POST", path=f"{_path(space)}/rules/preview", response_type=TypeAdapter(Preview),
        is_repeatable=True, body=body, seconds=SLOW_SECONDS,
    )  # fmt: skip


def messages(
    space: str,
    *,
    channel_id: UUID | Collection[UUID] | None = None,
    pipeline_id: UUID | Collection[UUID] | None = None,
    status: MessageState | Collection[MessageState] | None = None,
    created_from: datetime | None = None,
    created_to: datetime | None = None,
    size: int = LARGEST_PAGE,
) -> Call[list[Message]]:
    """Newest first, with the reason for each and its attempts."""
    return get(
        f"{_path(space)}/messages", list[Message],
        channel_id=channel_id, pipeline_id=pipeline_id, status=status, created_from=created_from,
        created_to=created_to, size=size,
    )  # fmt: skip


def resend_message(space: str, message_id: UUID) -> Call[Message]:
    """Queue a copy. Not sent twice: there would be two."""
    path = f"{_path(space)}/messages/{message_id}/resend"
    return Call(method="POST", path=path, response_type=TypeAdapter(Message), is_repeatable=False)


def recipients(space: str, pipeline_id: UUID, *, kind: IncidentKind = "failed") -> Call[PipelineRecipients]:
    """By every rule, whom it would tell if an incident of this pipeline opened now, and whom not."""
    return get(f"{orchestration_of(space)}/pipelines/{pipeline_id}/recipients", PipelineRecipients, kind=kind)


def _path(space: str) -> str:
    return f"/spaces/{quote(space, safe='')}/notifications"
