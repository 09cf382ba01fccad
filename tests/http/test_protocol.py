"""Limits of a connection: real sockets send what no proper client sends, to a server in a thread."""

import contextlib
import re
import resource
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI, Request, Response

from live_server import serving
from windsock.http import protocol
from windsock.http.middleware import RequestMiddleware
from windsock.http.protocol import MAX_CONNECTIONS, MAX_HEADER_BYTES, MAX_URL_BYTES
from windsock.http.responses import dump_json

GET = b"GET /health HTTP/1.1\r\nHost: windsock.test\r\n"
POST = b"POST /echo HTTP/1.1\r\nHost: windsock.test\r\n"
Connect = Callable[[], socket.socket]


def make_app() -> FastAPI:
    app = FastAPI()
    app.add_middleware(
        RequestMiddleware, max_body_bytes=1_048_576, on_error=lambda _: Response(dump_json({"detail": "fault"}), 500)
    )

    @app.get("/health")
    async def get_health() -> Response:
        return Response(b"ok")

    @app.post("/echo")
    async def echo(request: Request) -> Response:
        return Response(await request.body(), headers={"X-Late": request.headers.get("x-late", "none")})

    return app


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with serving(make_app()) as url:
        yield int(url.rpartition(":")[2])


@pytest.fixture
def connect(port: int) -> Iterator[Connect]:
    with contextlib.ExitStack() as stack:

        def open_socket() -> socket.socket:
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return connection

        yield open_socket


def receive(connection: socket.socket, *, until: bytes = b"") -> bytes:
    """All that comes until the end of the connection, or until this has come."""
    found = b""
    with contextlib.suppress(ConnectionResetError):
        while not (until and until in found) and (piece := connection.recv(65536)):
            found += piece
    return found


def send_until_refused(connection: socket.socket, piece: bytes, limit: int) -> int:
    """How many bytes the server took before it answered or closed."""
    sent = 0
    connection.settimeout(0.001)
    while sent < limit:
        with contextlib.suppress(TimeoutError):
            if connection.recv(1, socket.MSG_PEEK) is not None:
                break
        connection.settimeout(30)
        try:
            connection.sendall(piece)
        except OSError:
            break
        sent += len(piece)
        connection.settimeout(0.001)
    connection.settimeout(30)
    return sent


def status_of(response: bytes) -> int:
    return int(response.split(b" ", 2)[1])


def assert_refused(response: bytes, status: int) -> None:
    """One JSON answer that ends the connection."""
    head, _, body = response.partition(b"\r\n\r\n")
    assert status_of(response) == status, response
    assert body.startswith(b'{"detail":')
    assert body.endswith(b"}")
    lines = head.lower().split(b"\r\n")
    assert {b"connection: close", b"content-type: application/json", b"x-content-type-options: nosniff"} <= set(lines)


@pytest.mark.parametrize(
    ("begin", "piece", "status"),
    [
        (GET + b"X-Endless: ", b"a" * 4096, 431),
        (GET + b"X-Endless: ", b"a" * 100_000, 431),
        (GET, b"X-Some: value\r\n" * 20, 431),
        (GET, b"X" * 4096, 431),
        (b"GET /", b"a" * 4096, 414),
        (b"GET /?", b"q=1&" * 1000, 414),
        (b"", b"G" * 4096, 400),
        (b"", b"\r\n" * 2048, 431),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X-Trailer: value\r\n" * 100, 431),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX-Endless: ", b"a" * 4096, 431),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n1;extension=", b"a" * 4096, 431),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n", b"1;" + b"a" * 4000 + b"\r\nx\r\n", 431),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n", b"1000\r\n" + b"a" * 4096 + b"\r\n", 413),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n", b"Z", 400),
    ],
)
def test_endless_request_is_refused_and_closed(connect: Connect, begin: bytes, piece: bytes, status: int) -> None:
    connection = connect()
    connection.sendall(begin)
    sent = send_until_refused(connection, piece, 20_000_000)
    assert sent < 4_000_000, "much more was taken than the kernel buffers and the limits"
    assert_refused(receive(connection), status)


def test_header_at_limit_is_accepted_and_longer_is_refused(connect: Connect) -> None:
    for size, status in ((MAX_HEADER_BYTES - 200, 200), (MAX_HEADER_BYTES + 20_000, 431)):
        connection = connect()
        connection.sendall(GET + b"X-Large: " + b"a" * size + b"\r\n\r\n")
        assert status_of(receive(connection, until=b"\r\n\r\n")) == status


def test_url_at_length_limit_is_served(connect: Connect) -> None:
    connection = connect()
    path = b"/" + b"a" * (MAX_URL_BYTES - 1)
    connection.sendall(b"GET " + path + b" HTTP/1.1\r\nHost: windsock.test\r\n\r\n")
    response = receive(connection, until=b"}")
    assert status_of(response) == 404
    assert len(response) < 1000, "the answer repeats the address"


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /health HTTP/1.1\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n", 400),
        (b"GET /health HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\nHost: a@b\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\nHost: \r\n\r\n", 200),
        (b"GET /health HTTP/1.1\r\nHost: [::1]:8420\r\n\r\n", 200),
        (b"GET /health HTTP/1.0\r\n\r\n", 200),
    ],
)
def test_request_with_duplicate_or_malformed_host_is_refused(connect: Connect, request_: bytes, status: int) -> None:
    connection = connect()
    connection.sendall(request_)
    response = receive(connection, until=b"\r\n\r\n")
    assert status_of(response) == status
    assert b"x-content-type-options: nosniff" in response.lower()


