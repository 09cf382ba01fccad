"""Clients that send too much, too slowly or nothing. Each kind runs in a process of its own until it is terminated."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from windsock.http.server import raise_file_limit

if TYPE_CHECKING:
    from multiprocessing.sharedctypes import Synchronized

HEADER = b"GET /health HTTP/1.1\r\nHost: windsock.test\r\nX-Endless: "
PIECE = b"a" * 65_536
_SPAWN = multiprocessing.get_context("spawn")


@dataclass(frozen=True, slots=True)
class Counters:
    """`opened`: connections. `ended`: those that the server has ended. `sent`: bytes that the kernel has taken."""

    opened: Synchronized[int]
    ended: Synchronized[int]
    sent: Synchronized[int]

    @classmethod
    def new(cls) -> Counters:
        return cls(*(_SPAWN.Value("q", 0) for _ in range(3)))

    @property
    def open_connections(self) -> int:
        return self.opened.value - self.ended.value


Client = Callable[[int, Counters], Coroutine[Any, Any, None]]


async def send_endless_header(port: int, counters: Counters) -> None:
    """Send one header without an end as fast as possible, on the next connection when one is refused."""
    while True:
        reader, writer = await _connect(port, counters)
        with contextlib.suppress(OSError):
            writer.write(HEADER)
            while not reader.at_eof():
                writer.write(PIECE)
                counters.sent.value += len(PIECE)
                await writer.drain()
        _close(writer, counters)


async def send_slow_header(port: int, counters: Counters) -> None:
    """Send a byte of a header each half second."""
    while True:
        reader, writer = await _connect(port, counters)
        with contextlib.suppress(OSError):
            writer.write(HEADER)
            while not reader.at_eof():
                writer.write(b"a")
                counters.sent.value += 1
                await writer.drain()
                await asyncio.sleep(0.5)
        _close(writer, counters)


async def hold_idle_connection(port: int, counters: Counters, *, reopens: bool = True) -> None:
    """Send nothing."""
    while True:
        reader, writer = await _connect(port, counters)
        with contextlib.suppress(OSError):
            await reader.read()
        _close(writer, counters)
        if not reopens:
            await asyncio.Event().wait()


hold_idle_connection_once = partial(hold_idle_connection, reopens=False)


async def _connect(port: int, counters: Counters) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    while True:
        with contextlib.suppress(OSError):
            connection = await asyncio.open_connection("127.0.0.1", port)
            counters.opened.value += 1
            return connection
        await asyncio.sleep(0.1)


def _close(writer: asyncio.StreamWriter, counters: Counters) -> None:
    counters.ended.value += 1
    writer.transport.abort()


@contextlib.contextmanager
def attacking(client: Client, count: int, port: int) -> Iterator[Counters]:
    """`count` clients of a kind, in another process."""
    counters = Counters.new()
    process = _SPAWN.Process(target=_attack, args=(client, count, port, counters), daemon=True)
    process.start()
    try:
        yield counters
    finally:
        process.terminate()
        process.join(10)


def _attack(client: Client, count: int, port: int, counters: Counters) -> None:
    raise_file_limit()

    async def attack() -> None:
        await asyncio.gather(*(client(port, counters) for _ in range(count)))

    asyncio.run(attack())


@contextlib.contextmanager
def hanging_address() -> Iterator[str]:
    """The URL of a server, in another process, that accepts connections and never answers."""
    port = _SPAWN.Value("i", 0)
    is_listening = _SPAWN.Event()
    process = _SPAWN.Process(target=_hang, args=(port, is_listening), daemon=True)
    process.start()
    try:
        if not is_listening.wait(30):
            raise RuntimeError("the hanging server did not start")
        yield f"http://127.0.0.1:{port.value}"
    finally:
        process.terminate()
        process.join(10)


def _hang(port: Synchronized[int], is_listening: Any) -> None:  # noqa: ANN401 - an Event of multiprocessing
    raise_file_limit()
    writers = []

    async def accept(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)

    async def serve() -> None:
        server = await asyncio.start_server(accept, "127.0.0.1", 0, backlog=1000)
        port.value = server.sockets[0].getsockname()[1]
        is_listening.set()
        await server.serve_forever()

    asyncio.run(serve())
