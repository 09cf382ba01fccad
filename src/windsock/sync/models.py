"""API schemas of syncs."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from windsock.http.validation import RequestBody, StrictBool
from windsock.spaces.models import Ref

HeldKind = Literal["mass_loss", "other_airflow"]


class SyncCounts(BaseModel):
    created: int
    updated: int
    unchanged: int
    removed: int


class Coverage(BaseModel):
    expected: Annotated[int, Field(description="Rows the provider promised, as far as it did; grows while reading.")]
    read: int
    skipped: Annotated[
        int,
        Field(
            description="Rows that the mirror lacks, wholly or some fields of them, because they cannot be read or "
            "stored; the warnings name them."
        ),
    ]


class SyncRun(BaseModel):
    id: UUID
    space_id: UUID
    connector_id: UUID
    status: Annotated[str, Field(description="queued, running, then complete, partial, failed or cancelled")]
    trigger: Annotated[str, Field(description="manual or schedule")]
    is_full: bool
    queued_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    phase: Annotated[str, Field(description="What it is doing, in words.")]
    pipelines: SyncCounts
    runs: SyncCounts
    task_runs: SyncCounts
    provider_requests: int
    coverage: Coverage
    warnings: list[str]
    error: Annotated[str | None, Field(description="Why it is partial or failed, in a sentence.")]


class DagImportError(BaseModel):
    """A file that Airflow cannot import at present."""

    id: UUID
    connector_id: UUID
    connector: Ref
    bundle_name: Annotated[str | None, Field(description="Of Airflow 3: what the filename is relative to.")]
    filename: str
    stack_trace: Annotated[str, Field(description="Of a long one the last 16,000 characters.")]
    since: Annotated[datetime, Field(description="When Airflow first told of this file.")]


class SyncIn(RequestBody):
    is_full: Annotated[
        StrictBool, Field(description="Read the whole history again, and find what was deleted; not only what changed.")
    ] = False


class AcceptIn(RequestBody):
    kind: Annotated[HeldKind, Field(description="What is accepted, so that it is what was seen.")]
