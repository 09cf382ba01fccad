"""The API of Airflow 2: /api/v1."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Literal

from windsock.errors import ProviderBadResponse
from windsock.providers.airflow import dialect
from windsock.providers.airflow.fields import Fields
from windsock.providers.airflow.paged_scan import PagedScan
from windsock.providers.airflow.parsing import between, format_datetime, parse_int, text
from windsock.providers.airflow.scans import ApiRequest, Fetch, Limits, Listing
from windsock.providers.airflow.windowed_scan import BEFORE_ALL, CHANGE, WindowedScan
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

_PIPELINE_COLUMNS = dialect.PIPELINE_COLUMNS | {"is_active", "schedule_interval", "timetable_description"}
_PLURALS = ("years", "months", "days", "hours", "minutes", "seconds", "microseconds")
_SINGULARS = ("year", "month", "day", "hour", "minute", "second", "microsecond")


class V1:
    """Unknown parameters are refused with 400, so only those go out that every version since 2.6 knows."""

    name: Literal["v1"] = "v1"
    root = "/api/v1"
    health = "/api/v1/health"

    def pipelines(self) -> Listing[ProviderPipeline]:
        return Listing(
            path=f"{self.root}/dags",
            name="dags",
            params={"only_active": "false", "order_by": "dag_id"},
            parse=parse_pipeline,
            key=dialect.pipeline_key,
        )

    def parse_run(self, raw: Json) -> ProviderRun:
        return parse_run(raw)

    def parse_task_run(self, raw: Json) -> ProviderTaskRun:
        return parse_task_run(raw)

    def trigger_body(self, request: RunRequest) -> Json:
        """No null for conf, and a logical_date that is not named is now (measured on 2.11.2)."""
        body: Json = {"dag_run_id": request.external_id, "conf": request.conf, "note": request.note}
        return body if request.logical_date is None else {**body, "logical_date": format_datetime(request.logical_date)}

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
        return PagedScan(ask, listing, limits, offers_cursor=False).pages(resume)

    def task_runs(
        self, ask: Fetch, limits: Limits, scope: ScanScope, resume: Resume | None
    ) -> AsyncIterator[Page[ProviderTaskRun]]:
        """Task instances of 2.x have no order and no cap: they are read by windows of time."""
        is_change = isinstance(scope, UpdatedSince)
        listing = Listing(
            path=self.root + dialect.path_of("task_runs", scope),
            name="task_instances",
            params=between("execution_date", None, scope.runs_until) if isinstance(scope, UpdatedSince) else {},
            parse=parse_task_run,
            key=dialect.task_run_key,
        )
        window: tuple[datetime, datetime | None]
        if isinstance(scope, UpdatedSince):
            window = (scope.since, scope.until)
        elif isinstance(scope, Unfinished):
            raise TypeError("Unfinished is a scope of runs.")
        elif isinstance(scope, SingleRun):  # all instances of one run have its logical date: no split parts them
            window, limits = (BEFORE_ALL, None), replace(limits, shortest=timedelta.max)
        else:
            window = (scope.start, scope.end)
        field = CHANGE if is_change else "execution_date"
        return WindowedScan(ask, listing, limits, field=field, window=window).pages(resume)

    def count_request(self, what: Literal["runs", "task_runs"], window: RunRange) -> ApiRequest:
        """A page beyond the end, which holds no row that could break it: limit=0 means the default on 2.11.2."""
        no_row = {"limit": "1", "offset": dialect.BEYOND_THE_END}
        return ApiRequest(path=self.root + dialect.path_of(what, window), params={**_filters(window), **no_row})

    def events(self, since: datetime) -> list[ApiRequest]:
        """`after` and `excluded_events` are known since 2.9 and 2.10; before, unknown parameters are refused."""
        plain = {"order_by": "-event_log_id", "limit": "100"}
        excluded = {"after": format_datetime(since), "excluded_events": ",".join(dialect.SYSTEM_EVENTS)}
        return [ApiRequest(path=self.root + dialect.EVENTS, params=params) for params in ({**excluded, **plain}, plain)]


def _filters(scope: ScanScope) -> Mapping[str, str | Sequence[str]]:
    if isinstance(scope, SingleRun):
        return {}
    if isinstance(scope, RunRange):
        return between("execution_date", scope.start, scope.end)
    of_runs = between("execution_date", scope.runs_from if isinstance(scope, UpdatedSince) else None, scope.runs_until)
    if isinstance(scope, Unfinished):
        return {"state": dialect.UNFINISHED, **of_runs}
    return {**between("updated_at", scope.since, scope.until), **of_runs}


def parse_pipeline(raw: Json) -> ProviderPipeline:
    """Measured on 2.11.2: owners keep the blanks of the DAG file, so joining them gives its owner as it was written."""
    fields = Fields.of(raw)
    external_id = fields.identity("dag_id", "DAG")
    owners = fields.texts("owners")
    return ProviderPipeline(
        external_id=external_id,
        name=fields.text("dag_display_name") or external_id,
        description=fields.text("description"),
        owner=",".join(owners) or None,
        owners=sorted({owner.strip() for owner in owners if owner.strip()}),
        tags=fields.tags(),
        schedule=schedule(fields.get("schedule_interval")),
        schedule_description=fields.text("timetable_description"),
        next_run_at=fields.datetime("next_dagrun_create_after"),
        is_paused=fields.flag("is_paused"),
        is_active=fields.flag("is_active"),
        has_import_errors=fields.flag("has_import_errors"),
        provider_metadata=fields.rest(_PIPELINE_COLUMNS | dialect.CHANGES_AT_EVERY_PARSE),
    )


def schedule(interval: object) -> str | None:
    """A cron text ("@daily"), a duration ("1 day, 0:00:00"), a relative one ("1 months at day 1"), or None."""
    if not isinstance(interval, dict):
        return text(interval)
    if interval.get("__type") == "TimeDelta":
        parts = {name: parse_int(interval.get(name), 0) for name in ("days", "seconds", "microseconds")}
        try:
            return str(timedelta(**parts))
        except OverflowError:
            return None
    if interval.get("__type") == "RelativeDelta":
        lengths = [f"{interval[name]} {name}" for name in _PLURALS if interval.get(name)]
        places = [f"{name} {interval[name]}" for name in _SINGULARS if interval.get(name) is not None]
        return " at ".join(", ".join(words) for words in (lengths, places) if words) or None
    return text(interval.get("value"))


def parse_run(raw: Json) -> ProviderRun:
    """A run of 2.x, which has no queued_at and no run_after (measured on 2.11.2).

    The interval of a manual run may end before it began; that of a scheduled one ends when it is due. So the later of
    logical date and end is the run's place in time.
    """
    fields = Fields.of(raw)
    logical_date = fields.datetime("logical_date") or fields.datetime("execution_date")
    if logical_date is None:
        raise ProviderBadResponse("Airflow gave a DAG run without its logical_date.")
    ends = fields.datetime("data_interval_end")
    run_type = fields.text("run_type") or ("manual" if fields.get("external_trigger") else "scheduled")
    return ProviderRun(
        pipeline_external_id=fields.identity("dag_id", "DAG run"),
        external_id=fields.identity("dag_run_id", "DAG run"),
        status=fields.text("state") or "none",
        run_type=run_type,
        run_at=max(logical_date, ends) if ends else logical_date,
        queued_at=None,
        started_at=fields.datetime("start_date"),
        ended_at=fields.datetime("end_date"),
        run_after=None,
        logical_date=logical_date,
        data_interval_start=fields.datetime("data_interval_start"),
        data_interval_end=ends,
        conf=fields.json("conf", {}),
        note=fields.text("note"),
        triggered_by=None,
        last_decision=fields.text("last_scheduling_decision"),
        provider_metadata=fields.rest(dialect.RUN_COLUMNS),
    )


def parse_task_run(raw: Json) -> ProviderTaskRun:
    fields = Fields.of(raw)
    task = fields.identity("task_id", "task instance")
    return ProviderTaskRun(
        pipeline_external_id=fields.identity("dag_id", "task instance"),
        run_external_id=fields.identity("dag_run_id", "task instance"),
        external_id=task,
        map_index=fields.index("map_index", NOT_MAPPED),
        name=fields.text("task_display_name") or task,
        operator=fields.text("operator"),
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
        run_at=fields.datetime("execution_date"),
        provider_metadata=dialect.task_run_metadata(fields, {"operator"}),
    )
