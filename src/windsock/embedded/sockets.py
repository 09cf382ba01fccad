"""The server's unix socket: where it is, and whether a server answers there."""

import hashlib
import os
import re
import socket
import stat
import struct
import tempfile
from pathlib import Path

from windsock.embedded.errors import EmbeddedPostgresError
from windsock.embedded.os_account import Account

PORT = 5432  # part of the socket's name only: the server listens on no network
CANNOT_CONNECT_NOW = "57P03"  # starting up, recovering or shutting down
# The system's limit is 104 to 108 bytes; other programs and a socket's lock file need some of it.
_LONGEST = 80
_PROTOCOL = 3 << 16


def socket_in(directory: Path) -> Path:
    return directory / f".s.PGSQL.{PORT}"


def choose_directory(cluster: Path) -> Path:
    """The cluster itself, else a folder in the temporary directory: too long a path, or one PostgreSQL would split."""
    if len(os.fsencode(socket_in(cluster))) < _LONGEST and not re.search(r'[",]', str(cluster)):
        return cluster
    return Path(tempfile.gettempdir()) / f"windsock-{hashlib.sha256(os.fsencode(cluster)).hexdigest()[:24]}"


def make_directory(directory: Path, account: Account) -> None:
    try:
        directory.mkdir(mode=0o700)
    except FileExistsError:
        found = directory.lstat()
    else:
        account.own(directory)
        return
    # Anybody can make folders in the temporary directory: behind a stranger's socket may be a stranger's server.
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != account.uid or found.st_mode & 0o077:
        raise EmbeddedPostgresError(
            f"{directory} should hold PostgreSQL's socket, but is not a private folder of its user. Remove it, or "
            "choose a data directory with a shorter path."
        )


def ask(path: Path, *, user: str) -> str | None:
    """Send a start-up packet; return the SQLSTATE of the response, 00000 for success, None without one."""
    parameters = b"\0".join((b"user", user.encode(), b"database", b"postgres", b"", b""))
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(5)
            connection.connect(os.fspath(path))
            connection.sendall(struct.pack("!ii", len(parameters) + 8, _PROTOCOL) + parameters)
            with connection.makefile("rb") as stream:
                kind, length = struct.unpack("!ci", stream.read(5))
                body = stream.read(length - 4)
            if kind == b"E":
                return next((field[1:].decode() for field in body.split(b"\0") if field[:1] == b"C"), None)
            connection.sendall(b"X" + struct.pack("!i", 4))
            return "00000"
    except (OSError, struct.error):
        return None
