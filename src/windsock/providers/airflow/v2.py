"""The API of Airflow 3: /api/v2."""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Literal

from windsock.errors import ProviderBadResponse
from windsock.providers.airflow import dialect
from windsock.providers.airflow.fields import Fields
from windsock.providers.airflow.loops import loop_of, region_of
from windsock.providers.airflow.paged_scan import PagedScan
from windsock.providers.airflow.parsing import between, format_datetime, mapping, parse_int
from windsock.providers.airflow.scans import ApiRequest, Fetch, Limits, Listing
from windsock.providers.base import (
    Json,
    Page,
    ProviderPipeline,
    ProviderRun,
    ProviderTaskRun,
)
from windsock.providers.scopes import (
    NOT_MAPPED,
    Resume,
    RunRange,
    RunRequest,
    ScanScope,
    SingleRun,
    Unfinished,
    UpdatedSince,
)

_PIPELINE_COLUMNS = dialect.PIPELINE_COLUMNS | {
    "is_stale", "timetable_summary", "timetable_description", "scheduling_state",
}  # fmt: skip


class V2:
    """Lists are ordered by id.

    In the order by updated_at rows are lost between pages, and without any order a page of task instances takes
    seconds (both measured on 3.3.2).
    """

    name: Literal["v2"] = "v2"
    root = "/api/v2"
    health = "/api/v2/monitor/health"

    def pipelines(self) -> Listing[ProviderPipeline]:
        return Listing(
            path=f"{self.root}/dags",
            name="dags",
            params={"exclude_stale": "false", "order_by": "dag_id"},
            parse=parse_pipeline,
            key=dialect.pipeline_key,
        )

    def parse_run(self, raw: Json) -> ProviderRun:
        return parse_run(raw)

    def parse_task_run(self, raw: Json) -> ProviderTaskRun:
        return parse_task_run(raw)

    def trigger_body(self, request: RunRequest) -> Json:
        """The key logical_date is required, though it may be null (422 without it, measured on 3.3.2)."""
        return {
            "dag_run_id": request.external_id,
            "logical_date": None if request.logical_date is None else format_datetime(request.logical_date),
            "conf": request.conf,
            "note": request.note,
        }

    def runs(
        self, ask: Fetch, limits: Limits, scope: ScanScope, resume: Resume | None
    ) -> AsyncIterator[Page[ProviderRun]]:
        listing = Listing(
            path=self.root + dialect.path_of("runs", scope),
            name="dag_runs",
            params={**_filters(scope), "order_by": "id"},
            parse=parse_run,
            key=dialect.run_key,
        )
        return PagedScan(ask, listing, limits, offers_cursor=True).pages(resume)

    def task_runs(
        self, ask: Fetch, limits: Limits, scope: ScanScope, resume: Resume | None
    ) -> AsyncIterator[Page[ProviderTaskRun]]:
        """By GET: each POST to …/taskInstances/list writes a row into Airflow's audit log."""
        listing = Listing(
            path=self.root + dialect.path_of("task_runs", scope),
            name="task_instances",
            params={**_filters(scope), "order_by": "id"},
            parse=parse_task_run,
            key=dialect.task_run_key,
        )
        return PagedScan(ask, listing, limits, offers_cursor=True).pages(resume)

    def count_request(self, what: Literal["runs", "task_runs"], window: RunRange) -> ApiRequest:
        """With limit=0 no row is read and the total is exact (measured on 3.3.2 and 3.0.6)."""
        return ApiRequest(
            path=self.root + dialect.path_of(what, window), params={**_filters(window), "limit": "0", "order_by": "id"}
        )

    def events(self, since: datetime) -> list[ApiRequest]:
        params = {
            "after": format_datetime(since),
            "excluded_events": dialect.SYSTEM_EVENTS,
            "order_by": "-event_log_id",
            "limit": "100",
        }
        return [ApiRequest(path=self.root + dialect.EVENTS, params=params)]


def _filters(scope: ScanScope) -> Mapping[str, str | Sequence[str]]:
    """Only _gte and _lte: 3.0.x ignores _gt and _lt without a word."""
    if isinstance(scope, SingleRun):
        return {}
    if isinstance(scope, RunRange):
        return between("run_after", scope.start, scope.end)
    of_runs = between("run_after", scope.runs_from if isinstance(scope, UpdatedSince) else None, scope.runs_until)
    if isinstance(scope, Unfinished):
        return {"state": dialect.UNFINISHED, **of_runs}
    return {**between("updated_at", scope.since, scope.until), **of_runs}


