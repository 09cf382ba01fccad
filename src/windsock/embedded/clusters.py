"""Where PostgreSQL's files are, and how they come to be: a cluster under its final name is a finished one."""

import hashlib
import logging
import os
import shutil
import tempfile
from pathlib import Path

from windsock.embedded import processes
from windsock.embedded.binaries import Binaries
from windsock.embedded.errors import EmbeddedPostgresError
from windsock.embedded.os_account import Account

# Where root's clusters go when the server's user cannot reach the data directory.
CLUSTERS = Path("/var/lib/windsock/clusters")
_FIRST_WITH_BUILTIN_LOCALES = 17
_SECONDS_FOR_INITDB = 300

_logger = logging.getLogger(__name__)


def place_cluster(data_dir: Path, account: Account) -> Path:
    """The folder of the cluster, there already or not; a symbolic link to it where it lies outside."""
    link = data_dir / "postgres"
    if link.is_symlink():
        cluster = link.readlink() if link.readlink().is_absolute() else link.parent / link.readlink()
        if not cluster.exists() and not _unfinished(cluster).exists():
            raise EmbeddedPostgresError(
                f"{link} says that the database is in {cluster}, but nothing is there. Bring that folder back, or "
                f"remove {link} to start with an empty database."
            )
        return cluster
    if account.is_other and account.can_enter(data_dir.parent) and not account.can_enter(data_dir):
        mode = data_dir.stat()
        if mode.st_uid == os.geteuid():
            data_dir.chmod(mode.st_mode & 0o7777 | 0o001)
    if account.can_enter(data_dir):
        return link
    if link.exists():
        raise EmbeddedPostgresError(
            f"PostgreSQL may not run as root, and the user it would run as cannot reach {link}. Open the folders "
            "above it for passing through (chmod o+x), or move the data directory."
        )
    return _place_outside(data_dir, link, account)


def _place_outside(data_dir: Path, link: Path, account: Account) -> Path:
    for folder in (CLUSTERS.parent, CLUSTERS):
        if not folder.exists():
            folder.mkdir(parents=True)
            folder.chmod(0o711)
    if not account.can_enter(CLUSTERS):
        raise EmbeddedPostgresError(
            f"PostgreSQL may not run as root, and the user it would run as can reach neither {data_dir} nor "
            f"{CLUSTERS}. Choose a data directory that others may pass through (chmod o+x)."
        )
    # A name of its own each time: a cluster found here may be of a data directory that was moved, not of this one.
    prefix = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16]
    unfinished = Path(tempfile.mkdtemp(prefix=f"{prefix}-", suffix=".unfinished", dir=CLUSTERS))
    cluster = unfinished.with_suffix("")
    link.symlink_to(cluster)
    _logger.warning(
        "PostgreSQL may not run as root and its user cannot reach %s: the database is kept in %s", data_dir, cluster
    )
    return cluster


def major_of(cluster: Path) -> int | None:
    """The version of PostgreSQL that made the cluster; None where there is none yet."""
    try:
        return int((cluster / "PG_VERSION").read_text())
    except FileNotFoundError:
        if cluster.exists() and any(cluster.iterdir()):
            raise EmbeddedPostgresError(
                f"{cluster} holds files, but no PostgreSQL database. Choose another data directory or move them away."
            ) from None
        return None


def make_cluster(cluster: Path, account: Account, binaries: Binaries, *, superuser: str, is_synced: bool) -> None:
    """Built under another name and renamed at the end: nothing that may hold data is ever removed."""
    unfinished = _unfinished(cluster)
    processes.kill_all(unfinished, timeout=0)
    if unfinished.exists():
        shutil.rmtree(unfinished)
    unfinished.mkdir()
    account.own(unfinished)
    # Sorted by code point either way; where it exists, the built-in locale knows upper and lower case of all letters.
    has_builtin = binaries.major >= _FIRST_WITH_BUILTIN_LOCALES
    code, output = account.run(
        binaries.directory / "initdb",
        *("-D", unfinished, "--username", superuser, "--encoding", "UTF8", "--locale", "C"),
        *(("--locale-provider", "builtin", "--builtin-locale", "C.UTF-8") if has_builtin else ()),
        *("--auth-local", "trust", "--auth-host", "reject", "--data-checksums", "--no-instructions"),
        *(() if is_synced else ("--no-sync",)),
        cwd=unfinished,
        seconds=_SECONDS_FOR_INITDB,
    )
    if code != 0:
        raise EmbeddedPostgresError(
            f"A new database could not be made in {cluster}: {output}. Mend that, choose another "
            "data directory, or set "
            "WINDSOCK_DATABASE_URL."
        )
    unfinished.rename(cluster)
    folder = os.open(cluster.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _unfinished(cluster: Path) -> Path:
    return cluster.with_name(f"{cluster.name}.unfinished")
