"""Runs the commands as a user does: in processes of their own, on a data folder of their own."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import orjson


@dataclass
class Installation:
    """A data folder and the commands on it."""

    data: Path
    server: subprocess.Popen[bytes] | None = None
    port: int = 0

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "windsock", *arguments, "--data", str(self.data)]
        return subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=60, env={**os.environ, **environment}
        )

    def facts(self, *arguments: str, **environment: str) -> Any:
        done = self.run(*arguments, "--json", **environment)
        assert done.returncode == 0, done.stderr
        return orjson.loads(done.stdout)

    @property
    def log(self) -> Path:
        return self.data.parent / "serve.log"

    def serve(self, *options: str) -> None:
        if not self.port:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                self.port = probe.getsockname()[1]
        where = ["--port", str(self.port), "--data", str(self.data)]
        command = [sys.executable, "-m", "windsock", "serve", *options, *where]
        with self.log.open("ab") as log:
            self.server = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        wait_for(lambda: self.status("/health/ready") == 200, "the server to be ready")

    def status(self, path: str) -> int | None:
        with contextlib.suppress(httpx2.HTTPError):
            return httpx2.get(f"http://127.0.0.1:{self.port}{path}", timeout=5).status_code
        return None

    def ask(self, key: str, method: str, path: str, **more: Any) -> httpx2.Response:
        url = f"http://127.0.0.1:{self.port}/api/v1.0{path}"
        return httpx2.request(method, url, headers={"Authorization": f"Bearer {key}"}, timeout=30, **more)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        assert self.server is not None
        self.server.send_signal(number)
        return self.server.wait(20)

    def postmaster(self) -> int:
        return int((self.data / "postgres" / "postmaster.pid").read_text().split()[0])


def wait_for(condition: Callable[[], Any], what: str, seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"waited {seconds} s for {what}"
        time.sleep(0.1)


def is_alive(pid: int) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    return False
