"""Requests and syncs in processes of their own: one answers, others work, and either may come and go."""

import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.cli_subprocess import Installation, installed, wait_for

SYNC = "/spaces/finance/orchestration"


@pytest.fixture
def apart(open_folder: Path) -> Iterator[Installation]:
    """A server that carries out nothing; workers come and go beside it."""
    with installed(open_folder, Installation) as new_installation:
        new_installation.init()
        new_installation.serve("--no-worker")
        yield new_installation


def work(apart: Installation) -> subprocess.Popen[bytes]:
    before = apart.log.read_bytes().count(b'"working"')
    worker = apart.start("worker", "work", "--concurrency", "2")
    wait_for(lambda: apart.log.read_bytes().count(b'"working"') > before, "the worker to start")
    return worker


def test_queued_sync_waits_for_worker_and_survives_worker_replacement(apart: Installation) -> None:
    connector = apart.connect("http://127.0.0.1:9")

    def ask() -> str:
        return str(apart.request_json("POST", f"{SYNC}/connectors/{connector}/sync")["id"])

    def status(sync_id: str) -> str:
        return str(apart.request_json("GET", f"{SYNC}/syncs/{sync_id}")["status"])

    first = ask()
    time.sleep(3)
    assert status(first) == "queued", "nobody carries it out"
    worker = work(apart)
    wait_for(lambda: status(first) == "failed", "the worker to find that nobody answers")
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(30) == 0
    second = ask()
    time.sleep(3)
    assert status(second) == "queued"
    killed = work(apart)
    wait_for(lambda: status(second) == "failed", "the second worker")
    killed.send_signal(signal.SIGKILL)
    killed.wait(10)
    work(apart)
    third = ask()
    wait_for(lambda: status(third) == "failed", "the third worker")
