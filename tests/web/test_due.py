"""A next run that lies in the past is never shown without saying that it is due: API, pages, command line."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from conftest import RolledBackDatabase
from factories import TwoTenants
from validating_client import ValidatingClient
from web.conftest import Browser
from windsock.cli.formatting import until
from windsock.db.queries import Query

pytestmark = pytest.mark.anyio
LIST = "/spaces/finance/orchestration/pipelines"


async def plan(db: RolledBackDatabase, tenants: TwoTenants, at: datetime | None) -> None:
    async with db.tenant_transaction(tenants.finance.id) as tx:
        await tx.execute(
            Query(
                "UPDATE pipelines SET next_run_at = %(at)s"
                " WHERE space_id = %(space_id)s AND external_id = 'daily_report'"
            ),
            at=at,
            space_id=tenants.finance.id,
        )


@pytest.mark.parametrize(("minutes", "is_due"), [(-600, True), (-1.5, True), (1.5, False), (600, False), (None, False)])
async def test_api_reports_whether_next_run_is_due(
    client: ValidatingClient, tenants: TwoTenants, db: RolledBackDatabase, minutes: float | None, *, is_due: bool
) -> None:
    at = None if minutes is None else datetime.now(UTC) + timedelta(minutes=minutes)
    await plan(db, tenants, at)
    viewer, pipeline_id = tenants.keys["viewer"], str(tenants.finance.pipelines["daily_report"])
    listed = await client.as_(viewer, "GET", LIST)
    (row,) = [row for row in listed.json() if row["id"] == pipeline_id]
    detail = (await client.as_(viewer, "GET", f"{LIST}/{pipeline_id}")).json()
    assert row["is_next_run_due"] is detail["is_next_run_due"] is is_due
    sorted_list = await client.as_(viewer, "GET", f"{LIST}?sort=-failed_count")
    (row,) = [row for row in sorted_list.json() if row["id"] == pipeline_id]
    assert row["is_next_run_due"] is is_due


async def test_pages_show_since_when_run_is_due(viewer: Browser, tenants: TwoTenants, db: RolledBackDatabase) -> None:
    await plan(db, tenants, datetime.now(UTC) - timedelta(minutes=12, seconds=5))
    for path in ("", f"/{tenants.finance.pipelines['daily_report']}"):
        page = await viewer.open(f"/spaces/finance/pipelines{path}")
        assert re.search(r"<time[^>]*>due since 12 min</time>", page.text), path


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (None, ""),
        (timedelta(minutes=5, seconds=0.4), "in 5 min"),
        (-timedelta(minutes=12), "due since 12 min"),
        (-timedelta(days=2, hours=4), "due since 2 d 4 h"),
    ],
)
def test_command_line_shows_since_when_run_is_due(at: timedelta | None, text: str) -> None:
    assert until(None if at is None else datetime.now(UTC) + at) == text
