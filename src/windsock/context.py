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
from windsock.actions.approvals import ApprovalService
from windsock.actions.bulk import QUERIES as BULK_CLEARS
from windsock.actions.bulk import BulkClearService
from windsock.actions.relay import Relay
from windsock.actions.service import ActionService
from windsock.actions.trigger import TriggerService
from windsock.auth.authorizer import Uses
from windsock.connectors.encryption import Encryption
from windsock.connectors.store import AirflowConnector
from windsock.db.bootstrap import Storage
from windsock.db.database import Database
from windsock.db.job_queue import JobQueue
from windsock.embedded import EmbeddedPostgresError
from windsock.failures.jobs import FailureJobs
from windsock.failures.log_reader import LogReader
from windsock.failures.policy import LogLimit
from windsock.failures.reader import FailureReader
from windsock.incidents.jobs import IncidentJobs
from windsock.incidents.updater import IncidentUpdater
from windsock.notifications.delivery import Delivery
from windsock.notifications.jobs import NotificationJobs
from windsock.notifications.outbound import NetworkOutbound, SmtpServer
from windsock.providers.actions import ActingProvider
from windsock.providers.airflow import (
    Airflow,
    AirflowConfig,
    Credentials,
    Diagnosis,
    TokenCache,
    diagnose,
    token_key,
)
from windsock.settings import Settings
from windsock.sync.jobs import SyncJobs
from windsock.sync.runner import SyncRunner

WATCHDOG_SECONDS = 2.0
ACTIONS_AT_A_TIME = 16
BULK_CLEARS_AT_A_TIME = 4

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
        limit = asyncio.Semaphore(ACTIONS_AT_A_TIME)
        self.triggers = TriggerService(self.secrets, self.open_provider, limit)
        relay = Relay(self.secrets, self.open_provider, limit)
        self.actions, self.approvals = ActionService(relay), ApprovalService(relay)
        self.bulk_clears = BulkClearService(self.db, self.actions)
        self.bulk_clear_jobs = JobQueue(
            self.db, BULK_CLEARS["list_due_bulk_clears"], self.bulk_clears.execute, name="bulk clears",
            limit=BULK_CLEARS_AT_A_TIME,
        )  # fmt: skip
        log_limit = LogLimit()
        self.logs = LogReader(self.secrets, self.open_provider, log_limit)
        self.jobs = SyncJobs(self.db, self.execution)
        self.incident_jobs = IncidentJobs(IncidentUpdater(self.db))
        self.failure_jobs = FailureJobs(FailureReader(self.db, self.secrets, self.open_provider, log_limit))
        smtp = SmtpServer.of(settings)
        outbound = NetworkOutbound(channel_policy(settings), self.egress_policy, smtp)
        self.delivery = Delivery(self.db, self.secrets, outbound, base_url=settings.base_url, has_mail=smtp is not None)
        self.notification_jobs = NotificationJobs(self.db, self.delivery)

    def open_provider(self, connector: AirflowConnector, api_version: Any) -> ActingProvider:  # noqa: ANN401 - "v1" or "v2"
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
                await stack.enter_async_context(self.failure_jobs.run_worker())
                await stack.enter_async_context(self.bulk_clear_jobs.run_worker())
                await stack.enter_async_context(self.incident_jobs.run_worker())
                await stack.enter_async_context(self.notification_jobs.run_worker())
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
    return egress.Policy.of(
        settings.egress_allow, settings.egress_deny, loopback=loopback, own_ports=_own_ports(settings)
    )


def channel_policy(settings: Settings) -> egress.Policy:
    """Where channels of notifications may connect to: editors of any space enter their addresses."""
    return egress.Policy.of(
        settings.notification_egress_allow,
        settings.egress_deny,
        loopback=False,
        own_ports=_own_ports(settings),
        setting="WINDSOCK_NOTIFICATION_EGRESS_ALLOW",
    )


def _own_ports(settings: Settings) -> set[int]:
    own_ports = {settings.port}
    if settings.database_url is not None:
        database = conninfo_to_dict(settings.database_url.get_secret_value())
        own_ports |= {int(port) for port in str(database.get("port") or "").split(",") if port.isdecimal()}
    return own_ports


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
