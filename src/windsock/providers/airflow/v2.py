"""The API of Airflow 3: /api/v2."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Literal

from windsock.errors import ProviderNonsense
from windsock.providers.airflow import dialect
from windsock.providers.airflow.listing import Ask, Limits, Listing, Question
from windsock.providers.airflow.pages import PageScan
from windsock.providers.airflow.values import (
    identity,
    mapping,
    moment,
    number,
    tag_names,
    text,
    texts,
    to_wire,
    without,
)
from windsock.providers.contract import (
    NOT_MAPPED,
    ChangedSince,
    Json,
    OfRun,
    Page,
    ProviderPipeline,
    ProviderRun,
    ProviderTaskRun,
    Resume,
    RunRequest,
    RunsBetween,
    Scope,
)

_PIPELINE_COLUMNS = dialect.PIPELINE_COLUMNS | {"is_stale", "timetable_summary", "timetable_description"}


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

    def run_to_start(self, request: RunRequest) -> Json:
        """The key logical_date is required, though it may be null (422 without it, measured on 3.3.2)."""
        return {
            "dag_run_id": request.external_id,
            "logical_date": None if request.logical_date is None else to_wire(request.logical_date),
            "conf": request.conf,
            "note": request.note,
        }

    def runs(self, ask: Ask, limits: Limits, scope: Scope, resume: Resume | None) -> AsyncIterator[Page[ProviderRun]]:
        listing = Listing(
            path=self.root + dialect.path_of("runs", scope),
            name="dag_runs",
            params={**_filters(scope), "order_by": "id"},
            parse=parse_run,
            key=dialect.run_key,
        )
        return PageScan(ask, listing, limits, offers_cursor=True).pages(resume)

    def task_runs(
        self, ask: Ask, limits: Limits, scope: Scope, resume: Resume | None
    ) -> AsyncIterator[Page[ProviderTaskRun]]:
        """By GET: each POST to …/taskInstances/list writes a row into Airflow's audit log."""
        listing = Listing(
            path=self.root + dialect.path_of("task_runs", scope),
            name="task_instances",
            params={**_filters(scope), "order_by": "id"},
            parse=parse_task_run,
            key=dialect.task_run_key,
        )
        return PageScan(ask, listing, limits, offers_cursor=True).pages(resume)

    def counting(self, what: Literal["runs", "task_runs"], window: RunsBetween) -> Question:
        """With limit=0 no row is read and the total is exact (measured on 3.3.2 and 3.0.6)."""
        return Question(
            path=self.root + dialect.path_of(what, window), params={**_filters(window), "limit": "0", "order_by": "id"}
        )

    def events(self, since: datetime) -> list[Question]:
        params = {
            "after": to_wire(since),
            "excluded_events": dialect.WRITTEN_BY_MACHINES,
            "order_by": "-event_log_id",
            "limit": "100",
        }
        return [Question(path=self.root + dialect.EVENTS, params=params)]


def _filters(scope: Scope) -> dict[str, str]:
    """Only _gte and _lte: 3.0.x ignores _gt and _lt without a word."""
    if isinstance(scope, ChangedSince):
        until = {} if scope.until is None else {"updated_at_lte": to_wire(scope.until)}
        runs_from = {} if scope.runs_from is None else {"run_after_gte": to_wire(scope.runs_from)}
        return {"updated_at_gte": to_wire(scope.since), **until, **runs_from}
    if isinstance(scope, OfRun):
        return {}
    filters = {"run_after_gte": to_wire(scope.start)}
    return filters if scope.end is None else {**filters, "run_after_lte": to_wire(scope.end)}


def parse_pipeline(raw: Json) -> ProviderPipeline:
    """Measured on 3.3.2: the order of owners differs from call to call, so it is ours."""
    external_id = identity(raw, "dag_id", "DAG")
    owners = sorted({owner.strip() for owner in texts(raw.get("owners")) if owner.strip()})
    return ProviderPipeline(
        external_id=external_id,
        name=text(raw.get("dag_display_name")) or external_id,
        description=text(raw.get("description")),
        owner=", ".join(owners) or None,
        owners=owners,
        tags=tag_names(raw),
        schedule=text(raw.get("timetable_summary")),
        schedule_description=text(raw.get("timetable_description")),
        next_run_at=moment(raw, "next_dagrun_run_after") or moment(raw, "next_dagrun_create_after"),
        is_paused=bool(raw.get("is_paused")),
        is_active=not raw.get("is_stale"),
        has_import_errors=bool(raw.get("has_import_errors")),
        provider_metadata=without(raw, _PIPELINE_COLUMNS | dialect.CHANGES_AT_EVERY_PARSE),
    )


def parse_run(raw: Json) -> ProviderRun:
    run_after, logical_date = moment(raw, "run_after"), moment(raw, "logical_date")
    queued_at, started_at = moment(raw, "queued_at"), moment(raw, "start_date")
    run_at = run_after or logical_date or queued_at
    if run_at is None:
        raise ProviderNonsense("Airflow gave a DAG run without its run_after.")
    metadata = without(raw, dialect.RUN_COLUMNS)
    if isinstance(metadata.get("dag_versions"), list):
        metadata["dag_versions"] = sorted(metadata["dag_versions"], key=_version_order)
    return ProviderRun(
        pipeline_external_id=identity(raw, "dag_id", "DAG run"),
        external_id=identity(raw, "dag_run_id", "DAG run"),
        status=text(raw.get("state")) or "none",
        run_type=text(raw.get("run_type")) or "manual",
        run_at=run_at,
        queued_at=queued_at,
        started_at=started_at,
        ended_at=moment(raw, "end_date"),
        run_after=run_after,
        logical_date=logical_date,
        data_interval_start=moment(raw, "data_interval_start"),
        data_interval_end=moment(raw, "data_interval_end"),
        conf=mapping(raw.get("conf")),
        note=text(raw.get("note")),
        triggered_by=text(raw.get("triggering_user_name")),
        provider_metadata=metadata,
    )


def _version_order(version: object) -> tuple[int, str]:
    fields = mapping(version)
    return number(fields.get("version_number"), 0), str(fields.get("id"))


def parse_task_run(raw: Json) -> ProviderTaskRun:
    task = identity(raw, "task_id", "task instance")
    return ProviderTaskRun(
        pipeline_external_id=identity(raw, "dag_id", "task instance"),
        run_external_id=identity(raw, "dag_run_id", "task instance"),
        external_id=task,
        map_index=number(raw.get("map_index"), NOT_MAPPED),
        name=text(raw.get("task_display_name")) or task,
        operator=text(raw.get("operator_name")) or text(raw.get("operator")),
        status=text(raw.get("state")) or "none",
        try_number=number(raw.get("try_number"), 0),
        max_tries=number(raw.get("max_tries"), 0),
        queued_at=moment(raw, "queued_when"),
        started_at=moment(raw, "start_date"),
        ended_at=moment(raw, "end_date"),
        pool=text(raw.get("pool")),
        queue=text(raw.get("queue")),
        hostname=text(raw.get("hostname")),
        note=text(raw.get("note")),
        run_at=moment(raw, "run_after") or moment(raw, "logical_date"),
        provider_metadata=without(dialect.task_run_metadata(raw), {"operator_name"}),
    )
