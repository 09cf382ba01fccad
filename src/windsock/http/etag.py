"""Conditional GET: ETags derived from the version of a space, and 304 without reading anything else."""

from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import blake2b

from fastapi import Request

from windsock import __version__
from windsock.http.media_types import prefers_csv

CACHE_CONTROL_HEADERS = {"Cache-Control": "private, no-cache", "Vary": "Authorization, Accept, Accept-Encoding"}
"""Stored by the caller's own cache only, and revalidated each time."""


def body_etag(body: bytes) -> str:
    return f'"{blake2b(body, digest_size=16).hexdigest()}"'


def etag_matches(request: Request, etag: str, *, exists: bool = False) -> bool:
    """Whether the client has the response with this ETag, by weak comparison (RFC 9110 §13.1.2).

    `If-None-Match: *` matches any response that exists, which is certain once it is built: `exists`.
    """
    values = ",".join(request.headers.getlist("if-none-match")).split(",")
    candidates = {value.strip().removeprefix("W/") for value in values}
    return etag in candidates or (exists and "*" in candidates)


class NotModified(Exception):
    """Raised before a response is built, because the client has it: 304 with these headers."""

    def __init__(self, etag: str, headers: Mapping[str, str] = CACHE_CONTROL_HEADERS) -> None:
        super().__init__(etag)
        self.headers = {"ETag": etag, **headers}


def current_minute() -> datetime:
    return datetime.now(UTC).replace(second=0, microsecond=0)


def check_etag(
    request: Request, key: object, *, by_minute: bool = False, headers: Mapping[str, str] = CACHE_CONTROL_HEADERS
) -> str:
    """Return the ETag of a GET, or raise NotModified with `headers` if the client has it.

    It derives from path, query, media type and `key`, the `etag_key` of a Space; with `by_minute` from the current
    minute too.
    """
    minute = current_minute() if by_minute else None
    parts = f"{__version__}\n{prefers_csv(request)}\n{key}\n{minute}\n{request.scope['path']}\n"
    etag = body_etag(parts.encode() + request.scope["query_string"])
    if etag_matches(request, etag):
        raise NotModified(etag, headers)
    return etag
