"""Fixture of the tests of incidents."""

from dataclasses import replace

import pytest

from conftest import RolledBackDatabase
from factories import TwoTenants
from incidents.harness import IncidentHarness


@pytest.fixture
async def harness(db: RolledBackDatabase, tenants: TwoTenants) -> IncidentHarness:
    """Without the incidents of the world; the connector syncs since January."""
    finance = replace(tenants.finance, pipelines=dict(tenants.finance.pipelines))
    incidents = IncidentHarness(db, finance)
    for statement in (
        "DELETE FROM incidents",
        "DELETE FROM run_transitions",
        'UPDATE sync_states SET backfill = \'{"as_of": "2026-01-01T00:00:00Z"}\', quarantine = NULL',
    ):
        await incidents.execute(statement)
    return incidents
