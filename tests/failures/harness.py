"""Failed runs of a tenant whose logs a provider without Airflow delivers."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, cast
from uuid import UUID

from conftest import RolledBackDatabase
from factories import NOW, Tenant, make_run, make_task_run
from windsock.connectors.encryption import Encryption
from windsock.connectors.store import AirflowConnector
from windsock.db.database import Row
from windsock.failures.jobs import FailureJobs
from windsock.failures.reader import QUERIES, FailureReader
from windsock.providers.base import Provider
from windsock.providers.scopes import TaskRunId
from windsock.providers.task_logs import TaskLog
from windsock.sync.writer import MirrorWriter

STREAMING, OLD = "3.3.2", "2.11.2"


@dataclass
class FakeLogs:
    """What read_log gives by task; an exception is raised. `requests`: what was asked for."""

    logs: dict[str, TaskLog | Exception] = field(default_factory=dict)
    requests: list[tuple[str, str, int]] = field(default_factory=list)
    is_closed: bool = False

    async def read_log(self, task_run: TaskRunId, try_number: int) -> TaskLog:
        self.requests.append((task_run.run_external_id, task_run.external_id, try_number))
        found = self.logs[task_run.external_id]
        if isinstance(found, Exception):
            raise found
        return found

    async def aclose(self) -> None:
        self.is_closed = True


@dataclass
class FailureHarness:
    """One tenant, whose runs fail as told and are read when told."""

    db: RolledBackDatabase
    tenant: Tenant
    secrets: Encryption
    fake: FakeLogs = field(default_factory=FakeLogs)

    def __post_init__(self) -> None:
        self.reader = FailureReader(self.db, self.secrets, self._open_provider)
        self.jobs = FailureJobs(self.reader)

    def _open_provider(self, _connector: AirflowConnector, _api_version: object) -> Provider:
        return cast("Provider", self.fake)

    async def store_run(
        self,
        run_id: str,
        status: str = "failed",
        *,
        pipeline: str = "hourly_load",
        minutes_ago: float = 30,
        **more: Any,
    ) -> UUID:
        """Store a run that ended `minutes_ago`, as a sync does."""
        hours_ago = max(2.0, minutes_ago / 60 + 0.1)
        ended = {"ended_at": NOW - timedelta(minutes=minutes_ago)} | more
        run = make_run(pipeline, run_id, status, hours_ago=hours_ago, **ended)
        async with self.db.tenant_transaction(self.tenant.id) as tx:
            await MirrorWriter(self.tenant.id, self.tenant.connector_id).store_runs(tx, [run], self.tenant.pipelines)
        (row,) = await self.rows(
            "SELECT id FROM runs WHERE external_id = %(run_id)s AND NOT is_replaced", run_id=run_id
        )
        found: UUID = row["id"]
        return found

    async def fail(
        self,
        run_id: str,
        tasks: Iterable[str] = ("load",),
        *,
        pipeline: str = "hourly_load",
        minutes_ago: float = 30,
        try_number: int = 1,
        **more: Any,
    ) -> UUID:
        """A failed run with these failed tasks, in their order."""
        found = await self.store_run(run_id, pipeline=pipeline, minutes_ago=minutes_ago)
        rows = [
            make_task_run(
                pipeline, run_id, task_id, "failed", try_number=try_number,
                ended_at=NOW - timedelta(minutes=minutes_ago) + timedelta(seconds=place), **more,
            )
            for place, task_id in enumerate(tasks)
        ]  # fmt: skip
        rows.append(make_task_run(pipeline, run_id, "behind", "upstream_failed", ended_at=NOW - timedelta(hours=20)))
        async with self.db.tenant_transaction(self.tenant.id) as tx:
            await MirrorWriter(self.tenant.id, self.tenant.connector_id).store_task_runs(
                tx, rows, self.tenant.pipelines
            )
        return found

    async def end_sync(self, version: str = STREAMING) -> None:
        await self.execute(
            "UPDATE sync_states SET last_sync_at = now(), provider_version = %(version)s", version=version
        )

    async def read_due(self) -> int:
        """What workers do, to the end of what is due."""
        count = 0
        while True:
            async with self.db.transaction() as tx:
                due = await tx.fetch_all(QUERIES["list_due_reads"])
            if not due:
                return count
            for row in due:
                await self.reader.read(row["space_id"], row["id"])
                count += 1

    async def request(self, run_id: UUID) -> None:
        """A user opens the page of the run."""
        async with self.db.tenant_transaction(self.tenant.id) as tx:
            await tx.execute(QUERIES["request_read"], space_id=self.tenant.id, run_id=run_id)

    async def let_time_pass(self) -> None:
        """Delays and leases are over."""
        await self.execute(
            "UPDATE failure_reads SET next_attempt_at = now() - interval '2 minutes',"
            " lease_until = lease_until - interval '1 day'"
        )

    async def rows(self, query: str, **parameters: Any) -> list[Row]:
        async with self.db.tenant_transaction(self.tenant.id):
            cursor = await self.db.connection.execute(query.encode(), parameters)
            return await cursor.fetchall()

    async def execute(self, statement: str, **parameters: Any) -> None:
        async with self.db.tenant_transaction(self.tenant.id):
            await self.db.connection.execute(statement.encode(), parameters)

    async def failures(self) -> list[Row]:
        return await self.rows(
            "SELECT f.*, t.external_id AS task_id FROM task_failures f JOIN task_runs t ON t.id = f.task_run_id"
            " ORDER BY f.created_at, f.place, f.id"
        )

    async def states(self) -> list[str]:
        return [row["state"] for row in await self.rows("SELECT state FROM failure_reads ORDER BY noticed_at, run_id")]
