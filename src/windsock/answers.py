"""Answers that need not be made again, known to the caller already or kept by this process, as long as they are true.

The version of the space moves with every write in it, in whatever process; it is read with the caller's rights, before
anything else. So an answer whose version is that of now is as true as one that is made now.
"""

import asyncio
import zlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from hashlib import blake2b

from fastapi import Request, Response

from windsock import __version__
from windsock.access.space import Space
from windsock.pages import CONDITIONAL, Made, knows

WORTH_PACKING = 1_000
"""Bytes; less fits into one packet either way."""
PACKED_AT_ONCE = 100_000
"""Bytes that are packed without leaving the event loop: a millisecond or two."""
LEVEL = 4
LARGEST_SHARE = 8
"""One answer takes an eighth of the room at most."""


@dataclass(slots=True)
class Kept:
    """An answer, and its gzip once somebody wanted that."""

    made: Made
    packed: bytes | None = None

    @property
    def size(self) -> int:
        return len(self.made.body) + len(self.packed or b"") + 1_000


@dataclass(slots=True)
class Answers:
    """Those of this process, the ones used last; `most` bytes in all."""

    most: int
    size: int = 0
    _kept: OrderedDict[str, Kept] = field(default_factory=OrderedDict)
    _sizes: dict[str, int] = field(default_factory=dict)

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


async def remembered(
    request: Request, space: Space, make: Callable[[], Awaitable[Made]], *, as_of: str = ""
) -> Response:
    """The answer to this GET. `make` makes it, from what the space holds now; `as_of` names what else it depends on."""
    answers: Answers = request.app.state.answers
    key = _key(request, space, as_of)
    headers = {"ETag": f'"{key}"', **CONDITIONAL}
    asked = request.headers.get("if-none-match")
    if knows(asked, f'"{key}"') and asked != "*":  # whether there is anything at all is only known when it was read
        return Response(status_code=304, headers=headers)
    kept = answers.get(key)
    if kept is None:
        kept = Kept(await make())
        answers.keep(key, kept)
    if asked == "*":
        return Response(status_code=304, headers=headers)
    headers |= kept.made.headers
    if len(kept.made.body) < WORTH_PACKING or not _takes_gzip(request.headers.get("accept-encoding", "")):
        return Response(kept.made.body, 200, headers, "application/json")
    if kept.packed is None:
        body = kept.made.body
        kept.packed = await asyncio.to_thread(_packed, body) if len(body) > PACKED_AT_ONCE else _packed(body)
        answers.keep(key, kept)
    return Response(kept.packed, 200, headers | {"Content-Encoding": "gzip"}, "application/json")


def _key(request: Request, space: Space, as_of: str) -> str:
    parts = (__version__, space.id, space.version, space.caller.id, as_of, request.url.path, request.url.query)
    return blake2b("\n".join(map(str, parts)).encode(), digest_size=16).hexdigest()


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
