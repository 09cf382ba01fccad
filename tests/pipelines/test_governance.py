"""What people decide about a pipeline, and that a sync never touches it."""

from typing import TYPE_CHECKING, Any

import pytest

from checking import CheckedClient
from windsock.sync.writer import MirrorWriter
from world import World, a_pipeline

if TYPE_CHECKING:
    from conftest import RolledBackDatabase

pytestmark = pytest.mark.anyio
PIPELINES = "/spaces/finance/orchestration/pipelines"


async def names(client: CheckedClient, world: World, who: str = "viewer", **query: Any) -> list[str]:
    answer = await client.as_(world.keys[who], "GET", PIPELINES, params=query)
    assert answer.status_code == 200, answer.text
    return [row["name"] for row in answer.json()]


@pytest.mark.parametrize("who", ["viewer", "stranger"])
async def test_watching_is_everybody_s_own_and_idempotent(client: CheckedClient, world: World, who: str) -> None:
    path = f"{PIPELINES}/{world.finance.pipelines['daily_report']}/watch"
    status = 204 if who == "viewer" else 403
    for _ in range(2):
        assert (await client.as_(world.keys[who], "PUT", path)).status_code == status
    assert await names(client, world, watched_only=True) == (["daily_report"] if who == "viewer" else [])
    assert await names(client, world, "editor", watched_only=True) == []
    for _ in range(2):
        assert (await client.as_(world.keys[who], "DELETE", path)).status_code == status
    assert await names(client, world, watched_only=True) == []


async def test_team_and_criticality_can_be_set_found_and_cleared(client: CheckedClient, world: World) -> None:
    path, team = f"{PIPELINES}/{world.finance.pipelines['daily_report']}", str(world.finance.team_id)
    set_ = await client.as_(world.keys["editor"], "PATCH", f"{path}/team", json={"team_id": team})
    assert (set_.status_code, set_.json()["team"]) == (200, {"id": team, "name": "ingestion"})
    changed = await client.as_(world.keys["editor"], "PATCH", f"{path}/criticality", json={"criticality": "critical"})
    assert changed.json()["criticality"] == "critical"
    assert await names(client, world, team_id=team) == ["daily_report", "hourly_load"]
    assert await names(client, world, criticality=["critical", "high"]) == ["daily_report"]
    assert await names(client, world, sort="-criticality") == ["daily_report", "hourly_load", "never_run"]
    cleared = await client.as_(world.keys["editor"], "PATCH", f"{path}/team", json={"team_id": None})
    assert (cleared.json()["team_id"], cleared.json()["team"]) == (None, None)
    for wrong in ({}, {"team_id": "x"}, {"team_id": None, "more": 1}):
        assert (await client.as_(world.keys["editor"], "PATCH", f"{path}/team", json=wrong)).status_code == 422
    refused = await client.as_(world.keys["editor"], "PATCH", f"{path}/criticality", json={"criticality": "urgent"})
    assert (refused.status_code, "'low', 'medium', 'high' or 'critical'" in refused.text) == (422, True)


async def test_a_sync_touches_nothing_of_it(client: CheckedClient, world: World, db: "RolledBackDatabase") -> None:
    space = world.finance
    path = f"{PIPELINES}/{space.pipelines['hourly_load']}"
    await client.as_(world.keys["editor"], "PATCH", f"{path}/criticality", json={"criticality": "high"})
    await client.as_(world.keys["viewer"], "PUT", f"{path}/watch")
    async with db.tenant_transaction(space.id) as tx:
        await db.connection.execute("UPDATE pipelines SET removed_at = now(), is_active = false")
        mirror = MirrorWriter(space.id, space.connector_id)
        await mirror.store_pipelines(tx, [a_pipeline("hourly_load", description="came back")])
    one = (await client.as_(world.keys["viewer"], "GET", path)).json()
    assert (one["description"], one["is_active"]) == ("came back", True)
    assert (one["criticality"], one["team_id"], one["is_watched"]) == ("high", str(space.team_id), True)


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
async def test_filters_and_orders(client: CheckedClient, world: World, query: Any, expected: list[str]) -> None:
    assert await names(client, world, **query) == expected


async def test_the_window_of_the_summary_can_be_chosen(client: CheckedClient, world: World) -> None:
    totals = {}
    for days in (1, 2):
        rows = (await client.as_(world.keys["viewer"], "GET", PIPELINES, params={"days": days})).json()
        totals[days] = {row["name"]: (row["summary"]["days"], row["summary"]["failed_count"]) for row in rows}
    assert (totals[1]["daily_report"], totals[2]["daily_report"]) == ((1, 0), (2, 1))


@pytest.mark.parametrize(
    "query",
    ["provider=dagster", "criticality=urgent", "sort=size", "days=0", "days=366", "team_id=x", "watched_only=x"],
)
async def test_what_cannot_be_meant_is_refused(client: CheckedClient, world: World, query: str) -> None:
    assert (await client.as_(world.keys["viewer"], "GET", f"{PIPELINES}?{query}")).status_code == 422
