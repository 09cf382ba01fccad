"""What clients see of a pipeline."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from windsock.filters import Criticality
from windsock.inputs import Body


class Named(BaseModel):
    id: UUID
    name: str


class RunBrief(BaseModel):
    id: UUID
    external_id: str
    status: str
    run_type: str
    started_at: datetime | None
    ended_at: datetime | None
    duration_seconds: float | None


class Summary(BaseModel):
    """Runs that ended within the last `days` days; running_count is what is queued or running now."""

    days: int
    total_runs: int
    success_count: int
    failed_count: int
    running_count: int
    success_rate: Annotated[float | None, Field(description="success / (success + failed); null when both are 0.")]
    avg_duration_seconds: float | None
    p50_duration_seconds: Annotated[float | None, Field(description="Within 0.5 %.")]
    p95_duration_seconds: Annotated[float | None, Field(description="Within 0.5 %.")]


class Pipeline(BaseModel):
    id: UUID
    space_id: UUID
    provider: Literal["airflow"]
    external_id: Annotated[str, Field(description="Airflow's dag_id.")]
    name: str
    description: str | None
    connector_id: UUID
    connector: Named
    owner: Annotated[str | None, Field(description="The provider's own string.")]
    owners: list[str]
    tags: list[str]
    schedule: str | None
    schedule_description: str | None
    next_run_at: datetime | None
    is_paused: bool
    is_active: Annotated[bool, Field(description="False when Airflow calls it stale, or does not list it any more.")]
    has_import_errors: bool
    status: Annotated[str, Field(description="That of the newest run; unknown when it has never run.")]
    criticality: Criticality
    team_id: UUID | None
    team: Named | None
    is_watched: Annotated[bool, Field(description="By the caller.")]
    last_run: RunBrief | None
    recent_runs: Annotated[list[RunBrief], Field(description="The newest 14, oldest first.")]
    summary: Summary
    provider_url: str
    last_synced_at: Annotated[datetime, Field(description="As of when this is true.")]
    created_at: datetime
    updated_at: datetime


class PipelineDetail(Pipeline):
    provider_metadata: dict[str, Any]


class TeamChange(Body):
    team_id: Annotated[UUID | None, Field(description="null: no team owns it.")]


class CriticalityChange(Body):
    criticality: Criticality
