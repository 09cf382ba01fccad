"""What one process of Windsock holds open: the database, the keys, the way to providers, the jobs."""

import asyncio
import contextlib
import os
import secrets as random
import socket
from collections.abc import AsyncIterator
from typing import Any

from windsock import log
from windsock.connectors.secrets import Secrets
from windsock.connectors.store import AirflowConnector
from windsock.db import Database
from windsock.embedded import EmbeddedPostgresError
from windsock.providers.airflow import Airflow, TokenCache, token_key
from windsock.providers.contract import Provider
from windsock.settings import Settings
from windsock.storage import Storage
from windsock.sync.execution import Execution
from windsock.sync.jobs import SyncJobs, open_jobs
from windsock.triggers.sending import Triggers

WATCHDOG_SECONDS = 2.0
TRIGGERS_AT_A_TIME = 16

logger = log.get(__name__)


class Process:
    def __init__(self, settings: Settings, storage: Storage) -> None:
        self.settings, self.storage = settings, storage
        self.db = Database(storage.app_url, pool_size=settings.database_pool_size)
        self.secrets = Secrets(storage.secret_keys)
        self.tokens = TokenCache()
        holder = f"{socket.gethostname()}:{os.getpid()}:{random.token_hex(4)}"
        self.execution = Execution(self.db, self.secrets, self.open_provider, holder)
        self.triggers = Triggers(self.secrets, self.open_provider, asyncio.Semaphore(TRIGGERS_AT_A_TIME))
        self._jobs_app = open_jobs(storage.app_url)
        self.jobs = SyncJobs(self._jobs_app, self.db, self.execution)

    def open_provider(self, connector: AirflowConnector, api_version: Any) -> Provider:  # noqa: ANN401 - "v1" or "v2"
        key = token_key(connector.id, connector.config.base_url, connector.credentials)
        return Airflow(
            connector.config,
            connector.credentials,
            api_version=api_version,
            tokens=self.tokens,
            key=key,
            as_machine=self.settings.machine_identity,
        )

    @contextlib.asynccontextmanager
    async def opened(self, *, works: bool) -> AsyncIterator[None]:
        """Everything open while the body runs; with `works`, syncs are carried out too."""
        async with contextlib.AsyncExitStack() as stack:
            if self.storage.embedded is not None:
                watchdog = asyncio.create_task(self._keep_postgres_alive())
                stack.push_async_callback(_cancel, watchdog)
            await self.db.open()
            stack.push_async_callback(self.db.close)
            await stack.enter_async_context(self._jobs_app.open_async())
            if works:
                await stack.enter_async_context(self.jobs.working(self.settings.worker_concurrency))
            yield

    async def _keep_postgres_alive(self) -> None:
        """Start the embedded PostgreSQL again should it have died; asking a living one takes milliseconds."""
        while self.storage.embedded is not None:
            await asyncio.sleep(WATCHDOG_SECONDS)
            try:
                await asyncio.to_thread(self.storage.embedded.start)
            except EmbeddedPostgresError:
                logger.exception("the embedded PostgreSQL does not run; trying again")


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
