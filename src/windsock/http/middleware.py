"""Around every request: its id, its limits, its log line and its numbers."""

import asyncio
import functools
import re
import time
from collections.abc import Callable
from uuid import uuid4

import structlog
from prometheus_client import Counter, Histogram
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.gzip import GZipResponder
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from windsock import log
from windsock.http.responses import dump_json

GZIP_MIN_BYTES = 1_000
"""Bytes; less fits into one packet either way."""
GZIP_LEVEL = 4
REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")
BODY_SECONDS = 30.0
MAX_IN_FLIGHT = 1000
"""Requests whose body is complete; those beyond are refused at once. /health is answered all the same."""
MAX_BODIES = 64
"""As many bodies of the largest size are read at the same time; small ones are read always."""
SMALL_BODY_BYTES = 16 * 1024
MAX_LOGGED_CHARACTERS = 200
NOSNIFF = (b"x-content-type-options", b"nosniff")
UNLOGGED = {"/health", "/health/ready", "/metrics"}

REQUESTS = Counter("windsock_http_requests", "Requests answered.", ["method", "route", "status"])
SECONDS = Histogram("windsock_http_request_seconds", "Time to answer, in seconds.", ["method", "route"])
TOO_BUSY = "Too many requests are being answered at this moment. Nothing was changed; try again in a moment."
CLIENT_CLOSED = 499
SCOPE_METHOD = "windsock.method"
"""In the scope of a request that is answered as another method: its own."""
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}

logger = log.get(__name__)


