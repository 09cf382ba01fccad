"""The double on a real socket, for Windsocks that are processes of their own; it can go away and come back."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from fake_airflow.api import Api
from fake_airflow.faults import Faults, apply_fault
from fake_airflow.responses import joined


class ServedFakeAirflow:
    """`lock` is held while an answer is made: hold it too to change the model meanwhile."""

    def __init__(self, api: Api, faults: Faults | None = None) -> None:
        self.api, self.faults = api, faults or Faults()
        self.lock = threading.RLock()
        self.requests = 0
        self.slowness = 0.0
        """Seconds that each answer takes."""
        self.port = 0
        self._server: ThreadingHTTPServer | None = None
        self._connections: set[Any] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        served = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                served._connections.add(self.connection)

            def finish(self) -> None:
                served._connections.discard(self.connection)
                with contextlib.suppress(OSError):
                    super().finish()

            def do_GET(self) -> None:
                with contextlib.suppress(OSError):
                    served._handle(self)

            do_POST = do_GET  # noqa: N815 - the name that http.server calls

            def log_message(self, *_: object) -> None:
                """Quiet."""

        ThreadingHTTPServer.allow_reuse_address = True
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        """At once, in the middle of answers."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            for connection in list(self._connections):
                with contextlib.suppress(OSError):
                    connection.close()
            self._server = None

    def _handle(self, request: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(request.path)
        body = request.rfile.read(int(request.headers.get("content-length", 0)))
        headers = {name.lower(): value for name, value in request.headers.items()}
        time.sleep(self.slowness)
        with self.lock:
            self.requests += 1
            fault = self.faults.next(parts.path)
            reply = self.api.handle(
                request.command, parts.path, joined(parse_qsl(parts.query, keep_blank_values=True)), headers, body
            )
            now = self.api.model.now()
            fault = fault or self.api.oddities.fault(reply.body)
            content = apply_fault(fault, reply)
        if fault in {"drop", "slow"}:
            request.close_connection = True
            return
        payload = content.content
        request.send_response_only(content.status)
        for name, value in {"Date": format_datetime(now, usegmt=True), **content.headers}.items():
            request.send_header(name, value)
        request.send_header("Content-Type", content.content_type)
        request.send_header("Content-Length", str(len(payload)))
        request.end_headers()
        request.wfile.write(payload)


@contextlib.contextmanager
def serving(api: Api, faults: Faults | None = None) -> Iterator[ServedFakeAirflow]:
    served = ServedFakeAirflow(api, faults)
    served.start()
    try:
        yield served
    finally:
        served.stop()
