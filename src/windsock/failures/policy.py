"""Whether the logs of a connector are read when a run fails, when a user opens it, or never; one at a time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID
from weakref import WeakValueDictionary

from windsock.errors import ProviderTimedOut
from windsock.providers.airflow import AirflowConfig, read_logs_setting

WAIT_SECONDS = 20.0
"""How long a log waits for others of the same Airflow."""


def reads_on_failure(config: AirflowConfig, provider_version: str | None) -> bool:
    return read_logs_setting(config.read_logs, provider_version) == "on_failure"


def reads_on_request(config: AirflowConfig, provider_version: str | None) -> bool:
    return read_logs_setting(config.read_logs, provider_version) != "off"


class LogReadersBusy(ProviderTimedOut):
    """Nothing was sent: other logs of the same Airflow are being read."""


class LogLimit:
    """One log at a time from each Airflow in this process: an Airflow may hold a whole log in memory to deliver it."""

    def __init__(self) -> None:
        self._limits: WeakValueDictionary[UUID, asyncio.Semaphore] = WeakValueDictionary()

    @asynccontextmanager
    async def acquire(self, connector_id: UUID) -> AsyncIterator[None]:
        """Raises LogReadersBusy where others read for longer than WAIT_SECONDS."""
        limit = self._limits.setdefault(connector_id, asyncio.Semaphore(1))
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await limit.acquire()
        except TimeoutError:
            raise LogReadersBusy(
                "Windsock reads one log at a time from each Airflow, and others are being read. Try again in a moment."
            ) from None
        try:
            yield
        finally:
            limit.release()
