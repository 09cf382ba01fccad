"""A static answer of the same size from the same server, memory settings too: bare ASGI, and as a FastAPI route."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import FastAPI, Response

from windsock.memory import keep_memory

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

BODY = Path(os.environ["BENCH_BODY"]).read_bytes()
HEADERS = [(b"content-type", b"application/json"), (b"content-length", str(len(BODY)).encode())]
routed = FastAPI()
keep_memory()


@routed.get("/routed")
async def answer() -> Response:
    return Response(BODY, media_type="application/json")


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """`/routed` by way of FastAPI, everything else at once."""
    if scope["type"] != "http" or scope["path"] == "/routed":
        await routed(scope, receive, send)
        return
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": BODY})
