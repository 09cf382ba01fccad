"""The filters that select what needs attention: overdue pipelines, and those with import errors."""

from datetime import datetime, timedelta

import pytest

from conftest import RolledBackDatabase
from factories import NOW, TwoTenants, make_pipeline
from validating_client import ValidatingClient
from windsock.db.queries import Query
from windsock.sync.writer import MirrorWriter

pytestmark = pytest.mark.anyio
LIST = "/spaces/finance/orchestration/pipelines"


async def list_dags(db: RolledBackDatabase, tenants: TwoTenants, at: datetime | None) -> None:
    """Set when the DAGs were last listed."""
    async with db.tenant_transaction(tenants.finance.id) as tx:
        await tx.execute(
            Query("UPDATE sync_states SET pipelines_listed_at = %(at)s WHERE space_id = %(space_id)s"),
            at=at,
            space_id=tenants.finance.id,
        )


async def store(db: RolledBackDatabase, tenants: TwoTenants, **changes: object) -> None:
    async with db.tenant_transaction(tenants.finance.id) as tx:
        writer = MirrorWriter(tenants.finance.id, tenants.finance.connector_id)
        await writer.store_pipelines(tx, [make_pipeline("daily_report", **changes)])


async def listed(client: ValidatingClient, tenants: TwoTenants, query: str) -> list[str]:
    response = await client.as_(tenants.keys["viewer"], "GET", f"{LIST}?{query}")
    assert int(response.headers["x-total-count"]) == len(response.json())
    return [row["name"] for row in response.json()]


@pytest.mark.parametrize(
    ("minutes_after", "changes", "is_overdue"),
    [
        (3, {}, True),
        (1, {}, False),
        (-5, {}, False),
        (None, {}, False),
        (3, {"is_paused": True}, False),
        (3, {"is_draining": True}, False),
        (3, {"is_active": False}, False),
        (3, {"next_run_at": None}, False),
    ],
)
async def test_pipeline_is_overdue_if_airflow_still_announces_a_past_start(
    client: ValidatingClient,
    tenants: TwoTenants,
    db: RolledBackDatabase,
    minutes_after: int | None,
    changes: dict[str, object],
    *,
    is_overdue: bool,
) -> None:
    due = NOW - timedelta(hours=1)
    await store(db, tenants, **{"next_run_at": due} | changes)
    await list_dags(db, tenants, None if minutes_after is None else due + timedelta(minutes=minutes_after))
    assert await listed(client, tenants, "overdue=true") == (["daily_report"] if is_overdue else [])


async def test_pipelines_are_filtered_by_import_errors(
    client: ValidatingClient, tenants: TwoTenants, db: RolledBackDatabase
) -> None:
    await store(db, tenants, has_import_errors=True)
    assert await listed(client, tenants, "has_import_errors=true") == ["daily_report"]
    assert await listed(client, tenants, "has_import_errors=false") == ["hourly_load", "never_run"]
    runs = await client.as_(
        tenants.keys["viewer"], "GET", "/spaces/finance/orchestration/runs", params={"has_import_errors": "true"}
    )
    assert [row["external_id"] for row in runs.json()] == ["r2", "r1"]
