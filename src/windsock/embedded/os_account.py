"""Chooses the operating system account of PostgreSQL: root drops to the owner of the data directory."""

import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path

from windsock.embedded.errors import EmbeddedPostgresError

# The server sees nothing else of our environment: it holds secrets, and PG* variables would change the server.
_PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMPDIR", "SYSTEMROOT")


@dataclass(frozen=True)
class Account:
    uid: int
    gid: int
    is_other: bool  # we are root and drop to it

    def start(self, *command: str | Path, output: int, cwd: Path = Path("/")) -> subprocess.Popen[bytes]:
        """Start a process of this account in its own session, which a Ctrl-C does not reach."""
        return subprocess.Popen(  # noqa: S603 - the programs are those of the pinned wheel or of the system
            [os.fspath(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            # macOS's PostgreSQL needs a locale that is set; everywhere it keeps the log in one language.
            env={name: os.environ[name] for name in _PASSED_ON if name in os.environ} | {"LC_ALL": "C"},
            start_new_session=True,
            user=self.uid if self.is_other else None,
            group=self.gid if self.is_other else None,
            extra_groups=[] if self.is_other else None,
        )

    def run(self, *command: str | Path, cwd: Path = Path("/"), seconds: float = 60) -> tuple[int, str]:
        """Exit code and everything it said; 127 where it cannot even be executed by this account."""
        try:
            process = self.start(*command, output=subprocess.PIPE, cwd=cwd)
        except OSError as error:
            return 127, str(error)
        with process:
            try:
                output, _ = process.communicate(timeout=seconds)
            except BaseException:
                process.kill()
                raise
        return process.returncode, output.decode(errors="replace").strip()

    def can_enter(self, directory: Path) -> bool:
        # Asked of the kernel as that user, since mode bits alone miss ACLs and security modules.
        return not self.is_other or self.run("/bin/sh", "-c", 'cd -- "$1"', "sh", directory)[0] == 0

    def own(self, directory: Path) -> None:
        """Make it private to this account."""
        directory.chmod(0o700)
        if self.is_other:
            os.chown(directory, self.uid, self.gid)


def open_private(path: Path, flags: int) -> int:
    """A file beside the cluster, made where it is missing; it belongs to whom its folder belongs to, root or not."""
    # Python opens close-on-exec: no server may inherit our locks. Root must not follow a link another user laid.
    descriptor = os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    if os.geteuid() == 0:
        folder = path.parent.stat()
        os.fchown(descriptor, folder.st_uid, folder.st_gid)
    return descriptor


def account_for(data_dir: Path, cluster: Path) -> Account:
    found = cluster.stat() if cluster.exists() else None
    account = _account_for(data_dir.stat(), found)
    if found and found.st_uid != account.uid:
        raise EmbeddedPostgresError(
            f"{cluster} belongs to user {_name(found.st_uid)}, but PostgreSQL would run as {_name(account.uid)}. "
            f"Start Windsock as {_name(found.st_uid)}, or give the folder to {_name(account.uid)} (chown -R)."
        )
    return account


def _account_for(data: os.stat_result, cluster: os.stat_result | None) -> Account:
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid(), is_other=False)
    try:
        # A bind mount may belong to a user whom this container does not know; initdb refuses to run as such a one.
        if data.st_uid != 0:
            return Account(data.st_uid, pwd.getpwuid(data.st_uid).pw_gid, is_other=True)
    except KeyError:
        pass
    # Only root's own link may lead to another user's cluster, or that user could be made to run a server.
    if cluster and cluster.st_uid != 0 and data.st_uid in (0, cluster.st_uid):
        return Account(cluster.st_uid, cluster.st_gid, is_other=True)
    try:
        fallback = pwd.getpwnam("nobody")
    except KeyError:
        raise EmbeddedPostgresError(
            "PostgreSQL refuses to run as root, and there is no user nobody. Give the data directory to an ordinary "
            "user (chown), start Windsock as one, or set WINDSOCK_DATABASE_URL."
        ) from None
    return Account(fallback.pw_uid, fallback.pw_gid, is_other=True)


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
