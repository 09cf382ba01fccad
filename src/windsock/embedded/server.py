"""The supervisor: several processes hold one server, the last one out stops it, any of them may die at any moment."""

import fcntl
import logging
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self
from urllib.parse import quote

from windsock.embedded import logs, postmaster, sockets
from windsock.embedded.binaries import Binaries, find_binaries
from windsock.embedded.clusters import major_of, make_cluster, place_cluster
from windsock.embedded.errors import EmbeddedPostgresError
from windsock.embedded.locks import held_exclusively, try_lock
from windsock.embedded.os_account import Account, account_for, open_private
from windsock.embedded.sizing import shared_buffers

_RESPONSE_SECONDS = 60
_SECONDS_TO_RECOVER = 300
_SECONDS_TO_START_OR_STOP = 700  # what another process may need at most: making the cluster, then recovering

# Given on the command line at each start, so that an upgrade of Windsock can change them.
_SETTINGS = {
    "fsync": "on",
    "full_page_writes": "on",
    "jit": "off",
    "log_checkpoints": "off",
    "log_timezone": "UTC",
    "max_connections": "100",
    "timezone": "UTC",
}

_logger = logging.getLogger(__name__)


class EmbeddedPostgres:
    """Blocks, up to minutes in a recovery: call it from async code through `asyncio.to_thread`.

    `settings` go before ours, so that tests can say `fsync=off`; where the server listens cannot be changed.
    """

    superuser: ClassVar[str] = "postgres"

    def __init__(self, data_dir: Path, *, settings: Mapping[str, str] | None = None) -> None:
        self.data_dir = data_dir.expanduser().resolve()
        self.log = self.data_dir / "postgres.log"
        self._log_before = 0
        self._settings = {**_SETTINGS, "shared_buffers": shared_buffers(), **(settings or {})}
        self._start_lock = self.data_dir / "postgres.start.lock"
        self._users_lock: int | None = None
        self._binaries: Binaries | None = None
        self._mutex = threading.Lock()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def cluster_dir(self) -> Path:
        """Where PostgreSQL's files really are."""
        return (self.data_dir / "postgres").resolve()

    def url(self, *, user: str, database: str) -> str:
        host = quote(os.fsencode(postmaster.socket_dir_of(self.cluster_dir)), safe="")
        return f"postgresql://{quote(user, safe='')}@/{quote(database, safe='')}?host={host}&port={sockets.PORT}"

    def binary(self, name: str) -> Path:
        """One of PostgreSQL's programs, of the server's version, such as `pg_dump`."""
        with self._mutex, self._wrap_os_errors():
            self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            path = self._find(account_for(self.data_dir, self.cluster_dir)).directory / name
        if not path.exists():
            raise EmbeddedPostgresError(f"There is no {name} in {path.parent}: install PostgreSQL's client programs.")
        return path

    def start(self) -> None:
        """Start or join the server; where we hold it already, look whether it lives (cheap) and restart it if not."""
        with self._mutex, self._wrap_os_errors():
            # Asked, not only looked for: a process that is just being killed is still there for a moment.
            if self._users_lock is not None and self._ask() not in {None, sockets.CANNOT_CONNECT_NOW}:
                if logs.cut(self.log):
                    self._log_before = 0
                return
            self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            with held_exclusively(self._start_lock, timeout=_SECONDS_TO_START_OR_STOP):
                self._acquire()

    def stop(self) -> None:
        """Leave; the last one out stops the server. Without effect where it is not held."""
        with self._mutex, self._wrap_os_errors():
            if self._users_lock is None:
                return
            if not self.data_dir.exists():  # removed under us: nobody else can come or go any more
                self._release()
                return
            with held_exclusively(self._start_lock, timeout=_SECONDS_TO_START_OR_STOP):
                self._release()

    def _acquire(self) -> None:
        account = account_for(self.data_dir, self.cluster_dir)
        cluster = place_cluster(self.data_dir, account)
        if major_of(cluster) is None:
            is_synced = self._settings["fsync"] != "off"
            make_cluster(cluster, account, self._find(account), superuser=self.superuser, is_synced=is_synced)
            _logger.info("The embedded PostgreSQL keeps its data in %s", cluster)
        if self._users_lock is None:
            self._users_lock = open_private(self.data_dir / "postgres.users.lock", os.O_RDWR)
        # Granted at once: it is held exclusively only by those who hold the start lock, and that is us.
        fcntl.flock(self._users_lock, fcntl.LOCK_SH)
        try:
            self._make_ready(account)
        except Exception:  # whatever it was, our hold is undone and the error goes on; nothing is swallowed
            # A server still recovering goes on: ended here, it would start from the beginning each time.
            os.close(self._users_lock)
            self._users_lock = None
            raise
        except BaseException:
            self._release()
            raise

    def _make_ready(self, account: Account) -> None:
        is_ours = False
        started = time.monotonic()
        while True:
            if postmaster.pid_of(self.cluster_dir) is None and not self._is_elsewhere():
                if is_ours:  # and not one that we joined on its way out
                    raise EmbeddedPostgresError(f"PostgreSQL did not start: {self._last_words()}. See {self.log}.")
                self._launch(account)
                is_ours = True
            is_busy = postmaster.is_starting(self.cluster_dir)
            state = sockets.CANNOT_CONNECT_NOW if is_busy else self._ask()
            if state not in {None, sockets.CANNOT_CONNECT_NOW}:
                return
            max_wait = _SECONDS_TO_RECOVER if state else _RESPONSE_SECONDS
            if time.monotonic() - started > max_wait:
                raise EmbeddedPostgresError(
                    f"PostgreSQL in {self.data_dir} was not ready after {max_wait} s: {self._last_words()}. See "
                    f"{self.log}; if it is still recovering, start again later. If no PostgreSQL runs there, remove "
                    f"{self.cluster_dir / 'postmaster.pid'}."
                )
            time.sleep(0.02)

    def _launch(self, account: Account) -> None:
        logs.cut(self.log)
        log = open_private(self.log, os.O_WRONLY | os.O_APPEND)
        try:
            self._log_before = os.fstat(log).st_size
            program = self._find(account).directory / "postgres"
            postmaster.launch(program, self.cluster_dir, account, self._settings, log=log)
        finally:
            os.close(log)

    def _release(self) -> None:
        if self._users_lock is None:
            return
        descriptor, self._users_lock = self._users_lock, None
        try:
            # Unlocked, not only closed: a forked child may still have the descriptor.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            if try_lock(descriptor, fcntl.LOCK_EX):
                postmaster.shut_down(self.cluster_dir)
        finally:
            os.close(descriptor)

    def _is_elsewhere(self) -> bool:
        """True if a server answers that we cannot see: another container's, on the same volume."""
        return self._ask() is not None

    def _ask(self) -> str | None:
        return sockets.ask(sockets.socket_in(postmaster.socket_dir_of(self.cluster_dir)), user=self.superuser)

    def _find(self, account: Account) -> Binaries:
        if self._binaries is None:
            cluster = self.cluster_dir
            self._binaries = find_binaries(account, copies=cluster.parent, major=major_of(cluster))
        return self._binaries

    def _last_words(self) -> str:
        with suppress(OSError), self.log.open("rb") as log:
            log.seek(self._log_before)
            return " / ".join(log.read().decode(errors="replace").splitlines()[-4:])
        return ""

    @contextmanager
    def _wrap_os_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise EmbeddedPostgresError(
                f"PostgreSQL cannot be used in {self.data_dir}: {error}. Mend that, choose another data directory, or "
                "set WINDSOCK_DATABASE_URL."
            ) from error
