"""Which processes belong to a cluster, told by the system and not by a pid in a file, which may be another's by now."""

import hashlib
import os
import signal
import time
from contextlib import suppress
from pathlib import Path

from windsock.embedded.errors import EmbeddedPostgresError

PROC = Path("/proc")


def has_procfs() -> bool:
    return (PROC / "self" / "stat").exists()


def title_of(directory: Path) -> str:
    """Return the text in the process titles of a cluster (PostgreSQL's `cluster_name`)."""
    return f"windsock-{hashlib.sha256(os.fsencode(directory)).hexdigest()[:16]}"


def belongs_to(pid: int, directory: Path) -> bool:
    """True if this is a living PostgreSQL process of the directory; without /proc, if it is any living process."""
    if not has_procfs():
        try:
            os.kill(pid, 0)
        except OSError:
            return False
        return True
    process = PROC / str(pid)
    try:
        name, _, rest = (process / "stat").read_text(errors="replace").partition("(")[2].rpartition(")")
        # A zombie holds no files and no memory any more. Somebody's shell may stand in the directory.
        if rest.split()[0] in "ZX" or not ("postgres" in name or "initdb" in name):
            return False
        try:
            return os.path.samestat((process / "cwd").stat(), directory.stat())
        except PermissionError:
            # Root without CAP_SYS_PTRACE, as in most containers, may not see where another's process stands.
            command = (process / "cmdline").read_bytes()
            return os.fsencode(directory) in command.split(b"\0") or title_of(directory).encode() in command
    except OSError:
        return False


def list_processes(directory: Path) -> list[int]:
    """Empty without /proc."""
    if not has_procfs():
        return []
    return [
        int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit() and belongs_to(int(entry.name), directory)
    ]


def kill_all(directory: Path, *, timeout: float = 2.0) -> None:
    """See the backends of a dead postmaster out: they notice by themselves, unless they are busy."""
    deadline = time.monotonic() + timeout
    while pids := list_processes(directory):
        if time.monotonic() > deadline + 30:
            raise EmbeddedPostgresError(
                f"Processes of an earlier PostgreSQL in {directory} do not end: {pids}. Restart the machine."
            )
        if time.monotonic() > deadline:
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
