"""Answers that need not be made again, known to the caller already or kept by this process, as long as they are true.

The version of the space moves with every write in it, in whatever process; it is read with the caller's rights, before
anything else. So an answer whose version is that of now is as true as one that is made now.
"""

import asyncio
import functools
import zlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Generic, TypeVar
from uuid import UUID

import psycopg
from fastapi import Request, Response
from starlette.datastructures import State
from starlette.types import ASGIApp, Receive, Scope, Send

from windsock import __version__
from windsock.access.keys import hash_token
from windsock.access.space import AUTH_RESULT, Space, space_for_viewer
from windsock.errors import WindsockError
from windsock.pagination import CACHE_CONTROL_HEADERS, Payload, etag_matches

GZIP_MIN_BYTES = 1_000
"""Bytes; less fits into one packet either way."""
GZIP_INLINE_MAX_BYTES = 100_000
"""Bytes that are packed without leaving the event loop: a millisecond or two."""
GZIP_LEVEL = 4
MAX_HANDLERS, MAX_HANDLER_QUERY_BYTES = 2_000, 4_000
"""Paths with their queries, those that were made last; bytes of a query that is not looked through each time."""
MAX_ENTRY_FRACTION = 8
"""One answer takes an eighth of the room at most."""
SCOPE_ERROR = "windsock.failed"
"""In the scope of a request: the error in making its answer, which its route tells without making it once more."""


T = TypeVar("T")


@dataclass(slots=True)
class CacheEntry:
    """A cached response, and its gzip once requested."""

    payload: Payload
    gzipped: bytes | None = None

    @property
    def size(self) -> int:
        return len(self.payload.body) + len(self.gzipped or b"") + 1_000


