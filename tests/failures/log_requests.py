"""Requests for the log of the world's failed task, and changes of what the mirror says of it."""

from typing import Any

import httpx2

from conftest import RolledBackDatabase
from factories import TwoTenants
from validating_client import ValidatingClient
from windsock.db.queries import Query

SET_TASK = Query(
    "UPDATE task_runs SET status = %(status)s, try_number = %(try_number)s, ended_at = now() - %(ago)s::interval"
    " WHERE space_id = %(space_id)s AND id = %(id)s"
)


async def get(
    client: ValidatingClient, tenants: TwoTenants, query: str = "", *, kind: str = "viewer", end: str = ""
) -> httpx2.Response:
    path = f"/spaces/finance/orchestration/task-runs/{tenants.finance.task_run_id}/logs{end}{query}"
    return await client.as_(tenants.keys[kind], "GET", path)


async def get_page(client: ValidatingClient, tenants: TwoTenants, query: str = "") -> dict[str, Any]:
    response = await get(client, tenants, query)
    assert response.status_code == 200, response.text
    page: dict[str, Any] = response.json()
    return page


async def set_task(
    db: RolledBackDatabase, tenants: TwoTenants, status: str, *, try_number: int = 1, ago: str = "1 hour"
) -> None:
    space = tenants.finance
    async with db.tenant_transaction(space.id) as tx:
        which = {"space_id": space.id, "id": space.task_run_id}
        assert await tx.execute(SET_TASK, **which, status=status, try_number=try_number, ago=ago)


async def configure(client: ValidatingClient, tenants: TwoTenants, **config: Any) -> None:
    path = f"/catalog/spaces/finance/connectors/{tenants.finance.connector_id}"
    assert (await client.as_(tenants.keys["editor"], "PATCH", path, json={"config": config})).status_code == 200


def texts(page: dict[str, Any]) -> list[str]:
    return [line["event"] for line in page["lines"]]
