"""Runs the commands as a user does: in processes of their own, on a data folder of their own."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx2
import orjson

SERVER = "server"


@dataclass
class Installation:
    """A data folder, the commands on it, and the processes that live on it, by name. `key`: of the first user."""

    data: Path
    key: str = ""
    port: int = 0
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    # --- Commands --------------------------------------------------------------------------------------------------

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "windsock", *arguments, "--data", str(self.data)]

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env={**os.environ, **environment},
        )

    def facts(self, *arguments: str, **environment: str) -> Any:
        done = self.run(*arguments, "--json", **environment)
        assert done.returncode == 0, done.stderr
        return orjson.loads(done.stdout)

    def init(self) -> None:
        """A first user and the space finance."""
        self.key = str(self.facts("init", "--email", "ana@example.com", "--space", "finance")["key"])

    # --- Processes -------------------------------------------------------------------------------------------------

    @property
    def log(self) -> Path:
        """Of all processes."""
        return self.data.parent / "processes.log"

    def start(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                self.command(*arguments),
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, "WINDSOCK_HOST": "127.0.0.1"},  # so that a worker may connect to this machine
            )
        self.processes[name] = process
        return process

    def start_server(self, *options: str) -> None:
        if not self.port:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                self.port = probe.getsockname()[1]
        self.start(SERVER, "serve", *options, "--port", str(self.port))

    def serve(self, *options: str) -> None:
        self.start_server(*options)
        wait_for(lambda: self.status("/health/ready") == 200, "the server to be ready", 60)

    def stop(self, name: str = SERVER, number: signal.Signals = signal.SIGTERM) -> int:
        self.processes[name].send_signal(number)
        return self.processes[name].wait(40)

    def stop_all(self) -> None:
        for process in self.processes.values():
            if process.poll() is None:
                process.terminate()
        for process in self.processes.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(40)
            process.kill()

    def postmaster(self) -> int:
        """The id of its embedded PostgreSQL."""
        return int((self.data / "postgres" / "postmaster.pid").read_text().split()[0])

    # --- Requests --------------------------------------------------------------------------------------------------

    def status(self, path: str) -> int | None:
        with contextlib.suppress(httpx2.HTTPError):
            return httpx2.get(f"http://127.0.0.1:{self.port}{path}", timeout=5).status_code
        return None

    def ask(self, method: str, path: str, *, key: str | None = None, **more: Any) -> httpx2.Response:
        url = f"http://127.0.0.1:{self.port}/api/v1.0{path}"
        headers = {"Authorization": f"Bearer {key or self.key}"}
        return httpx2.request(method, url, headers=headers, timeout=30, **more)

    def request_json(self, method: str, path: str, **more: Any) -> Any:
        response = self.ask(method, path, **more)
        assert response.is_success, response.text
        return response.json() if response.content else None

    def connect(self, base_url: str, **config: Any) -> str:
        """The id of a connector, in the space finance, that syncs every 5 s."""
        body = {
            "name": "prod",
            "connector_type": "airflow",
            "config": {"base_url": base_url, "sync_interval_seconds": 5} | config,
            "credentials": {"auth_type": "password", "username": "admin", "password": "admin"},
        }
        return str(self.request_json("POST", "/catalog/spaces/finance/connectors", json=body)["id"])


Kind = TypeVar("Kind", bound=Installation)


@contextlib.contextmanager
def installed(parent: Path, kind: type[Kind]) -> Iterator[Kind]:
    """In a folder of its own below `parent`, which other users must be able to reach; gone at the end."""
    folder = parent / f"installation-{time.monotonic_ns()}"
    folder.mkdir(mode=0o711)
    created = kind(folder / "data")
    try:
        yield created
    finally:
        created.stop_all()
        shutil.rmtree(folder, ignore_errors=True)


def wait_for(condition: Callable[[], Any], what: str, seconds: float = 30) -> Any:
    until = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < until, f"waited {seconds} s for {what}"
        time.sleep(0.1)
    return value


def is_alive(pid: int) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    return False
