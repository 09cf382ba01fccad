"""Page parameters, pagination headers, conditional answers: how lists and objects leave the house."""

import struct
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Annotated, Any, Protocol
from urllib.parse import parse_qsl, quote, urlencode
from uuid import UUID

import orjson
from fastapi import Depends, Query, Request, Response
from starlette.datastructures import URL

from windsock.errors import Invalid

JSON_OPTIONS = orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS
LAST_OFFSET = 2**53
"""No list is longer; a page number beyond is as empty as this one."""


@dataclass(frozen=True, slots=True)
class PageParams:
    """Page parameters: `page` from 1, `size` already capped."""

    page: int
    size: int

    @property
    def offset(self) -> int:
        return min((self.page - 1) * self.size, LAST_OFFSET)


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a page of a list that is ordered by time begins: behind this row. `page`: its number."""

    page: int
    at: datetime
    id: UUID

    @classmethod
    def decode(cls, cursor: str) -> "Cursor":
        """Raises ValueError for what is no cursor."""
        page, micros, id_ = _CURSOR.unpack(b64decode(f"{cursor}==", altchars=b"-_", validate=True))
        if page < 1:
            raise ValueError
        try:
            at = _EPOCH + timedelta(microseconds=micros)
        except OverflowError:  # a cursor that we never gave; in front of every time, or behind
            at = datetime.min.replace(tzinfo=UTC) if micros < 0 else datetime.max.replace(tzinfo=UTC)
        return cls(page, at, UUID(bytes=id_))

    def __str__(self) -> str:
        packed = _CURSOR.pack(min(self.page, _LAST), (self.at - _EPOCH) // timedelta(microseconds=1), self.id.bytes)
        return urlsafe_b64encode(packed).decode().rstrip("=")


_CURSOR = struct.Struct(">Iq16s")
_LAST = 2**32 - 1
CURSOR_PATTERN = r"^(?!AAAAA[A-P])[A-Za-z0-9_-]{38}$"
"""For schemas: 28 bytes as base64, of which the first four are not all 0."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class CursorPageParams(PageParams):
    """Page parameters with a cursor, for lists in which counting to an offset is slow."""

    after: Cursor | None = None

    @property
    def offset(self) -> int:
        return 0 if self.after else min((self.page - 1) * self.size, LAST_OFFSET)

    def next_cursor(self, rows: Sequence[Mapping[str, Any]]) -> Cursor | None:
        """Where the next page begins; none behind a page that is not full."""
        if len(rows) < self.size:
            return None
        return Cursor(self.page + 1, rows[-1]["begun_at"], rows[-1]["id"])


class _PageParamsFactory(Protocol):
    async def __call__(self, page: int = 1, size: int = 1) -> PageParams: ...


def _page_params(default: int, most: int) -> _PageParamsFactory:
    async def paging(
        page: Annotated[int, Query(ge=1, description="Which page, from 1.")] = 1,
        size: Annotated[
            int, Query(ge=1, description=f"Rows per page; more than {most} is capped to {most}.")
        ] = default,
    ) -> PageParams:
        return PageParams(page, min(size, most))

    return paging


_large = _page_params(100, 500)
PageQuery100 = Annotated[PageParams, Depends(_large)]


async def _cursor_page_params(
    paging: PageQuery100,
    cursor: Annotated[
        str | None,
        Query(
            json_schema_extra={"pattern": CURSOR_PATTERN},
            description="The X-Next-Cursor of the page before: the page behind it, however far that is, "
            "as quickly as the first one. Not together with page.",
        ),
    ] = None,
) -> CursorPageParams:
    if cursor is None:
        return CursorPageParams(paging.page, paging.size)
    if paging.page != 1:
        raise Invalid("Send page or cursor, not both.", loc=("query", "cursor"))
    try:
        place = Cursor.decode(cursor)
    except (ValueError, struct.error, OverflowError) as error:
        sentence = "This is no cursor. Send the X-Next-Cursor of the page before, or none for the first page."
        raise Invalid(sentence, loc=("query", "cursor")) from error
    return CursorPageParams(place.page, paging.size, place)


CursorPageQuery = Annotated[CursorPageParams, Depends(_cursor_page_params)]
PageQuery20 = Annotated[PageParams, Depends(_page_params(20, 100))]

LIST_HEADERS: dict[str, Any] = {
    "X-Total-Count": {"description": "Rows in all pages.", "schema": {"type": "integer"}},
    "X-Page": {"description": "The page answered.", "schema": {"type": "integer"}},
    "X-Page-Size": {"description": "Rows per page, after capping.", "schema": {"type": "integer"}},
    "X-Total-Pages": {"description": "How many pages there are.", "schema": {"type": "integer"}},
    "Link": {"description": "RFC 8288: first, prev, next, last.", "schema": {"type": "string"}},
    "ETag": {"description": "Send it back in If-None-Match.", "schema": {"type": "string"}},
}
LONG_LIST_HEADERS: dict[str, Any] = {
    **LIST_HEADERS,
    "X-Next-Cursor": {
        "description": "The cursor of the next page; not behind the last row.",
        "schema": {"type": "string"},
    },
}


