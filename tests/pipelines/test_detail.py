"""One pipeline: its shape, its addresses, its newest runs, and as of when it is true."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from factories import NOW, Tenant, TwoTenants, make_pipeline, make_run
from validating_client import ValidatingClient
from windsock.db.queries import Query
from windsock.providers.base import ProviderRun
from windsock.sync.writer import MirrorWriter

if TYPE_CHECKING:
    from conftest import RolledBackDatabase

pytestmark = pytest.mark.anyio
LIST = "/spaces/finance/orchestration/pipelines"


async def get(client: ValidatingClient, tenants: TwoTenants, name: str = "daily_report") -> dict[str, Any]:
    path = f"{LIST}/{tenants.finance.pipelines[name]}"
    response = await client.as_(tenants.keys["viewer"], "GET", path)
    assert response.status_code == 200
    pipeline: dict[str, Any] = response.json()
    return pipeline


async def store(db: "RolledBackDatabase", space: Tenant, runs: list[ProviderRun]) -> None:
    async with db.tenant_transaction(space.id) as tx:
        await MirrorWriter(space.id, space.connector_id).store_runs(tx, runs, space.pipelines)


async def state(db: "RolledBackDatabase", tenants: TwoTenants, changes: str, **parameters: object) -> None:
    async with db.tenant_transaction(tenants.finance.id) as tx:
        query = Query(f"UPDATE sync_states SET {changes} WHERE connector_id = %(connector_id)s")  # noqa: S608
        await tx.execute(query, connector_id=tenants.finance.connector_id, **parameters)


async def test_pipeline_combines_airflow_fields_and_user_fields(client: ValidatingClient, tenants: TwoTenants) -> None:
    pipeline = await get(client, tenants)
    assert (
        pipeline
        | {
            "space_id": str(tenants.finance.id),
            "provider": "airflow",
            "external_id": "daily_report",
            "name": "daily_report",
            "description": "The report of finance",
            "connector_id": str(tenants.finance.connector_id),
            "connector": {"id": str(tenants.finance.connector_id), "name": "prod"},
            "owner": "alice",
            "owners": ["alice"],
            "tags": ["tier-1", "100%"],
            "schedule": "@daily",
            "schedule_description": "Every day",
            "next_run_at": f"{NOW + timedelta(hours=3):%Y-%m-%dT%H:%M:%SZ}",
            "is_next_run_due": False,
            "is_paused": False,
            "is_active": True,
            "has_import_errors": False,
            "status": "success",
            "criticality": "medium",
            "team_id": None,
            "team": None,
            "is_watched": False,
            "provider_metadata": {"max_active_runs": 16},
        }
        == pipeline
    )


async def test_list_rows_equal_detail_without_provider_metadata(client: ValidatingClient, tenants: TwoTenants) -> None:
    listed = (await client.as_(tenants.keys["viewer"], "GET", LIST)).json()
    for row in listed:
        pipeline = await get(client, tenants, row["name"])
        del pipeline["provider_metadata"], pipeline["suggested_team"]
        assert row == pipeline


async def test_pipeline_without_runs_has_unknown_status(client: ValidatingClient, tenants: TwoTenants) -> None:
    pipeline = await get(client, tenants, "never_run")
    assert (pipeline["status"], pipeline["last_run"], pipeline["recent_runs"], pipeline["is_paused"]) == (
        "unknown",
        None,
        [],
        True,
    )


async def test_paused_pipeline_has_status_of_newest_run(
    client: ValidatingClient, tenants: TwoTenants, db: "RolledBackDatabase"
) -> None:
    space = tenants.finance
    async with db.tenant_transaction(space.id) as tx:
        await MirrorWriter(space.id, space.connector_id).store_pipelines(
            tx, [make_pipeline("daily_report", is_paused=True)]
        )
    pipeline = await get(client, tenants)
    assert (pipeline["status"], pipeline["is_paused"]) == ("success", True)


async def test_recent_runs_are_newest_fourteen_oldest_first(
    client: ValidatingClient, tenants: TwoTenants, db: "RolledBackDatabase"
) -> None:
    assert [run["external_id"] for run in (await get(client, tenants))["recent_runs"]] == ["r1", "r2"]
    # Stored in another order than they ran, as pages may come.
    hours = [5, 1, 4, 2, 3, 6, 20, 19, 18, 17, 16, 15, 14, 13, 12, 11, 10]
    await store(db, tenants.finance, [make_run("never_run", f"h{h}", "success", hours_ago=h) for h in hours])
    await store(
        db, tenants.finance, [make_run("never_run", "h0", "queued", hours_ago=0, minutes=None, started_at=None)]
    )
    pipeline = await get(client, tenants, "never_run")
    expected = [f"h{h}" for h in sorted([0, *hours])[:14]][::-1]
    assert [run["external_id"] for run in pipeline["recent_runs"]] == expected
    assert pipeline["last_run"] == pipeline["recent_runs"][-1]
    assert pipeline["status"] == "queued"
    assert pipeline["last_run"] == {
        "id": pipeline["last_run"]["id"],
        "external_id": "h0",
        "status": "queued",
        "run_type": "scheduled",
        "started_at": None,
        "ended_at": None,
        "duration_seconds": None,
    }
    brief = pipeline["recent_runs"][-2]
    assert brief["started_at"] == f"{NOW - timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}"
    assert brief["duration_seconds"] == 300.0


async def test_backfill_of_past_date_is_not_newest_run(
    client: ValidatingClient, tenants: TwoTenants, db: "RolledBackDatabase"
) -> None:
    await store(db, tenants.finance, [make_run("daily_report", "old", "failed", hours_ago=400, run_type="backfill")])
    pipeline = await get(client, tenants)
    assert (pipeline["status"], pipeline["last_run"]["external_id"]) == ("success", "r2")
    assert [run["external_id"] for run in pipeline["recent_runs"]] == ["old", "r1", "r2"]


async def test_recent_runs_equal_fields_of_run_detail(client: ValidatingClient, tenants: TwoTenants) -> None:
    for brief in (await get(client, tenants))["recent_runs"]:
        path = f"/spaces/finance/orchestration/runs/{brief['id']}"
        run = (await client.as_(tenants.keys["viewer"], "GET", path)).json()
        assert {name: run[name] for name in brief} == brief


@pytest.mark.parametrize(
    ("api_version", "web_url", "url"),
    [
        ("v1", None, "http://127.0.0.1:9/dags/daily_report/grid"),
        ("v2", None, "http://127.0.0.1:9/dags/daily_report"),
        ("v2", "https://airflow.example.com/x", "https://airflow.example.com/x/dags/daily_report"),
        (None, None, "http://127.0.0.1:9/dags/daily_report"),
    ],
)
async def test_pipeline_provider_url_follows_api_version_and_web_url(
    client: ValidatingClient,
    tenants: TwoTenants,
    db: "RolledBackDatabase",
    api_version: str | None,
    web_url: str | None,
    url: str,
) -> None:
    path = f"/catalog/spaces/finance/connectors/{tenants.finance.connector_id}"
    await client.as_(tenants.keys["editor"], "PATCH", path, json={"config": {"web_url": web_url}})
    await state(db, tenants, "api_version = %(api_version)s::text", api_version=api_version)
    assert (await get(client, tenants))["provider_url"] == url


@pytest.mark.parametrize(("age", "is_later"), [("-1 hour", False), ("1 hour", True)])
async def test_pipeline_last_synced_at_is_later_of_row_and_last_complete_sync(
    client: ValidatingClient, tenants: TwoTenants, db: "RolledBackDatabase", age: str, *, is_later: bool
) -> None:
    written = datetime.fromisoformat((await get(client, tenants))["last_synced_at"])
    change = "last_complete_at = %(written)s::timestamptz + %(age)s::interval"
    await state(db, tenants, change, written=written, age=age)
    shown = datetime.fromisoformat((await get(client, tenants))["last_synced_at"])
    assert shown == (written + timedelta(hours=1) if is_later else written)


async def test_etag_is_stable_until_data_changes(
    client: ValidatingClient, tenants: TwoTenants, db: "RolledBackDatabase"
) -> None:
    viewer = tenants.keys["viewer"]
    for path in (LIST, f"{LIST}/{tenants.finance.pipelines['daily_report']}"):
        first = await client.as_(viewer, "GET", path)
        known = {"If-None-Match": first.headers["etag"]}
        same = await client.as_(viewer, "GET", path, headers=known)
        assert (same.status_code, same.headers["etag"]) == (304, first.headers["etag"])
        await store(
            db, tenants.finance, [make_run("daily_report", f"after {path}", "running", hours_ago=0, minutes=None)]
        )
        changed = await client.as_(viewer, "GET", path, headers=known)
        assert changed.status_code == 200
        assert changed.headers["etag"] != first.headers["etag"]


async def test_draining_pipeline_is_marked_in_detail_and_list(
    client: ValidatingClient, tenants: TwoTenants, db: "RolledBackDatabase"
) -> None:
    space = tenants.finance
    async with db.tenant_transaction(space.id) as tx:
        await MirrorWriter(space.id, space.connector_id).store_pipelines(
            tx, [make_pipeline("daily_report", is_draining=True)]
        )
    listed = (await client.as_(tenants.keys["viewer"], "GET", LIST)).json()
    assert {row["name"]: row["is_draining"] for row in listed} == {
        "daily_report": True, "hourly_load": False, "never_run": False,
    }  # fmt: skip
    assert (await get(client, tenants))["is_draining"]
    async with db.tenant_transaction(space.id) as tx:
        await MirrorWriter(space.id, space.connector_id).store_pipelines(tx, [make_pipeline("daily_report")])
    assert not (await get(client, tenants))["is_draining"]


@pytest.mark.parametrize(
    ("team_name", "expected"),
    [
        ("ingestion", ("ingestion", True)),
        ("Ingestion", ("Ingestion", True)),
        ("growth", ("growth", False)),
        (None, None),
    ],
)
async def test_airflow_team_name_is_suggested_but_not_assigned(
    client: ValidatingClient,
    tenants: TwoTenants,
    db: "RolledBackDatabase",
    team_name: str | None,
    expected: tuple[str, bool] | None,
) -> None:
    older = make_run("never_run", "r1", "success", hours_ago=9, provider_metadata={"team_name": "of before"})
    newest = make_run("never_run", "r2", "success", hours_ago=1, provider_metadata={"team_name": team_name})
    await store(db, tenants.finance, [older, newest])
    pipeline = await get(client, tenants, "never_run")
    assert (pipeline["team_id"], pipeline["team"]) == (None, None)
    suggested = pipeline["suggested_team"]
    if expected is None:
        assert suggested is None
        return
    name, is_known = expected
    assert suggested == {"name": name, "id": str(tenants.finance.team_id) if is_known else None}
