"""API schemas of incidents."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import BaseModel, Field, StringConstraints, model_validator
from typing_extensions import TypeAliasType

from windsock.http.validation import NOT_BLANK, AwareDatetime, RequestBody, StrictBool
from windsock.pipelines.filters import Criticality
from windsock.spaces.models import Ref

MAX_IDS = 1_000
LONGEST_REASON = 1_000

IncidentKind = TypeAliasType("IncidentKind", Literal["failed", "import_error", "sync", "approval"])
IncidentState = TypeAliasType("IncidentState", Literal["open", "acknowledged", "snoozed", "resolved"])
EventKind = Literal[
    "opened", "failed_again", "fingerprint_changed", "acknowledged", "acknowledgement_ended", "snoozed", "snooze_ended",
    "assigned", "resolved", "reopened", "held_back", "released", "late_summary",
]  # fmt: skip


class IncidentRun(BaseModel):
    id: UUID
    external_id: str
    status: Annotated[str, Field(description="Of now: the run may have been repeated.")]


class Assignee(BaseModel):
    type: Literal["user", "team"]
    id: UUID
    name: str


class Incident(BaseModel):
    """A failure or condition that needs attention."""

    id: UUID
    kind: Annotated[
        IncidentKind,
        Field(
            description="failed: runs of a pipeline fail, or without a pipeline at least five of a connector "
            "failed within two minutes; import_error: the DAG file cannot be imported; sync: the connector's sync "
            "fails, or its data is too old; approval: a task waits for the input of a person."
        ),
    ]
    state: IncidentState
    title: Annotated[str, Field(description="The error, where it has been read, in one line.")]
    connector: Ref
    pipeline_id: Annotated[UUID | None, Field(description="null: the incident is of the connector as a whole.")]
    pipeline: Ref | None
    criticality: Annotated[Criticality, Field(description="Of the pipeline; without one, critical.")]
    team_id: UUID | None
    team: Annotated[Ref | None, Field(description="The team that owns the pipeline.")]
    fingerprint_id: UUID | None
    first_run: IncidentRun | None
    last_run: Annotated[IncidentRun | None, Field(description="The latest run that failed, or that waits.")]
    occurrences: Annotated[int, Field(description="Number of failures; of an outage, number of pipelines.")]
    opened_at: Annotated[datetime, Field(description="When it was opened, or reopened last.")]
    last_failed_at: datetime
    acknowledged_by: Ref | None
    acknowledged_at: datetime | None
    acknowledged_until: Annotated[datetime | None, Field(description="null: until the incident is resolved.")]
    acknowledged_until_success: Annotated[
        bool, Field(description="false: the acknowledgement also covers a regression until acknowledged_until.")
    ]
    acknowledgement_reason: str | None
    snoozed_until: datetime | None
    assignee: Assignee | None
    resolved_at: datetime | None
    resolved_by: Annotated[Ref | None, Field(description="null: a success, or the end of its cause, resolved it.")]
    held_back_by_id: Annotated[
        UUID | None,
        Field(description="The incident of the connector that explains this one; nobody is notified of it."),
    ]
    holds_back: Annotated[int, Field(description="Number of unresolved incidents that this one holds back.")]
    reopened_count: int


class IncidentEvent(BaseModel):
    id: UUID
    kind: EventKind
    happened_at: datetime
    user: Annotated[Ref | None, Field(description="null: it follows from data or from time.")]
    run: IncidentRun | None
    details: dict[str, Any]


class IncidentDetail(Incident):
    timeline: Annotated[list[IncidentEvent], Field(description="The newest 200 events, oldest first.")]


Reason = Annotated[
    Annotated[
        str,
        StringConstraints(strip_whitespace=True, min_length=1, max_length=LONGEST_REASON),
        Field(json_schema_extra={"pattern": NOT_BLANK}),
    ]
    | None,
    Field(description="Shown beside the acknowledgement."),
]


class AcknowledgeInput(RequestBody):
    until: Annotated[
        AwareDatetime | None, Field(description="When the acknowledgement ends; null: with the incident.")
    ] = None
    until_success: Annotated[
        StrictBool, Field(description="false: the acknowledgement also covers a regression before `until`.")
    ] = True
    reason: Reason = None


class BulkAcknowledgeInput(AcknowledgeInput):
    ids: Annotated[list[UUID], Field(min_length=1, max_length=MAX_IDS)]


class BulkAcknowledged(BaseModel):
    acknowledged: Annotated[int, Field(description="Number of incidents; those that are resolved stay so.")]


class SnoozeInput(RequestBody):
    until: Annotated[AwareDatetime, Field(description="A time in the future.")]


class AssignInput(RequestBody):
    """A member of the space, or a team, or neither."""

    user_id: UUID | None = None
    team_id: UUID | None = None

    @model_validator(mode="after")
    def _require_one(self) -> Self:
        if self.user_id is not None and self.team_id is not None:
            raise ValueError("assign it to a user or to a team, not to both")
        return self


class ResolveInput(RequestBody):
    reason: Reason = None
