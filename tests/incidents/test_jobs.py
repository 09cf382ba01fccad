"""The background work over all connectors and spaces."""

from typing import Any
from uuid import UUID

import pytest

from factories import TwoTenants
from incidents.harness import IncidentHarness
from windsock.incidents import jobs
from windsock.incidents.updater import IncidentUpdater

pytestmark = pytest.mark.anyio


async def test_connector_that_cannot_be_updated_does_not_delay_another(
    harness: IncidentHarness, tenants: TwoTenants, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = IncidentHarness(harness.db, tenants.marketing)
    await other.execute('UPDATE sync_states SET backfill = \'{"as_of": "2026-01-01T00:00:00Z"}\', quarantine = NULL')
    for tenant in (harness, other):
        await tenant.end_run("a")
    tried: set[UUID] = set()

    async def fail_for_the_first(_: IncidentUpdater, _space_id: UUID, connector_id: UUID) -> int:
        tried.add(connector_id)
        if len(tried) == 1:
            raise KeyError("run_at")
        return 0

    monkeypatch.setattr(IncidentUpdater, "apply_transitions", fail_for_the_first)
    await harness.jobs.apply_transitions()
    assert tried >= {harness.tenant.connector_id, other.tenant.connector_id}


async def add_incident(harness: IncidentHarness, pipeline: str, days: int | None, parent: UUID | None = None) -> UUID:
    """With an event; `days`: since it was resolved."""
    (row,) = await harness.rows(
        "INSERT INTO incidents (space_id, connector_id, pipeline_id, kind, state, opened_at, last_failed_at,"
        " resolved_at, held_back_by_incident_id) SELECT %(space_id)s, %(connector_id)s, %(pipeline_id)s, 'failed',"
        " CASE WHEN %(days)s::integer IS NULL THEN 'open' ELSE 'resolved' END, now() - interval '1 year',"
        " now() - interval '1 year', now() - make_interval(days => %(days)s), %(parent)s RETURNING id",
        space_id=harness.tenant.id, connector_id=harness.tenant.connector_id, days=days, parent=parent,
        pipeline_id=harness.tenant.pipelines[pipeline],
    )  # fmt: skip
    await harness.execute(
        "INSERT INTO incident_events (space_id, incident_id, kind) VALUES (%(space_id)s, %(id)s, 'opened')",
        space_id=harness.tenant.id, id=row["id"],
    )  # fmt: skip
    incident_id: UUID = row["id"]
    return incident_id


async def add_decision(harness: IncidentHarness, incident_id: UUID) -> None:
    await harness.execute(
        "INSERT INTO notification_decisions (space_id, event_id, incident_id, outcome)"
        " SELECT space_id, id, incident_id, 'no_rule' FROM incident_events WHERE incident_id = %(id)s",
        id=incident_id,
    )


async def add_message(harness: IncidentHarness, incident_id: UUID) -> None:
    """About a group in which the incident is."""
    names: dict[str, Any] = {"space_id": harness.tenant.id, "channel_id": harness.tenant.channel_id}
    (group,) = await harness.rows(
        "INSERT INTO notification_groups (space_id, channel_id, key, opened_at)"
        " VALUES (%(space_id)s, %(channel_id)s, 'k', now()) RETURNING id", **names,
    )  # fmt: skip
    await harness.execute(
        "WITH member AS (INSERT INTO notification_group_incidents (space_id, group_id, incident_id)"
        " VALUES (%(space_id)s, %(group_id)s, %(id)s)) INSERT INTO messages (space_id, group_id, channel_id, event,"
        " dedup_key, reason) VALUES (%(space_id)s, %(group_id)s, %(channel_id)s, 'opened', 'k', 'It failed.')",
        **names, group_id=group["id"], id=incident_id,
    )  # fmt: skip


async def test_incidents_resolved_before_the_retention_are_deleted_with_their_events(
    harness: IncidentHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "INCIDENTS_BATCH", 2)
    await harness.execute("UPDATE spaces SET retention_days = 30")
    first, second = await harness.add_pipelines(2)
    for days in (31, 32, 33, 34, 35):
        await add_incident(harness, first, days)
    holding, decided, announced = [await add_incident(harness, first, 40) for _ in range(3)]
    await add_decision(harness, decided)
    await add_message(harness, announced)
    remaining = {
        holding, decided, announced,
        await add_incident(harness, first, 29), await add_incident(harness, first, None),
        await add_incident(harness, second, None, parent=holding),
    }  # fmt: skip
    await harness.jobs.purge()
    assert {row["id"] for row in await harness.incidents()} == remaining
    assert {row["incident_id"] for row in await harness.rows("SELECT incident_id FROM incident_events")} == remaining


async def test_incident_that_may_be_reopened_stays_whatever_the_retention(harness: IncidentHarness) -> None:
    await harness.execute("UPDATE spaces SET retention_days = 1")
    (pipeline,) = await harness.add_pipelines(1)
    remaining = await add_incident(harness, pipeline, 1)
    await add_incident(harness, pipeline, 2)
    await harness.jobs.purge()
    assert [row["id"] for row in await harness.incidents()] == [remaining]
