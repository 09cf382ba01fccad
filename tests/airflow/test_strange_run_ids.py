"""Runs whose ids have slashes and other strange characters, on real Airflows whose configuration permits them."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

import airflow_environment
from airflow.mirrored import Windsock, a_windsock, beside
from airflow_lab import SAMPLE_DAGS, AirflowLab, Version, install
from conftest import SECRET_KEY

pytestmark = pytest.mark.anyio

IDS = ("2026/11/23", "a//b", "x/taskInstances", "50% a?b#c;d", "a%2Fb", "grün 運行")
DAG = "newsletter"
PERMITS_ALL = "^.*$"


@pytest.fixture(params=["3", "2"], scope="module")
def permissive(request: pytest.FixtureRequest) -> Iterator[AirflowLab]:
    """An Airflow of its own: the setting is read at its start."""
    version: Version = request.param
    installed = Path(os.environ.get("WINDSOCK_TEST_AIRFLOW_ENVS") or Path(__file__).parents[2] / ".airflow") / version
    install(version, installed, print)
    folder = Path(tempfile.mkdtemp(prefix=f"windsock-airflow{version}-ids-"))
    folder.chmod(0o711)
    patch = pytest.MonkeyPatch()
    setting = {"AIRFLOW__SCHEDULER__ALLOWED_RUN_ID_PATTERN": PERMITS_ALL}
    patch.setattr(airflow_environment, "BOTH", airflow_environment.BOTH | setting)
    try:
        shutil.copytree(SAMPLE_DAGS, folder / "dags", ignore=shutil.ignore_patterns("__pycache__"))
        with AirflowLab(version, installed, folder / "home", dags=folder / "dags") as lab:
            lab.wait_ready(print)
            yield lab
    finally:
        patch.undo()
        shutil.rmtree(folder)


@pytest.fixture
async def windsock(make_database: Callable[[str], str]) -> AsyncIterator[Windsock]:
    async with a_windsock(make_database, SECRET_KEY) as made:
        yield made


def start(lab: AirflowLab, run_id: str) -> None:
    body = {"dag_run_id": run_id, "conf": {}} | ({"logical_date": None} if lab.major == "3" else {})
    lab.api("POST", f"/dags/{DAG}/dagRuns", json=body)


def delete_by_hand(lab: AirflowLab, run_id: str) -> None:
    """What has no address cannot be deleted through the API either: in Airflow's database."""
    code = (
        "import sys\n"
        "from sqlalchemy import text\n"
        "from airflow.utils.session import create_session\n"
        "with create_session() as session:\n"
        "    query = text('DELETE FROM dag_run WHERE dag_id = :dag AND run_id = :run')\n"
        "    assert session.execute(query, {'dag': sys.argv[1], 'run': sys.argv[2]}).rowcount == 1\n"
    )
    lab._running.run("deletes", str(lab._environment / "bin" / "python"), "-c", code, DAG, run_id)


async def look(windsock: Windsock) -> None:
    soon = "UPDATE sync_states SET failures = 1, checked_at = NULL, pipelines_listed_at = NULL"
    await windsock.execute(soon)  # so that it asks who answers, and compares the totals
    sync = await windsock.sync(trigger="schedule")
    assert sync["status"] == "complete", sync["error"]


async def assert_equal(lab: AirflowLab, windsock: Windsock) -> None:
    """From the lists of all, which show what has no address too."""
    runs = await beside(lab.api, "GET", "/dags/~/dagRuns", params={"limit": 100})
    tasks = await beside(lab.api, "GET", "/dags/~/dagRuns/~/taskInstances", params={"limit": 100})
    assert await windsock.rows(
        'SELECT external_id, status FROM runs WHERE removed_at IS NULL ORDER BY external_id COLLATE "C"'
    ) == [
        {"external_id": run_id, "status": state}
        for run_id, state in sorted((run["dag_run_id"], run["state"]) for run in runs["dag_runs"])
    ]
    query = (
        "SELECT r.external_id AS run, t.external_id AS task, t.status FROM task_runs t JOIN runs r ON r.id = t.run_id"
    )
    found = await windsock.rows(f"{query} WHERE r.removed_at IS NULL AND t.removed_at IS NULL")
    there = {(task["dag_run_id"], task["task_id"], task["state"]) for task in tasks["task_instances"]}
    assert {tuple(row.values()) for row in found} == there


async def test_strange_run_ids_are_mirrored_and_only_a_deletion_removes_one(
    permissive: AirflowLab, windsock: Windsock
) -> None:
    lab = permissive
    for run_id in IDS:
        await beside(start, lab, run_id)
        await asyncio.sleep(1.1)  # Airflow 2 names no moment twice
    await beside(lab.wait_quiet, 240)
    await windsock.connect(lab.url)
    assert (await windsock.sync())["status"] == "complete"
    # All witnesses have ids without an address.
    await windsock.execute(
        "UPDATE sync_states SET witnesses = (SELECT jsonb_agg(w) FROM ("
        " SELECT %(dag)s AS dag_id, r.external_id AS run_id, rfc3339(r.started_at) AS started_at FROM runs r"
        " WHERE r.external_id LIKE '%%/%%') w)",
        {"dag": DAG},
    )
    for _ in range(3):
        await look(windsock)
    assert (await windsock.state())["held"] is None
    rows = await windsock.rows("SELECT external_id, removed_at FROM runs")
    assert set(IDS) <= {row["external_id"] for row in rows}
    assert {row["removed_at"] for row in rows} == {None}
    await assert_equal(lab, windsock)

    await beside(delete_by_hand, lab, IDS[0])
    for _ in range(2):  # it is too young to be found by comparing totals
        assert (await windsock.sync(is_full=True))["status"] == "complete"
    (row,) = await windsock.rows("SELECT removed_at FROM runs WHERE external_id = %(id)s", {"id": IDS[0]})
    assert row["removed_at"] is not None
    await assert_equal(lab, windsock)
