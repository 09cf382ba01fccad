"""The web server: listens before anything else is opened, serves with limits, and ends within a deadline."""

import contextlib
import errno
import os
import resource
import socket
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

import uvicorn

from windsock import log
from windsock.errors import WindsockError
from windsock.http.protocol import MAX_CONNECTIONS, bounded_protocol

BACKLOG = 2048
KEEP_ALIVE_SECONDS = 30
GRACEFUL_SECONDS = 20
"""What requests under way have to end; then they are cancelled."""
EXIT_SECONDS = 90.0
"""What everything has to end, the embedded PostgreSQL included; then the process leaves as it is."""
OPEN_FILES = 8192
"""Wanted: connections of clients, of the database and to Airflows."""

logger = log.get(__name__)


def configure(app: Any, *, max_connections: int = MAX_CONNECTIONS, **more: Any) -> uvicorn.Config:  # noqa: ANN401 - ASGI
    """Uvicorn's settings for this server. It speaks HTTP/1.1 and nothing else."""
    return uvicorn.Config(
        app,
        http=bounded_protocol(max_connections),
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACEFUL_SECONDS,
        **more,
    )


class Server(uvicorn.Server):
    """A second signal ends it at once; whatever hangs, the process is gone EXIT_SECONDS after the first one."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if not self.should_exit:
            start_exit_deadline()
        self.force_exit = self.force_exit or self.should_exit
        super().handle_exit(sig, frame)


def start_exit_deadline(seconds: float = EXIT_SECONDS) -> None:
    """The last resort: what is left then is what a kill leaves, from which the next start recovers."""

    def leave() -> None:
        os.write(2, f"Windsock did not end within {seconds:g} s; it leaves now.\n".encode())
        os._exit(1)

    timer = threading.Timer(seconds, leave)
    timer.daemon = True
    timer.start()


@contextlib.contextmanager
def bound(host: str, port: int) -> Iterator[list[socket.socket]]:
    """Sockets bound to every address of the host. Raises WindsockError with a sentence where that is impossible."""
    with contextlib.ExitStack() as stack:
        with _map_bind_errors(host, port):
            found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            sockets = [stack.enter_context(_bind(family, address)) for family, address in _unique(found)]
        yield sockets


def listen(sockets: list[socket.socket], host: str) -> None:
    """Connections are accepted from now on. Another program may have taken the port since: as `bound` raises."""
    for listener in sockets:
        with _map_bind_errors(host, listener.getsockname()[1]):
            listener.listen(BACKLOG)


@contextlib.contextmanager
def _map_bind_errors(host: str, port: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            sentence = f"Port {port} of {host} is in use by another program. Stop it, or choose another with --port."
        else:
            sentence = (
                f"Cannot listen on port {port} of {host}: {error.strerror}. Choose others with --host and --port."
            )
        raise WindsockError(sentence) from error


def _unique(found: list[Any]) -> list[tuple[int, Any]]:
    return list(dict.fromkeys((family, address) for family, _, _, _, address in found))


def _bind(family: int, address: Any) -> socket.socket:  # noqa: ANN401 - its form depends on the family
    created = socket.socket(family, socket.SOCK_STREAM)
    try:
        created.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            created.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        created.bind(address)
    except OSError:
        created.close()
        raise
    return created


def raise_file_limit() -> int:
    """As many open files as wanted and allowed; how many connections of clients fit into that."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    return MAX_CONNECTIONS if soft == resource.RLIM_INFINITY else min(MAX_CONNECTIONS, soft // 2)
