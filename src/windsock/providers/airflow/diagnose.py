"""Tests a connection to an Airflow and says, in sentences, what is wrong and what to try."""

import time
from dataclasses import dataclass
from typing import Literal

import httpx2

from windsock.errors import ProviderFailed
from windsock.providers.airflow.airflow import Airflow
from windsock.providers.airflow.auth import TokenCache
from windsock.providers.airflow.config import AirflowConfig, Credentials


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
    as_machine: bool = False,
    transport: httpx2.AsyncBaseTransport | None = None,
) -> Diagnosis:
    """Find the version, sign in afresh, list one DAG, look at the health. Never raises for trouble of the provider.

    Each request is tried once: somebody is waiting.
    """
    airflow = Airflow(
        config,
        credentials,
        api_version=None,
        tokens=TokenCache(),
        key="diagnose",
        as_machine=as_machine,
        transport=transport,
        tries=1,
    )
    began = time.monotonic()
    version: str | None = None
    api_version: Literal["v1", "v2"] | None = None
    try:
        identity = await airflow.identify()
        version, api_version = identity.version, "v1" if identity.api_version == "v1" else "v2"
        visible, seconds = await airflow.probe()
        hints = [*_hints_for_dags(visible), *await _hints_for_health(airflow)]
    except ProviderFailed as failure:
        return Diagnosis(
            success=False,
            message=str(failure),
            latency_ms=_milliseconds(time.monotonic() - began),
            provider_version=version,
            api_version=api_version,
            hints=list(failure.hints),
        )
    finally:
        await airflow.aclose()
    return Diagnosis(
        success=True,
        message=f"Connected to Airflow {version}; the account sees {visible} DAG{'' if visible == 1 else 's'}.",
        latency_ms=_milliseconds(seconds),
        provider_version=version,
        api_version=api_version,
        hints=hints,
    )


def _hints_for_dags(visible: int) -> list[str]:
    if visible:
        return []
    return ["The account sees no DAG: Airflow has none yet, or the account has not the permission to read them."]


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
