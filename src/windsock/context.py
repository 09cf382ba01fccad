"""Resources of one process: database, encryption keys, providers, jobs."""

import asyncio
import contextlib
import os
import secrets as random
import socket
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

from psycopg.conninfo import conninfo_to_dict

from windsock import egress, log
from windsock.actions.service import TriggerService
from windsock.auth.authorizer import Uses
from windsock.connectors.encryption import Encryption
from windsock.connectors.store import AirflowConnector
from windsock.db.bootstrap import Storage
from windsock.db.database import Database
from windsock.embedded import EmbeddedPostgresError
from windsock.providers.airflow import (
    Airflow,
    AirflowConfig,
    Credentials,
    Diagnosis,
    TokenCache,
    diagnose,
    token_key,
)
from windsock.providers.base import Provider
from windsock.settings import Settings
from windsock.sync.jobs import SyncJobs
from windsock.sync.runner import SyncRunner

WATCHDOG_SECONDS = 2.0
TRIGGERS_AT_A_TIME = 16

logger = log.get(__name__)


class AppContext:
    """`serves`: whether this process answers requests itself, and therefore knows where it listens."""

    def __init__(self, settings: Settings, storage: Storage, *, serves: bool = True) -> None:
        self.settings, self.storage = settings, storage
        self.db = Database(storage.app_url, pool_size=settings.database_pool_size)
        self.uses = Uses(self.db)
        self.secrets = Encryption(storage.secret_keys)
        self.tokens = TokenCache()
        self.egress_policy = egress_policy(settings, serves=serves)
        holder = f"{socket.gethostname()}:{os.getpid()}:{random.token_hex(4)}"
        self.execution = SyncRunner(self.db, self.secrets, self.open_provider, holder)
        self.triggers = TriggerService(self.secrets, self.open_provider, asyncio.Semaphore(TRIGGERS_AT_A_TIME))
        self.jobs = SyncJobs(self.db, self.execution)

    def open_provider(self, connector: AirflowConnector, api_version: Any) -> Provider:  # noqa: ANN401 - "v1" or "v2"
        key = token_key(connector.id, connector.config.base_url, connector.credentials)
        return Airflow(
            connector.config,
            connector.credentials,
            api_version=api_version,
            tokens=self.tokens,
            key=key,
            as_machine=self.settings.machine_identity,
            policy=self.egress_policy,
        )

    async def diagnose(
        self, config: AirflowConfig, credentials: Credentials, *, connector_id: UUID | None = None
    ) -> Diagnosis:
        """Test a connection; one that is stored (`connector_id`) leaves its sign-in to the next sync."""
        return await diagnose(
            config,
            credentials,
            policy=self.egress_policy,
            tokens=TokenCache() if connector_id is None else self.tokens,
            key=token_key(connector_id, config.base_url, credentials),
            as_machine=self.settings.machine_identity,
        )

    @contextlib.asynccontextmanager
    async def lifespan(self, *, run_worker: bool) -> AsyncIterator[None]:
        """Everything open while the body runs; with `run_worker`, syncs are carried out too."""
        async with contextlib.AsyncExitStack() as stack:
            if self.storage.embedded is not None:
                watchdog = asyncio.create_task(self._supervise_postgres())
                stack.push_async_callback(_cancel, watchdog)
            await self.db.open()
            stack.push_async_callback(self.db.close)
            await stack.enter_async_context(self.uses.writing())
            if run_worker:
                await stack.enter_async_context(self.jobs.run_workers(self.settings.worker_concurrency))
            yield

    async def _supervise_postgres(self) -> None:
        """Start the embedded PostgreSQL again should it have died; asking a living one takes milliseconds."""
        while self.storage.embedded is not None:
            await asyncio.sleep(WATCHDOG_SECONDS)
            try:
                await asyncio.to_thread(self.storage.embedded.start)
            except EmbeddedPostgresError:
                logger.exception("the embedded PostgreSQL does not run; trying again")


def egress_policy(settings: Settings, *, serves: bool) -> egress.Policy:
    """Raises WindsockError for a rule that is none.

    A worker cannot see the command lines of the servers, so only a WINDSOCK_HOST that is set opens loopback to it.
    """
    loopback = settings.listens_on_loopback and (serves or "host" in settings.model_fields_set)
    own_ports = {settings.port}
    if settings.database_url is not None:
        database = conninfo_to_dict(settings.database_url.get_secret_value())
        own_ports |= {int(port) for port in str(database.get("port") or "").split(",") if port.isdecimal()}
    return egress.Policy.of(settings.egress_allow, settings.egress_deny, loopback=loopback, own_ports=own_ports)


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
