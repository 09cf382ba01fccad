"""What people decide about a pipeline, and that a sync never touches it."""

from typing import TYPE_CHECKING, Any

import pytest

from factories import TwoTenants, make_pipeline
from validating_client import ValidatingClient
from windsock.sync.writer import MirrorWriter

if TYPE_CHECKING:
    from conftest import RolledBackDatabase

pytestmark = pytest.mark.anyio
PIPELINES = "/spaces/finance/orchestration/pipelines"


async def names(client: ValidatingClient, tenants: TwoTenants, who: str = "viewer", **query: Any) -> list[str]:
    response = await client.as_(tenants.keys[who], "GET", PIPELINES, params=query)
    assert response.status_code == 200, response.text
    return [row["name"] for row in response.json()]


@pytest.mark.parametrize("who", ["viewer", "stranger"])
async def test_watch_is_per_user_and_idempotent(client: ValidatingClient, tenants: TwoTenants, who: str) -> None:
    path = f"{PIPELINES}/{tenants.finance.pipelines['daily_report']}/watch"
    status = 204 if who == "viewer" else 403
    for _ in range(2):
        assert (await client.as_(tenants.keys[who], "PUT", path)).status_code == status
    assert await names(client, tenants, watched_only=True) == (["daily_report"] if who == "viewer" else [])
    assert await names(client, tenants, "editor", watched_only=True) == []
    for _ in range(2):
        assert (await client.as_(tenants.keys[who], "DELETE", path)).status_code == status
    assert await names(client, tenants, watched_only=True) == []


async def test_team_and_criticality_can_be_set_found_and_cleared(client: ValidatingClient, tenants: TwoTenants) -> None:
    path, team = f"{PIPELINES}/{tenants.finance.pipelines['daily_report']}", str(tenants.finance.team_id)
    set_ = await client.as_(tenants.keys["editor"], "PATCH", f"{path}/team", json={"team_id": team})
    assert (set_.status_code, set_.json()["team"]) == (200, {"id": team, "name": "ingestion"})
    changed = await client.as_(tenants.keys["editor"], "PATCH", f"{path}/criticality", json={"criticality": "critical"})
    assert changed.json()["criticality"] == "critical"
    assert await names(client, tenants, team_id=team) == ["daily_report", "hourly_load"]
    assert await names(client, tenants, criticality=["critical", "high"]) == ["daily_report"]
    assert await names(client, tenants, sort="-criticality") == ["daily_report", "hourly_load", "never_run"]
    cleared = await client.as_(tenants.keys["editor"], "PATCH", f"{path}/team", json={"team_id": None})
    assert (cleared.json()["team_id"], cleared.json()["team"]) == (None, None)
    for wrong in ({}, {"team_id": "x"}, {"team_id": None, "more": 1}):
        assert (await client.as_(tenants.keys["editor"], "PATCH", f"{path}/team", json=wrong)).status_code == 422
    refused = await client.as_(tenants.keys["editor"], "PATCH", f"{path}/criticality", json={"criticality": "urgent"})
    assert (refused.status_code, "'low', 'medium', 'high' or 'critical'" in refused.text) == (422, True)


async def test_sync_preserves_criticality_team_and_watch(
    client: ValidatingClient, tenants: TwoTenants, db: "RolledBackDatabase"
) -> None:
    space = tenants.finance
    path = f"{PIPELINES}/{space.pipelines['hourly_load']}"
    await client.as_(tenants.keys["editor"], "PATCH", f"{path}/criticality", json={"criticality": "high"})
    await client.as_(tenants.keys["viewer"], "PUT", f"{path}/watch")
    async with db.tenant_transaction(space.id) as tx:
        await db.connection.execute("UPDATE pipelines SET removed_at = now(), is_active = false")
        mirror = MirrorWriter(space.id, space.connector_id)
        await mirror.store_pipelines(tx, [make_pipeline("hourly_load", description="came back")])
    body = (await client.as_(tenants.keys["viewer"], "GET", path)).json()
    assert (body["description"], body["is_active"]) == ("came back", True)
    assert (body["criticality"], body["team_id"], body["is_watched"]) == ("high", str(space.team_id), True)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"provider": "airflow"}, ["daily_report", "hourly_load", "never_run"]),
        ({"owner": "alice"}, ["daily_report", "hourly_load"]),
        ({"owner": "bob, alice"}, ["hourly_load"]),
        ({"owner": ["bob", "airflow"]}, ["hourly_load", "never_run"]),
        ({"owner": "ali"}, []),
        ({"sort": "-name"}, ["never_run", "hourly_load", "daily_report"]),
        ({"sort": "last_run_at"}, ["daily_report", "hourly_load", "never_run"]),
        ({"sort": "-last_run_at"}, ["hourly_load", "daily_report", "never_run"]),
        ({"sort": "failed_count"}, ["hourly_load", "never_run", "daily_report"]),
        ({"sort": "-failed_count"}, ["daily_report", "hourly_load", "never_run"]),
        ({"sort": "-failed_count", "days": 1}, ["daily_report", "hourly_load", "never_run"]),
        ({"sort": "success_rate"}, ["daily_report", "hourly_load", "never_run"]),
        ({"sort": "-success_rate"}, ["hourly_load", "daily_report", "never_run"]),
        ({"sort": "p95_duration_seconds"}, ["hourly_load", "daily_report", "never_run"]),
        ({"sort": "-p95_duration_seconds", "size": 1, "page": 2}, ["hourly_load"]),
    ],
)
async def test_pipeline_list_applies_filters_and_sort(
    client: ValidatingClient, tenants: TwoTenants, query: Any, expected: list[str]
) -> None:
    assert await names(client, tenants, **query) == expected


async def test_summary_window_follows_days_parameter(client: ValidatingClient, tenants: TwoTenants) -> None:
    totals = {}
    for days in (1, 2):
        rows = (await client.as_(tenants.keys["viewer"], "GET", PIPELINES, params={"days": days})).json()
        totals[days] = {row["name"]: (row["summary"]["days"], row["summary"]["failed_count"]) for row in rows}
    assert (totals[1]["daily_report"], totals[2]["daily_report"]) == ((1, 0), (2, 1))


@pytest.mark.parametrize(
    "query",
    ["provider=dagster", "criticality=urgent", "sort=size", "days=0", "days=366", "team_id=x", "watched_only=x"],
)
async def test_invalid_query_value_is_rejected(client: ValidatingClient, tenants: TwoTenants, query: str) -> None:
    assert (await client.as_(tenants.keys["viewer"], "GET", f"{PIPELINES}?{query}")).status_code == 422
