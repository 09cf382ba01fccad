"""Tests a connection to an Airflow as a sync will use it, and says what is wrong and what to try."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Literal

from windsock import egress
from windsock.errors import ProviderFailed, ProviderHTTPError
from windsock.providers.airflow.airflow import Airflow
from windsock.providers.airflow.config import AirflowConfig, Credentials
from windsock.providers.airflow.tokens import TokenCache
from windsock.providers.scopes import RunRange

REQUESTS_PER_DAG = 2
"""Of a sync that reads DAG by DAG: runs, and task instances."""
RECENT = timedelta(days=1)
"""The lists are asked for what is younger: without a bound their counts take long on large servers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """`latency_ms`: how long Airflow took to list one DAG, or until it failed. Versions are None where unknown."""

    success: bool
    message: str
    latency_ms: float
    provider_version: str | None
    api_version: Literal["v1", "v2"] | None
    hints: list[str]


async def diagnose(
    config: AirflowConfig,
    credentials: Credentials,
    *,
    policy: egress.Policy,
    tokens: TokenCache,
    key: str,
    as_machine: bool = False,
    transport: egress.AsyncBaseTransport | None = None,
) -> Diagnosis:
    """Do once what a sync does: version, sign-in, one row of each list. Never raises for trouble of the provider.

    Signs in afresh, and leaves the token to the syncs (`tokens`, `key`), so that they use what was tested. Each request
    is tried once: somebody is waiting.
    """
    for token_key in (key, f"{key}:v1"):
        tokens.drop(token_key)
    airflow = Airflow(
        config,
        credentials,
        api_version=None,
        tokens=tokens,
        key=key,
        policy=policy,
        as_machine=as_machine,
        transport=transport,
        tries=1,
    )
    started = time.monotonic()
    version: str | None = None
    api_version: Literal["v1", "v2"] | None = None
    try:
        identity = await airflow.detect_version()
        version, api_version = identity.version, "v1" if identity.api_version == "v1" else "v2"
        dags = await airflow.probe_dags()
        listed = await _probe_lists(airflow, dags.dag_id)
        hints = [*_hints_for_dags(dags.visible), *listed.hints(dags.visible), *await _further_hints(airflow)]
    except ProviderFailed as failure:
        return Diagnosis(
            success=False,
            message=str(failure),
            latency_ms=_milliseconds(time.monotonic() - started),
            provider_version=version,
            api_version=api_version,
            hints=list(failure.hints),
        )
    finally:
        await airflow.aclose()
    sees = f"the account sees {dags.visible} DAG{'' if dags.visible == 1 else 's'}"
    if listed.failure is not None:
        sees = f"{sees}, but {listed.what} cannot be read: {str(listed.failure).rstrip('.')}"
    elif listed.is_per_dag:
        sees = f"{sees} and may read runs DAG by DAG only"
    return Diagnosis(
        success=listed.failure is None,
        message=f"{'Connected' if listed.failure is None else 'Signed in'} to Airflow {version}; {sees}.",
        latency_ms=_milliseconds(dags.seconds),
        provider_version=version,
        api_version=api_version,
        hints=hints,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lists:
    """Result of reading the lists: `failure` belongs to `what`; `is_per_dag`: lists of all DAGs are refused."""

    failure: ProviderFailed | None = None
    what: str = ""
    is_per_dag: bool = False

    def hints(self, visible: int) -> list[str]:
        if self.failure is not None:
            return list(self.failure.hints)
        if not self.is_per_dag:
            return []
        requests = f"Airflow refuses the lists of all DAGs: a sync takes about {REQUESTS_PER_DAG * visible} requests."
        return [
            f"{requests} It takes a few with can read on DAGs, DAG Runs, Task Instances for all DAGs (role Viewer)."
        ]


async def _probe_lists(airflow: Airflow, dag_id: str | None) -> _Lists:
    try:
        await _probe_both(airflow, None)
    except _ListFailed as refused:
        if refused.status != HTTPStatus.FORBIDDEN or dag_id is None:
            return _Lists(failure=refused.failure, what=refused.what)
    else:
        return _Lists()
    try:
        await _probe_both(airflow, dag_id)
    except _ListFailed as refused:
        return _Lists(failure=refused.failure, what=refused.what)
    return _Lists(is_per_dag=True)


async def _probe_both(airflow: Airflow, dag_id: str | None) -> None:
    window = RunRange(datetime.now(UTC) - RECENT, None, dag_id)
    for what, words in (("runs", "DAG runs"), ("task_runs", "task instances")):
        try:
            await airflow.probe_rows("runs" if what == "runs" else "task_runs", window)
        except ProviderFailed as failure:
            raise _ListFailed(failure, words) from None


class _ListFailed(Exception):
    def __init__(self, failure: ProviderFailed, what: str) -> None:
        super().__init__(str(failure))
        self.failure = failure
        self.what = what
        self.status = failure.status if isinstance(failure, ProviderHTTPError) else None


def _hints_for_dags(visible: int) -> list[str]:
    if visible:
        return []
    return ["The account sees no DAG: Airflow has none yet, or the account has not the permission to read them."]


async def _further_hints(airflow: Airflow) -> list[str]:
    """Check optional parts: audit log, import errors, a running scheduler."""
    return [
        *await _hints_of(
            airflow.probe_events,
            "The audit log cannot be read, so that notes, deletions and pauses are noticed later",
        ),
        *await _hints_of(airflow.probe_import_errors, "Import errors cannot be read, and are not counted"),
        *await _hints_for_health(airflow),
    ]


async def _hints_of(probe: Callable[[], Awaitable[None]], consequence: str) -> list[str]:
    try:
        await probe()
    except ProviderFailed as failure:
        return [" ".join((f"{consequence}: {failure}", *failure.hints[-1:]))]
    return []


async def _hints_for_health(airflow: Airflow) -> list[str]:
    """A connection without a scheduler is still one that can be mirrored; so is one whose health cannot be read."""
    try:
        health = await airflow.health()
    except ProviderFailed as failure:
        return [f"The health of Airflow could not be read: {failure}"]
    return [
        f"Airflow says that its {name.replace('_', ' ')} is {status}"
        + (": runs that are triggered stay queued." if name == "scheduler" else ".")
        for name, status in health.items()
        if status != "healthy"
    ]


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 1)