class SingleFlight(Generic[T]):
    """Coalesces concurrent calls with the same key: the first runs, the others await its result.

    Thirty people have the same list open; when its minute is over, it is made once.
    """

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[T]] = {}

    async def do(self, key: str, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Return the result of `make` or raise its error; it completes even if its first caller is cancelled."""
        task = self._tasks.get(key)
        if task is None:
            task = self._tasks[key] = asyncio.create_task(make())
            task.add_done_callback(functools.partial(self._done, key))
        return await asyncio.shield(task)

    def _done(self, key: str, task: asyncio.Task[T]) -> None:
        del self._tasks[key]
        if not task.cancelled():
            task.exception()  # told to those who wait, if there is still anybody


@dataclass(slots=True)
class ResponseCache:
    """LRU cache of this process, at most `most` bytes. Without room each response is built for one request."""

    most: int
    size: int = 0
    builds: SingleFlight[CacheEntry] = field(default_factory=SingleFlight)
    gzips: SingleFlight[bytes] = field(default_factory=SingleFlight)
    _entries: OrderedDict[str, CacheEntry] = field(default_factory=OrderedDict)
    _sizes: dict[str, int] = field(default_factory=dict)
    _handlers: OrderedDict[tuple[str, bytes], "CachedHandler"] = field(default_factory=OrderedDict)

    def lookup_handler(self, scope: Scope) -> "CachedHandler | None":
        return self._handlers.get((scope["path"], scope["query_string"]))

    def register_handler(self, scope: Scope, handler: "CachedHandler") -> None:
        if len(scope["query_string"]) > MAX_HANDLER_QUERY_BYTES:
            return
        self._handlers[scope["path"], scope["query_string"]] = handler
        while len(self._handlers) > MAX_HANDLERS:
            self._handlers.popitem(last=False)

    def get(self, key: str) -> CacheEntry | None:
        entry = self._entries.get(key)
        if entry is not None:
            self._entries.move_to_end(key)
        return entry

    def put(self, key: str, entry: CacheEntry) -> None:
        """Also when it has grown since it was kept."""
        self.size -= self._sizes.pop(key, 0)
        self._entries.pop(key, None)
        if entry.size > self.most // MAX_ENTRY_FRACTION:
            return
        self._entries[key], self._sizes[key] = entry, entry.size
        self.size += entry.size
        while self.size > self.most:
            oldest, _ = self._entries.popitem(last=False)
            self.size -= self._sizes.pop(oldest)


@dataclass(frozen=True, slots=True)
class CachedHandler:
    """A GET that was answered: its space, the route, what its answer depends on besides the space, and how it is made.

    All that path and query say is in `vary_on` and `make`, so that they need not be understood again.
    """

    slug: str
    route: object
    vary_on: Callable[[], Any]
    make: Callable[[Space, Any], Awaitable[Payload]]


def no_vary() -> None:
    """Return the variation of a response that depends on the space version only."""


async def cached_response(
    request: Request, space: Space, make: Callable[[Space, T], Awaitable[Payload]], *, vary_on: Callable[[], T]
) -> Response:
    """Return the cached or built response to a GET that every viewer of the space may read.

    `vary_on` says what it depends on besides the version of the space (`always`: nothing); `make` makes it from
    that, and from what the space holds now. Both are used again for others who ask for the same path and query, so
    they hold nothing of this request or its caller.
    """
    cache: ResponseCache = request.app.state.answers
    if SCOPE_ERROR in request.scope:
        raise request.scope[SCOPE_ERROR]
    handler = CachedHandler(space.slug, request.scope.get("route"), vary_on, make)
    sent = await _get_or_build(cache, request.scope, space, handler)
    cache.register_handler(request.scope, handler)
    return sent


async def _get_or_build(cache: ResponseCache, scope: Scope, space: Space, handler: CachedHandler) -> Response:
    vary = handler.vary_on()
    key = _key(scope, space.id, space.version, space.caller.id, vary)
    sent = await _not_modified_or_cached(cache, scope, key)
    if sent is not None:
        return sent

    async def make_and_keep() -> CacheEntry:
        entry = CacheEntry(await handler.make(space, vary))
        cache.put(key, entry)
        return entry

    entry = await (cache.builds.do(key, make_and_keep) if cache.most else make_and_keep())
    return await _to_response(cache, scope, key, entry)


class ResponseCacheMiddleware:
    """ASGI middleware: serves a known path and query without routing and validation.

    The caller is asked for all the same, in the same way as everywhere. What goes wrong is told by the route, as ever.
    """

    def __init__(self, app: ASGIApp, state: State) -> None:
        self._app, self._state = app, state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        handler = (
            self._state.answers.lookup_handler(scope) if scope["type"] == "http" and scope["method"] == "GET" else None
        )
        response = await self._respond(scope, handler) if handler is not None else None
        await (response or self._app)(scope, receive, send)

    async def _respond(self, scope: Scope, handler: CachedHandler) -> Response | None:
        """None where the route is to answer."""
        scheme, _, key = _header(scope, b"authorization").partition(" ")
        if scheme.lower() != "bearer" or not key:
            return None
        request = hash_token(key), handler.slug
        try:
            row = await self._state.authorizer.authorize(*request)
        except WindsockError as error:
            scope[AUTH_RESULT] = request, error  # told by the route: out here nobody turns it into an answer
            return None
        scope[AUTH_RESULT] = request, row
        if row is None or row["role"] is None:
            return None
        try:
            sent = await _get_or_build(self._state.answers, scope, space_for_viewer(self._state.db, row), handler)
        except (WindsockError, psycopg.Error) as error:
            scope[SCOPE_ERROR] = error
            return None
        scope["route"] = handler.route
        return sent


async def _not_modified_or_cached(cache: ResponseCache, scope: Scope, key: str) -> Response | None:
    """Return 304 or the cached response."""
    if_none_match = _header(scope, b"if-none-match")
    if (
        if_none_match and if_none_match != "*" and etag_matches(if_none_match, f'"{key}"')
    ):  # for *, whether there is anything is known when it was read
        return Response(status_code=304, headers={"ETag": f'"{key}"', **CACHE_CONTROL_HEADERS})
    entry = cache.get(key)
    return None if entry is None else await _to_response(cache, scope, key, entry)


async def _to_response(cache: ResponseCache, scope: Scope, key: str, entry: CacheEntry) -> Response:
    headers = {"ETag": f'"{key}"', **CACHE_CONTROL_HEADERS}
    if _header(scope, b"if-none-match") == "*":
        return Response(status_code=304, headers=headers)
    headers |= entry.payload.headers
    if len(entry.payload.body) < GZIP_MIN_BYTES or not _takes_gzip(_header(scope, b"accept-encoding")):
        return Response(entry.payload.body, 200, headers, "application/json")
    gzipped = entry.gzipped or await cache.gzips.do(key, lambda: _gzip(entry))
    if entry.gzipped is None:
        entry.gzipped = gzipped
        cache.put(key, entry)
    return Response(gzipped, 200, headers | {"Content-Encoding": "gzip"}, "application/json")


def _key(scope: Scope, space_id: UUID, version: int, user_id: UUID, as_of: object) -> str:
    parts = f"{__version__}\n{space_id}\n{version}\n{user_id}\n{as_of}\n{scope['path']}\n".encode()
    return blake2b(parts + scope["query_string"], digest_size=16).hexdigest()


def _header(scope: Scope, name: bytes) -> str:
    """The values of a header, as one (RFC 9110 §5.3); empty where it is missing."""
    return ", ".join([value.decode("latin-1") for key, value in scope["headers"] if key == name])


async def _gzip(entry: CacheEntry) -> bytes:
    body = entry.payload.body
    return await asyncio.to_thread(_gzip_now, body) if len(body) > GZIP_INLINE_MAX_BYTES else _gzip_now(body)


def _gzip_now(body: bytes) -> bytes:
    packer = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    return packer.compress(body) + packer.flush()


def _takes_gzip(accepted: str) -> bool:
    """RFC 9110 §12.5.3, as far as it concerns gzip."""
    for coding in accepted.lower().split(","):
        name, _, weight = coding.partition(";")
        if name.strip() in {"gzip", "x-gzip", "*"}:
            return weight.replace(" ", "") not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}
    return False
