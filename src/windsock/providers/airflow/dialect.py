"""Differences between the APIs of Airflow 2 (v1) and Airflow 3 (v2)."""

from collections.abc import AsyncIterator, Collection
from datetime import datetime
from typing import Literal, Protocol
from urllib.parse import quote

from windsock.providers.airflow.fields import Fields
from windsock.providers.airflow.scans import ApiRequest, Fetch, Limits, Listing
from windsock.providers.base import Json, Page, ProviderPipeline, ProviderRun, ProviderTaskRun
from windsock.providers.scopes import ProviderParam, Resume, RunRange, RunRequest, ScanScope, SingleRun, Unfinished

UNFINISHED = ("queued", "running")
"""States of a run that has not ended, in both APIs."""

BEYOND_THE_END = "1000000000"
"""An offset at which a list holds no row; its total is there all the same (2.11.2 and 3.x)."""
EVENTS = "/eventLogs"
SYSTEM_EVENTS = (
    "running", "success", "failed", "skipped", "queued", "scheduled", "deferred", "removed", "restarting",
    "up_for_retry", "up_for_reschedule", "upstream_failed", "state mismatch", "task_instance_heartbeat",
    "heartbeat timeout", "stuck in queued reschedule", "stuck in queued tries exceeded",
    "cli_task_run", "cli_check", "cli_scheduler", "cli_triggerer", "cli_worker", "cli_webserver", "cli_api_server",
    "cli_dag_processor", "cli_migratedb",
)  # fmt: skip
"""Entries of the event log that say how tasks went, which their `updated_at` says too, and which processes ran.

On 2.x each try of a task writes cli_task_run, each health check cli_check. The API excludes only exact names.
"""


def path_of(what: Literal["runs", "task_runs"], scope: ScanScope) -> str:
    """Where runs or task runs are listed: of one DAG or of one run where the scope names it, else of all (`~`)."""
    of = "~" if isinstance(scope, Unfinished) else scope.pipeline_external_id or "~"
    runs = f"/dags/{quote(of, safe='~')}/dagRuns"
    run = scope.run_external_id if isinstance(scope, SingleRun) else "~"
    return runs if what == "runs" else f"{runs}/{quote(run, safe='~')}/taskInstances"


class Dialect(Protocol):
    """One API. `root` stands before every path, `health` is the whole path of its health check."""

    @property
    def name(self) -> Literal["v1", "v2"]: ...

    @property
    def root(self) -> str: ...

    @property
    def health(self) -> str: ...

    def pipelines(self) -> Listing[ProviderPipeline]:
        """All DAGs, also stale ones: both APIs leave those out unless told otherwise."""
        ...

    def parse_run(self, raw: Json) -> ProviderRun: ...

    def parse_task_run(self, raw: Json) -> ProviderTaskRun: ...

    def trigger_body(self, request: RunRequest) -> Json:
        """The body of POST …/dagRuns."""
        ...

    def runs(
        self, ask: Fetch, limits: Limits, scope: ScanScope, resume: Resume | None
    ) -> AsyncIterator[Page[ProviderRun]]: ...

    def task_runs(
        self, ask: Fetch, limits: Limits, scope: ScanScope, resume: Resume | None
    ) -> AsyncIterator[Page[ProviderTaskRun]]: ...

    def count_request(self, what: Literal["runs", "task_runs"], window: RunRange) -> ApiRequest:
        """A list without rows, or with one, whose total is wanted."""
        ...

    def events(self, since: datetime) -> list[ApiRequest]:
        """How to ask for the log since then without what the scheduler writes; the plainer way after it, for 2.6."""
        ...


def pipeline_key(row: ProviderPipeline) -> tuple[object, ...]:
    return (row.external_id,)


def run_key(row: ProviderRun) -> tuple[object, ...]:
    return (row.pipeline_external_id, row.external_id)


def task_run_key(row: ProviderTaskRun) -> tuple[object, ...]:
    region = (row.region_id, row.region_index)
    return (row.pipeline_external_id, row.run_external_id, row.external_id, *region, row.map_index)


PIPELINE_COLUMNS = frozenset(
    {"dag_id", "dag_display_name", "description", "owners", "tags", "is_paused", "has_import_errors"}
)
"""What has its own column, in both APIs."""

CHANGES_AT_EVERY_PARSE = frozenset(
    {
        "last_parsed_time", "last_parse_duration", "last_expired", "last_pickled", "pickle_id", "scheduler_lock",
        "file_token", "dag_run_states",
        "next_dagrun", "next_dagrun_create_after", "next_dagrun_run_after", "next_dagrun_logical_date",
        "next_dagrun_data_interval_start", "next_dagrun_data_interval_end",
    }
)  # fmt: skip
"""Fields of a DAG that differ in each answer though nobody changed the DAG."""

RUN_COLUMNS = frozenset(
    {
        "dag_run_id", "dag_id", "state", "run_type", "run_after", "logical_date", "execution_date", "queued_at",
        "start_date", "end_date", "duration", "data_interval_start", "data_interval_end", "conf", "note",
        "triggering_user_name",
        "last_scheduling_decision",
    }
)  # fmt: skip
"""What has its own column, what follows from the columns, and what changes at every pass of the scheduler."""

TASK_RUN_COLUMNS = frozenset(
    {
        "dag_id", "dag_run_id", "task_id", "map_index", "task_display_name", "state", "try_number", "max_tries",
        "queued_when", "start_date", "end_date", "duration", "pool", "queue", "hostname", "note",
        "run_after", "logical_date", "execution_date",
        "region_id", "region_index", "in_loop", "loop_iteration",
        "id", "rendered_fields", "last_heartbeat_at",
    }
)  # fmt: skip
"""What has its own column here or at the run, what is too large, and ids and heartbeats that change by themselves."""


def task_run_metadata(fields: Fields, others: Collection[str]) -> Json:
    """The fields without a column; `others` have one in one of the APIs only."""
    metadata = fields.rest(TASK_RUN_COLUMNS.union(others))
    job = metadata.get("triggerer_job")
    if isinstance(job, dict):
        metadata["triggerer_job"] = {name: value for name, value in job.items() if name != "latest_heartbeat"}
    return metadata


def parse_param(name: str, definition: object) -> ProviderParam:
    """Both APIs wrap the default with its schema; a DAG of an older Airflow may have it bare."""
    if not isinstance(definition, dict) or "value" not in definition:
        return ProviderParam(name, definition, {}, None)
    schema, description = definition.get("schema"), definition.get("description")
    return ProviderParam(
        name,
        definition["value"],
        schema if isinstance(schema, dict) else {},
        description if isinstance(description, str) else None,
    )
