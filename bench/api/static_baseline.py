"""A static answer of the same size from the same server, to every client.

Bare ASGI; as a FastAPI route; and as Windsock serves it, with its id, limits, log line and numbers.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import FastAPI, Response

from windsock import log
from windsock.http.middleware import RequestMiddleware
from windsock.settings import Settings

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

BODY = Path(os.environ["BENCH_BODY"]).read_bytes()
HEADERS = [(b"content-type", b"application/json"), (b"content-length", str(len(BODY)).encode())]
settings = Settings()
log.configure(settings.log_format, settings.log_level)
routed = FastAPI()
served = FastAPI()
served.add_middleware(
    RequestMiddleware, max_body_bytes=settings.max_body_bytes, on_error=lambda _: Response(status_code=500)
)


@routed.get("/routed")
@served.get("/served")
async def serve() -> Response:
    return Response(BODY, media_type="application/json")


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """`/routed` and `/served` by way of FastAPI, everything else at once."""
    if scope["type"] != "http" or scope["path"] == "/routed":
        await routed(scope, receive, send)
    elif scope["path"] == "/served":
        await served(scope, receive, send)
    else:
        await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        await send({"type": "http.response.body", "body": BODY})
