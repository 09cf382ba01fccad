"""Around every request: its id, its size limit, its log line and its numbers."""

import asyncio
import functools
import re
import time
from collections.abc import Callable
from uuid import uuid4

import structlog
from prometheus_client import Counter, Histogram
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from windsock import log
from windsock.pages import to_json

REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")
BODY_SECONDS = 30.0
UNLOGGED = {"/health", "/health/ready", "/metrics"}

REQUESTS = Counter("windsock_http_requests", "Requests answered.", ["method", "route", "status"])
SECONDS = Histogram("windsock_http_request_seconds", "Time to answer, in seconds.", ["method", "route"])
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}

logger = log.get(__name__)


class AroundRequests:
    """ASGI middleware: X-Request-ID, `/path/` as `/path`, bounded bodies, one log line and one count per request."""

    def __init__(self, app: ASGIApp, *, max_body_bytes: int, fault: Callable[[Scope], Response]) -> None:
        self._app, self._most, self._fault = app, max_body_bytes, fault

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        request_id = given if REQUEST_ID.fullmatch(given) else str(uuid4())
        path: str = scope["path"]
        if len(path) > 1 and path.endswith("/"):
            scope = {**scope, "path": path.rstrip("/") or "/"}
        started, status, has_started = time.perf_counter(), 500, False

        async def send_with_id(message: Message) -> None:
            nonlocal status, has_started
            if message["type"] == "http.response.start":
                status, has_started = message["status"], True
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode("latin-1"))]
            await send(message)

        with log.bound(request_id=request_id):
            try:
                body_or_answer = await self._read_body(headers, receive)
                if isinstance(body_or_answer, Response):
                    await body_or_answer(scope, receive, send_with_id)
                else:
                    await self._app(scope, body_or_answer, send_with_id)
            except Exception:  # the edge of a request: a fault of ours is logged under the request's id
                logger.exception("a fault of Windsock's own", path=path)
                if not has_started:
                    await self._fault(scope)(scope, receive, send_with_id)
            finally:
                self._note(scope, status, time.perf_counter() - started)
                structlog.contextvars.unbind_contextvars("user_id", "space")

    async def _read_body(self, headers: Headers, receive: Receive) -> Receive | Response:
        """The whole body, bounded in size and time, as something to receive; or the answer that refuses it."""
        too_large = f"The body is larger than {self._most} bytes."
        declared = headers.get("content-length", "0")
        if not declared.isdigit() or int(declared[:20]) > self._most:
            return _answer(413, too_large)
        if declared == "0" and "transfer-encoding" not in headers:
            return receive
        chunks: list[bytes] = []
        size, more = 0, True
        try:
            async with asyncio.timeout(BODY_SECONDS):
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return receive
                    chunks.append(message.get("body", b""))
                    size += len(chunks[-1])
                    more = message.get("more_body", False)
                    if size > self._most:
                        return _answer(413, too_large)
        except TimeoutError:
            return _answer(408, f"The body did not arrive within {BODY_SECONDS:.0f} s.")
        whole: Message = {"type": "http.request", "body": b"".join(chunks), "more_body": False}
        is_given = False

        async def replay() -> Message:
            nonlocal is_given
            if is_given:
                return await receive()
            is_given = True
            return whole

        return replay

    @staticmethod
    def _note(scope: Scope, status: int, seconds: float) -> None:
        # The router leaves the template it matched; whatever else was asked for shares one label.
        template = getattr(scope.get("route"), "path", None) or "unmatched"
        method = scope["method"] if scope["method"] in METHODS else "other"
        _requests(method, template, status).inc()
        _seconds(method, template).observe(seconds)
        if scope["path"] not in UNLOGGED:
            milliseconds = round(seconds * 1000, 1)
            log.straight.info(
                __name__, "answered", method=method, path=scope["path"], status=status, milliseconds=milliseconds
            )


@functools.cache  # as bounded as the labels are
def _requests(method: str, template: str, status: int) -> Counter:
    return REQUESTS.labels(method, template, str(status))


@functools.cache
def _seconds(method: str, template: str) -> Histogram:
    return SECONDS.labels(method, template)


def _answer(status: int, sentence: str) -> Response:
    return Response(to_json({"detail": sentence}), status, {"Connection": "close"}, "application/json")
