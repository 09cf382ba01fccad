"""Starts a DAG run exactly once: the run id is ours, so that a lost answer is looked up before anything is repeated."""

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from urllib.parse import quote

from windsock.errors import ProviderBadResponse, ProviderFailed, ProviderHTTPError
from windsock.providers.airflow.dialect import Dialect
from windsock.providers.airflow.http import ApiResponse, Sleep
from windsock.providers.base import (
    ProviderRun,
)
from windsock.providers.scopes import RunRequest

TRIES = 3

Post = Callable[[str, Mapping[str, object]], Awaitable[ApiResponse]]
FindRun = Callable[[str, str], Awaitable[ProviderRun | None]]


async def trigger(
    post: Post, dialect: Dialect, request: RunRequest, look_up: FindRun, sleep: Sleep, *, may_exist: bool
) -> ProviderRun:
    """Measured on 2.11.2 and 3.3.2: a second POST with a run id that is there is 409 and starts nothing."""
    path = f"{dialect.root}/dags/{quote(request.pipeline_external_id, safe='~')}/dagRuns"
    body = dialect.trigger_body(request)
    if may_exist and (found := await _find_earlier(look_up, request)):
        return found
    may_be_started = False
    for attempt in range(1, TRIES + 1):
        try:
            return _run_in(await post(path, body), dialect)
        except ProviderFailed as raised:
            failure = raised
        if not failure.request_sent:
            failure.request_sent = may_be_started  # by an attempt before this one
            raise failure
        is_refusal = isinstance(failure, ProviderHTTPError) and failure.status < HTTPStatus.INTERNAL_SERVER_ERROR
        if is_refusal and failure.status != HTTPStatus.CONFLICT:
            raise failure
        may_be_started = may_be_started or not is_refusal
        # It is there already, or the answer was lost and it may be.
        found = await _found(look_up, request, failure)
        if found is not None:
            return found
        if is_refusal or attempt == TRIES:
            raise failure
        await sleep(attempt)
    raise ProviderBadResponse(f"Airflow gave no answer to POST {path}.")


async def _find_earlier(look_up: FindRun, request: RunRequest) -> ProviderRun | None:
    try:
        return await look_up(request.pipeline_external_id, request.external_id)
    except ProviderFailed as failure:
        failure.request_sent = True  # by whoever tried before
        raise


async def _found(look_up: FindRun, request: RunRequest, failure: ProviderFailed) -> ProviderRun | None:
    try:
        return await look_up(request.pipeline_external_id, request.external_id)
    except ProviderFailed:
        raise failure from None


def _run_in(response: ApiResponse, dialect: Dialect) -> ProviderRun:
    if not isinstance(response.body, dict):
        raise ProviderBadResponse("Airflow accepted a trigger, and answered with something that is not a DAG run.")
    return dialect.parse_run(response.body)
