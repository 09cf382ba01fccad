"""A real Airflow 3 with as many DAGs, asked for the same pages; what it answers holds none of the numbers."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import httpx2

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


@contextlib.contextmanager
def airflow(folder: Path, size: Size, say: Callable[[str], None]) -> Iterator[list[Scenario]]:
    """The same questions as Windsock is asked, at the same page size."""
    installed = ROOT / ".airflow" / "3"
    install("3", installed, say)
    with AirflowLab("3", installed, folder / "airflow", dags=SAMPLE_DAGS) as lab:
        lab.wait_ready(say)
        lab.trigger(MODEL)
        lab.wait_quiet()
        dags, runs = min(size.pipelines, MOST_DAGS), min(size.pipelines * size.runs_each, MOST_RUNS)
        seed(lab.database_url, MODEL, dags=dags, runs=runs, tasks=TASKS, days=DAYS)
        say(f"Airflow {lab.version} has {dags} DAGs, {runs} runs, {runs * TASKS} task instances")
        login = {"username": lab.username, "password": lab.password}
        token = httpx2.post(f"{lab.url}/auth/token", json=login, timeout=30, trust_env=False).json()["access_token"]
        run_id = lab.api("GET", "/dags/bench_00001/dagRuns", params={"limit": 1})["dag_runs"][0]["dag_run_id"]
        server = Server("airflow", lab.url, None)

        def asked(name: str, path: str) -> Scenario:
            return Scenario(f"Airflow, {name}", server, (f"/api/v2{path}",), (1, 8), f"Bearer {token}")

        yield [
            asked("dags", "/dags?limit=100&exclude_stale=false"),
            asked("dagRuns", "/dags/bench_00001/dagRuns?limit=100&order_by=-run_after"),
            asked("taskInstances", f"/dags/bench_00001/dagRuns/{run_id}/taskInstances?limit=100"),
        ]
