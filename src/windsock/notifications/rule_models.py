"""API schemas of rules, of their preview, and of whom a pipeline would notify."""

from datetime import datetime
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import BaseModel, Field, StringConstraints, model_validator
from typing_extensions import TypeAliasType

from windsock.http.validation import WHOLE, Name, RequestBody, StrictBool
from windsock.incidents.models import IncidentKind
from windsock.notifications.channels.base import MessageEvent
from windsock.notifications.models import Ids
from windsock.notifications.times import ClockTime, TimeZone, check_quiet_hours
from windsock.pipelines.filters import Criticality
from windsock.spaces.models import Ref

RuleEvent = TypeAliasType("RuleEvent", Literal["opened", "changed", "acknowledged", "resolved"])
GroupPart = TypeAliasType("GroupPart", Literal["team", "connector", "pipeline", "fingerprint", "kind"])
Tag = Annotated[str, StringConstraints(min_length=1, max_length=250)]
FailureCount = Annotated[int, Field(ge=1, le=100), WHOLE]
SuccessCount = Annotated[int, Field(ge=0, le=50), WHOLE]
HoldSeconds = Annotated[int, Field(ge=0, le=86_400), WHOLE]
RepeatSeconds = Annotated[int, Field(ge=300, le=2_592_000), WHOLE]


def _all_events() -> list[RuleEvent]:
    return ["opened", "changed", "acknowledged", "resolved"]


def _default_grouping() -> list[GroupPart]:
    return ["team", "connector", "fingerprint"]


class RuleIn(RequestBody):
    """Empty lists match everything."""

    name: Name
    is_active: StrictBool = True
    kinds: Annotated[list[IncidentKind], Field(max_length=10)] = Field(default_factory=list)
    min_criticality: Criticality = "low"
    team_ids: Ids = Field(default_factory=list)
    connector_ids: Ids = Field(default_factory=list)
    tags: Annotated[list[Tag], Field(max_length=100, description="Pipelines with one of them.")] = Field(
        default_factory=list
    )
    channel_ids: Ids = Field(default_factory=list)
    to_team_channels: Annotated[StrictBool, Field(description="To the channels of the owning team.")] = False
    to_watchers: Annotated[StrictBool, Field(description="By e-mail to those who watch the pipeline.")] = False
    events: Annotated[list[RuleEvent], Field(max_length=4)] = Field(default_factory=_all_events)
    min_failures: Annotated[FailureCount, Field(description="Failures in a row before anybody is told.")] = 1
    after_successes: Annotated[
        SuccessCount, Field(description="Successful runs before the first failure; fewer are a flapping pipeline.")
    ] = 0
    hold_seconds: Annotated[
        HoldSeconds, Field(description="Wait for more of the group; dropped if all is resolved by then.")
    ] = 0
    group_by: Annotated[list[GroupPart], Field(max_length=5)] = Field(default_factory=_default_grouping)
    repeat_seconds: Annotated[
        RepeatSeconds | None, Field(description="Announce again what nobody has acknowledged.")
    ] = None
    quiet_start: ClockTime | None = None
    quiet_end: ClockTime | None = None
    digest_at: Annotated[ClockTime | None, Field(description="One message a day, at this time.")] = None
    time_zone: TimeZone = "UTC"
    critical_passes: Annotated[
        StrictBool, Field(description="Incidents of critical pipelines pass quiet hours and digest.")
    ] = True

    @model_validator(mode="after")
    def _quiet_hours_have_both_ends(self) -> Self:
        check_quiet_hours(self.quiet_start, self.quiet_end)
        return self


class RuleUpdate(RequestBody):
    """Only what is sent changes."""

    name: Name | None = None
    is_active: StrictBool | None = None
    kinds: Annotated[list[IncidentKind], Field(max_length=10)] | None = None
    min_criticality: Criticality | None = None
    team_ids: Ids | None = None
    connector_ids: Ids | None = None
    tags: Annotated[list[Tag], Field(max_length=100)] | None = None
    channel_ids: Ids | None = None
    to_team_channels: StrictBool | None = None
    to_watchers: StrictBool | None = None
    events: Annotated[list[RuleEvent], Field(max_length=4)] | None = None
    min_failures: FailureCount | None = None
    after_successes: SuccessCount | None = None
    hold_seconds: HoldSeconds | None = None
    group_by: Annotated[list[GroupPart], Field(max_length=5)] | None = None
    repeat_seconds: RepeatSeconds | None = None
    quiet_start: ClockTime | None = None
    quiet_end: ClockTime | None = None
    digest_at: ClockTime | None = None
    time_zone: TimeZone | None = None
    critical_passes: StrictBool | None = None


class Rule(BaseModel):
    id: UUID
    name: str
    sentence: Annotated[str, Field(description="The rule in words.")]
    is_active: bool
    kinds: list[IncidentKind]
    min_criticality: Criticality
    team_ids: list[UUID]
    connector_ids: list[UUID]
    tags: list[str]
    channel_ids: list[UUID]
    to_team_channels: bool
    to_watchers: bool
    events: list[RuleEvent]
    min_failures: int
    after_successes: int
    hold_seconds: int
    group_by: list[GroupPart]
    repeat_seconds: int | None
    quiet_start: str | None
    quiet_end: str | None
    digest_at: str | None
    time_zone: str
    critical_passes: bool
    created_at: datetime
    updated_at: datetime


class PreviewMessage(BaseModel):
    at: Annotated[datetime, Field(description="When it would have been sent.")]
    event: MessageEvent
    recipient: Ref
    incidents: Annotated[list[Ref], Field(description="At most 20, by the names of their pipelines or connectors.")]
    incident_count: int


class Preview(BaseModel):
    days: int
    event_count: Annotated[int, Field(description="Events of incidents in this time.")]
    message_count: int
    messages: Annotated[list[PreviewMessage], Field(description="The newest 100, newest first.")]
    decisions: Annotated[dict[str, int], Field(description="How often each outcome was decided.")]
    note: Annotated[str, Field(description="What it leaves out.")]
