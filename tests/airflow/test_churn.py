"""A real Airflow that people and its scheduler change without end is in the mirror within interval + 10 seconds.

Among what changes are runs whose ids have slashes, runs with a conf nested 254 levels deep, DAGs and tasks of display
names of 1,000 Chinese characters (Airflow's columns take 2,000), notes of 900 of these, mapped tasks, and loops.
"""

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator
from statistics import quantiles

import psycopg
import pytest

from airflow.churn import DEEPEST, Churn
from airflow.diff import assert_mirror_equals
from airflow.extremes import CATALOGUE, REPETITION, depth_of
from airflow.harness import Windsock, beside, open_windsock, quiet
from airflow_lab import AirflowLab
from conftest import SECRET_KEY
from databases import Databases

pytestmark = pytest.mark.anyio

SECONDS = float(os.environ.get("WINDSOCK_TEST_CHURN_SECONDS", "45"))
"""The ten minutes that docs/sync-testing.md tells of are 600."""
INTERVAL = 5
MOST_LATE = 10
ABOUT = (
    "SELECT external_id, status, missing_since_sync_id, deleted_by_sync_id, removed_at, updated_at FROM runs"
    " WHERE external_id = %(run)s"
)
SYNCS = "SELECT status, started_at, finished_at, runs, warnings, error FROM sync_runs ORDER BY id DESC LIMIT 20"


@pytest.fixture
async def windsock(make_database: Databases) -> AsyncIterator[Windsock]:
    async with open_windsock(make_database, SECRET_KEY) as new_windsock:
        yield new_windsock


def go_on(churn: Churn, database_url: str, space_id: str) -> None:
    with psycopg.connect(database_url, options="-c search_path=windsock", autocommit=True) as connection:
        cursor = connection.cursor()
        cursor.execute("SELECT set_config('windsock.space_id', %s, false)", (space_id,))
        started = acted = watched = time.monotonic()
        while time.monotonic() < started + SECONDS or (
            any(change.seen is None for change in churn.changes)
            and time.monotonic() < started + SECONDS + INTERVAL + MOST_LATE + 5
        ):
            now = time.monotonic()
            if now - acted > 1.5 and now < started + SECONDS:
                churn.act()
                acted = time.monotonic()
            if now - watched > 3 and now < started + SECONDS:
                churn.watch()
                watched = time.monotonic()
            churn.observe(cursor)
            time.sleep(0.2)


@pytest.mark.timeout(0)
@pytest.mark.usefixtures("strange_runs")
async def test_every_change_is_mirrored_within_interval_plus_ten_seconds(
    every_airflow: AirflowLab, windsock: Windsock, capsys: pytest.CaptureFixture[str]
) -> None:
    airflow = every_airflow
    await windsock.connect(airflow.url, sync_interval_seconds=INTERVAL)
    await windsock.sync()
    churn = await beside(Churn, airflow, random.Random(4))  # noqa: S311 - repeatable on purpose
    for dag_id in churn.dags:
        await beside(airflow.unpause, dag_id)
    # Before its first task, 3.4 loads what it needs for tasks, and answers nobody for up to 14 s.
    await beside(airflow.trigger, CATALOGUE)
    await beside(airflow.wait_quiet)
    churn.watch()
    churn.changes.clear()
    try:
        async with windsock.process.jobs.run_workers(2):
            await beside(go_on, churn, windsock.db.url, str(windsock.space_id))
    finally:
        await beside(airflow.unpause, churn.pausable)
    windsock.process.execution.stopping.clear()
    for left in await windsock.rows("SELECT id FROM sync_runs WHERE status = 'queued'"):  # handed over at the end
        await windsock.execution.run(windsock.space_id, left["id"])
    assert len(churn.changes) >= SECONDS / 10  # a slow Airflow answers a few of them only
    for change in churn.changes:
        about = await windsock.rows(ABOUT, {"run": change.run_id}) if change.seen is None else None
        assert about is None, f"{change.kind} is not seen: {about}, syncs: {await windsock.rows(SYNCS)}"
    delays = sorted(change.delay for change in churn.changes if change.delay is not None)
    slowest = next(change.kind for change in churn.changes if change.delay == delays[-1])
    assert delays[-1] <= INTERVAL + MOST_LATE, [(change.kind, change.delay) for change in churn.changes]
    p = quantiles(delays, n=20, method="inclusive")
    kinds = sorted({change.kind.split()[0] for change in churn.changes})
    with capsys.disabled():
        print(  # noqa: T201 - the numbers are wanted
            f"\nAirflow {airflow.version}, {SECONDS:.0f} s: {len(delays)} changes ({', '.join(kinds)}), delay"
            f" p50 {p[9]:.1f} s, p95 {p[18]:.1f} s, max {delays[-1]:.1f} s ({slowest}); interval {INTERVAL} s"
        )
    await beside(quiet, airflow)
    for _ in range(3):
        await asyncio.sleep(1)
        await windsock.execute("UPDATE sync_states SET reconciled_at = NULL WHERE space_id = %(space_id)s")
        assert (await windsock.sync())["status"] == "complete"
    await assert_mirror_equals(airflow, windsock)
    await assert_the_extremes_are_there(windsock, has_loops=REPETITION in churn.dags)


async def assert_the_extremes_are_there(windsock: Windsock, *, has_loops: bool) -> None:
    runs = await windsock.rows("SELECT external_id, conf FROM runs WHERE removed_at IS NULL")
    assert len(runs) > 5
    assert any("/" in run["external_id"] for run in runs)
    assert any(depth_of(run["conf"]) == DEEPEST for run in runs)
    dags = await windsock.rows("SELECT external_id FROM pipelines WHERE length(name) = 1000")
    assert {dag["external_id"] for dag in dags} == {CATALOGUE, *([REPETITION] if has_loops else [])}
    (tasks,) = await windsock.rows(
        "SELECT count(*) FILTER (WHERE t.map_index > 0) AS mapped, coalesce(max(t.loop_iteration), 0) AS iteration"
        " FROM task_runs t JOIN runs r ON r.id = t.run_id WHERE length(t.name) = 1000 AND r.external_id LIKE '%%/%%'"
        " AND r.removed_at IS NULL AND t.removed_at IS NULL"
    )
    assert tasks["mapped"] > 0
    assert tasks["iteration"] >= int(has_loops)
