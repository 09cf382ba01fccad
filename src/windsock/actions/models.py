"""API schemas of actions."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, Field, StringConstraints
from typing_extensions import TypeAliasType

from windsock.http.validation import AwareDatetime, RequestBody, StrictBool
from windsock.runs.models import Run
from windsock.spaces.models import Ref

LONGEST_NOTE = 600
"""Characters. Airflow keeps 1,000, and who it was is written below."""
MAX_CHOSEN_TASK_RUNS = 500


EARLIEST, LATEST = datetime(1969, 12, 31, tzinfo=UTC), datetime(2200, 1, 2, tzinfo=UTC)
"""Whatever the offset, a time of these years is within."""
YEARS = r"^(19[7-9][0-9]|20[0-9]{2}|21[0-9]{2})-"


def _within_reach(time: datetime | None) -> datetime | None:
    """Airflow reckons with the data interval around a logical date, and fails at the ends of the calendar."""
    if time is not None and not EARLIEST <= time < LATEST:
        raise ValueError("must be between 1970 and 2200")
    return time


def _with_years(schema: dict[str, Any]) -> None:
    """The years, for the time and not for null."""
    schema["anyOf"][0]["pattern"] = YEARS


class TriggerIn(RequestBody):
    conf: Annotated[
        dict[str, Any] | None,
        Field(description="Airflow checks it against the DAG's params.", examples=[{"country": "FR"}]),
    ] = None
    logical_date: Annotated[
        AwareDatetime | None,
        AfterValidator(_within_reach),
        Field(
            description="From 1970 to 2199. null: none on Airflow 3, now on Airflow 2. Two runs of a DAG cannot share "
            "one.",
            json_schema_extra=_with_years,
        ),
    ] = None
    note: Annotated[
        str | None,
        StringConstraints(strip_whitespace=True, max_length=LONGEST_NOTE),
        Field(description="Becomes the run's note in Airflow; who triggered it is written below."),
    ] = None


Reason = Annotated[
    Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=LONGEST_NOTE)] | None,
    Field(
        description="Why: for Airflow's note and the audit log. A space can require it for pipelines of high or "
        "critical criticality."
    ),
]
Note = Annotated[
    Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=LONGEST_NOTE)] | None,
    Field(description="Who wrote it is written below; null removes Airflow's note."),
]
RunMark = TypeAliasType("RunMark", Literal["success", "failed"])
TaskRunMark = TypeAliasType("TaskRunMark", Literal["success", "failed", "skipped"])
ActionKind = TypeAliasType("ActionKind", Literal["trigger", "clear", "mark", "pause", "note", "answer"])
ActionOutcome = TypeAliasType(
    "ActionOutcome", Literal["in_progress", "done", "refused", "failed", "partial", "unknown"]
)


OnlyFailed = Annotated[StrictBool, Field(description="Only task runs that failed, or did not run because of them.")]


class ClearTaskRunIn(RequestBody):
    only_failed: OnlyFailed = False
    include_downstream: Annotated[StrictBool, Field(description="Also the tasks behind those that are named.")] = False
    dry_run: Annotated[StrictBool, Field(description="Only answer what would be cleared.")] = False
    reason: Reason = None


class ClearRunIn(ClearTaskRunIn):
    only_failed: OnlyFailed = True
    task_run_ids: Annotated[
        Annotated[list[UUID], Field(min_length=1, max_length=MAX_CHOSEN_TASK_RUNS)] | None,
        Field(description="Of this run; null: all of it. Airflow 2 clears a mapped task with all its instances."),
    ] = None


class MarkRunIn(RequestBody):
    status: RunMark
    reason: Reason = None


class MarkTaskRunIn(RequestBody):
    status: TaskRunMark
    reason: Reason = None


class PausedIn(RequestBody):
    is_paused: StrictBool
    reason: Reason = None


class NoteIn(RequestBody):
    note: Note


class ApprovalResponseIn(RequestBody):
    chosen_options: Annotated[
        list[Annotated[str, StringConstraints(max_length=1000)]], Field(min_length=1, max_length=100)
    ]
    params: Annotated[
        dict[str, Any], Field(default_factory=dict, description="Values of the form that the task shows.")
    ]
    requested_at: Annotated[
        AwareDatetime | None,
        Field(description="Of the question that is answered. Since 3.4 Airflow refuses an answer to an earlier one."),
    ] = None
    reason: Reason = None


class ClearedTaskRun(BaseModel):
    id: Annotated[UUID | None, Field(description="Null: not mirrored yet.")]
    external_id: str
    map_index: int | None
    status: Annotated[str | None, Field(description="Before the clear; null in a repeated response.")]


class ClearResult(BaseModel):
    dry_run: bool
    run: Run
    task_runs: Annotated[list[ClearedTaskRun], Field(description="What was cleared, or would be.")]


class Action(BaseModel):
    """A change in Airflow that a member made through Windsock."""

    id: UUID
    kind: ActionKind
    pipeline_id: UUID
    pipeline: Ref
    run_id: UUID | None
    task_run_id: UUID | None
    user: Ref | None
    parameters: dict[str, Any]
    reason: str | None
    outcome: Annotated[
        ActionOutcome,
        Field(
            description="refused: by Airflow, or because of the state of the run; failed: nothing was changed; "
            "partial: a part was; unknown: it cannot be told, and is looked up when it is asked for again."
        ),
    ]
    status: Annotated[int | None, Field(description="The status of the response where it was not done.")]
    detail: Annotated[str | None, Field(description="Airflow's words where it was not done.")]
    task_run_count: Annotated[int | None, Field(description="Of a clear: how many task runs it was about.")]
    created_at: datetime
    updated_at: datetime


class Approval(BaseModel):
    """A task run that waits for the input of a person."""

    task_run_id: UUID
    run_id: UUID
    pipeline_id: UUID
    pipeline: Ref
    external_id: Annotated[str, Field(description="Airflow's task_id.")]
    map_index: int | None
    subject: str
    body: str | None
    options: list[str]
    defaults: list[str]
    is_multiple: Annotated[bool, Field(description="Whether several options may be chosen.")]
    params: dict[str, Any]
    assigned_users: Annotated[list[str], Field(description="Who may answer in Airflow; empty: whoever may edit.")]
    requested_at: datetime


class BulkClearIn(RequestBody):
    dry_run: Annotated[StrictBool, Field(description="Only answer what would be cleared, as the mirror has it.")] = (
        False
    )
    reason: Reason = None


BulkClearStatus = TypeAliasType("BulkClearStatus", Literal["planned", "queued", "running", "done"])
BulkClearOutcome = TypeAliasType("BulkClearOutcome", Literal["pending", "cleared", "failed"])


class BulkClearRun(BaseModel):
    run_id: UUID
    run_external_id: str
    run_status: Annotated[str, Field(description="Of now: a run that was cleared runs again.")]
    outcome: BulkClearOutcome
    task_run_count: Annotated[
        int, Field(description="Task runs that were cleared; while pending, those that would be, as the mirror has it.")
    ]
    task_ids: Annotated[list[str], Field(description="Their task ids, at most 10.")]
    error: Annotated[str | None, Field(description="Why nothing was cleared, or why it is not known; Airflow's words.")]


class BulkClear(BaseModel):
    """A clear of the failed tasks of all failed runs with one fingerprint."""

    id: Annotated[UUID | None, Field(description="Null: a dry run.")]
    fingerprint_id: UUID
    status: Annotated[BulkClearStatus, Field(description="planned: a dry run; done: every run has a result.")]
    user: Ref | None
    reason: str | None
    total: int
    cleared: int
    failed: int
    left_out: Annotated[
        int, Field(description="Failed runs beyond the limit of 200; another bulk clear takes the next ones.")
    ]
    created_at: datetime | None
    finished_at: datetime | None
    runs: Annotated[list[BulkClearRun], Field(description="The oldest first.")]
