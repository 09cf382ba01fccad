"""The background work over all connectors and spaces."""

from uuid import UUID

import pytest

from factories import TwoTenants
from incidents.harness import IncidentHarness
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
