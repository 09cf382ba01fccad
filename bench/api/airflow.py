"""Real Airflows 3, asked for the same pages; what they answer holds none of the numbers.

One has the DAGs, runs and task instances of the space that Windsock is asked about. Airflow's answer for a page takes
longer the more DAGs there are: it finds out each time which of them the caller may read, and asks its database with
all their ids (`BaseAuthManager.get_authorized_dag_ids`, Airflow 3.3.2). So beside a large one there is another of a
thousand.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import httpx2
import psycopg

from airflow_lab import SAMPLE_DAGS, AirflowLab, install
from bench.api.airflow_seed import PARSED, copy_space
from bench.api.load import Scenario
from bench.api.servers import ROOT, Server
from bench.api.verify import compared
from bench.sync.seeding import seed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
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
TASK_NAMES = {
    "external_id": "task_id", "status": "state", "operator": "operator", "try_number": "try_number",
    "started_at": "start_date", "ended_at": "end_date", "pool": "pool", "queue": "queue", "hostname": "hostname",
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
        make_scenario = _scenarios("Airflow", self.large, dag)
        return make_scenario + (
            _scenarios(f"Airflow of {FEW_DAGS:,} DAGs", self.few, "bench_00001") if self.few else []
        )

    def _compared(self, space: str, dag: str, fleet: Fleet, get: Get) -> int:
        """How many rows; raises where Airflow says something else, or knows of another number of them in all."""
        runs, of_dag = f"/dags/{dag}/dagRuns", f"{space}/pipelines/{fleet.pipeline_id}/runs?size=100"
        *_, run = get(of_dag).json()
        large = get(f"{space}/runs/{fleet.large_runs[1_000]}").json()
        dags = {"dag_id_pattern": "dag_0%", "exclude_stale": False}
        response, tasks = get(f"{space}/runs/{run['id']}/task-runs"), f"{runs}/{run['external_id']}/taskInstances"
        self._rows(get(f"{space}/runs/{large['id']}/task-runs"), f"{runs}/{large['external_id']}/taskInstances")
        return (
            compared("/dags", *self._rows(get(f"{space}/pipelines?size=100"), "/dags", DAG_NAMES, **dags))
            + compared(runs, *self._rows(get(of_dag), runs, RUN_NAMES, order_by="-run_after"))
            + compared(tasks, *(sorted(rows, key=itemgetter("external_id"))  # they have no order in time
                                for rows in self._rows(response, tasks, TASK_NAMES)))
        )  # fmt: skip

    def _rows(
        self, response: httpx2.Response, address: str, names: Mapping[str, str] | None = None, **parameters: object
    ) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """What is called alike of our rows and of Airflow's; raises where there is another number of them in all."""
        theirs = self.large.api("GET", address, params={"limit": 100, **parameters})
        if response.headers["x-total-count"] != str(theirs.pop("total_entries")):
            raise RuntimeError(f"not as many as Airflow has: {address}")
        (rows,) = (value for value in theirs.values() if isinstance(value, list))
        alike = (names or {}).items()
        return (
            [{name: row[name] for name, _ in alike} for row in response.json()],
            [{name: row[other] for name, other in alike} for row in rows],
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
        lab.serve_api_only()
        say(f"Airflow {lab.version} answers")
        yield lab


def _scenarios(name: str, lab: AirflowLab, dag: str) -> list[Scenario]:
    login = {"username": lab.username, "password": lab.password}
    token = httpx2.post(f"{lab.url}/auth/token", json=login, timeout=30, trust_env=False).json()["access_token"]
    run_id = lab.api("GET", f"/dags/{dag}/dagRuns", params={"limit": 1})["dag_runs"][0]["dag_run_id"]
    server = Server(name, lab.url, lab.web_pid)
    postmaster = int((lab.home / "postgres" / "postgres" / "postmaster.pid").read_text().split()[0])

    def make_scenario(what: str, path: str) -> Scenario:
        paths = (f"/api/v2{path}",)
        return Scenario(f"{name}, {what}", server, paths, (1, 8), f"Bearer {token}", postmaster=postmaster)

    return [
        make_scenario("dags", "/dags?limit=100&exclude_stale=false"),
        make_scenario("dagRuns", f"/dags/{dag}/dagRuns?limit=100&order_by=-run_after"),
        make_scenario("taskInstances", f"/dags/{dag}/dagRuns/{run_id}/taskInstances?limit=100"),
    ]
