"""JSON responses: serialisation, lists with pagination headers, ETags."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from urllib.parse import parse_qsl, quote, urlencode

import orjson
from fastapi import Request, Response
from starlette.datastructures import URL

from windsock.http.etag import CACHE_CONTROL_HEADERS, body_etag, etag_matches
from windsock.http.pagination import Cursor, PageParams

JSON_OPTIONS = orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS


def json_response(
    request: Request,
    value: object,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    etag: str | None = None,
) -> Response:
    """Return `value` as JSON. A GET carries an ETag, that of the body by default, and is 304 if the caller has it."""
    body, headers = dump_json(value), dict(headers or {})
    if request.method == "GET" and status == 200:  # noqa: PLR2004 - 200 is its own name
        etag = etag or body_etag(body)
        headers |= {"ETag": etag, **CACHE_CONTROL_HEADERS}
        if etag_matches(request, etag, exists=True):
            return Response(status_code=304, headers=headers)
    return Response(body, status, headers, "application/json")


def page_response(
    request: Request,
    rows: Sequence[object] | bytes,
    total: int,
    paging: PageParams,
    next_cursor: Cursor | None = None,
    *,
    etag: str | None = None,
) -> Response:
    """Return a page of a list as a bare array with pagination headers. `total`: rows in all pages."""
    pages = -(-total // paging.size)
    headers = {
        "X-Total-Count": str(total),
        "X-Page": str(paging.page),
        "X-Page-Size": str(paging.size),
        "X-Total-Pages": str(pages),
    }
    if links := _links(request.url, paging.page, pages):
        headers["Link"] = links
    if next_cursor is not None:
        headers["X-Next-Cursor"] = str(next_cursor)
    return json_response(request, rows, headers=headers, etag=etag)


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
