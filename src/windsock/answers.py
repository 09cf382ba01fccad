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
from windsock.access.keys import hash_of
from windsock.access.space import AUTHORIZED, Space, viewed
from windsock.errors import WindsockError
from windsock.pages import CONDITIONAL, Made, knows

WORTH_PACKING = 1_000
"""Bytes; less fits into one packet either way."""
PACKED_AT_ONCE = 100_000
"""Bytes that are packed without leaving the event loop: a millisecond or two."""
LEVEL = 4
MOST_KNOWN, LONGEST_KNOWN = 2_000, 4_000
"""Paths with their queries, those that were made last; bytes of a query that is not looked through each time."""
LARGEST_SHARE = 8
"""One answer takes an eighth of the room at most."""
FAILED = "windsock.failed"
"""In the scope of a request: the error in making its answer, which its route tells without making it once more."""


T = TypeVar("T")


@dataclass(slots=True)
class Kept:
    """An answer, and its gzip once somebody wanted that."""

    made: Made
    packed: bytes | None = None

    @property
    def size(self) -> int:
        return len(self.made.body) + len(self.packed or b"") + 1_000


class UnderWay(Generic[T]):
    """What is being made: who wants the same meanwhile waits for it, in place of making it too.

    Thirty people have the same list open; when its minute is over, it is made once.
    """

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[T]] = {}

    async def once(self, key: str, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """What `make` gives or raises; it is finished also where whoever began it goes away."""
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
class Answers:
    """Those of this process, the ones used last; `most` bytes in all. With no room, each is made for one alone."""

    most: int
    size: int = 0
    making: UnderWay[Kept] = field(default_factory=UnderWay)
    packing: UnderWay[bytes] = field(default_factory=UnderWay)
    _kept: OrderedDict[str, Kept] = field(default_factory=OrderedDict)
    _sizes: dict[str, int] = field(default_factory=dict)
    _known: OrderedDict[tuple[str, bytes], "Known"] = field(default_factory=OrderedDict)

    def known(self, scope: Scope) -> "Known | None":
        return self._known.get((scope["path"], scope["query_string"]))

    def learn(self, scope: Scope, known: "Known") -> None:
        if len(scope["query_string"]) > LONGEST_KNOWN:
            return
        self._known[scope["path"], scope["query_string"]] = known
        while len(self._known) > MOST_KNOWN:
            self._known.popitem(last=False)

    def get(self, key: str) -> Kept | None:
        kept = self._kept.get(key)
        if kept is not None:
            self._kept.move_to_end(key)
        return kept

    def keep(self, key: str, kept: Kept) -> None:
        """Also when it has grown since it was kept."""
        self.size -= self._sizes.pop(key, 0)
        self._kept.pop(key, None)
        if kept.size > self.most // LARGEST_SHARE:
            return
        self._kept[key], self._sizes[key] = kept, kept.size
        self.size += kept.size
        while self.size > self.most:
            oldest, _ = self._kept.popitem(last=False)
            self.size -= self._sizes.pop(oldest)


@dataclass(frozen=True, slots=True)
class Known:
    """A GET that was answered: its space, the route, what its answer depends on besides the space, and how it is made.

    All that path and query say is in `as_of` and `make`, so that they need not be understood again.
    """

    slug: str
    route: object
    as_of: Callable[[], Any]
    make: Callable[[Space, Any], Awaitable[Made]]


def always() -> None:
    """What an answer depends on that is true until something is written."""


async def remembered(
    request: Request, space: Space, make: Callable[[Space, T], Awaitable[Made]], *, as_of: Callable[[], T]
) -> Response:
    """The answer to this GET, which whoever may view the space may have.

    `as_of` says what it depends on besides the version of the space (`always`: nothing); `make` makes it from that, and
    from what the space holds now. Both are used again for others who ask for the same path and query, so they hold
    nothing of this request or its caller.
    """
    answers: Answers = request.app.state.answers
    if FAILED in request.scope:
        raise request.scope[FAILED]
    known = Known(space.slug, request.scope.get("route"), as_of, make)
    sent = await _answered(answers, request.scope, space, known)
    answers.learn(request.scope, known)
    return sent


async def _answered(answers: Answers, scope: Scope, space: Space, known: Known) -> Response:
    moment = known.as_of()
    key = _key(scope, space.id, space.version, space.caller.id, moment)
    sent = await _sent(answers, scope, key)
    if sent is not None:
        return sent

    async def make_and_keep() -> Kept:
        kept = Kept(await known.make(space, moment))
        answers.keep(key, kept)
        return kept

    kept = await (answers.making.once(key, make_and_keep) if answers.most else make_and_keep())
    return await _answer_with(answers, scope, key, kept)


class KnownAnswers:
    """ASGI middleware: what was asked for before is answered without routing it and looking through its query again.

    The caller is asked for all the same, in the same way as everywhere. What goes wrong is told by the route, as ever.
    """

    def __init__(self, app: ASGIApp, state: State) -> None:
        self._app, self._state = app, state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        known = self._state.answers.known(scope) if scope["type"] == "http" and scope["method"] == "GET" else None
        answer = await self._answer(scope, known) if known is not None else None
        await (answer or self._app)(scope, receive, send)

    async def _answer(self, scope: Scope, known: Known) -> Response | None:
        """None where the route is to answer."""
        scheme, _, key = _header(scope, b"authorization").partition(" ")
        if scheme.lower() != "bearer" or not key:
            return None
        question = hash_of(key), known.slug
        try:
            row = await self._state.authorizer.ask(*question)
        except WindsockError as error:
            scope[AUTHORIZED] = question, error  # told by the route: out here nobody turns it into an answer
            return None
        scope[AUTHORIZED] = question, row
        if row is None or row["role"] is None:
            return None
        try:
            sent = await _answered(self._state.answers, scope, viewed(self._state.db, row), known)
        except (WindsockError, psycopg.Error) as error:
            scope[FAILED] = error
            return None
        scope["route"] = known.route
        return sent


async def _sent(answers: Answers, scope: Scope, key: str) -> Response | None:
    """304, or what is kept."""
    asked = _header(scope, b"if-none-match")
    if (
        asked and asked != "*" and knows(asked, f'"{key}"')
    ):  # for *, whether there is anything is known when it was read
        return Response(status_code=304, headers={"ETag": f'"{key}"', **CONDITIONAL})
    kept = answers.get(key)
    return None if kept is None else await _answer_with(answers, scope, key, kept)


async def _answer_with(answers: Answers, scope: Scope, key: str, kept: Kept) -> Response:
    headers = {"ETag": f'"{key}"', **CONDITIONAL}
    if _header(scope, b"if-none-match") == "*":
        return Response(status_code=304, headers=headers)
    headers |= kept.made.headers
    if len(kept.made.body) < WORTH_PACKING or not _takes_gzip(_header(scope, b"accept-encoding")):
        return Response(kept.made.body, 200, headers, "application/json")
    packed = kept.packed or await answers.packing.once(key, lambda: _pack(kept))
    if kept.packed is None:
        kept.packed = packed
        answers.keep(key, kept)
    return Response(packed, 200, headers | {"Content-Encoding": "gzip"}, "application/json")


def _key(scope: Scope, space_id: UUID, version: int, user_id: UUID, as_of: object) -> str:
    parts = f"{__version__}\n{space_id}\n{version}\n{user_id}\n{as_of}\n{scope['path']}\n".encode()
    return blake2b(parts + scope["query_string"], digest_size=16).hexdigest()


def _header(scope: Scope, name: bytes) -> str:
    """The values of a header, as one (RFC 9110 §5.3); empty where it is missing."""
    return ", ".join([value.decode("latin-1") for key, value in scope["headers"] if key == name])


async def _pack(kept: Kept) -> bytes:
    body = kept.made.body
    return await asyncio.to_thread(_packed, body) if len(body) > PACKED_AT_ONCE else _packed(body)


def _packed(body: bytes) -> bytes:
    packer = zlib.compressobj(LEVEL, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    return packer.compress(body) + packer.flush()


def _takes_gzip(accepted: str) -> bool:
    """RFC 9110 §12.5.3, as far as it concerns gzip."""
    for one in accepted.lower().split(","):
        name, _, weight = one.partition(";")
        if name.strip() in {"gzip", "x-gzip", "*"}:
            return weight.replace(" ", "") not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}
    return False
