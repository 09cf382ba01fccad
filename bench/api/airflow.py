"""A real Airflow 3 with as many DAGs, asked for the same pages; what it answers holds none of the numbers."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import httpx2
import psycopg

from airflow_lab import SAMPLE_DAGS, AirflowLab, install
from bench.api.load import Scenario
from bench.api.servers import ROOT, Server
from bench.sync.seeding import seed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from bench.api.seeding import Size

MODEL, TASKS, DAYS = "newsletter", 5, 30
MOST_DAGS, MOST_RUNS = 1_000, 200_000
"""Airflow gets no more than this; more would make it slower, not faster."""
DAG = "bench_00001"
PARSED = """
WITH version AS (
    INSERT INTO dag_version
    SELECT made.*
    FROM (SELECT v FROM dag_version v WHERE dag_id = %(model)s ORDER BY version_number DESC LIMIT 1) model,
         jsonb_populate_record(model.v, jsonb_build_object('id', gen_random_uuid(), 'dag_id', %(dag)s::text)) made
    RETURNING id
)
INSERT INTO serialized_dag
SELECT made.*
FROM (SELECT s FROM serialized_dag s WHERE dag_id = %(model)s ORDER BY created_at DESC LIMIT 1) model, version,
     jsonb_populate_record(model.s, jsonb_build_object(
         'id', gen_random_uuid(), 'dag_id', %(dag)s::text, 'dag_version_id', version.id,
         'data', jsonb_set((model.s).data::jsonb, '{dag,dag_id}', to_jsonb(%(dag)s::text)))) made
"""
"""Airflow answers for the runs of a DAG only where it has read its file."""


@contextlib.contextmanager
def airflow(folder: Path, size: Size, say: Callable[[str], None]) -> Iterator[list[Scenario]]:
    """The same questions as Windsock is asked, at the same page size."""
    installed = ROOT / ".airflow" / "3"
    install("3", installed, say)
    with AirflowLab("3", installed, folder / "airflow", dags=SAMPLE_DAGS) as lab:
        lab.wait_ready(say)
        lab.trigger(MODEL)
        lab.wait_quiet()
        lab.answer_only()
        dags, runs = min(size.pipelines, MOST_DAGS), min(size.pipelines * size.runs_each, MOST_RUNS)
        seed(lab.database_url, MODEL, dags=dags, runs=runs, tasks=TASKS, days=DAYS)
        with psycopg.connect(lab.database_url) as connection:
            connection.execute(PARSED, {"model": MODEL, "dag": DAG})
        say(f"Airflow {lab.version} has {dags} DAGs, {runs} runs, {runs * TASKS} task instances")
        login = {"username": lab.username, "password": lab.password}
        token = httpx2.post(f"{lab.url}/auth/token", json=login, timeout=30, trust_env=False).json()["access_token"]
        run_id = lab.api("GET", f"/dags/{DAG}/dagRuns", params={"limit": 1})["dag_runs"][0]["dag_run_id"]
        server = Server("airflow", lab.url, None)

        def asked(name: str, path: str) -> Scenario:
            return Scenario(f"Airflow, {name}", server, (f"/api/v2{path}",), (1, 8), f"Bearer {token}")

        yield [
            asked("dags", "/dags?limit=100&exclude_stale=false"),
            asked("dagRuns", f"/dags/{DAG}/dagRuns?limit=100&order_by=-run_after"),
            asked("taskInstances", f"/dags/{DAG}/dagRuns/{run_id}/taskInstances?limit=100"),
        ]
