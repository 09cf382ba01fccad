"""HTTP/1.1 with limits: how much and how slowly one connection may send, and how many connections there may be.

uvicorn's httptools protocol has none (https://github.com/Kludex/uvicorn/issues/157): a header without an end is kept
and copied at each piece that arrives, an idle connection stays for ever.
"""

import asyncio
import http
import re
from asyncio import TimerHandle
from typing import Any, ClassVar

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from windsock import log
from windsock.http.responses import dump_json

MAX_CONNECTIONS = 2_000
MAX_HEADER_BYTES = 64 * 1024
"""Of one request: its request line and all of its headers."""
MAX_URL_BYTES = 32 * 1024
MAX_HEADERS = 200
MAX_FRAMING_BYTES = 64 * 1024
"""Of a chunked body: chunk sizes, chunk extensions and trailers; small chunks have FRAMING_PER_BYTE more."""
FRAMING_PER_BYTE = 8
MAX_PIPELINED = 16
"""Requests that are sent before the answer to the first; more than that ends the connection."""
MAX_PIECE_BYTES = 8 * 1024
"""Given to the parser at once, so that the limits are checked before everything a connection has sent is parsed."""

FIRST_BYTE_SECONDS = 10.0
HEADER_SECONDS = 10.0
"""From the first byte of a request until its headers are complete."""
STALLED_WRITE_SECONDS = 60.0
"""How long a client may leave an answer unread."""
LINGER_SECONDS = 1.0
"""After a refusal the connection stays half open: closed with unread data, the client would lose the answer."""
MAX_DISCARDED_BYTES = 1024 * 1024
"""Read and dropped meanwhile."""

HOST = re.compile(rb"[A-Za-z0-9._~!$&'()*+,;=%:\[\]-]*")
SECURITY_HEADERS = b"content-type: application/json\r\nx-content-type-options: nosniff\r\nconnection: close\r\n"

logger = log.get(__name__)


