"""The pipeline list: its filters, pages and order."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from cryptography.fernet import Fernet

from factories import TwoTenants, make_pipeline
from validating_client import ValidatingClient
from windsock.connectors.encryption import Encryption
from windsock.connectors.models import ConnectorIn
from windsock.connectors.store import create_connector
from windsock.sync.deletions import DeletionTracker
from windsock.sync.writer import MirrorWriter

if TYPE_CHECKING:
    from conftest import RolledBackDatabase

pytestmark = pytest.mark.anyio
LIST = "/spaces/finance/orchestration/pipelines"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, ["daily_report", "hourly_load", "never_run"]),
        ({"status": "success"}, ["daily_report"]),
        ({"status": ["running", "unknown"]}, ["hourly_load", "never_run"]),
        ({"status": "a_state_of_tomorrow"}, []),
        ({"q": "REPORT"}, ["daily_report"]),
        ({"q": "report finance"}, ["daily_report"]),
        ({"q": "report marketing"}, []),
        ({"q": "tier-1"}, ["daily_report"]),
        ({"q": "alice"}, ["daily_report", "hourly_load"]),
        ({"q": "%"}, ["daily_report"]),
        ({"q": "_"}, ["daily_report", "hourly_load", "never_run"]),
        ({"q": "y_r"}, ["daily_report"]),
        ({"q": "d%y"}, []),
        ({"q": "\\"}, []),
        ({"tag": "raw"}, ["hourly_load"]),
        ({"tag": ["raw", "100%"]}, ["daily_report", "hourly_load"]),
        ({"tag": "ra"}, []),
        ({"q": "  "}, ["daily_report", "hourly_load", "never_run"]),
        ({"is_paused": "false"}, ["daily_report", "hourly_load"]),
        ({"is_paused": "true"}, ["never_run"]),
        ({"is_paused": "true", "q": "report"}, []),
        ({"has_import_errors": "true"}, []),
        ({"has_import_errors": "false"}, ["daily_report", "hourly_load", "never_run"]),
        ({"overdue": "true"}, []),
        ({"overdue": "false"}, ["daily_report", "hourly_load", "never_run"]),
        ({"never_succeeded": "true"}, []),
        ({"never_succeeded": "true", "status": "success"}, []),
        ({"never_succeeded": "false"}, ["daily_report", "hourly_load", "never_run"]),
        ({"page": 2, "size": 2}, ["never_run"]),
        ({"page": 9, "size": 2}, []),
        ({"page": 10**18}, []),
    ],
)
async def test_pipeline_list_applies_filters_and_pagination(
    client: ValidatingClient, tenants: TwoTenants, query: dict[str, Any], expected: list[str]
) -> None:
    response = await client.as_(tenants.keys["viewer"], "GET", LIST, params=query)
    assert response.status_code == 200
    assert [row["name"] for row in response.json()] == expected


async def test_search_finds_text_changed_by_sync(
    client: ValidatingClient, tenants: TwoTenants, db: "RolledBackDatabase"
) -> None:
    long = "word " * 3_000 + "needle-at-the-end"
    for changes in ({"description": long}, {"tags": ["needle-at-the-end"]}, {"name": "Needle-at-the-end"}):
        changed = replace(make_pipeline("daily_report"), **changes)
        async with db.tenant_transaction(tenants.finance.id) as tx:
            await MirrorWriter(tenants.finance.id, tenants.finance.connector_id).store_pipelines(tx, [changed])
        response = await client.as_(tenants.keys["viewer"], "GET", LIST, params={"q": "needle-at-the-end"})
        assert [row["external_id"] for row in response.json()] == ["daily_report"]
        assert response.headers["x-total-count"] == "1"
    async with db.tenant_transaction(tenants.finance.id) as tx:
        await MirrorWriter(tenants.finance.id, tenants.finance.connector_id).store_pipelines(
            tx, [make_pipeline("daily_report")]
        )
    response = await client.as_(tenants.keys["viewer"], "GET", LIST, params={"q": "needle-at-the-end"})
    assert response.json() == []


async def test_connector_filter_with_several_ids_matches_any(
    client: ValidatingClient, tenants: TwoTenants, db: "RolledBackDatabase"
) -> None:
    new = ConnectorIn(name="new", connector_type="airflow", config={"base_url": "https://a.example.com"})
    async with db.tenant_transaction(tenants.finance.id) as tx:
        other = (await create_connector(tx, tenants.finance.id, new, Encryption([Fernet.generate_key().decode()])))[
            "id"
        ]
        await MirrorWriter(tenants.finance.id, other).store_pipelines(tx, [make_pipeline("daily_report")])
    prod = tenants.finance.connector_id
    for ids, expected in (
        ([prod], ["daily_report", "hourly_load", "never_run"]),
        ([other], ["daily_report"]),
        ([prod, other], ["daily_report", "daily_report", "hourly_load", "never_run"]),
        ([tenants.marketing.connector_id], []),
        ([uuid4()], []),
    ):
        params = {"connector_id": [str(item) for item in ids]}
        response = await client.as_(tenants.keys["viewer"], "GET", LIST, params=params)
        assert [row["name"] for row in response.json()] == expected
        assert {row["connector_id"] for row in response.json()} <= {str(item) for item in ids}
        assert response.headers["x-total-count"] == str(len(expected))


async def test_pipelines_with_equal_name_have_stable_order_across_pages(
    client: ValidatingClient, tenants: TwoTenants, db: "RolledBackDatabase"
) -> None:
    mirror = MirrorWriter(tenants.finance.id, tenants.finance.connector_id)
    async with db.tenant_transaction(tenants.finance.id) as tx:
        await mirror.store_pipelines(tx, [replace(make_pipeline(f"dag_{n}"), name="the same") for n in range(7)])
    pages = [
        await client.as_(tenants.keys["viewer"], "GET", LIST, params={"q": "same", "size": 2, "page": page})
        for page in range(1, 5)
    ]
    ids = [row["id"] for page in pages for row in page.json()]
    assert len(ids) == 7
    assert ids == sorted(ids)


async def test_deleted_pipeline_is_listed_as_inactive(
    client: ValidatingClient, tenants: TwoTenants, db: "RolledBackDatabase"
) -> None:
    space = tenants.finance
    seen = [space.pipelines["daily_report"], space.pipelines["never_run"]]
    async with db.tenant_transaction(space.id) as tx:
        await tx._connection.execute("UPDATE sync_runs SET status = 'complete'")
        await DeletionTracker(space.id, space.connector_id, space.sync_id).mark_missing_pipelines(tx, seen)
        second = DeletionTracker(space.id, space.connector_id, uuid4())
        await second.mark_missing_pipelines(tx, seen)
        assert await second.tombstone(tx) == {"pipelines": 1, "runs": 0, "task_runs": 0}
    rows = (await client.as_(tenants.keys["viewer"], "GET", LIST)).json()
    assert {row["name"]: row["is_active"] for row in rows} == {
        "daily_report": True,
        "hourly_load": False,
        "never_run": True,
    }


async def test_list_and_object_respond_with_and_without_trailing_slash(
    client: ValidatingClient, tenants: TwoTenants
) -> None:
    for path in (LIST, f"{LIST}/{tenants.finance.pipelines['daily_report']}"):
        plain = await client.as_(tenants.keys["viewer"], "GET", path)
        slashed = await client.as_(tenants.keys["viewer"], "GET", f"{path}/")
        assert slashed.status_code == 200
        assert slashed.json() == plain.json()


@pytest.mark.parametrize("query", [{"status": "Success"}, {"status": "a b"}, {"connector_id": "x"}, {"q": "a\0b"}])
async def test_invalid_filter_is_rejected_with_its_location(
    client: ValidatingClient, tenants: TwoTenants, query: dict[str, str]
) -> None:
    response = await client.as_(tenants.keys["viewer"], "GET", LIST, params=query)
    assert response.status_code == 422
    assert response.json()["detail"][0]["loc"][:2] == ["query", next(iter(query))]
