"""Page parameters, pagination headers, conditional answers: how lists and objects leave the house."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Annotated, Any, Protocol
from urllib.parse import parse_qsl, urlencode

import orjson
from fastapi import Depends, Query, Request, Response

LAST_OFFSET = 2**53
"""No list is longer; a page number beyond is as empty as this one."""


@dataclass(frozen=True, slots=True)
class Paging:
    """A page that was asked for: `page` from 1, `size` already capped."""

    page: int
    size: int

    @property
    def offset(self) -> int:
        return min((self.page - 1) * self.size, LAST_OFFSET)


class _PagingOf(Protocol):
    def __call__(self, page: int = 1, size: int = 1) -> Paging: ...


def _paging(default: int, most: int) -> _PagingOf:
    def paging(
        page: Annotated[int, Query(ge=1, description="Which page, from 1.")] = 1,
        size: Annotated[
            int, Query(ge=1, description=f"Rows per page; more than {most} is capped to {most}.")
        ] = default,
    ) -> Paging:
        return Paging(page, min(size, most))

    return paging


LargePage = Annotated[Paging, Depends(_paging(100, 500))]
SmallPage = Annotated[Paging, Depends(_paging(20, 100))]

LIST_HEADERS: dict[str, Any] = {
    "X-Total-Count": {"description": "Rows in all pages.", "schema": {"type": "integer"}},
    "X-Page": {"description": "The page answered.", "schema": {"type": "integer"}},
    "X-Page-Size": {"description": "Rows per page, after capping.", "schema": {"type": "integer"}},
    "X-Total-Pages": {"description": "How many pages there are.", "schema": {"type": "integer"}},
    "Link": {"description": "RFC 8288: first, prev, next, last.", "schema": {"type": "string"}},
    "ETag": {"description": "Send it back in If-None-Match.", "schema": {"type": "string"}},
}


def to_json(value: object) -> bytes:
    """JSON as the API writes it: times in UTC ending in Z, UUIDs as text."""
    return orjson.dumps(value, option=orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS)


def answer(request: Request, value: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """An object as JSON. GETs carry an ETag, and are 304 when the caller has this very answer already."""
    body = to_json(value)
    all_headers = dict(headers or {})
    if request.method == "GET" and status == 200:  # noqa: PLR2004 - 200 is its own name
        etag = f'"{blake2b(body, digest_size=16).hexdigest()}"'
        all_headers |= {"ETag": etag, "Cache-Control": "private, no-cache", "Vary": "Authorization"}
        if _matches(request.headers.get("if-none-match"), etag):
            return Response(status_code=304, headers=all_headers)
    return Response(body, status, all_headers, "application/json")


def answer_page(request: Request, rows: Sequence[object], total: int, paging: Paging) -> Response:
    """One page of a list as a bare array, with the pagination headers."""
    pages = -(-total // paging.size)
    headers = {
        "X-Total-Count": str(total),
        "X-Page": str(paging.page),
        "X-Page-Size": str(paging.size),
        "X-Total-Pages": str(pages),
    }
    if links := _links(request, paging.page, pages):
        headers["Link"] = links
    return answer(request, rows, headers=headers)


def _links(request: Request, page: int, pages: int) -> str:
    targets = {"first": 1, "prev": min(page - 1, pages), "next": page + 1, "last": pages}
    kept = [(key, value) for key, value in parse_qsl(request.url.query, keep_blank_values=True) if key != "page"]
    return ", ".join(
        f'<{request.url.path}?{urlencode([*kept, ("page", target)])}>; rel="{relation}"'
        for relation, target in targets.items()
        if 1 <= target <= pages
    )


def _matches(if_none_match: str | None, etag: str) -> bool:
    """RFC 9110 §13.1.2: weak comparison, a list, or `*`."""
    if if_none_match is None:
        return False
    candidates = [candidate.strip().removeprefix("W/") for candidate in if_none_match.split(",")]
    return "*" in candidates or etag in candidates
