"""API schemas of fingerprints."""

from datetime import date, datetime
from typing import Annotated, Self
from uuid import UUID

from pydantic import BaseModel, Field, StringConstraints, model_validator

from windsock.http.validation import NOT_BLANK, RequestBody
from windsock.runs.models import FailureComment
from windsock.spaces.models import Ref

MAX_IDS = 1_000


class Fingerprint(BaseModel):
    """A group of failures of a pipeline with the same fault."""

    id: UUID
    pipeline_id: UUID
    pipeline: Ref
    name: Annotated[str | None, Field(description="Given by a user.")]
    title: Annotated[str, Field(description="The error of its first failure, in one line.")]
    grouped_by: Annotated[str, Field(description="Which facts of a failure were compared, in words.")]
    algorithm_version: int
    occurrences: Annotated[int, Field(description="Runs that failed so, of those that the space keeps.")]
    count_30_days: Annotated[int, Field(description="Runs that failed so in the last 30 days.")]
    first_seen_at: datetime
    last_seen_at: datetime
    runbook: Annotated[FailureComment | None, Field(description="The comment that says what to do about it.")]


class FingerprintFailure(BaseModel):
    """A failure of the group."""

    id: UUID
    run_id: UUID
    run_external_id: str
    run_status: Annotated[str, Field(description="Of now: the run may have been repeated.")]
    task_run_id: UUID
    task_id: str
    map_index: int | None
    try_number: int
    failed_at: datetime
    summary: str
    own_frame: str | None


class TrendDay(BaseModel):
    day: date
    count: Annotated[int, Field(description="Runs that failed so on this day, in UTC.")]


class MergedFingerprint(BaseModel):
    id: UUID
    title: str


class FingerprintDetail(Fingerprint):
    failures: Annotated[list[FingerprintFailure], Field(description="The newest 50, newest first.")]
    comments: Annotated[
        list[FailureComment],
        Field(description="The newest 50 on its newest 200 failures and their runs, newest first."),
    ]
    trend: Annotated[list[TrendDay], Field(description="The last 30 days, oldest first.")]
    merged: Annotated[list[MergedFingerprint], Field(description="Groups that users merged into it, at most 50.")]


class FingerprintUpdate(RequestBody):
    name: Annotated[
        Annotated[
            str,
            StringConstraints(strip_whitespace=True, min_length=1, max_length=200),
            Field(json_schema_extra={"pattern": NOT_BLANK}),
        ]
        | None,
        Field(description="null: the title is shown."),
    ]


class MergeInput(RequestBody):
    into: Annotated[UUID, Field(description="A fingerprint of the same pipeline.")]


Ids = Annotated[list[UUID], Field(default_factory=list, max_length=MAX_IDS)]


class SplitInput(RequestBody):
    """Failures by their id, or all of these runs; at least one."""

    task_failure_ids: Ids
    run_ids: Ids

    @model_validator(mode="after")
    def _require_ids(self) -> Self:
        if not self.task_failure_ids and not self.run_ids:
            raise ValueError("name at least one failure or run")
        return self


class RunbookInput(RequestBody):
    comment_id: Annotated[UUID | None, Field(description="Of a comment of this space; null: no runbook.")]
