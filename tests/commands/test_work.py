"""Requests and syncs in processes of their own: one answers, others work, and either may come and go."""

import contextlib
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from commands.running import Installation, wait_for

SYNC = "/spaces/finance/orchestration"


class Apart(Installation):
    """A server that carries out nothing, and workers."""

    workers: list[subprocess.Popen[bytes]]

    def work(self) -> subprocess.Popen[bytes]:
        before = self.log.read_bytes().count(b'"working"')
        command = [sys.executable, "-m", "windsock", "work", "--concurrency", "2", "--data", str(self.data)]
        with self.log.open("ab") as log:
            worker = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        self.workers.append(worker)
        wait_for(lambda: self.log.read_bytes().count(b'"working"') > before, "the worker to start")
        return worker


@pytest.fixture
def apart(open_folder: Path) -> Iterator[Apart]:
    folder = open_folder / f"apart-{time.monotonic_ns()}"
    folder.mkdir(mode=0o711)
    made = Apart(folder / "data")
    made.workers = []
    try:
        yield made
    finally:
        for process in [*made.workers, *([made.server] if made.server else [])]:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(20)
        shutil.rmtree(folder, ignore_errors=True)


def test_a_sync_waits_for_a_worker_and_goes_to_whichever_is_there(apart: Apart) -> None:
    key = str(apart.facts("init", "--email", "ana@example.com", "--space", "finance")["key"])
    apart.serve("--no-worker")
    body = {"name": "lab", "connector_type": "airflow", "config": {"base_url": "http://127.0.0.1:9"}}
    connector = apart.ask(key, "POST", "/catalog/spaces/finance/connectors", json=body).json()["id"]

    def ask() -> str:
        return str(apart.ask(key, "POST", f"{SYNC}/connectors/{connector}/sync").json()["id"])

    def status(sync_id: str) -> str:
        return str(apart.ask(key, "GET", f"{SYNC}/syncs/{sync_id}").json()["status"])

    first = ask()
    time.sleep(3)
    assert status(first) == "queued", "nobody carries it out"
    worker = apart.work()
    wait_for(lambda: status(first) == "failed", "the worker to find that nobody answers")
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(30) == 0
    second = ask()
    time.sleep(3)
    assert status(second) == "queued"
    killed = apart.work()
    wait_for(lambda: status(second) == "failed", "the second worker")
    killed.send_signal(signal.SIGKILL)
    killed.wait(10)
    apart.work()
    third = ask()
    wait_for(lambda: status(third) == "failed", "the third worker")
