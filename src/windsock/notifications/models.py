"""API schemas of notifications."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import BaseModel, Field, model_validator
from typing_extensions import TypeAliasType

from windsock.http.validation import WHOLE, Name, RequestBody, StrictBool
from windsock.notifications.channels.base import MessageEvent
from windsock.notifications.kinds import ChannelKind
from windsock.notifications.times import ClockTime, TimeZone, check_quiet_hours
from windsock.spaces.models import Ref

MessageState = TypeAliasType("MessageState", Literal["queued", "sending", "sent", "failed", "dropped"])
DecisionOutcome = TypeAliasType(
    "DecisionOutcome",
    Literal[
        "sent", "grouped", "quiet", "digest", "late", "rate_limited", "reminded", "acknowledged", "snoozed",
        "held_back", "below_criticality", "not_matching", "too_few_failures", "flapping", "not_announced",
        "already_sent", "never_announced", "resolved_before", "no_recipient", "no_rule", "muted",
    ],
)  # fmt: skip


Ids = Annotated[list[UUID], Field(max_length=100)]
PerHour = Annotated[
    Annotated[int, Field(ge=1, le=1_000), WHOLE],
    Field(description="New groups beyond that are collected into one message."),
]
Secret = Annotated[dict[str, Any] | None, Field(description="Depends on the kind. Encrypted, and never returned.")]


class ChannelIn(RequestBody):
    name: Name
    kind: ChannelKind
    config: dict[str, Any] = Field(default_factory=dict, description="Depends on the kind; see the guide.")
    secret: Secret = None
    team_id: Annotated[UUID | None, Field(description="The team whose channel it is.")] = None
    is_active: StrictBool = True
    max_per_hour: PerHour = 60


class ChannelUpdate(RequestBody):
    """Only what is sent changes. With another address of the receiver the secret has to be sent again."""

    name: Name | None = None
    config: Annotated[dict[str, Any] | None, Field(description="Replaces the config.")] = None
    secret: Secret = None
    team_id: UUID | None = None
    is_active: StrictBool | None = None
    max_per_hour: PerHour | None = None


class Channel(BaseModel):
    id: UUID
    name: str
    kind: ChannelKind
    config: dict[str, Any]
    has_secret: bool
    team_id: UUID | None
    team: Ref | None
    is_active: bool
    max_per_hour: int
    disabled_at: Annotated[datetime | None, Field(description="When the receiver refused a message for good.")]
    disabled_reason: str | None
    failing_since: datetime | None
    last_error: str | None
    last_delivered_at: datetime | None
    created_at: datetime
    updated_at: datetime


class ChannelTest(BaseModel):
    success: bool
    outcome: Literal["delivered", "temporary", "permanent", "ambiguous"]
    status: Annotated[int | None, Field(description="Of the receiver.")]
    detail: Annotated[str, Field(description="The receiver's words, without secrets.")]
    message_id: UUID


class Attempt(BaseModel):
    number: int
    at: datetime
    outcome: Annotated[str | None, Field(description="Null: under way.")]
    status: int | None
    ms: int | None
    detail: Annotated[str | None, Field(description="The first 500 bytes of the response, without secrets.")]


class Message(BaseModel):
    id: UUID
    event: MessageEvent
    state: MessageState
    channel_id: UUID | None
    channel: Ref | None
    user_id: UUID | None
    user: Ref | None
    title: Annotated[str | None, Field(description="Null: not rendered yet.")]
    reason: str
    incidents: Annotated[list[Ref], Field(description="At most 20, by the names of their pipelines or connectors.")]
    incident_count: int
    happened_at: datetime
    due_at: datetime
    sent_at: datetime | None
    is_repetition: Annotated[bool, Field(description="It may have arrived twice.")]
    detail: Annotated[str | None, Field(description="Why it is not sent.")]
    attempts: Annotated[list[Attempt], Field(description="The newest 10.")]
    created_at: datetime


class RecipientDecision(BaseModel):
    """The recipients if this pipeline had an incident now."""

    rule: Ref | None
    recipient: Ref | None
    is_user: bool
    outcome: DecisionOutcome
    explanation: str


class PipelineRecipients(BaseModel):
    pipeline_id: UUID
    kind: str
    recipients: Annotated[list[RecipientDecision], Field(description="Of every rule, also whom it would not tell.")]


class PersonalSettings(BaseModel):
    email_enabled: bool
    email_refused_at: Annotated[datetime | None, Field(description="When your mailbox refused a message for good.")]
    muted_space_ids: Annotated[list[UUID], Field(description="Spaces from which you unsubscribed.")]
    quiet_start: str | None
    quiet_end: str | None
    digest_at: str | None
    time_zone: str
    critical_passes: bool


class PersonalSettingsIn(RequestBody):
    email_enabled: StrictBool = True
    muted_space_ids: Ids = Field(default_factory=list)
    quiet_start: ClockTime | None = None
    quiet_end: ClockTime | None = None
    digest_at: Annotated[ClockTime | None, Field(description="One e-mail a day, at this time.")] = None
    time_zone: TimeZone = "UTC"
    critical_passes: StrictBool = True

    @model_validator(mode="after")
    def _quiet_hours_have_both_ends(self) -> Self:
        check_quiet_hours(self.quiet_start, self.quiet_end)
        return self
