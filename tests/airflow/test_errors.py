"""Errors of real failures: forty DAGs that fail in thirteen ways; what the excerpt says, and which are one group.

Unless WINDSOCK_TEST_FAULTS is "all", one DAG of each kind runs.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import combinations
from typing import TYPE_CHECKING, LiteralString, NamedTuple

import psycopg
import pytest

from airflow.added_dags import added_dags
from airflow.harness import open_windsock
from conftest import SECRET_KEY
from windsock.failures.reader import FailureReader

if TYPE_CHECKING:
    from airflow_lab import AirflowLab
    from databases import Databases
    from windsock.db.database import Row

IS_WHOLE = os.environ.get("WINDSOCK_TEST_FAULTS") == "all"
COUNTS = {
    "zombie": 2, "own_exception": 3, "chained": 3, "sql_error": 4, "http_error": 4, "import_error": 3, "killed": 3,
    "pod": 4, "timeout": 3, "mapped": 3, "group": 3, "bash": 3, "retried": 2,
}  # fmt: skip
ALL_DAGS = [f"fails_{kind}_{place}" for kind, count in COUNTS.items() for place in range(count)]
DAGS = ALL_DAGS if IS_WHOLE else [dag_id for dag_id in ALL_DAGS if dag_id.endswith("_0")]
CAUSES = {
    "own_exception": ("was rejected", "has no stock"),
    "chained": ("KeyError", "ValueError"),
    "sql_error": ("UNIQUE constraint failed: orders.id", "no such table: invoices"),
    "http_error": ("503", "404"),
    "import_error": ("pandas_of_another_team", "parse_everything"),
    "killed": ("kill", "MemoryError"),
    "pod": ("OOMKilled", "exit code 2"),
    "timeout": ("time", "no answer from"),
    "mapped": ("was rejected", "has no stock"),
    "group": ("UNIQUE constraint failed: orders.id", "no such table: invoices"),
    "bash": ("disk quota", "connection to server"),
    "retried": ("was rejected", "has no stock"),
    "zombie": ("heartbeat", "segmentation fault"),
}
"""Words of the excerpt that name the first and the second fault."""
FAULTS = (("first", 41), ("first", 1907), ("second", 73))
MISS_HEARTBEATS: dict[str, LiteralString] = {
    "3": "UPDATE task_instance SET last_heartbeat_at = now() - interval '1 hour'"
    " WHERE run_id = %(run_id)s AND dag_id LIKE 'fails\\_zombie%%' AND state = 'running'",
    "2": "UPDATE job SET latest_heartbeat = now() - interval '1 hour' FROM task_instance t WHERE t.job_id = job.id"
    " AND t.run_id = %(run_id)s AND t.dag_id LIKE 'fails\\_zombie%%' AND t.state = 'running'",
}
SECONDS = 900
SEEN: dict[str, dict[tuple[str, str], bytes]] = {}
"""Fingerprint of each DAG and fault, by version of Airflow."""


class Failure(NamedTuple):
    dag_id: str
    fault: str
    excerpt: str
    fingerprint: bytes

    @property
    def kind(self) -> str:
        return self.dag_id.removeprefix("fails_").rpartition("_")[0]

    @property
    def names_its_cause(self) -> bool:
        return CAUSES[self.kind][self.fault == "second"].lower() in self.excerpt.lower()


@pytest.fixture(scope="module")
def failed_runs(airflow: AirflowLab) -> Iterator[dict[tuple[str, str], str]]:
    """The fault of each run, by DAG and run id."""
    with added_dags(airflow, "failing.py", ALL_DAGS):
        for dag_id in DAGS:
            airflow.unpause(dag_id)
        started = {
            (dag_id, airflow.trigger(dag_id, {"fault": fault, "number": number})): fault
            for fault, number in FAULTS
            for dag_id in DAGS
        }
        with miss_heartbeats(airflow):
            airflow.wait_quiet(SECONDS)
        yield started


@contextmanager
def miss_heartbeats(airflow: AirflowLab) -> Iterator[None]:
    """Meanwhile, for tasks that are lost, the five minutes after which the scheduler fails them are over at once."""
    ended = threading.Event()

    def watch() -> None:
        with psycopg.connect(airflow.database_url, autocommit=True) as connection:
            while not ended.wait(0.5):
                for marker in (airflow.home / "lost").glob("*"):
                    if not connection.execute(MISS_HEARTBEATS[airflow.major], {"run_id": marker.name}).rowcount:
                        marker.unlink()  # it has failed

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        for marker in (airflow.home / "lost").glob("*"):
            marker.unlink()


@pytest.fixture(scope="module")
def failures(airflow: AirflowLab, failed_runs: dict[tuple[str, str], str], make_database: Databases) -> list[Failure]:
    """As Windsock has stored them after a sync."""
    rows = asyncio.run(_read(airflow, make_database))
    found = [
        Failure(row["dag_id"], failed_runs[row["dag_id"], row["run_id"]], row["excerpt"], row["hash"])
        for row in rows
        if (row["dag_id"], row["run_id"]) in failed_runs
    ]
    SEEN[airflow.version] = {(failure.dag_id, failure.fault): failure.fingerprint for failure in found}
    return found


async def _read(airflow: AirflowLab, make_database: Databases) -> list[Row]:
    async with open_windsock(make_database, SECRET_KEY) as windsock:
        await windsock.connect(airflow.url, include_dags=["fails_*"], read_logs="on_failure")
        sync = await windsock.sync(is_full=True)
        assert sync["status"] == "complete", sync["error"]
        reader = FailureReader(windsock.db, windsock.process.secrets, windsock._open_provider)
        due = await windsock.rows("SELECT run_id FROM failure_reads WHERE state = 'pending'")
        for row in due:
            await reader.read(windsock.space_id, row["run_id"])
        requests = await windsock.rows("SELECT max(requests) AS most FROM failure_reads")
        assert requests[0]["most"] <= 3, "one request for each failed task"
        return await windsock.rows(
            "SELECT p.external_id AS dag_id, r.external_id AS run_id, f.excerpt, g.hash FROM task_failures f"
            " JOIN runs r ON r.id = f.run_id JOIN pipelines p ON p.id = r.pipeline_id"
            " JOIN fingerprints g ON g.id = f.computed_fingerprint_id"
        )


def test_excerpts_name_the_cause(failures: list[Failure]) -> None:
    """As of 40 DAGs at least 36."""
    assert len(failures) == len(DAGS) * len(FAULTS)
    wrong = {(failure.dag_id, failure.fault): failure.excerpt for failure in failures if not failure.names_its_cause}
    print(f"{len(failures) - len(wrong)} of {len(failures)} excerpts name the cause")  # noqa: T201 - measured
    assert len(wrong) <= len(failures) // 10, wrong


def test_pairs_of_failures_are_grouped(failures: list[Failure]) -> None:
    """Pairs of the same DAG: the same fault is one group, another fault another."""
    pairs = [
        (first.fault == second.fault, first.fingerprint == second.fingerprint, first.dag_id)
        for first, second in combinations(failures, 2)
        if first.dag_id == second.dag_id
    ]
    together = sum(is_grouped for _, is_grouped, _ in pairs)
    right = sum(is_same and is_grouped for is_same, is_grouped, _ in pairs)
    precision, recall = right / together, right / sum(is_same for is_same, _, _ in pairs)
    print(f"precision {precision:.3f}, recall {recall:.3f} of {len(pairs)} pairs")  # noqa: T201 - measured
    wrong = {dag_id for is_same, is_grouped, dag_id in pairs if is_same != is_grouped}
    excerpts = [(failure.dag_id, failure.fault, failure.excerpt) for failure in failures if failure.dag_id in wrong]
    assert min(precision, recall) >= 0.95, excerpts


def test_same_fault_has_same_fingerprint_in_airflow_2_and_3(failures: list[Failure]) -> None:
    if len(SEEN) < 2 or not failures:
        return
    first, second = SEEN.values()
    different = {
        dag_id.removeprefix("fails_").rpartition("_")[0]
        for (dag_id, fault), fingerprint in first.items()
        if second.get((dag_id, fault)) != fingerprint
    }
    print(f"{len(COUNTS) - len(different)} of {len(COUNTS)} kinds have the same fingerprint")  # noqa: T201 - measured
    assert len(different) <= 2, different