def test_excessive_number_of_headers_is_refused(connect: Connect) -> None:
    connection = connect()
    connection.sendall(GET + b"".join(b"X-%d: 1\r\n" % number for number in range(250)) + b"\r\n")
    assert_refused(receive(connection), 431)


def test_trailers_do_not_become_headers(connect: Connect) -> None:
    connection = connect()
    connection.sendall(POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Late: smuggled\r\n\r\n")
    response = receive(connection, until=b"ok")
    assert status_of(response) == 200
    assert b"x-late: none" in response.lower()


def test_small_body_after_large_body_on_same_connection_is_accepted(connect: Connect) -> None:
    connection = connect()
    for size in (500_000, 20, 200_000, 0, 20):
        head = b"".join((POST, f"Content-Length: {size}\r\n\r\n".encode(), b"x" * min(size, 10)))
        connection.sendall(head)
        time.sleep(0.05)  # so that the rest of the body comes by itself
        connection.sendall(b"x" * (size - min(size, 10)))
        response = receive(connection, until=b"x-late" if size == 0 else b"x" * size)
        assert status_of(response) == 200


def test_pipelined_requests_are_served_in_order_up_to_limit(connect: Connect) -> None:
    few = connect()
    few.sendall((GET + b"\r\n") * 9 + GET + b"Connection: close\r\n\r\n")
    assert receive(few).count(b"HTTP/1.1 200") == 10
    many = connect()
    many.sendall((GET + b"\r\n") * 50_000)
    assert receive(many).count(b"HTTP/1.1 200") < 1000


def test_upgrade_request_is_served_without_upgrade_and_closed(connect: Connect) -> None:
    for upgrade in (b"websocket", b"h2c"):
        connection = connect()
        connection.sendall(GET + b"Connection: Upgrade\r\nUpgrade: " + upgrade + b"\r\n\r\n" + b"\x00" * 100_000)
        response = receive(connection)
        assert status_of(response) == 200
        assert b"connection: close" in response.lower()


def test_error_in_pipelined_request_leaves_first_response_intact(connect: Connect) -> None:
    connection = connect()
    connection.sendall(GET + b"\r\nnonsense\r\n\r\n")
    response = receive(connection)
    assert len(re.findall(rb"HTTP/1\.1 ", response)) <= 2
    assert not response or response.startswith((b"HTTP/1.1 200", b"HTTP/1.1 400"))


def test_idle_connection_is_closed_after_timeout(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "FIRST_BYTE_SECONDS", 0.3)
    assert receive(connect()) == b""


def test_slow_headers_are_refused(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "FIRST_BYTE_SECONDS", 0.5)
    monkeypatch.setattr(protocol, "HEADER_SECONDS", 0.5)
    first = connect()
    with contextlib.suppress(OSError):
        for byte in b"GET /" + b"a" * 100:
            first.sendall(bytes([byte]))
            time.sleep(0.02)
    assert_refused(receive(first), 408)
    second = connect()
    second.sendall(GET + b"\r\n")
    assert receive(second, until=b"ok")
    second.sendall(b"GET /he")
    assert_refused(receive(second), 408)


def test_idle_keepalive_connection_is_not_timed_out_as_slow(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "FIRST_BYTE_SECONDS", 0.3)
    monkeypatch.setattr(protocol, "HEADER_SECONDS", 0.3)
    connection = connect()
    for _ in range(3):
        connection.sendall(POST + b"Content-Length: 2\r\n\r\nok")
        assert status_of(receive(connection, until=b"ok")) == 200
        time.sleep(0.5)


def test_idle_connections_beyond_limit_are_closed_for_new_connections() -> None:
    """Also with the address of those that ask: behind a reverse proxy all have the same."""
    with serving(make_app(), max_connections=50) as url, contextlib.ExitStack() as stack:
        port = int(url.rpartition(":")[2])

        def open_socket(address: str = "127.0.0.1") -> socket.socket:
            source = (address, 0)
            return stack.enter_context(socket.create_connection(("127.0.0.1", port), 30, source_address=source))

        def gets_response(connection: socket.socket) -> bool:
            connection.sendall(GET + b"\r\n")
            return status_of(receive(connection, until=b"ok")) == 200

        others = open_socket("127.0.0.2")
        assert gets_response(others)
        idle = [open_socket() for _ in range(200)]
        assert all(gets_response(open_socket()) for _ in range(20))
        assert gets_response(others), "the address with few connections has lost one"
        closed = [item for item in idle if is_closed(item)]
        assert 150 <= len(closed) <= 180
    assert MAX_CONNECTIONS >= 1000


def is_closed(connection: socket.socket) -> bool:
    connection.settimeout(0.01)
    try:
        return connection.recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionResetError:
        return True


def test_endless_header_costs_no_memory(connect: Connect) -> None:
    before = resident_bytes()
    for _ in range(5):
        connection = connect()
        connection.sendall(GET + b"X-Endless: ")
        send_until_refused(connection, b"a" * 65536, 50_000_000)
    assert resident_bytes() - before < 30_000_000


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
