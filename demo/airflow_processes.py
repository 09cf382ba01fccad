"""Keeps the processes of one Airflow: starts each in a session of its own, and ends all of them with their children."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import IO

GRACE_SECONDS = 8.0  # Airflow waits for running tasks when asked to end; nobody waits that long for a demo


class AirflowFailed(Exception):
    """What happened, followed by the end of the log that says why."""


class Processes:
    """Every process works in the folder `home/processes`, which is of no other use, and so marks its children as ours.

    Their own session does not: Airflow gives each task a new one. Their command line and environment do not either:
    Airflow writes process titles over both.
    """

    def __init__(self, home: Path) -> None:
        self._mark = home.resolve() / "processes"
        self._logs = home.resolve() / "output"
        self.environment: dict[str, str] = {}  # what those started from now on see, and nothing else
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._mark.mkdir(parents=True, exist_ok=True)
        self._logs.mkdir(parents=True, exist_ok=True)

    def start(self, name: str, *command: str) -> None:
        with self._log(name).open("ab") as log:
            self._running[name] = self._open(command, log)

    def run(self, name: str, *command: str, seconds: float = 300) -> None:
        """One command from start to end."""
        with self._log(name).open("ab") as log:
            process = self._open(command, log)
        try:
            status = process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AirflowFailed(f"{name} did not end within {seconds:.0f} s.\n{self.tail(name)}") from None
        finally:
            _kill_group(process.pid)
            process.wait()
        if status != 0:
            raise AirflowFailed(f"{name} ended with status {status}.\n{self.tail(name)}")

    def end(self, name: str) -> None:
        """One of them, politely first, and what it started."""
        process = self._running.pop(name)
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_SECONDS)
        _kill_group(process.pid)
        process.wait()

    def pid(self, name: str) -> int:
        return self._running[name].pid

    def died(self) -> dict[str, int]:
        """Those that ended though nobody asked them to, with their status: negative is a signal."""
        return {name: status for name, p in self._running.items() if (status := p.poll()) is not None}

    def tail(self, name: str, lines: int = 40) -> str:
        """The end of its log."""
        log = self._log(name)
        text = log.read_text(errors="replace") if log.exists() else ""
        return f"--- {log} ---\n" + "\n".join(text.splitlines()[-lines:])

    def stop(self) -> None:
        """End all, politely first. Nothing of this home runs when it returns."""
        for process in self._running.values():
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    process.send_signal(signal.SIGTERM)
        until = time.monotonic() + GRACE_SECONDS
        for process in self._running.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, until - time.monotonic()))
        for process in self._running.values():
            _kill_group(process.pid)
            process.wait()
        self._running.clear()
        self.kill_leftovers()

    def kill_leftovers(self) -> int:
        """End what an earlier life of this home left running; also tasks, whose sessions are their own."""
        killed = 0
        until = time.monotonic() + GRACE_SECONDS
        while (ours := self._pids()) and time.monotonic() < until:
            for pid in ours:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            killed += len(ours)
            time.sleep(0.1)
        return killed

    def _pids(self) -> list[int]:
        """By working folder, which Linux shows in /proc; elsewhere nothing is found, and nothing is killed."""
        found = []
        for link in Path("/proc").glob("[0-9]*/cwd"):
            with contextlib.suppress(OSError):
                if link.readlink() == self._mark and int(link.parent.name) != os.getpid():
                    found.append(int(link.parent.name))
        return found

    def _log(self, name: str) -> Path:
        return self._logs / f"{name}.log"

    def _open(self, command: tuple[str, ...], log: IO[bytes]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=self._mark,
            env=self.environment,
            start_new_session=True,
        )


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