class RequestRejected(Exception):
    """Raised in a callback of the parser: the request is answered with this status, and the connection ends."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class Connections:
    """All open connections, by address. Beyond the limit, waiting ones of the address with the most are closed.

    So a client that opens thousands takes places from itself only. Below the limit addresses do not matter: behind a
    reverse proxy all connections have the same.
    """

    def __init__(self, limit: int) -> None:
        self._limit, self._total = limit, 0
        self._by_address: dict[str, dict[BoundedProtocol, None]] = {}

    def add(self, connection: "BoundedProtocol") -> bool:
        """False where all connections are busy and there is no room for this one."""
        victim = self._find_waiting() if self._total >= self._limit else None
        if victim is not None:
            victim.abort()
        elif self._total >= self._limit:
            return False
        self._by_address.setdefault(connection.address, {})[connection] = None
        self._total += 1
        return True

    def discard(self, connection: "BoundedProtocol") -> None:
        of_address = self._by_address.get(connection.address, {})
        if connection in of_address:
            del of_address[connection]
            self._total -= 1
            if not of_address:
                del self._by_address[connection.address]

    def _find_waiting(self) -> "BoundedProtocol | None":
        """The oldest one that waits for its client."""
        for of_address in sorted(self._by_address.values(), key=len, reverse=True):
            for connection in of_address:
                if connection.is_waiting_for_client:
                    return connection
        return None


class BoundedProtocol(HttpToolsProtocol):
    """One connection. `open_connections` is shared by those of one server: `bounded_protocol` sets it."""

    open_connections: ClassVar[Connections]

    def __init__(self, *args: Any, **more: Any) -> None:  # noqa: ANN401 - handed through
        super().__init__(*args, **more)
        self.address = ""
        self._timer: TimerHandle | None = None
        self._write_timer: TimerHandle | None = None
        self._header_bytes = self._body_bytes = self._framing_bytes = self._discarded_bytes = 0
        self._body_bytes_of_piece = 0
        self._has_begun = self._has_completed = self._is_refused = self._ends_headers = False
        self._is_in_headers = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.address = self.client[0] if self.client else ""
        if self.open_connections.add(self):
            self._timer = self.loop.call_later(FIRST_BYTE_SECONDS, self._on_slow_headers)
        else:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.open_connections.discard(self)
        self._stop_timer()
        self.resume_writing()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    @property
    def is_waiting_for_client(self) -> bool:
        """Idle, in the middle of a request, or with an answer that the client does not read."""
        if self.flow.write_paused or self._is_refused:
            return True
        return not self.pipeline and (self.cycle is None or self.cycle.response_complete or self.cycle.more_body)

    def abort(self) -> None:
        self.open_connections.discard(self)
        self._is_refused = True
        self.transport.abort()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._write_timer is None:
            self._write_timer = self.loop.call_later(STALLED_WRITE_SECONDS, self.abort)

    def resume_writing(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None
        if self.flow is not None:
            super().resume_writing()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def data_received(self, data: bytes) -> None:
        if self._is_refused:
            self._discard(len(data))
            return
        self._unset_keepalive_if_required()
        if len(data) <= MAX_PIECE_BYTES:
            self._feed(data)
        else:
            whole = memoryview(data)
            for start in range(0, len(data), MAX_PIECE_BYTES):
                self._feed(whole[start : start + MAX_PIECE_BYTES])
                if self._is_refused:
                    return
        if not self._is_in_headers or not self._header_bytes:
            self._stop_timer()
        elif self._timer is None:
            self._timer = self.loop.call_later(HEADER_SECONDS, self._on_slow_headers)

    def _feed(self, piece: bytes | memoryview) -> None:
        self._body_bytes_of_piece, self._has_completed, self._ends_headers = 0, False, False
        try:
            self.parser.feed_data(piece)
        except httptools.HttpParserUpgrade:
            self._end_after_upgrade()
            return
        except httptools.HttpParserError as error:
            cause = error.__context__
            if isinstance(cause, RequestRejected):
                self._refuse(cause.status, str(cause))
            else:
                self._refuse(400, "This is not a request in HTTP/1.1.")
            return
        if self._is_in_headers:
            if self._has_begun or not self._has_completed:  # else the piece ends with the request
                self._header_bytes += len(piece)
            if self._header_bytes > MAX_HEADER_BYTES:
                self._refuse(431, f"The headers are larger than {MAX_HEADER_BYTES} bytes.")
        elif not self._ends_headers:  # such a piece is mostly headers, and there is one of them in a request
            self._framing_bytes += len(piece) - self._body_bytes_of_piece
            if self._framing_bytes > MAX_FRAMING_BYTES + FRAMING_PER_BYTE * self._body_bytes:
                self._refuse(431, f"Chunk extensions and trailers are larger than {MAX_FRAMING_BYTES} bytes.")

    def _discard(self, size: int) -> None:
        self._discarded_bytes += size
        if self._discarded_bytes > MAX_DISCARDED_BYTES and not self.transport.is_closing():
            self.transport.pause_reading()

    def _end_after_upgrade(self) -> None:
        """No other protocol is spoken here (RFC 9110, 7.8: an upgrade may be ignored); what follows is not HTTP."""
        self._is_refused = True
        self._stop_timer()
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()
        else:
            self.cycle.keep_alive = False

    def on_message_begin(self) -> None:
        self._has_begun = True
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        if len(self.url) + len(url) > MAX_URL_BYTES:
            raise RequestRejected(414, f"The address is longer than {MAX_URL_BYTES} bytes.")
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._is_in_headers:
            return  # a trailer: uvicorn would add it to the headers of a request that has been let in already
        if len(self.headers) >= MAX_HEADERS:
            raise RequestRejected(431, f"The request has more than {MAX_HEADERS} headers.")
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._is_in_headers, self._ends_headers = False, True
        self._header_bytes = self._body_bytes = self._framing_bytes = 0
        self._stop_timer()
        hosts = [value for name, value in self.headers if name == b"host"]
        if len(hosts) != 1 and (hosts or self.parser.get_http_version() != "1.0"):
            raise RequestRejected(400, "The request must have exactly one Host header.")
        if hosts and not HOST.fullmatch(hosts[0].strip()):
            raise RequestRejected(400, "The Host header is not the name of a host.")
        if len(self.pipeline) >= MAX_PIPELINED:
            raise RequestRejected(400, f"More than {MAX_PIPELINED} requests were sent before the answer to the first.")
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        self._body_bytes_of_piece += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._is_in_headers, self._has_begun, self._has_completed = True, False, True
        super().on_message_complete()

    def _on_slow_headers(self) -> None:
        self._timer = None
        if self.cycle is not None and not self.cycle.response_complete:
            self._timer = self.loop.call_later(HEADER_SECONDS, self._on_slow_headers)
        elif self._has_begun:
            self._refuse(408, f"The headers did not arrive within {HEADER_SECONDS:.0f} s.")
        else:
            self._is_refused = True
            self.transport.close()

    def _refuse(self, status: int, sentence: str) -> None:
        """Answer and end the connection; only end it where another answer is under way."""
        if self._is_refused:
            return
        self._is_refused = True
        self._stop_timer()
        logger.info("refused a request", status=status, reason=sentence, client=self.address)
        may_respond = True
        if self.cycle is not None and not self.cycle.response_complete:
            may_respond = not (self._is_in_headers or self.cycle.response_started or self.pipeline)
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if may_respond and not self.transport.is_closing():
            body = dump_json({"detail": sentence})
            line = f"HTTP/1.1 {status} {http.HTTPStatus(status).phrase}\r\ncontent-length: {len(body)}\r\n".encode()
            defaults = b"".join(b"%b: %b\r\n" % header for header in self.server_state.default_headers)
            self.transport.write(b"".join((line, defaults, SECURITY_HEADERS, b"\r\n", body)))
        if may_respond and self.transport.can_write_eof() and not self.transport.is_closing():
            self.transport.write_eof()
        else:
            self.transport.close()
        self._timer = self.loop.call_later(LINGER_SECONDS, self.abort)


def bounded_protocol(max_connections: int = MAX_CONNECTIONS) -> type[asyncio.Protocol]:
    """For `uvicorn.Config(http=…)`: the protocol, with a count of connections for one server."""
    return type("ServerProtocol", (BoundedProtocol,), {"open_connections": Connections(max_connections)})
