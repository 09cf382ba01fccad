"""What the pages show of an Airflow 3.4: iterations of loops, names of mapped instances, DAGs that are draining."""

from typing import Any

import pytest

from conftest import RolledBackDatabase
from factories import TwoTenants, make_pipeline, make_task_run
from web.conftest import Browser
from web.test_pages import names
from windsock.db.queries import Query
from windsock.sync.writer import MirrorWriter

pytestmark = pytest.mark.anyio


async def test_run_page_names_loop_iterations_and_mapped_instances(
    viewer: Browser, db: RolledBackDatabase, tenants: TwoTenants
) -> None:
    space = tenants.finance
    loop: dict[str, Any] = {"loop_id": "refine", "region_id": "01a225c3-32c9-7722-8c9a-42d326709fb1"}
    named = {"rendered_map_index": "shelf 7", "state_reason": "no such <shop>"}
    tasks = [
        make_task_run("daily_report", "r1", "guess", "success", region_index=index, loop_iteration=index, **loop)
        for index in range(3)
    ]
    tasks.append(make_task_run("daily_report", "r1", "count", "failed", map_index=7, provider_metadata=named))
    async with db.tenant_transaction(space.id) as tx:
        await MirrorWriter(space.id, space.connector_id).store_task_runs(tx, tasks, space.pipelines)
        query = Query("UPDATE task_runs SET removed_at = now() WHERE space_id = %(space_id)s AND loop_iteration = 2")
        assert await tx.execute(query, space_id=space.id)
    path = f"/spaces/finance/runs/{space.run_id}"
    text = (await viewer.open(path)).text
    shown = [name for name in names(text) if name.startswith(("guess", "count"))]
    assert shown == ["count [7] shelf 7", "guess · iteration 0", "guess · iteration 1"], "what is gone is not shown"
    assert "no such &lt;shop&gt;" in text
    lines = await grid(viewer, path)
    assert lines["guess"]["counts"] == {"success": 2}
    assert lines["count"]["counts"] == {"failed": 1}
    (count,) = await grid_rows(viewer, f"{path}/tasks?task_id=count")
    assert (count["rendered_map_index"], count["state_reason"]) == ("shelf 7", "no such <shop>")
    of_loop = [row["loop"] for row in await grid_rows(viewer, f"{path}/tasks?task_id=guess")]
    assert of_loop == [{"id": "refine", "iteration": 0}, {"id": "refine", "iteration": 1}]


async def grid_rows(viewer: Browser, path: str) -> list[dict[str, Any]]:
    body = (await viewer.open(path)).json()
    return [dict(zip(body["columns"], row, strict=True)) for row in body["tasks"]]


async def grid(viewer: Browser, run: str) -> dict[str, dict[str, Any]]:
    return {row["external_id"]: row for row in await grid_rows(viewer, f"{run}/tasks")}


async def test_draining_pipeline_is_marked_in_list_and_on_page(
    viewer: Browser, db: RolledBackDatabase, tenants: TwoTenants
) -> None:
    space = tenants.finance
    assert "draining" not in (await viewer.open("/spaces/finance/pipelines")).text
    async with db.tenant_transaction(space.id) as tx:
        await MirrorWriter(space.id, space.connector_id).store_pipelines(
            tx, [make_pipeline("never_run", is_draining=True)]
        )
    for path in ("/spaces/finance/pipelines", f"/spaces/finance/pipelines/{space.pipelines['never_run']}"):
        assert ">draining</span>" in (await viewer.open(path)).text