def parse_pipeline(raw: Json) -> ProviderPipeline:
    """Measured on 3.3.2: the order of owners differs from call to call, so it is ours."""
    fields = Fields.of(raw)
    external_id = fields.identity("dag_id", "DAG")
    owners = sorted({owner.strip() for owner in fields.texts("owners") if owner.strip()})
    return ProviderPipeline(
        external_id=external_id,
        name=fields.text("dag_display_name") or external_id,
        description=fields.text("description"),
        owner=", ".join(owners) or None,
        owners=owners,
        tags=fields.tags(),
        schedule=fields.text("timetable_summary"),
        schedule_description=fields.text("timetable_description"),
        next_run_at=fields.datetime("next_dagrun_run_after") or fields.datetime("next_dagrun_create_after"),
        is_paused=fields.flag("is_paused"),
        is_draining=fields.get("scheduling_state") == "draining",
        is_active=not fields.flag("is_stale"),
        has_import_errors=fields.flag("has_import_errors"),
        provider_metadata=fields.rest(_PIPELINE_COLUMNS | dialect.CHANGES_AT_EVERY_PARSE),
    )


def parse_run(raw: Json) -> ProviderRun:
    fields = Fields.of(raw)
    run_after, logical_date = fields.datetime("run_after"), fields.datetime("logical_date")
    queued_at, started_at = fields.datetime("queued_at"), fields.datetime("start_date")
    run_at = run_after or logical_date or queued_at
    if run_at is None:
        raise ProviderBadResponse("Airflow gave a DAG run without its run_after.")
    metadata = fields.rest(dialect.RUN_COLUMNS)
    if isinstance(metadata.get("dag_versions"), list):
        metadata["dag_versions"] = sorted(metadata["dag_versions"], key=_version_order)
    return ProviderRun(
        pipeline_external_id=fields.identity("dag_id", "DAG run"),
        external_id=fields.identity("dag_run_id", "DAG run"),
        status=fields.text("state") or "none",
        run_type=fields.text("run_type") or "manual",
        run_at=run_at,
        queued_at=queued_at,
        started_at=started_at,
        ended_at=fields.datetime("end_date"),
        run_after=run_after,
        logical_date=logical_date,
        data_interval_start=fields.datetime("data_interval_start"),
        data_interval_end=fields.datetime("data_interval_end"),
        conf=fields.json("conf", {}),
        note=fields.text("note"),
        triggered_by=fields.text("triggering_user_name"),
        last_decision=fields.text("last_scheduling_decision"),
        provider_metadata=metadata,
    )


def _version_order(version: object) -> tuple[int, str]:
    fields = mapping(version)
    return parse_int(fields.get("version_number"), 0), str(fields.get("id"))


def parse_task_run(raw: Json) -> ProviderTaskRun:
    fields = Fields.of(raw)
    task = fields.identity("task_id", "task instance")
    region, loop = region_of(fields), loop_of(fields)
    return ProviderTaskRun(
        pipeline_external_id=fields.identity("dag_id", "task instance"),
        run_external_id=fields.identity("dag_run_id", "task instance"),
        external_id=task,
        map_index=fields.index("map_index", NOT_MAPPED),
        region_id=region.region_id,
        region_index=region.region_index,
        loop_id=loop.loop_id,
        loop_iteration=loop.iteration,
        name=fields.text("task_display_name") or task,
        operator=fields.text("operator_name") or fields.text("operator"),
        status=fields.text("state") or "none",
        try_number=fields.number("try_number", 0),
        max_tries=fields.number("max_tries", 0),
        queued_at=fields.datetime("queued_when"),
        started_at=fields.datetime("start_date"),
        ended_at=fields.datetime("end_date"),
        pool=fields.text("pool"),
        queue=fields.text("queue"),
        hostname=fields.text("hostname"),
        note=fields.text("note"),
        run_at=fields.datetime("run_after") or fields.datetime("logical_date"),
        execution_id=fields.text("id"),
        provider_metadata=dialect.task_run_metadata(fields, {"operator_name"}),
    )
