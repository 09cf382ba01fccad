"""What tests of the embedded PostgreSQL share: folders, other processes that hold it, looks at its processes."""

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from windsock.embedded import EmbeddedPostgres, processes

QUICK = {"fsync": "off"}
IS_ROOT = os.geteuid() == 0

# What another process does: hold the server until a line comes in; as nobody, if asked and root.
OTHER = """
import os, sys
from pathlib import Path
import importlib.metadata, importlib.util, pwd, shutil, subprocess
from windsock.embedded import EmbeddedPostgres
data_dir, uid, gid = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
if uid >= 0:
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
postgres = EmbeddedPostgres(data_dir, settings={"fsync": "off"})
postgres.start()
print("started", flush=True)
sys.stdin.readline()
postgres.stop()
print("stopped", flush=True)
"""


@contextmanager
def folder() -> Iterator[Path]:
    """A folder any user may pass through (pytest's are closed to others); nothing that ran in it is left."""
    path = Path(tempfile.mkdtemp(prefix="windsock-test-")).resolve()
    path.chmod(0o711)
    try:
        yield path
    finally:
        for link in list(path.rglob("postgres")):
            if link.is_symlink():
                end(link.resolve())
        for version in list(path.rglob("PG_VERSION")):
            if version.parent.parent.name != "base":
                end(version.parent)
        shutil.rmtree(path)


def end(cluster: Path) -> None:
    processes.kill_all(cluster, timeout=0)
    shutil.rmtree(cluster, ignore_errors=True)


@contextmanager
def other(data_dir: Path, *, uid: int = -1, gid: int = -1) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", OTHER, str(data_dir), str(uid), str(gid)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().strip()


def leave(process: subprocess.Popen[str]) -> None:
    assert process.stdin
    process.stdin.write("\n")
    process.stdin.flush()
    assert line_of(process) == "stopped"


def connect(postgres: EmbeddedPostgres) -> psycopg.Connection:
    return psycopg.connect(postgres.url(user=postgres.superuser, database="postgres"))


def value(postgres: EmbeddedPostgres, query: str) -> object:
    with connect(postgres) as connection:
        row = connection.execute(query.encode()).fetchone()
    return row[0] if row else None


def postmaster_pid(postgres: EmbeddedPostgres) -> int:
    return int((postgres.cluster_dir / "postmaster.pid").read_text().split()[0])


def wait_for(is_so: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def server_user() -> tuple[int, int]:
    """Whom the server runs as where the data directory is ours."""
    user = pwd.getpwnam("nobody") if IS_ROOT else pwd.getpwuid(os.geteuid())
    return user.pw_uid, user.pw_gid
