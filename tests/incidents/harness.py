"""Runs of a tenant that end as a sync stores them, and the incidents that follow."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from conftest import RolledBackDatabase
from factories import NOW, Tenant, make_run
from windsock.db.database import Row
from windsock.incidents.jobs import IncidentJobs
from windsock.incidents.updater import IncidentUpdater
from windsock.sync.writer import MirrorWriter

LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class IncidentHarness:
    """One tenant, whose first sync began long ago and whose worker looks when told."""

    db: RolledBackDatabase
    tenant: Tenant

    def __post_init__(self) -> None:
        self.now = datetime.now(UTC)  # NOW is when the tests began: an hour later its runs would be late
        self.jobs = IncidentJobs(IncidentUpdater(self.db))

    async def end_run(
        self, run_id: str, status: str = "failed", *, pipeline: str = "daily_report", due: float = 60, ended: float = 1
    ) -> UUID:
        """Store a run that was due, and ended, so many minutes ago."""
        run = make_run(
            pipeline, run_id, status, hours_ago=(NOW - self.now) / timedelta(hours=1) + due / 60,
            ended_at=None if status == "running" else self.now - timedelta(minutes=ended),
        )  # fmt: skip
        async with self.db.tenant_transaction(self.tenant.id) as tx:
            await MirrorWriter(self.tenant.id, self.tenant.connector_id).store_runs(tx, [run], self.tenant.pipelines)
        (row,) = await self.rows(
            "SELECT id FROM runs WHERE pipeline_id = %(pipeline_id)s AND external_id = %(run_id)s AND NOT is_replaced",
            pipeline_id=self.tenant.pipelines[pipeline], run_id=run_id,
        )  # fmt: skip
        found: UUID = row["id"]
        return found

    async def update(self, *, watching_since: datetime = LONG_AGO) -> None:
        """What a worker does within two seconds."""
        await self.jobs.apply_transitions()
        await self.jobs.follow_conditions(watching_since)

    async def catch_up(self) -> None:
        """A sync has ended that read everything."""
        await self.execute("UPDATE sync_states SET last_complete_at = now(), last_sync_at = now()")

    async def rows(self, query: str, **parameters: Any) -> list[Row]:
        async with self.db.tenant_transaction(self.tenant.id):
            cursor = await self.db.connection.execute(query.encode(), parameters)
            return await cursor.fetchall()

    async def execute(self, statement: str, **parameters: Any) -> None:
        async with self.db.tenant_transaction(self.tenant.id):
            await self.db.connection.execute(statement.encode(), parameters)

    async def incidents(self) -> list[Row]:
        return await self.rows("SELECT * FROM incidents ORDER BY created_at, opened_at, id")

    async def incident(self) -> Row:
        (incident,) = await self.incidents()
        return incident

    async def events(self) -> list[str]:
        """Kinds of all events, in their order."""
        return [row["kind"] for row in await self.rows("SELECT kind FROM incident_events ORDER BY id")]

    async def add_pipelines(self, count: int) -> list[str]:
        names = [f"fleet_{number}" for number in range(count)]
        rows = await self.rows(
            "INSERT INTO pipelines (space_id, connector_id, external_id, name, is_paused, is_active, has_import_errors)"
            " SELECT %(space_id)s, %(connector_id)s, n, n, false, true, false FROM unnest(%(names)s::text[]) n"
            " RETURNING id, external_id",
            space_id=self.tenant.id, connector_id=self.tenant.connector_id, names=names,
        )  # fmt: skip
        self.tenant.pipelines |= {row["external_id"]: row["id"] for row in rows}
        return names
