"""`windsock serve` and its PostgreSQL are killed with -9 in the middle of a first sync; nothing is lost or doubled."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from airflow.harness import quiet
from airflow.proxy import Proxy, open_proxy
from airflow_lab import AirflowLab
from cli.cli_subprocess import SERVER, Installation, installed, wait_for
from windsock.db.bootstrap import DATABASE, OWNER
from windsock.embedded import EmbeddedPostgres

SECRET = "planted-password-2342"


@pytest.fixture
def server(open_folder: Path) -> Iterator[Installation]:
    with installed(open_folder, Installation) as new_installation:
        yield new_installation


def kill(server: Installation) -> None:
    """-9 to the server and to the postmaster of its embedded PostgreSQL."""
    postmaster = server.postmaster()
    server.processes[SERVER].kill()
    os.kill(postmaster, signal.SIGKILL)
    server.processes[SERVER].wait()


def syncs(server: Installation, **filters: Any) -> list[dict[str, Any]]:
    return list(server.request_json("GET", "/catalog/spaces/finance/sync-history", params=filters))


def test_killed_first_sync_resumes_and_mirror_equals_airflow(airflow3: AirflowLab, server: Installation) -> None:
    for dag_id in ("churn_training", "ledger_close", "invoice_export"):
        airflow3.trigger(dag_id)
    quiet(airflow3)
    server.init()
    server.serve()
    with open_proxy(airflow3.url, page=5, delay=0.1) as proxy:
        connect(server, proxy)
        killed: set[str] = set()
        for _ in range(2):
            # The killed one still counts as running until its lease runs out; then another goes on from its checkpoint.
            killed.add(wait_for(lambda: in_the_middle(server, killed), "a sync in the middle of its work"))
            kill(server)
            server.serve()
        proxy.delay = 0.0
        complete = wait_for(lambda: syncs(server, status="complete"), "a complete sync", 90)
        wait_for(lambda: is_backfilled(server), "the whole history", 90)
    assert complete[0]["warnings"]
    broken_off = {sync["id"]: sync for sync in syncs(server, size=100) if sync["status"] in {"partial", "failed"}}
    assert killed <= broken_off.keys()
    assert all("stopped in the middle" in broken_off[sync_id]["error"] for sync_id in killed)
    compare(airflow3, server)
    assert_no_secret(server, [server.key, SECRET])


def is_backfilled(server: Installation) -> bool:
    connectors = server.request_json("GET", "/catalog/spaces/finance/connectors")
    return any((connector["freshness"]["history"] or {}).get("is_complete") for connector in connectors)


def in_the_middle(server: Installation, besides: set[str]) -> str | None:
    """The id of a running sync that has stored something."""
    for sync in syncs(server, status="running"):
        if sync["id"] not in besides and sync["runs"]["created"] + sync["task_runs"]["created"]:
            return str(sync["id"])
    return None


def connect(server: Installation, proxy: Proxy) -> None:
    """One that works, and one whose password is wrong, and is planted."""
    server.connect(proxy.url)
    other = {
        "name": "wrong password",
        "connector_type": "airflow",
        "config": {"base_url": proxy.url},
        "credentials": {"auth_type": "password", "username": "admin", "password": SECRET},
    }
    created = server.request_json("POST", "/catalog/spaces/finance/connectors", json=other)
    server.request_json("POST", f"/catalog/spaces/finance/connectors/{created['id']}/test")
    server.request_json("PATCH", f"/catalog/spaces/finance/connectors/{created['id']}", json={"is_active": False})


def compare(lab: AirflowLab, server: Installation) -> None:
    """Through our API: every run and task run once, with Airflow's status."""
    where = "/spaces/finance/orchestration"
    pipelines = server.request_json("GET", f"{where}/pipelines", params={"size": 500})
    names = [pipeline["external_id"] for pipeline in pipelines]
    assert len(names) == len(set(names)) == 15
    compared = 0
    for pipeline in pipelines:
        theirs = lab.api("GET", f"/dags/{pipeline['external_id']}/dagRuns", params={"limit": 100})["dag_runs"]
        mine = server.request_json("GET", f"{where}/pipelines/{pipeline['id']}/runs", params={"size": 500})
        assert sorted((run["external_id"], run["status"]) for run in mine) == sorted(
            (run["dag_run_id"], run["state"]) for run in theirs
        )
        for run in mine:
            path = f"/dags/{pipeline['external_id']}/dagRuns/{run['external_id']}/taskInstances"
            tasks = lab.api("GET", path, params={"limit": 100})["task_instances"]
            detail = server.request_json("GET", f"{where}/runs/{run['id']}")
            assert sorted(
                (task["external_id"], task["map_index"] or 0, task["status"], task["try_number"])
                for task in detail["task_runs"]
            ) == sorted(
                (task["task_id"], max(task["map_index"], 0), task["state"] or "none", task["try_number"])
                for task in tasks
            )
            compared += len(tasks)
    assert compared >= 30


def assert_no_secret(server: Installation, secrets: list[str]) -> None:
    """Neither in the log nor in a dump of every table as its owner."""
    log = server.log.read_text()
    assert log.count("\n") > 10
    with EmbeddedPostgres(server.data) as embedded, psycopg.connect(embedded.url(user=OWNER, database=DATABASE)) as db:
        tables = db.execute(
            "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables"
            " WHERE schemaname IN ('windsock', 'procrastinate')"
        ).fetchall()
        dump = ""
        for (table,) in tables:
            with db.cursor().copy(f"COPY {table} TO STDOUT".encode()) as rows:
                dump += b"".join(map(bytes, rows)).decode()
    assert "wrong password" in dump
    for secret in secrets:
        for shape in (secret, secret.encode().hex()):
            assert shape not in log
            assert shape not in dump
