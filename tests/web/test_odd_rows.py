"""Pages show rows with odd yet legal values."""

import re

import pytest

from conftest import RolledBackDatabase
from factories import TwoTenants, make_run
from web.conftest import Browser
from windsock.db.queries import Query
from windsock.sync.writer import MirrorWriter

pytestmark = pytest.mark.anyio

FLEET = "/spaces/finance/pipelines"


@pytest.mark.parametrize("seconds", [-0.02, -18_000])
async def test_pages_render_run_that_ends_before_start(
    viewer: Browser, tenants: TwoTenants, db: RolledBackDatabase, seconds: float
) -> None:
    space = tenants.finance
    async with db.tenant_transaction(space.id) as tx:
        run = make_run("daily_report", "odd clocks", "failed", hours_ago=0.5, minutes=seconds / 60)
        await MirrorWriter(space.id, space.connector_id).store_runs(tx, [run], space.pipelines)
        (row,) = await tx.fetch_all(Query("SELECT id FROM runs WHERE external_id = 'odd clocks'"))
    pipeline = f"{FLEET}/{space.pipelines['daily_report']}"
    for path in ("/spaces/finance", FLEET, pipeline, f"/spaces/finance/runs/{row['id']}", "/spaces/finance/timeline"):
        shown = await viewer.open(path)
        if shown.is_redirect:
            shown = await viewer.open(shown.headers["location"])
        assert shown.status_code == 200, path
        assert not re.search(r">\s*-\d", shown.text), "no negative time is shown"
