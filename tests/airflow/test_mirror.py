"""The mirror equals a real Airflow: while runs go on, once they are quiet, after notes and deletions."""

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import quote

import pytest

from airflow.diff import assert_mirror_equals
from airflow.harness import Windsock, beside, open_windsock, quiet
from airflow_lab import AirflowLab, seed_runs
from conftest import SECRET_KEY
from databases import Databases

pytestmark = pytest.mark.anyio


@pytest.fixture
async def windsock(make_database: Databases) -> AsyncIterator[Windsock]:
    async with open_windsock(make_database, SECRET_KEY) as new_windsock:
        yield new_windsock


async def test_mirror_equals_airflow_after_syncs_during_runs(airflow: AirflowLab, windsock: Windsock) -> None:
    await windsock.connect(airflow.url)
    await beside(airflow.unpause, "heartbeat")
    await beside(seed_runs, airflow, long_running=False)
    ended = asyncio.create_task(beside(airflow.wait_quiet, 240))
    statuses = []
    while not ended.done():
        statuses.append((await windsock.sync())["status"])
        await asyncio.sleep(2)
    await ended
    assert set(statuses) == {"complete"}
    assert len(statuses) >= 5
    await beside(quiet, airflow)
    assert (await windsock.sync())["status"] == "complete"

    compared = await assert_mirror_equals(airflow, windsock)
    assert compared["pipelines"] == 15
    assert compared["runs"] >= 21
    assert compared["task_runs"] >= 80
    states = {row["status"] for row in await windsock.rows("SELECT DISTINCT status FROM task_runs")}
    assert {"success", "failed", "skipped", "upstream_failed"} <= states


async def test_idle_sync_writes_no_rows_and_sends_few_requests(airflow: AirflowLab, windsock: Windsock) -> None:
    await windsock.connect(airflow.url)
    await beside(quiet, airflow)
    first = await windsock.sync()
    assert first["status"] == "complete"
    dags = len(await windsock.rows("SELECT id FROM pipelines"))
    # As if two minutes had passed: what changed within the overlap is read again, though not written.
    later = (
        "UPDATE sync_states SET pipelines_listed_at = NULL, watermark = now() + interval '2 minutes',"
        " verified_watermark = now() + interval '2 minutes'"
    )
    await windsock.execute(later)
    before = await windsock.row_versions()

    with_list = await windsock.sync(trigger="schedule")
    assert with_list["status"] == "complete"
    # The log, the two lists of changes, two totals, the import errors, one run that proves that it is the same Airflow.
    assert with_list["provider_requests"] <= 7 + -(-dags // 100)
    await windsock.execute(later.replace("pipelines_listed_at = NULL, ", ""))
    without_list = await windsock.sync(trigger="schedule")
    assert without_list["status"] == "complete"
    assert without_list["provider_requests"] == 3 + -(-dags // 100), "the DAGs without their import errors"
    assert await windsock.row_versions() == before
    for kind in ("pipelines", "runs", "task_runs"):
        assert all(with_list[kind][outcome] == 0 for outcome in ("created", "updated", "removed")), with_list[kind]


async def test_next_sync_mirrors_notes_and_deletions_from_event_log(airflow: AirflowLab, windsock: Windsock) -> None:
    await windsock.connect(airflow.url)
    run_id = await beside(airflow.trigger, "newsletter")
    deleted_id = await beside(airflow.trigger, "newsletter")
    await beside(quiet, airflow)
    await windsock.sync()
    where = f"/dags/newsletter/dagRuns/{quote(run_id)}"
    if airflow.major == "3":
        await beside(airflow.api, "PATCH", where, json={"note": "looked at by Ana"})
    else:
        await beside(airflow.api, "PATCH", f"{where}/setNote", json={"note": "looked at by Ana"})
    await beside(airflow.api, "DELETE", f"/dags/newsletter/dagRuns/{quote(deleted_id)}")

    found = await windsock.sync(trigger="schedule")
    assert found["status"] == "complete"
    assert found["runs"]["removed"] == 1
    (deleted,) = await windsock.rows("SELECT * FROM runs WHERE external_id = %(id)s", {"id": deleted_id})
    assert deleted["removed_at"] is not None
    await assert_mirror_equals(airflow, windsock)
    (noted,) = await windsock.rows("SELECT note FROM runs WHERE external_id = %(id)s", {"id": run_id})
    assert noted["note"] == "looked at by Ana"
    task_rows = await windsock.rows("SELECT id FROM task_runs WHERE run_id = %(id)s", {"id": deleted["id"]})
    assert task_rows, "what is gone from Airflow stays here, with its task runs"


async def test_deleted_dag_becomes_inactive_and_retains_its_runs(airflow3: AirflowLab, windsock: Windsock) -> None:
    file = airflow3.dags / "vanishing.py"
    file.write_text(
        "from airflow.sdk import DAG\n"
        "from airflow.providers.standard.operators.empty import EmptyOperator\n"
        "with DAG('vanishing', schedule=None): EmptyOperator(task_id='only')\n"
    )
    try:
        await windsock.connect(airflow3.url)
        for _ in range(60):
            await asyncio.sleep(1)
            dags = (await beside(airflow3.api, "GET", "/dags", params={"limit": 100}))["dags"]
            if any(dag["dag_id"] == "vanishing" for dag in dags):
                break
        await beside(airflow3.unpause, "vanishing")
        await beside(airflow3.trigger, "vanishing")
        await beside(airflow3.wait_quiet)
        await windsock.sync()
    finally:
        file.unlink()
    await beside(airflow3.api, "DELETE", "/dags/vanishing")
    assert (await windsock.sync(is_full=True))["pipelines"]["removed"] == 0
    assert (await windsock.sync(is_full=True))["pipelines"]["removed"] == 1
    (row,) = await windsock.rows("SELECT * FROM pipelines WHERE external_id = 'vanishing'")
    assert row["is_active"] is False
    assert row["removed_at"] is not None
    assert len(await windsock.rows("SELECT id FROM runs WHERE pipeline_id = %(id)s", {"id": row["id"]})) == 1
