"""A proxy before a real Airflow that misbehaves on purpose: real answers, then a fault of the test's choosing."""

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx2

LOGIN_PAGE = b"<!doctype html><html><title>Sign in</title><form action=/login>password</form></html>"
PASSED_ON = {"authorization", "content-type", "accept"}


@dataclass
class ProxyResponse:
    status: int
    headers: dict[str, str]
    body: bytes


Fault = Callable[[ProxyResponse], ProxyResponse | None]
"""What becomes of an answer; None: the connection is dropped without one."""


@dataclass
class Proxy:
    """`fault` is applied to answers to `method` for paths that contain `where`, from the `after`-th of them on."""

    target: str
    fault: Fault | None = None
    where: str = ""
    after: int = 0
    method: str = ""
    page: int | None = None
    delay: float = 0.0
    cuts: list[str] = field(default_factory=list)
    """Of the next requests that change something: "before" Airflow gets it, "after" it has answered, or "during"."""
    before_change: Callable[[], object] | None = None
    """Called before Airflow gets a request that changes something."""
    seen: int = 0
    requests: list[str] = field(default_factory=list)
    url: str = ""

    def misbehave(self, fault: Fault | None, *, where: str = "", after: int = 0, method: str = "") -> None:
        self.fault, self.where, self.after, self.method, self.seen = fault, where, after, method, 0

    def handle(self, method: str, path: str, headers: dict[str, str], body: bytes) -> ProxyResponse | None:
        self.requests.append(f"{method} {path}")
        is_change = _is_change(method, path, body)
        if self.before_change is not None and is_change:
            self.before_change()
        cut = self.cuts.pop(0) if self.cuts and is_change else ""
        if cut == "during":  # the connection breaks at once, and Airflow carries on
            threading.Thread(target=self._ask, args=(method, path, headers, body), daemon=True).start()
        if cut in {"before", "during"}:
            return None
        response = self._ask(method, path, headers, body)
        if cut == "after":
            return None
        time.sleep(self.delay)
        if self.fault is None or self.where not in path or self.method not in {"", method}:
            return response
        self.seen += 1
        return self.fault(response) if self.seen > self.after else response

    def _ask(self, method: str, path: str, headers: dict[str, str], body: bytes) -> ProxyResponse:
        parts = urlsplit(path)
        query = parse_qsl(parts.query, keep_blank_values=True)
        if self.page is not None:  # as a server that caps its pages lower
            query = [(name, str(self.page) if (name, value) == ("limit", "100") else value) for name, value in query]
        url = f"{self.target}{parts.path}" + (f"?{urlencode(query)}" if query else "")
        forwarded = {name: value for name, value in headers.items() if name.lower() in PASSED_ON}
        got = httpx2.request(method, url, headers=forwarded, content=body, timeout=60)
        response_headers = {name: got.headers[name] for name in ("content-type", "date") if name in got.headers}
        return ProxyResponse(got.status_code, response_headers, got.content)


def _is_change(method: str, path: str, body: bytes) -> bool:
    return method != "GET" and not path.startswith("/auth/") and not json.loads(body).get("dry_run", False)


@contextlib.contextmanager
def open_proxy(target: str, **settings: Any) -> Iterator[Proxy]:
    """On a port of its own, in a thread of its own."""
    proxy = Proxy(target, **settings)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            response = proxy.handle(self.command, self.path, dict(self.headers), body)
            if response is None:
                self.close_connection = True
                return
            self.send_response_only(response.status)
            for name, value in response.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(response.body)))
            self.end_headers()
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                self.wfile.write(response.body)

        do_POST = do_PATCH = do_GET  # noqa: N815 - the names that http.server calls

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    proxy.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
