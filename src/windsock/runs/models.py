"""API schemas of runs and task runs."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from windsock.spaces.models import Ref


class FailureSummary(BaseModel):
    summary: Annotated[str | None, Field(description="The error in one line; null where its log could not be read.")]


class Failure(FailureSummary):
    """The error that ended the last try of a failed task."""

    excerpt: Annotated[str | None, Field(description="At most 4 KB, without secrets.")]
    own_frame: Annotated[
        str | None, Field(description="The last line of the user's own code, such as `load.py:14 in lookup`.")
    ]
    fingerprint_id: Annotated[UUID | None, Field(description="The group of failures with the same fault.")]
    log_error: Annotated[str | None, Field(description="Why the log could not be read, in words.")]


class FailureComment(BaseModel):
    id: UUID
    content: str
    author: Annotated[Ref | None, Field(description="Null when the author's account is gone.")]
    created_at: datetime
    run_id: UUID
    task_run_id: UUID | None


class Recurrence(BaseModel):
    """Earlier failures with the same fingerprint, and comments on them."""

    name: str | None
    count_30_days: Annotated[int, Field(description="Runs in the 30 days before it, itself included.")]
    first_seen_at: datetime
    last_comment: Annotated[FailureComment | None, Field(description="On an earlier run that failed so.")]
    runbook: Annotated[FailureComment | None, Field(description="The comment that says what to do about it.")]


class RootFailure(Failure):
    """A failed task that did not fail because of another one."""

    task_run_id: UUID
    task_id: str
    map_index: int | None
    try_number: int
    failed_at: datetime
    exception_type: str | None
    recurrence: Annotated[Recurrence | None, Field(description="Null where the log could not be read.")]


class Run(BaseModel):
    id: UUID
    external_id: Annotated[str, Field(description="Airflow's dag_run_id.")]
    status: str
    run_type: str
    started_at: datetime | None
    ended_at: datetime | None
    duration_seconds: float | None
    pipeline_id: UUID
    pipeline: Ref
    space_id: UUID
    provider: Literal["airflow"]
    queued_at: datetime | None
    run_after: datetime | None
    logical_date: datetime | None
    data_interval_start: datetime | None
    data_interval_end: datetime | None
    conf: Annotated[Any, Field(description="Mostly an object; any JSON that the run was given.")]
    note: str | None
    triggered_by: Annotated[str | None, Field(description="The provider's user.")]
    triggered_by_user: Annotated[Ref | None, Field(description="Who triggered it here.")]
    task_counts: Annotated[dict[str, int], Field(description="Task runs by status.")]
    comment_count: Annotated[int, Field(description="Comments on the run itself.")]
    task_comment_count: Annotated[int, Field(description="Comments on its task runs.")]
    failure: Annotated[
        FailureSummary | None,
        Field(description="Of a failed run its first root failure; null until a log has been read."),
    ]
    provider_url: str
    removed_at: Annotated[
        datetime | None, Field(description="When it was found to be gone from the provider; kept here.")
    ]
    is_archived: Annotated[
        bool, Field(description="Airflow has cleaned it up with all that was older; this is the only copy, and stays.")
    ]
    last_synced_at: Annotated[datetime, Field(description="As of when this is true.")]
    created_at: datetime
    updated_at: datetime


class LoopIteration(BaseModel):
    id: Annotated[str, Field(description="Airflow's loop_id: the task group that is repeated.")]
    iteration: Annotated[int | None, Field(description="From 0 on.")]


class TaskRun(BaseModel):
    id: UUID
    run_id: UUID
    external_id: Annotated[str, Field(description="Airflow's task_id.")]
    name: str
    map_index: Annotated[int | None, Field(description="Null when it is not an instance of a mapped task.")]
    rendered_map_index: Annotated[str | None, Field(description="Airflow's name of a mapped instance.")]
    region_id: Annotated[
        str | None, Field(description="Airflow 3.4: one execution of a loop, or one expansion of a mapped task.")
    ]
    region_index: Annotated[
        int | None, Field(description="In the region of a loop the iteration, in that of an expansion the map index.")
    ]
    loop: Annotated[LoopIteration | None, Field(description="The loop around the task; null where there is none.")]
    operator: str | None
    status: str
    state_reason: Annotated[
        str | None, Field(description="What a retry policy said of this state, maybe of an earlier try.")
    ]
    try_number: int
    max_tries: int
    queued_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    duration_seconds: float | None
    pool: str | None
    queue: str | None
    hostname: str | None
    note: str | None
    comment_count: int
    failure: Annotated[Failure | None, Field(description="Of a root failure, once its log has been read.")]
    provider_url: str
    removed_at: datetime | None
    provider_metadata: dict[str, Any]


class RunDetail(Run):
    failure: RootFailure | None
    other_failures: Annotated[list[RootFailure], Field(description="At most two more root failures.")]
    provider_metadata: dict[str, Any]
    task_runs: list[TaskRun]
