"""A scripted HTTP server on a real loopback socket, and an Airflow provider that talks to it."""

import asyncio
import json
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from socket import SO_LINGER, SOL_SOCKET
from typing import Any, Literal, TypeAlias
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest

from windsock import egress
from windsock.providers.airflow import Airflow, AirflowConfig, Credentials, TokenCache
from windsock.providers.airflow.config import (
    AstronomerCredentials,
    NoCredentials,
    PasswordCredentials,
    TokenCredentials,
)
from windsock.providers.airflow.scans import Limits
from windsock.providers.base import Page, ProviderRun
from windsock.providers.scopes import Resume, ScanScope, UpdatedSince

SINCE = UpdatedSince(datetime(2026, 11, 23, 12, 0, 0, 5, tzinfo=UTC))
DATE = "Mon, 23 Nov 2026 14:35:33 GMT"
PASSWORD = "planted-password-7311"
TOKEN = "planted-token-9455"
VERSIONS: dict[str | None, Literal["v1", "v2"]] = {"v1": "v1", "v2": "v2"}


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    params: dict[str, str]
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Reply:
    """`body` is sent as JSON unless it is bytes. `drops` resets the connection; `cuts` promises more than it sends."""

    body: Any = b""
    status: int = 200
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    drops: bool = False
    cuts: bool = False


Script = Callable[[Request], Reply]
Replied: TypeAlias = Reply


class ScriptedServer:
    """Answers each request by its script and remembers what it was asked."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.requests: list[Request] = []
        self.base_url = ""

    @property
    def paths(self) -> list[str]:
        return [f"{request.method} {request.path}" for request in self.requests]

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        tasks: set[asyncio.Task[None]] = set()

        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.get_running_loop().create_task(self._converse(reader, writer))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        server = await asyncio.start_server(connected, "127.0.0.1", 0)
        self.base_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield
        finally:
            server.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await server.wait_closed()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._serve_request(reader, writer):
                pass
        finally:
            writer.close()

    async def _serve_request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return False
        first, *lines = head.decode().split("\r\n")[:-2]
        method, target, _ = first.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        parts = urlsplit(target)
        params = dict(parse_qsl(parts.query, keep_blank_values=True))
        parameters = Request(method, unquote(parts.path), params, headers, body)
        self.requests.append(parameters)
        reply = self.script(parameters)
        await asyncio.sleep(reply.delay)
        if reply.drops:
            writer.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
            return False
        payload = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        response_headers = {"Date": DATE, "Content-Type": reply.content_type, **reply.headers}
        length = len(payload) + (100 if reply.cuts else 0)
        text = "".join(f"{name}: {value}\r\n" for name, value in response_headers.items() if value)
        writer.write(f"HTTP/1.1 {reply.status} X\r\nContent-Length: {length}\r\n{text}\r\n".encode() + payload)
        await writer.drain()
        return not reply.cuts


class Lab:
    """What tests need of this file; they cannot import it, since tests are no package."""

    Server: type[ScriptedServer] = ScriptedServer
    Reply: type[Reply] = Reply
    password, token = PASSWORD, TOKEN

    def __init__(self) -> None:
        self.tokens = TokenCache()
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    def credentials(self, kind: str = "api_token") -> Credentials:
        if kind == "password":
            return PasswordCredentials.model_validate(
                {"auth_type": kind, "username": "windsock", "password": self.password}
            )
        if kind == "astronomer":
            return AstronomerCredentials.model_validate({"auth_type": kind, "token": self.token})
        if kind == "none":
            return NoCredentials(auth_type="none")
        return TokenCredentials.model_validate({"auth_type": kind, "token": self.token})

    def against(
        self,
        script: Script,
        use: Callable[[Airflow], Awaitable[Any]],
        api_version: str | None = "v2",
        kind: str = "api_token",
        *,
        timeout_seconds: float = 30,
        limits: Limits | None = None,
    ) -> tuple[Any, ScriptedServer]:
        """What `use` makes of an Airflow that answers by `script`, and the server with what it was asked."""
        scripted = ScriptedServer(script)

        async def run() -> Any:
            async with scripted.serving():
                airflow = self.airflow(scripted.base_url, api_version, kind, timeout_seconds, limits)
                try:
                    return await use(airflow)
                finally:
                    await airflow.aclose()

        return asyncio.run(run()), scripted

    def airflow(
        self,
        base_url: str,
        api_version: str | None = "v2",
        kind: str = "api_token",
        timeout_seconds: float = 30,
        limits: Limits | None = None,
    ) -> Airflow:
        """Where `api_version` is known, the server was recognised as an Airflow before."""
        if api_version is not None:
            address = urlsplit(base_url)
            self.tokens.recognized.add("c", (address.hostname, address.port))
        return Airflow(
            AirflowConfig(base_url=base_url, timeout_seconds=timeout_seconds),
            self.credentials(kind),
            api_version=VERSIONS.get(api_version),
            tokens=self.tokens,
            key="c",
            policy=egress.Policy.of(loopback=True),
            sleep=self.sleep,
            limits=limits,
        )

    @staticmethod
    def reading(scope: ScanScope = SINCE, resume: Resume | None = None, most: int = 10**6) -> Callable[[Airflow], Any]:
        """Reads runs, at most that many pages."""

        async def read(airflow: Airflow) -> list[Page[ProviderRun]]:
            pages: list[Page[ProviderRun]] = []
            async for page in airflow.runs(scope, resume):
                pages.append(page)
                if len(pages) == most:
                    break
            return pages

        return read

    @staticmethod
    def by_cursor(rows: list[dict[str, Any]], **more: int | None) -> Script:
        """Pages of runs like those of 3.3.2; the cursor is the number of the row to go on with.

        Without one they are by offset.
        """

        def script(request: Request) -> Replied:
            start = int(request.params.get("cursor") or request.params.get("offset") or 0)
            end = start + int(request.params["limit"])
            upcoming = str(end) if end < len(rows) and "cursor" in request.params else None
            body = {"dag_runs": rows[start:end], "total_entries": len(rows), "next_cursor": upcoming}
            return Reply({**body, **more})

        return script

    def by_offset(self, rows: list[dict[str, Any]], cap: int = 100) -> Script:
        """Pages of runs like those of 3.0.6 and 2.11.2: no cursor, and an unknown parameter is ignored."""
        return lambda parameters: self.page("dag_runs", rows, parameters, cap=cap)

    @staticmethod
    def sample(name: str) -> Any:
        return json.loads((Path(__file__).parent / "samples" / f"{name}.json").read_text())

    @staticmethod
    def page(name: str, rows: Sequence[Any], request: Request, *, cap: int = 100, **more: int) -> Replied:
        """What an Airflow that pages by offset answers."""
        offset = int(request.params.get("offset", "0"))
        size = min(cap, int(request.params.get("limit", "50")))
        return Reply({name: rows[offset : offset + size], "total_entries": len(rows), **more})

    @staticmethod
    def runs(count: int, start: int = 0) -> list[dict[str, Any]]:
        return [
            {
                "dag_id": "d",
                "dag_run_id": f"run-{number:05}",
                "state": "success",
                "run_type": "manual",
                "run_after": "2026-11-23T14:00:00Z",
                "logical_date": "2026-11-23T14:00:00Z",
            }
            for number in range(start, start + count)
        ]

    @staticmethod
    def dags(count: int) -> list[dict[str, Any]]:
        return [{"dag_id": f"dag-{number:05}", "owners": [], "tags": []} for number in range(count)]


@pytest.fixture
def lab() -> Lab:
    return Lab()
