"""Runs whose ids have slashes and other strange characters, on real Airflows whose configuration permits them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest

from airflow.diff import assert_mirror_equals
from airflow.extremes import CATALOGUE, STRANGE, strange_id
from airflow.harness import Windsock, beside, open_windsock, quiet
from airflow_lab import AirflowLab
from conftest import SECRET_KEY
from databases import Databases

pytestmark = pytest.mark.anyio

IDS = [strange_id(number) for number in range(STRANGE)]


@pytest.fixture
async def windsock(make_database: Databases) -> AsyncIterator[Windsock]:
    async with open_windsock(make_database, SECRET_KEY) as new_windsock:
        yield new_windsock


def delete_by_hand(lab: AirflowLab, run_id: str) -> None:
    """In Airflow's database: Airflow 2 has no other way to delete what has no address."""
    with psycopg.connect(lab.database_url) as connection:
        query = "DELETE FROM dag_run WHERE dag_id = %s AND run_id = %s"
        assert connection.execute(query, (CATALOGUE, run_id)).rowcount == 1


async def full_check(windsock: Windsock) -> None:
    soon = "UPDATE sync_states SET failures = 1, reconciled_at = NULL, pipelines_listed_at = NULL"
    await windsock.execute(soon)  # so that it asks who answers, and compares the totals
    sync = await windsock.sync(trigger="schedule")
    assert sync["status"] == "complete", sync["error"]


@pytest.mark.usefixtures("strange_runs")
async def test_strange_run_ids_are_mirrored_and_only_a_deletion_removes_one(
    airflow: AirflowLab, windsock: Windsock
) -> None:
    for run_id in IDS:
        await beside(airflow.trigger, CATALOGUE, None, run_id)
        await asyncio.sleep(1.1)  # Airflow 2 names no moment twice
    await beside(quiet, airflow)
    await windsock.connect(airflow.url)
    assert (await windsock.sync(is_full=True))["status"] == "complete"
    # All identity samples have ids without an address.
    await windsock.execute(
        "UPDATE sync_states SET identity_samples = (SELECT jsonb_agg(w) FROM ("
        " SELECT %(dag)s AS dag_id, r.external_id AS run_id, rfc3339(r.started_at) AS started_at FROM runs r"
        " WHERE r.external_id LIKE '%%/%%') w)",
        {"dag": CATALOGUE},
    )
    for _ in range(3):
        await full_check(windsock)
    assert (await windsock.state())["quarantine"] is None
    rows = await windsock.rows("SELECT external_id, removed_at FROM runs")
    assert set(IDS) <= {row["external_id"] for row in rows}
    assert {row["removed_at"] for row in rows} == {None}
    await assert_mirror_equals(airflow, windsock)

    await beside(delete_by_hand, airflow, IDS[0])
    for _ in range(2):  # it is too young to be found by comparing totals
        assert (await windsock.sync(is_full=True))["status"] == "complete"
    (row,) = await windsock.rows("SELECT removed_at FROM runs WHERE external_id = %(id)s", {"id": IDS[0]})
    assert row["removed_at"] is not None
    await assert_mirror_equals(airflow, windsock)
