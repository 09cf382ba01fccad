"""The servers that are compared, each a process of its own, and what they and their PostgreSQL used of the machine."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Server:
    """`name` as in the report; `pid` of its one process, None where it has several."""

    name: str
    url: str
    pid: int | None

    def cpu(self) -> float:
        """Seconds of processor time so far, in user and system mode."""
        return cpu_of(self.pid) if self.pid else 0.0

    def memory(self) -> float:
        """Resident, in MB."""
        return memory_of(self.pid) if self.pid else 0.0


@contextlib.contextmanager
def running(name: str, command: list[str], folder: Path, *, ready: str, **environment: str) -> Iterator[Server]:
    """`command`: {port} stands for the port it is to listen on. `ready`: a path that answers once it is."""
    port = _free_port()
    log = folder / f"{name}.log"
    value = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT / "src"), str(ROOT))), **environment}
    with log.open("wb") as out:
        process = subprocess.Popen(
            [part.format(port=port) for part in command], stdout=out, stderr=out, env=value, start_new_session=True
        )
    try:
        url = f"http://127.0.0.1:{port}"
        until = time.monotonic() + 60
        while not _responds(url + ready):
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"{name} did not start: {log.read_text()[-2000:]}")
            time.sleep(0.1)
        yield Server(name, url, process.pid)
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()


def windsock(name: str, data: Path, folder: Path, **settings: str) -> contextlib.AbstractContextManager[Server]:
    """As `windsock serve --no-worker`."""
    command = [sys.executable, "-m", "windsock", "serve", "--no-worker", "--port", "{port}", "--data", str(data)]
    return running(name, command, folder, ready="/health/ready", **settings)


def uvicorn(
    name: str, app: str, folder: Path, *, ready: str, **environment: str
) -> contextlib.AbstractContextManager[Server]:
    """With uvloop and httptools, as the product's own server."""
    command = [sys.executable, "-m", "uvicorn", app, "--port", "{port}", "--no-access-log", "--log-level", "warning"]
    return running(name, command, folder, ready=ready, **environment)


def cpu_of(pid: int) -> float:
    """Seconds; 0 of a process that has just ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory_of(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def cpu_of_postgres(postmaster: int) -> float:
    """Of the server and all that it has started, those that have ended included."""
    fields = Path(f"/proc/{postmaster}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    ended = (int(fields[13]) + int(fields[14])) / TICKS
    return cpu_of(postmaster) + ended + sum(cpu_of(pid) for pid in _children(postmaster))


def _children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(item) for item in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]
    return []


def _responds(url: str) -> bool:
    with contextlib.suppress(httpx2.HTTPError):
        return httpx2.get(url, timeout=5).status_code < 500  # noqa: PLR2004 - whatever is not its own fault
    return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