CACHE_CONTROL_HEADERS = {"Cache-Control": "private, no-cache", "Vary": "Authorization, Accept-Encoding"}
"""Kept by the caller alone, and asked for again each time."""


def in_header(address: str) -> str:
    """An address as ASCII, which is all that a header can hold; what is encoded already stays."""
    return quote(address, safe="%/:=&?~#+!$,;'@()*[]", errors="replace")


def dump_json(value: object) -> bytes:
    """JSON as the API writes it: times in UTC ending in Z, UUIDs as text. Bytes are JSON already."""
    if isinstance(value, bytes):
        return value
    try:
        return orjson.dumps(value, default=orjson.Fragment, option=JSON_OPTIONS)
    except orjson.JSONEncodeError as error:
        if "Recursion limit" not in str(error):
            raise
        return _deep_to_json(value)


@dataclass(frozen=True, slots=True)
class _Written:
    text: bytes


def _deep_to_json(value: object) -> bytes:
    """As dump_json, for what is nested deeper than the 254 levels of orjson: what others have stored may be."""
    parts: list[bytes] = []
    stack: list[object] = [value]
    while stack:
        found = stack.pop()
        if is_dataclass(found) and not isinstance(found, type | _Written):
            found = {field.name: getattr(found, field.name) for field in fields(found)}
        if isinstance(found, _Written):
            parts.append(found.text)
        elif isinstance(found, dict):
            stack.append(_Written(b"}"))
            for number, (key, inner) in reversed(list(enumerate(found.items()))):
                stack += [inner, _Written(b"," * (number > 0) + orjson.dumps(str(key)) + b":")]
            parts.append(b"{")
        elif isinstance(found, list | tuple):
            stack.append(_Written(b"]"))
            for number, inner in reversed(list(enumerate(found))):
                stack += [inner, _Written(b"," * (number > 0))]
            parts.append(b"[")
        else:
            parts.append(orjson.dumps(found, default=orjson.Fragment, option=JSON_OPTIONS))
    return b"".join(parts)


@dataclass(frozen=True, slots=True)
class Payload:
    """An answer before it is known whether it has to be sent."""

    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


def json_payload(value: object) -> Payload:
    """An object as JSON."""
    return Payload(dump_json(value))


def page_payload(
    url: URL, rows: Sequence[object] | bytes, total: int, paging: PageParams, next_cursor: Cursor | None = None
) -> Payload:
    """One page of a list as a bare array, with the pagination headers; `next_cursor`: where the next one begins."""
    pages = -(-total // paging.size)
    headers = {
        "X-Total-Count": str(total),
        "X-Page": str(paging.page),
        "X-Page-Size": str(paging.size),
        "X-Total-Pages": str(pages),
    }
    if links := _links(url, paging.page, pages):
        headers["Link"] = links
    if next_cursor is not None:
        headers["X-Next-Cursor"] = str(next_cursor)
    return Payload(dump_json(rows), headers)


def json_response(
    request: Request, value: object, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """An object as JSON. GETs carry an ETag, and are 304 when the caller has this very answer already."""
    return _to_response(request, Payload(dump_json(value), dict(headers or {})), status)


def page_response(request: Request, rows: Sequence[object], total: int, paging: PageParams) -> Response:
    """As page_payload, sent."""
    return _to_response(request, page_payload(request.url, rows, total, paging), 200)


def _to_response(request: Request, what: Payload, status: int) -> Response:
    headers = dict(what.headers)
    if request.method == "GET" and status == 200:  # noqa: PLR2004 - 200 is its own name
        etag = f'"{blake2b(what.body, digest_size=16).hexdigest()}"'
        headers |= {"ETag": etag, **CACHE_CONTROL_HEADERS}
        if etag_matches(request.headers.get("if-none-match"), etag):
            return Response(status_code=304, headers=headers)
    return Response(what.body, status, headers, "application/json")


def _links(url: URL, page: int, pages: int) -> str:
    targets = {"first": 1, "prev": min(page - 1, pages), "next": page + 1, "last": pages}
    parameters = [
        (key, value) for key, value in parse_qsl(url.query, keep_blank_values=True) if key not in {"page", "cursor"}
    ]
    return ", ".join(
        f'<{in_header(url.path)}?{urlencode([*parameters, ("page", target)])}>; rel="{relation}"'
        for relation, target in targets.items()
        if 1 <= target <= pages
    )


def etag_matches(if_none_match: str | None, etag: str) -> bool:
    """RFC 9110 §13.1.2: weak comparison, a list, or `*`."""
    if if_none_match is None:
        return False
    candidates = [candidate.strip().removeprefix("W/") for candidate in if_none_match.split(",")]
    return "*" in candidates or etag in candidates
