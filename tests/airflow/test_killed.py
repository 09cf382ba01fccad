"""`windsock serve` and its PostgreSQL are killed with -9 in the middle of a first sync; nothing is lost or doubled."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import orjson
import psycopg
import pytest

from airflow.mirrored import quiet
from airflow.proxy import Proxy, a_proxy
from airflow_lab import AirflowLab
from windsock.embedded import EmbeddedPostgres
from windsock.storage import DATABASE, OWNER

SECRET = "planted-password-2342"


class Server:
    """`windsock serve` as a user runs it, in a folder of its own."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.log = data.parent / "serve.log"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.process: subprocess.Popen[bytes] | None = None
        self.api = httpx2.Client(base_url=f"http://127.0.0.1:{self.port}/api/v1.0", timeout=30)

    def run(self, *arguments: str) -> Any:
        command = [sys.executable, "-m", "windsock", *arguments, "--data", str(self.data), "--json"]
        return orjson.loads(subprocess.check_output(command))

    def start(self) -> None:
        command = [sys.executable, "-m", "windsock", "serve", "--port", str(self.port), "--data", str(self.data)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        wait_for(self.is_ready, "the server to be ready")

    def is_ready(self) -> bool:
        with contextlib.suppress(httpx2.HTTPError):
            return httpx2.get(f"http://127.0.0.1:{self.port}/health/ready").status_code == 200
        return False

    def kill(self) -> None:
        """-9 to the server and to the postmaster of its embedded PostgreSQL."""
        assert self.process is not None
        postmaster = int((self.data / "postgres" / "postmaster.pid").read_text().split()[0])
        self.process.kill()
        os.kill(postmaster, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(30)

    def syncs(self, **filters: Any) -> list[dict[str, Any]]:
        return list(self.answer("GET", "/catalog/spaces/finance/sync-history", params=filters))

    def answer(self, method: str, path: str, **more: Any) -> Any:
        response = self.api.request(method, path, **more)
        assert response.is_success, response.text
        return response.json()


@pytest.fixture
def server(open_folder: Path) -> Iterator[Server]:
    folder = open_folder / f"killed-{time.monotonic_ns()}"
    folder.mkdir(mode=0o711)
    made = Server(folder / "data")
    try:
        yield made
    finally:
        made.stop()
        made.api.close()
        shutil.rmtree(folder, ignore_errors=True)


def wait_for(condition: Callable[[], Any], what: str, seconds: float = 60) -> Any:
    until = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < until, f"waited {seconds} s for {what}"
        time.sleep(0.1)
    return value


def test_a_killed_first_sync_goes_on_and_the_mirror_equals_airflow(airflow3: AirflowLab, server: Server) -> None:
    for dag_id in ("churn_training", "ledger_close", "invoice_export"):
        airflow3.trigger(dag_id)
    quiet(airflow3)
    made = server.run("init", "--email", "ana@example.com", "--space", "finance")
    server.api.headers["Authorization"] = f"Bearer {made['key']}"
    server.start()
    with a_proxy(airflow3.url, page=5, delay=0.1) as proxy:
        connect(server, proxy)
        killed: set[str] = set()
        for _ in range(2):
            # The killed one still counts as running until its lease runs out; then another goes on from its checkpoint.
            killed.add(wait_for(lambda: in_the_middle(server, killed), "a sync in the middle of its work"))
            server.kill()
            server.start()
        proxy.delay = 0.0
        complete = wait_for(lambda: server.syncs(status="complete"), "a complete sync", 90)
    assert complete[0]["warnings"]
    broken_off = {sync["id"]: sync for sync in server.syncs(size=100) if sync["status"] in {"partial", "failed"}}
    assert killed <= broken_off.keys()
    assert all("stopped in the middle" in broken_off[sync_id]["error"] for sync_id in killed)
    compare(airflow3, server)
    assert_no_secret(server, [made["key"], SECRET])


def in_the_middle(server: Server, besides: set[str]) -> str | None:
    """The id of a running sync that has stored something."""
    for sync in server.syncs(status="running"):
        if sync["id"] not in besides and sync["runs"]["created"] + sync["task_runs"]["created"]:
            return str(sync["id"])
    return None


def connect(server: Server, proxy: Proxy) -> None:
    body = {
        "name": "prod",
        "connector_type": "airflow",
        "config": {"base_url": proxy.url, "sync_interval_seconds": 5},
        "credentials": {"auth_type": "password", "username": "admin", "password": "admin"},
    }
    server.answer("POST", "/catalog/spaces/finance/connectors", json=body)
    other = body | {
        "name": "wrong password",
        "config": {"base_url": proxy.url},
        "credentials": {"auth_type": "password", "username": "admin", "password": SECRET},
    }
    made = server.answer("POST", "/catalog/spaces/finance/connectors", json=other)
    server.answer("POST", f"/catalog/spaces/finance/connectors/{made['id']}/test")
    server.answer("PATCH", f"/catalog/spaces/finance/connectors/{made['id']}", json={"is_active": False})


def compare(lab: AirflowLab, server: Server) -> None:
    """Through our API: every run and task run once, with Airflow's status."""
    where = "/spaces/finance/orchestration"
    pipelines = server.answer("GET", f"{where}/pipelines", params={"size": 500})
    names = [pipeline["external_id"] for pipeline in pipelines]
    assert len(names) == len(set(names)) == 14
    compared = 0
    for pipeline in pipelines:
        theirs = lab.api("GET", f"/dags/{pipeline['external_id']}/dagRuns", params={"limit": 100})["dag_runs"]
        mine = server.answer("GET", f"{where}/pipelines/{pipeline['id']}/runs", params={"size": 500})
        assert sorted((run["external_id"], run["status"]) for run in mine) == sorted(
            (run["dag_run_id"], run["state"]) for run in theirs
        )
        for run in mine:
            path = f"/dags/{pipeline['external_id']}/dagRuns/{run['external_id']}/taskInstances"
            tasks = lab.api("GET", path, params={"limit": 100})["task_instances"]
            detail = server.answer("GET", f"{where}/runs/{run['id']}")
            assert sorted(
                (task["external_id"], task["map_index"] or 0, task["status"], task["try_number"])
                for task in detail["task_runs"]
            ) == sorted(
                (task["task_id"], max(task["map_index"], 0), task["state"] or "none", task["try_number"])
                for task in tasks
            )
            compared += len(tasks)
    assert compared >= 30


def assert_no_secret(server: Server, secrets: list[str]) -> None:
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
