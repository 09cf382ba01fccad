"""The order `attention` and `is_overdue`: what somebody should look at comes first."""

from datetime import timedelta

import pytest

from conftest import RolledBackDatabase
from factories import NOW, TwoTenants, make_pipeline, make_run
from validating_client import ValidatingClient
from windsock.db.queries import Query
from windsock.providers.base import ProviderPipeline
from windsock.sync.writer import MirrorWriter

pytestmark = pytest.mark.anyio

LIST = "/spaces/finance/orchestration/pipelines"
PAST = NOW - timedelta(minutes=20)
EXPECTED = [
    "failing_critical", "failing_low", "overdue_high", "overdue", "gone_with_import_error", "import_error",
    "running_critical", "running", "calm_critical", "calm", "draining_past_due", "paused_past_due",
    "gone_failing",
]  # fmt: skip
LISTED_AT = Query("UPDATE sync_states SET pipelines_listed_at = %(at)s WHERE space_id = %(space_id)s")
CRITICALITY = Query(
    "UPDATE pipelines SET criticality = split_part(name, '_', 2) WHERE space_id = %(space_id)s"
    " AND split_part(name, '_', 2) IN ('low', 'high', 'critical')"
)


def pipeline(name: str) -> ProviderPipeline:
    return make_pipeline(
        name,
        next_run_at=PAST if "due" in name else NOW + timedelta(hours=1),
        is_paused="paused" in name,
        is_draining="draining" in name,
        is_active="gone" not in name,
        has_import_errors="import" in name,
    )


async def grow(db: RolledBackDatabase, tenants: TwoTenants) -> None:
    """A pipeline of each kind, beside those of the world."""
    space = tenants.finance
    states = {"failing": "failed", "running": "running"}
    async with db.tenant_transaction(space.id) as tx:
        mirror = MirrorWriter(space.id, space.connector_id)
        _, ids = await mirror.store_pipelines(tx, [pipeline(name) for name in reversed(EXPECTED)])
        runs = [
            make_run(name, "r1", next((status for word, status in states.items() if word in name), "success"))
            for name in EXPECTED
        ]
        await mirror.store_runs(tx, runs, ids)
        await tx.execute(CRITICALITY, space_id=space.id)
        await tx.execute(LISTED_AT, space_id=space.id, at=NOW)


async def names(client: ValidatingClient, tenants: TwoTenants, query: str) -> list[str]:
    rows = (await client.as_(tenants.keys["viewer"], "GET", f"{LIST}?{query}")).json()
    return [row["name"] for row in rows if row["name"] in EXPECTED]


async def test_attention_order_puts_failing_overdue_and_broken_pipelines_first(
    client: ValidatingClient, tenants: TwoTenants, db: RolledBackDatabase
) -> None:
    await grow(db, tenants)
    assert await names(client, tenants, "sort=attention") == EXPECTED
    pages = [await names(client, tenants, f"sort=attention&size=4&page={page}") for page in range(1, 6)]
    assert [name for page in pages for name in page] == EXPECTED
    assert await names(client, tenants, "sort=attention&q=running") == ["running_critical", "running"]


async def test_pipeline_is_overdue_only_if_dags_were_read_after_its_start_was_due(
    client: ValidatingClient, tenants: TwoTenants, db: RolledBackDatabase
) -> None:
    """Otherwise a connector that cannot be reached would make all its pipelines overdue."""
    await grow(db, tenants)
    for minutes, expected in ((3, {"overdue", "overdue_high"}), (1, set()), (-60, set())):
        async with db.tenant_transaction(tenants.finance.id) as tx:
            await tx.execute(LISTED_AT, space_id=tenants.finance.id, at=PAST + timedelta(minutes=minutes))
        rows = (await client.as_(tenants.keys["viewer"], "GET", LIST)).json()
        assert {row["name"] for row in rows if row["is_overdue"]} == expected, minutes
    order = await names(client, tenants, "sort=attention")
    assert order.index("calm_critical") < order.index("overdue_high")


async def test_attention_order_is_total_and_hides_other_spaces(
    client: ValidatingClient, tenants: TwoTenants, db: RolledBackDatabase
) -> None:
    await grow(db, tenants)
    rows = (await client.as_(tenants.keys["viewer"], "GET", f"{LIST}?sort=attention")).json()
    assert len(rows) == len(EXPECTED) + len(tenants.finance.pipelines)
    assert {row["space_id"] for row in rows} == {str(tenants.finance.id)}
    refused = await client.as_(tenants.keys["viewer"], "GET", f"{LIST}?sort=-attention")
    assert refused.status_code == 422
