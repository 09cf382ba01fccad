"""The API of Airflow 2: /api/v1."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
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
from windsock.providers.airflow.windows import WindowScan
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

_PIPELINE_COLUMNS = dialect.PIPELINE_COLUMNS | {"is_active", "schedule_interval", "timetable_description"}
_BEFORE_ALL = datetime(1970, 1, 1, tzinfo=UTC)
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

    def run_to_start(self, request: RunRequest) -> Json:
        """No null for conf, and a logical_date that is not named is now (measured on 2.11.2)."""
        body: Json = {"dag_run_id": request.external_id, "conf": request.conf, "note": request.note}
        return body if request.logical_date is None else {**body, "logical_date": to_wire(request.logical_date)}

    def runs(self, ask: Ask, limits: Limits, scope: Scope, resume: Resume | None) -> AsyncIterator[Page[ProviderRun]]:
        listing = Listing(
            path=self.root + dialect.path_of("runs", scope),
            name="dag_runs",
            params={**_filters(scope), "order_by": "id"},
            parse=parse_run,
            key=dialect.run_key,
        )
        return PageScan(ask, listing, limits, offers_cursor=False).pages(resume)

    def task_runs(
        self, ask: Ask, limits: Limits, scope: Scope, resume: Resume | None
    ) -> AsyncIterator[Page[ProviderTaskRun]]:
        """Task instances of 2.x have no order and no cap: they are read by windows of time."""
        is_change = isinstance(scope, ChangedSince)
        listing = Listing(
            path=self.root + dialect.path_of("task_runs", scope),
            name="task_instances",
            params={},
            parse=parse_task_run,
            key=dialect.task_run_key,
        )
        window: tuple[datetime, datetime | None]
        if isinstance(scope, ChangedSince):
            window = (scope.since, scope.until)
        elif isinstance(scope, OfRun):  # all instances of one run have its logical date: no split parts them
            window, limits = (_BEFORE_ALL, None), replace(limits, shortest=timedelta.max)
        else:
            window = (scope.start, scope.end)
        field = "updated_at" if is_change else "execution_date"
        return WindowScan(ask, listing, limits, field=field, window=window).pages(resume)

    def counting(self, what: Literal["runs", "task_runs"], window: RunsBetween) -> Question:
        """One row: limit=0 means the default here (measured on 2.11.2)."""
        return Question(path=self.root + dialect.path_of(what, window), params={**_filters(window), "limit": "1"})

    def events(self, since: datetime) -> list[Question]:
        """`after` and `excluded_events` are known since 2.9 and 2.10; before, unknown parameters are refused."""
        plain = {"order_by": "-event_log_id", "limit": "100"}
        excluded = {"after": to_wire(since), "excluded_events": ",".join(dialect.WRITTEN_BY_MACHINES)}
        return [Question(path=self.root + dialect.EVENTS, params=params) for params in ({**excluded, **plain}, plain)]


def _filters(scope: Scope) -> dict[str, str]:
    if isinstance(scope, ChangedSince):
        until = {} if scope.until is None else {"updated_at_lte": to_wire(scope.until)}
        runs_from = {} if scope.runs_from is None else {"execution_date_gte": to_wire(scope.runs_from)}
        return {"updated_at_gte": to_wire(scope.since), **until, **runs_from}
    if isinstance(scope, OfRun):
        return {}
    filters = {"execution_date_gte": to_wire(scope.start)}
    return filters if scope.end is None else {**filters, "execution_date_lte": to_wire(scope.end)}


def parse_pipeline(raw: Json) -> ProviderPipeline:
    """Measured on 2.11.2: owners keep the blanks of the DAG file, so joining them gives its owner as it was written."""
    external_id = identity(raw, "dag_id", "DAG")
    owners = texts(raw.get("owners"))
    return ProviderPipeline(
        external_id=external_id,
        name=text(raw.get("dag_display_name")) or external_id,
        description=text(raw.get("description")),
        owner=",".join(owners) or None,
        owners=sorted({owner.strip() for owner in owners if owner.strip()}),
        tags=tag_names(raw),
        schedule=schedule(raw.get("schedule_interval")),
        schedule_description=text(raw.get("timetable_description")),
        next_run_at=moment(raw, "next_dagrun_create_after"),
        is_paused=bool(raw.get("is_paused")),
        is_active=bool(raw.get("is_active")),
        has_import_errors=bool(raw.get("has_import_errors")),
        provider_metadata=without(raw, _PIPELINE_COLUMNS | dialect.CHANGES_AT_EVERY_PARSE),
    )


def schedule(interval: object) -> str | None:
    """A cron text ("@daily"), a duration ("1 day, 0:00:00"), a relative one ("1 months at day 1"), or None."""
    if not isinstance(interval, dict):
        return text(interval)
    if interval.get("__type") == "TimeDelta":
        parts = {name: number(interval.get(name), 0) for name in ("days", "seconds", "microseconds")}
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
    logical_date = moment(raw, "logical_date") or moment(raw, "execution_date")
    if logical_date is None:
        raise ProviderNonsense("Airflow gave a DAG run without its logical_date.")
    ends = moment(raw, "data_interval_end")
    run_type = text(raw.get("run_type")) or ("manual" if raw.get("external_trigger") else "scheduled")
    return ProviderRun(
        pipeline_external_id=identity(raw, "dag_id", "DAG run"),
        external_id=identity(raw, "dag_run_id", "DAG run"),
        status=text(raw.get("state")) or "none",
        run_type=run_type,
        run_at=max(logical_date, ends) if ends else logical_date,
        queued_at=None,
        started_at=moment(raw, "start_date"),
        ended_at=moment(raw, "end_date"),
        run_after=None,
        logical_date=logical_date,
        data_interval_start=moment(raw, "data_interval_start"),
        data_interval_end=ends,
        conf=mapping(raw.get("conf")),
        note=text(raw.get("note")),
        triggered_by=None,
        provider_metadata=without(raw, dialect.RUN_COLUMNS),
    )


def parse_task_run(raw: Json) -> ProviderTaskRun:
    task = identity(raw, "task_id", "task instance")
    return ProviderTaskRun(
        pipeline_external_id=identity(raw, "dag_id", "task instance"),
        run_external_id=identity(raw, "dag_run_id", "task instance"),
        external_id=task,
        map_index=number(raw.get("map_index"), NOT_MAPPED),
        name=text(raw.get("task_display_name")) or task,
        operator=text(raw.get("operator")),
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
        run_at=moment(raw, "execution_date"),
        provider_metadata=without(dialect.task_run_metadata(raw), {"operator"}),
    )
