"""API schemas of pipelines."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from windsock.http.validation import RequestBody
from windsock.pipelines.filters import Criticality
from windsock.spaces.models import Ref


class RunSummary(BaseModel):
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
    p50_duration_seconds: Annotated[float | None, Field(description="Within 2 %.")]
    p95_duration_seconds: Annotated[float | None, Field(description="Within 2 %.")]


class Pipeline(BaseModel):
    id: UUID
    space_id: UUID
    provider: Literal["airflow"]
    external_id: Annotated[str, Field(description="Airflow's dag_id.")]
    name: str
    description: str | None
    connector_id: UUID
    connector: Ref
    owner: Annotated[str | None, Field(description="The provider's own string.")]
    owners: list[str]
    tags: list[str]
    schedule: str | None
    schedule_description: str | None
    next_run_at: Annotated[
        datetime | None, Field(description="When Airflow is to start the next run, as it last said.")
    ]
    is_next_run_due: Annotated[
        bool,
        Field(
            description="next_run_at has passed, to the minute: the run is due since then, and not known to have "
            "started. A paused pipeline starts none."
        ),
    ]
    is_overdue: Annotated[
        bool,
        Field(
            description="The next run was due two minutes before Airflow's DAGs were last read, or earlier, and had "
            "not started; paused, draining and inactive ones are not overdue."
        ),
    ]
    is_paused: bool
    is_draining: Annotated[bool, Field(description="No new runs start; those that there are go on to their end.")]
    is_active: Annotated[bool, Field(description="False when Airflow calls it stale, or does not list it any more.")]
    has_import_errors: bool
    status: Annotated[str, Field(description="That of the newest run; unknown when it has never run.")]
    criticality: Criticality
    team_id: UUID | None
    team: Ref | None
    is_watched: Annotated[bool, Field(description="By the caller.")]
    last_run: RunSummary | None
    recent_runs: Annotated[list[RunSummary], Field(description="The newest 14, oldest first.")]
    summary: Summary
    provider_url: str
    last_synced_at: Annotated[datetime, Field(description="As of when this is true.")]
    created_at: datetime
    updated_at: datetime


class SuggestedTeam(BaseModel):
    name: Annotated[str, Field(description="Airflow's team_name.")]
    id: Annotated[UUID | None, Field(description="The space's team of that name; null where it has none.")]


class PipelineDetail(Pipeline):
    suggested_team: Annotated[
        SuggestedTeam | None,
        Field(description="The team that Airflow says its newest run is of; nobody is assigned by it."),
    ]
    provider_metadata: dict[str, Any]


class TeamAssignment(RequestBody):
    team_id: Annotated[UUID | None, Field(description="null: no team owns it.")]


class CriticalityChange(RequestBody):
    criticality: Criticality
