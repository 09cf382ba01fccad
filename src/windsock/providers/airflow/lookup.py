"""Finds one run and its task runs: at its own address where that can be trusted, else in lists of its moment.

Both servers decode %2F before they route (measured on 3.3.2 and 2.11.2), so that a run id with a slash has no address:
what answers there is the router, or another object. Only Airflow's own words about this very run are evidence that it
does not exist, or a complete list of the runs of its moment in which it does not stand.
"""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from http import HTTPStatus
from urllib.parse import quote

from windsock.errors import (
    ProviderBadResponse,
    ProviderFailed,
    ProviderHTTPError,
    ProviderInconclusive,
    ProviderLacksObject,
)
from windsock.providers.airflow.counting import count
from windsock.providers.airflow.dialect import Dialect
from windsock.providers.airflow.isolation import cause_of
from windsock.providers.airflow.scans import Fetch, Limits
from windsock.providers.base import Page, ProviderRun, ProviderTaskRun
from windsock.providers.scopes import Resume, RunRange, SingleRun

_NO_NAMES = frozenset({"", ".", "..", "~"})
"""Segments that mean something else: clients and proxies resolve dots, and ~ stands for all."""
_NOT_ABOUT_THE_OBJECT = frozenset(
    {HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.REQUEST_URI_TOO_LONG}
)
"""What routers and proxies answer to an address that they cannot use."""


def has_address(*names: str) -> bool:
    """Whether a path made of these names, percent-encoded, reaches the object and nothing else."""
    return all("/" not in name and name not in _NO_NAMES for name in names)


_TITLE_OF_V1 = "DAGRun not found"
_NO_ADDRESS = "It has no address in Airflow's API: its name would be taken apart at a slash or dot."


class _AddressUnusable(Exception):
    """The response at the address of a run is not about it, or the run has no address."""

    def __init__(self, why: str, failure: ProviderFailed | None = None) -> None:
        super().__init__(why)
        self.failure = failure

    def as_failure(self, dag_id: str, run_id: str) -> ProviderFailed:
        """Return the failure if no list can be read either: a 404 of the router must not look like a refusal."""
        if self.failure is not None and self.failure.status != HTTPStatus.NOT_FOUND:
            return self.failure
        return ProviderInconclusive(f"Whether there is a run {run_id!r} of {dag_id!r} cannot be told. {self}")


async def find_run(
    ask: Fetch, limits: Limits, dialect: Dialect, dag_id: str, run_id: str, position: datetime | None
) -> ProviderRun | None:
    """The run, or None on evidence that it does not exist."""
    try:
        return await _get_run(ask, dialect, dag_id, run_id)
    except _AddressUnusable as unusable:
        if position is None:
            raise unusable.as_failure(dag_id, run_id) from None
    found, may_be_skipped = None, False
    try:
        async for page in dialect.runs(ask, limits, _time_range(dag_id, position), None):
            may_be_skipped |= any(row.run_external_id in {None, run_id} and not row.fields for row in page.skipped)
            for run in page.rows:
                if (run.pipeline_external_id, run.external_id) == (dag_id, run_id):
                    found = run
    except ProviderHTTPError as failure:
        if not _is_missing(failure, dag_id):
            raise
    if found is None and may_be_skipped:
        raise ProviderInconclusive(f"The list in which a run {run_id!r} of {dag_id!r} would stand lacks rows.")
    return found


async def _get_run(ask: Fetch, dialect: Dialect, dag_id: str, run_id: str) -> ProviderRun | None:
    if not has_address(dag_id, run_id):
        raise _AddressUnusable(_NO_ADDRESS)
    path = f"{dialect.root}/dags/{quote(dag_id, safe='~')}/dagRuns/{quote(run_id, safe='~')}"
    try:
        body = (await ask(path, {})).body
    except ProviderFailed as failure:
        if _is_missing(failure, dag_id, run_id):
            return None
        if not _is_about_the_address(failure):
            if cause_of(failure) == "size":
                await _raise_if_server_responds(ask, dialect, dag_id, failure)
            raise
        raise _AddressUnusable(str(failure), failure) from None
    if not isinstance(body, dict):
        raise ProviderBadResponse(f"Airflow gave something that is not a DAG run for {run_id}.")
    if (body.get("dag_id"), body.get("dag_run_id")) != (dag_id, run_id):
        raise _AddressUnusable(f"GET {path} was answered with something else than that run.")
    return dialect.parse_run(body)