class RequestMiddleware:
    """ASGI middleware: X-Request-ID, `/path/` as `/path`, limits, one log line and one count per request.

    HEAD is answered as GET, and the body is left out.
    """

    def __init__(self, app: ASGIApp, *, max_body_bytes: int, on_error: Callable[[Scope], Response]) -> None:
        self._app, self._most, self._on_error = app, max_body_bytes, on_error
        self._in_flight = self._buffered_bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        header = headers.get("x-request-id", "")
        request_id = header if REQUEST_ID.fullmatch(header) else str(uuid4())
        path, method = scope["path"], scope["method"]
        scope = _normalize(scope)
        started, status, has_started = time.perf_counter(), 500, False

        async def send_with_id(message: Message) -> None:
            nonlocal status, has_started
            if message["type"] == "http.response.start":
                status, has_started = message["status"], True
                _add_headers(message, request_id)
            elif method == "HEAD" and message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        with log.bound(request_id=request_id):
            try:
                body_or_response = await self._read_body(headers, receive)
                if isinstance(body_or_response, Response):
                    await body_or_response(scope, receive, send_with_id)
                elif body_or_response is None:
                    status = CLIENT_CLOSED
                else:
                    await self._respond(scope, body_or_response, send_with_id)
            except Exception:  # the edge of a request: a fault of ours is logged under the request's id
                logger.exception("a fault of Windsock's own", path=shorten(path))
                if not has_started:
                    await self._on_error(scope)(scope, receive, send_with_id)
            finally:
                self._record_metrics(scope, method, status, time.perf_counter() - started)
                structlog.contextvars.unbind_contextvars("user_id", "space")

    async def _respond(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._in_flight >= MAX_IN_FLIGHT and scope["path"] != "/health":
            await _refuse_overload(scope)(scope, receive, send)
            return
        self._in_flight += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._in_flight -= 1

    async def _read_body(self, headers: Headers, receive: Receive) -> Receive | Response | None:
        """The whole body, bounded in size and time, as something to receive; or the answer that refuses it.

        None where the client has gone.
        """
        declared = headers.get("content-length", "0")
        if not declared.isdigit() or int(declared[:20]) > self._most:
            return self._too_large()
        if declared == "0" and "transfer-encoding" not in headers:
            return receive
        body = await self._collect(receive)
        if not isinstance(body, bytes):
            return body
        whole: Message = {"type": "http.request", "body": body, "more_body": False}
        is_sent = False

        async def replay() -> Message:
            nonlocal is_sent
            if is_sent:
                return await receive()
            is_sent = True
            return whole

        return replay

    async def _collect(self, receive: Receive) -> bytes | Response | None:
        """As _read_body."""
        chunks: list[bytes] = []
        size, more = 0, True
        try:
            async with asyncio.timeout(BODY_SECONDS):
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    chunks.append(message.get("body", b""))
                    size += len(chunks[-1])
                    self._buffered_bytes += len(chunks[-1])
                    more = message.get("more_body", False)
                    if size > self._most:
                        return self._too_large()
                    if size > SMALL_BODY_BYTES and self._buffered_bytes > MAX_BODIES * self._most:
                        return _error_response(503, TOO_BUSY, {"Retry-After": "1"})
        except TimeoutError:
            return _error_response(408, f"The body did not arrive within {BODY_SECONDS:.0f} s.")
        finally:
            self._buffered_bytes -= size
        return b"".join(chunks)

    def _too_large(self) -> Response:
        return _error_response(413, f"The body is larger than {self._most} bytes.")

    @staticmethod
    def _record_metrics(scope: Scope, method: str, status: int, seconds: float) -> None:
        # The router leaves the template it matched; whatever else was asked for shares one label.
        template = getattr(scope.get("route"), "path", None) or "unmatched"
        method = method if method in METHODS else "other"
        _requests(method, template, status).inc()
        _seconds(method, template).observe(seconds)
        if scope["path"] not in UNLOGGED:
            milliseconds = round(seconds * 1000, 1)
            logger.info(
                "answered",
                method=method,
                path=shorten(scope["path"]),
                status=status,
                milliseconds=milliseconds,
            )


class CompressionMiddleware:
    """ASGI middleware: Starlette's gzip for the API. Honours `gzip;q=0`, and names Accept-Encoding once in Vary."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_unique_vary(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(raw=message["headers"])
                if "vary" in headers:
                    headers["vary"] = ", ".join(dict.fromkeys(headers["vary"].split(", ")))
            await send(message)

        is_api = scope["type"] == "http" and scope["path"].startswith("/api/")
        if is_api and accepts_gzip(Headers(scope=scope).get("accept-encoding", "")):
            await GZipResponder(self._app, GZIP_MIN_BYTES, GZIP_LEVEL)(scope, receive, send_with_unique_vary)
        else:
            await self._app(scope, receive, send)


def accepts_gzip(accept_encoding: str) -> bool:
    """RFC 9110 §12.5.3, as far as it concerns gzip."""
    for coding in accept_encoding.lower().split(","):
        name, _, weight = coding.partition(";")
        if name.strip() in {"gzip", "x-gzip", "*"}:
            return weight.replace(" ", "") not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}
    return False


@functools.cache  # as bounded as the labels are
def _requests(method: str, template: str, status: int) -> Counter:
    return REQUESTS.labels(method, template, str(status))


@functools.cache
def _seconds(method: str, template: str) -> Histogram:
    return SECONDS.labels(method, template)


def shorten(text: str) -> str:
    """For a line of the log: what anybody can send must not fill it."""
    return text if len(text) <= MAX_LOGGED_CHARACTERS else f"{text[:MAX_LOGGED_CHARACTERS]}… ({len(text)} characters)"


def _refuse_overload(scope: Scope) -> Response:
    if scope["path"] == "/health/ready":
        return Response(dump_json({"status": "not ready", "detail": TOO_BUSY}), 503, {}, "application/json")
    return _error_response(503, TOO_BUSY, {"Retry-After": "1"})


def _error_response(status: int, sentence: str, headers: dict[str, str] | None = None) -> Response:
    headers = {"Connection": "close", **(headers or {})}
    return Response(dump_json({"detail": sentence}), status, headers, "application/json")


def _normalize(scope: Scope) -> Scope:
    """Normalise `/path/` to `/path` and HEAD to GET, in a copy: the server reads the method from its own scope."""
    path: str = scope["path"]
    if len(path) > 1 and path.endswith("/"):
        scope = {**scope, "path": path.rstrip("/") or "/"}
    return {**scope, "method": "GET", SCOPE_METHOD: "HEAD"} if scope["method"] == "HEAD" else scope


def _add_headers(message: Message, request_id: str) -> None:
    message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode("latin-1"))]
    if NOSNIFF not in message["headers"]:
        message["headers"].append(NOSNIFF)
