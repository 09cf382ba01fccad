"""A run of ten thousand mapped task instances is answered whole, and by the page."""

import pytest

from conftest import RolledBackDatabase
from factories import TwoTenants, make_task_run
from validating_client import ValidatingClient
from windsock.sync.writer import MirrorWriter

pytestmark = pytest.mark.anyio

INSTANCES = 10_000
RUNS = "/spaces/finance/orchestration/runs"


async def test_ten_thousand_mapped_instances_are_returned_in_order(
    client: ValidatingClient, db: RolledBackDatabase, tenants: TwoTenants
) -> None:
    tasks = [
        make_task_run("daily_report", "r1", "train", "failed" if index % 1000 == 7 else "success", map_index=index)
        for index in range(INSTANCES)
    ]
    async with db.tenant_transaction(tenants.finance.id) as tx:
        mirror = MirrorWriter(tenants.finance.id, tenants.finance.connector_id)
        await mirror.store_task_runs(tx, tasks, tenants.finance.pipelines)
    key = tenants.keys["viewer"]
    response = await client.as_(key, "GET", f"{RUNS}/{tenants.finance.run_id}")
    assert response.status_code == 200
    of_train = [task["map_index"] for task in response.json()["task_runs"] if task["external_id"] == "train"]
    assert of_train == list(range(INSTANCES))
    assert response.json()["task_counts"] == {"success": INSTANCES - 10 + 4, "failed": 11}

    path = f"{RUNS}/{tenants.finance.run_id}/task-runs"
    failed = await client.as_(key, "GET", path, params={"status": "failed", "external_id": "train"})
    assert [task["map_index"] for task in failed.json()] == list(range(7, INSTANCES, 1000))
    last = await client.as_(key, "GET", path, params={"external_id": "train", "size": 100, "page": 100})
    assert [task["map_index"] for task in last.json()] == list(range(INSTANCES - 100, INSTANCES))
    assert last.headers["X-Total-Count"] == str(INSTANCES)