async def _raise_if_server_responds(ask: Fetch, dialect: Dialect, dag_id: str, failure: ProviderFailed) -> None:
    """After a run could not be read in time: raise a 500 if the server responds to a list without rows.

    Then the run is unreadable. Otherwise the server may be down, and the caller raises `failure` itself.
    """
    now = datetime.now(UTC)
    try:
        await count(ask, dialect.count_request("runs", RunRange(now, now, dag_id)))
    except ProviderFailed:
        return
    raise ProviderHTTPError(HTTPStatus.INTERNAL_SERVER_ERROR, str(failure), is_transient=False) from None


async def read_task_runs(
    ask: Fetch, limits: Limits, dialect: Dialect, run: SingleRun, resume: Resume | None
) -> AsyncIterator[Page[ProviderTaskRun]]:
    """All task runs of a run. Raises ProviderLacksObject on evidence that the run does not exist."""
    dag_id, run_id = run.pipeline_external_id, run.run_external_id
    try:
        async for page in _list_task_runs(ask, limits, dialect, run, resume):
            yield page
    except _AddressUnusable as unusable:
        if run.position is None:
            raise unusable.as_failure(dag_id, run_id) from None
    else:
        return
    async for page in dialect.task_runs(ask, limits, _time_range(dag_id, run.position), None):
        yield replace(page, rows=[task for task in page.rows if _is_of(task, run)], expected=None, resume=None)


async def _list_task_runs(
    ask: Fetch, limits: Limits, dialect: Dialect, run: SingleRun, resume: Resume | None
) -> AsyncIterator[Page[ProviderTaskRun]]:
    dag_id, run_id = run.pipeline_external_id, run.run_external_id
    if not has_address(dag_id, run_id):
        raise _AddressUnusable(_NO_ADDRESS)
    try:
        async for page in dialect.task_runs(ask, limits, run, resume):
            if not all(_is_of(task, run) for task in page.rows):
                raise _AddressUnusable("The list of its task instances holds those of other runs.")
            yield page
    except (ProviderHTTPError, ProviderBadResponse) as failure:
        if isinstance(failure, ProviderHTTPError) and _is_missing(failure, dag_id, run_id):
            raise ProviderLacksObject(
                failure.status, str(failure), is_transient=False, provider_message=failure.provider_message
            ) from None
        if not _is_about_the_address(failure):
            raise
        raise _AddressUnusable(str(failure), failure) from None


def _time_range(dag_id: str, position: datetime) -> RunRange:
    return RunRange(position, position, dag_id if has_address(dag_id) else None)


def _is_of(task: ProviderTaskRun, run: SingleRun) -> bool:
    return (task.pipeline_external_id, task.run_external_id) == (run.pipeline_external_id, run.run_external_id)


def _is_missing(failure: ProviderFailed, dag_id: str, run_id: str | None = None) -> bool:
    """Whether Airflow says that this very DAG or run is not there.

    3.x: "The DagRun with dag_id: `d` and run_id: `r` was not found" (of task instances without "The") and "The Dag with
    ID: `d` was not found". 2.x: "DAGRun with DAG ID: 'd' and DagRun ID: 'r' not found", or only the title of that.
    """
    if not isinstance(failure, ProviderHTTPError) or failure.status != HTTPStatus.NOT_FOUND:
        return False
    message = failure.provider_message.rstrip(".")
    is_of_dag = _quotes(message, dag_id) and message.endswith("not found")
    if run_id is None:
        return is_of_dag and "dag" in message.lower()
    return message == _TITLE_OF_V1 or (is_of_dag and "dagrun" in message.lower() and _quotes(message, run_id))


def _quotes(message: str, name: str) -> bool:
    words = " ".join(name.split())
    return f"`{words}`" in message or f"'{words}'" in message


def _is_about_the_address(failure: ProviderFailed) -> bool:
    return isinstance(failure, ProviderBadResponse) or failure.status in _NOT_ABOUT_THE_OBJECT
