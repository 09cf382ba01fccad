"""Real Airflows 3, asked for the same pages; what they answer holds none of the numbers.

One has the DAGs, runs and task instances of the space that Windsock is asked about. Airflow's answer for a page takes
longer the more DAGs there are: it finds out each time which of them the caller may read, and asks its database with
all their ids (`BaseAuthManager.get_authorized_dag_ids`, Airflow 3.3.2). So beside a large one there is another of a
thousand.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx2
import psycopg

from airflow_lab import SAMPLE_DAGS, AirflowLab, install
from bench.api.copied import PARSED, copy_space
from bench.api.equal import compared
from bench.api.load import Scenario
from bench.api.servers import ROOT, Server
from bench.sync.seeding import seed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from bench.api.seeding import Fleet, Size

    Say = Callable[[str], None]
    Get = Callable[[str], httpx2.Response]

MODEL, DAYS = "newsletter", 30
FEW_DAGS, FEW_RUNS, FEW_TASKS = 1_000, 200_000, 5
DAG_NAMES = {"external_id": "dag_id", "description": "description", "is_paused": "is_paused"}
RUN_NAMES = {
    "external_id": "dag_run_id", "status": "state", "run_type": "run_type", "started_at": "start_date",
    "ended_at": "end_date", "run_after": "run_after", "logical_date": "logical_date",
}  # fmt: skip
"""Ours and Airflow's."""
INSTALLED = ROOT / ".airflow" / "3"


@dataclass(frozen=True, slots=True)
class Airflows:
    """Those that run: one that is to hold the space, and beside a large one another of few DAGs, which has them."""

    large: AirflowLab
    few: AirflowLab | None

    def scenarios(self, windsock_url: str, fleet: Fleet, get: Get, say: Say) -> list[Scenario]:
        """The same questions as Windsock is asked, which `get` asks; the space is copied, and compared."""
        copy_space(windsock_url, self.large.database_url, fleet.space_id, MODEL, say)
        space = f"/api/v1.0/spaces/{fleet.slug}/orchestration"
        dag = get(f"{space}/pipelines/{fleet.pipeline_id}").json()["external_id"]
        say(f"{self._compared(space, dag, fleet, get)} rows are equal to Airflow's")
        asked = _scenarios("Airflow", self.large, dag)
        return asked + (_scenarios(f"Airflow of {FEW_DAGS:,} DAGs", self.few, "bench_00001") if self.few else [])

    def _compared(self, space: str, dag: str, fleet: Fleet, get: Get) -> int:
        """How many rows; raises where Airflow says something else, or knows of another number of them in all."""
        runs = f"/dags/{dag}/dagRuns"
        large = get(f"{space}/runs/{fleet.large_runs[1_000]}").json()
        tasks = f"{runs}/{large['external_id']}/taskInstances"
        return sum(
            self._equal(get(f"{space}{path}size=100"), address, {"limit": 100, **parameters}, rows, names)
            for path, address, parameters, rows, names in (
                ("/pipelines?", "/dags", {"dag_id_pattern": "dag_0%", "exclude_stale": False}, "dags", DAG_NAMES),
                (f"/pipelines/{fleet.pipeline_id}/runs?", runs, {"order_by": "-run_after"}, "dag_runs", RUN_NAMES),
                (f"/runs/{large['id']}/task-runs?", tasks, {}, "task_instances", {}),
            )
        )

    def _equal(
        self, answer: httpx2.Response, address: str, parameters: dict[str, Any], rows: str, names: dict[str, str]
    ) -> int:
        theirs = self.large.api("GET", address, params=parameters)
        if answer.headers["x-total-count"] != str(theirs["total_entries"]):
            raise RuntimeError(f"{answer.headers['x-total-count']}, not {theirs['total_entries']}: {address}")
        return compared(
            address,
            [{name: row[name] for name in names} for row in answer.json()],
            [{name: row[other] for name, other in names.items()} for row in theirs[rows]],
        )


@contextlib.contextmanager
def airflows(folder: Path, size: Size, say: Say) -> Iterator[Airflows]:
    """Started, without the space yet: what is missing is found out before a quarter of an hour of seeding."""
    install("3", INSTALLED, say)
    with contextlib.ExitStack() as stack:
        few = None
        if size.pipelines_of_largest > FEW_DAGS:
            few = stack.enter_context(_answering(folder / "airflow_of_few", say))
            seed(few.database_url, MODEL, dags=FEW_DAGS, runs=FEW_RUNS, tasks=FEW_TASKS, days=DAYS)
            with psycopg.connect(few.database_url) as connection:
                connection.execute("CREATE TEMPORARY TABLE staged_dags AS SELECT 'bench_00001' AS dag_id")
                connection.execute(PARSED.encode(), {"model": MODEL})
        yield Airflows(stack.enter_context(_answering(folder / "airflow", say)), few)


@contextlib.contextmanager
def _answering(home: Path, say: Say) -> Iterator[AirflowLab]:
    """With a dozen DAGs, one of which has run. Nothing runs any more."""
    with AirflowLab("3", INSTALLED, home, dags=SAMPLE_DAGS) as lab:
        lab.wait_ready(say)
        lab.trigger(MODEL)
        lab.wait_quiet()
        lab.answer_only()
        say(f"Airflow {lab.version} answers")
        yield lab


def _scenarios(name: str, lab: AirflowLab, dag: str) -> list[Scenario]:
    login = {"username": lab.username, "password": lab.password}
    token = httpx2.post(f"{lab.url}/auth/token", json=login, timeout=30, trust_env=False).json()["access_token"]
    run_id = lab.api("GET", f"/dags/{dag}/dagRuns", params={"limit": 1})["dag_runs"][0]["dag_run_id"]
    server = Server(name, lab.url, lab.web_pid)
    postmaster = int((lab.home / "postgres" / "postgres" / "postmaster.pid").read_text().split()[0])

    def asked(what: str, path: str) -> Scenario:
        paths = (f"/api/v2{path}",)
        return Scenario(f"{name}, {what}", server, paths, (1, 8), f"Bearer {token}", postmaster=postmaster)

    return [
        asked("dags", "/dags?limit=100&exclude_stale=false"),
        asked("dagRuns", f"/dags/{dag}/dagRuns?limit=100&order_by=-run_after"),
        asked("taskInstances", f"/dags/{dag}/dagRuns/{run_id}/taskInstances?limit=100"),
    ]
