"""Conditional GET: ETags derived from the version of a space, and 304 without reading anything else."""

from collections.abc import Mapping
from hashlib import blake2b
from typing import Protocol

from fastapi import Request, Response

from windsock import __version__

CACHE_CONTROL_HEADERS = {"Cache-Control": "private, no-cache", "Vary": "Authorization, Accept-Encoding"}
"""Stored by the caller's own cache only, and revalidated each time."""


class Versioned(Protocol):
    """A `Space`: each write in it, by whatever process, changes `etag_key`, and so does another caller."""

    @property
    def etag_key(self) -> tuple[object, ...]: ...


def space_etag(request: Request, space: Versioned, vary: object = None) -> str:
    """Return the ETag of a GET that depends on the space, the caller, path, query and `vary`, such as a time window."""
    parts = "\n".join(map(str, (__version__, *space.etag_key, vary, request.scope["path"], "")))
    return body_etag(parts.encode() + request.scope["query_string"])


def body_etag(body: bytes) -> str:
    return f'"{blake2b(body, digest_size=16).hexdigest()}"'


def not_modified(
    request: Request, etag: str, headers: Mapping[str, str] = CACHE_CONTROL_HEADERS, *, exists: bool = False
) -> Response | None:
    """Return 304 if the client has the response with this ETag, by weak comparison (RFC 9110 §13.1.2).

    `If-None-Match: *` matches any response that exists, which is certain once it is built: `exists`.
    """
    values = ",".join(request.headers.getlist("if-none-match")).split(",")
    candidates = {value.strip().removeprefix("W/") for value in values}
    if etag in candidates or (exists and "*" in candidates):
        return Response(status_code=304, headers={"ETag": etag, **headers})
    return None
