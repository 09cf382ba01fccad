"""The postmaster of a cluster: find the living one, start one where a dead one left its traces, end it."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from windsock.embedded import processes, sockets
from windsock.embedded.os_account import Account

# Those this process started, by cluster, whichever object did: without /proc only a parent can tell a zombie.
_children: dict[Path, subprocess.Popen[bytes]] = {}


def pid_of(cluster: Path) -> int | None:
    """The living postmaster's, in whatever state."""
    child = _children.get(cluster)
    if child is not None:
        if child.poll() is None:
            return child.pid
        del _children[cluster]
    # In its first moments there is no such file yet: a starter that was killed may have left such a young one.
    for _ in range(100):
        lines = _pid_file(cluster)
        if lines and lines[0].isdigit():
            pid = int(lines[0])
            return pid if processes.belongs_to(pid, cluster) else None
        if not processes.list_processes(cluster):
            return None
        time.sleep(0.02)
    return None


def is_starting(cluster: Path) -> bool:
    """Known without asking it: each question would be a line in its log, for minutes in a recovery."""
    return _pid_file(cluster)[7:8] == ["starting"]


def socket_dir_of(cluster: Path) -> Path:
    # The running server knows best: the process that started it may have had another temporary directory.
    named = "".join(_pid_file(cluster)[4:5])
    return Path(named) if named else sockets.choose_directory(cluster)


def launch(program: Path, cluster: Path, account: Account, settings: Mapping[str, str], *, log: int) -> None:
    """Start one where none lives; returns before it is ready."""
    processes.kill_all(cluster)
    directory = sockets.choose_directory(cluster)
    if directory != cluster:
        sockets.make_directory(directory, account)
    if processes.has_procfs():
        # PostgreSQL would believe the pids in them, which may be other programs' by now; its own are all gone.
        path = sockets.socket_in(directory)
        for stale in (cluster / "postmaster.pid", path, path.with_name(f"{path.name}.lock")):
            stale.unlink(missing_ok=True)
    fixed = {
        "cluster_name": processes.title_of(cluster),
        "listen_addresses": "",
        "port": str(sockets.PORT),
        "unix_socket_directories": str(directory),
        "unix_socket_permissions": "0700",
    }
    arguments = [part for name, value in {**settings, **fixed}.items() for part in ("-c", f"{name}={value}")]
    child = account.start(program, "-D", cluster, *arguments, output=log)
    _children[cluster] = child
    # It may outlive our interest in it, when others hold it longer; somebody must wait for it or it stays a zombie.
    threading.Thread(target=child.wait, name=f"wait for PostgreSQL {child.pid}", daemon=True).start()


def shut_down(cluster: Path) -> None:
    # Fast shutdown; after two minutes the kind that the next start recovers from, which loses nothing either.
    for number, timeout in ((signal.SIGINT, 120), (signal.SIGQUIT, 20), (signal.SIGKILL, 20)):
        deadline = time.monotonic() + timeout
        if (pid := pid_of(cluster)) is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        while pid_of(cluster) is not None and time.monotonic() < deadline:
            time.sleep(0.01)
    processes.kill_all(cluster)
    directory = sockets.choose_directory(cluster)
    if directory != cluster:
        with suppress(OSError):
            directory.rmdir()


def _pid_file(cluster: Path) -> list[str]:
    """Its lines: pid, cluster, start time, port, socket directory, address, shared memory, status."""
    try:
        return [line.strip() for line in (cluster / "postmaster.pid").read_text().splitlines()]
    except OSError:
        return []
