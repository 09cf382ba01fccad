"""Conditional GET: ETags derived from the version of a space, and 304 without reading anything else."""

from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Protocol

from fastapi import Request

from windsock import __version__

CACHE_CONTROL_HEADERS = {"Cache-Control": "private, no-cache", "Vary": "Authorization, Accept-Encoding"}
"""Stored by the caller's own cache only, and revalidated each time."""


class Versioned(Protocol):
    """A `Space`: each write in it, by whatever process, changes `etag_key`, and so does another caller."""

    @property
    def etag_key(self) -> tuple[object, ...]: ...


def space_etag(request: Request, space: Versioned, vary: object = None) -> str:
    """Return the ETag of a GET that depends on the space, the caller, path, query and `vary`."""
    parts = "\n".join(map(str, (__version__, *space.etag_key, vary, request.scope["path"], "")))
    return body_etag(parts.encode() + request.scope["query_string"])


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
    request: Request, space: Versioned, *, by_minute: bool = False, headers: Mapping[str, str] = CACHE_CONTROL_HEADERS
) -> str:
    """Return the ETag of a GET; raise NotModified with `headers` if the client has it. `by_minute`: time is in it."""
    etag = space_etag(request, space, current_minute() if by_minute else None)
    if etag_matches(request, etag):
        raise NotModified(etag, headers)
    return etag
