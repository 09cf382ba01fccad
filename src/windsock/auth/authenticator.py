"""Finds out who sends a request: the caller, by API key or by session, and the `Space` that is the way to its data."""

import re
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from uuid import UUID

import structlog
from fastapi import Request
from fastapi.security.utils import get_authorization_scheme_param

from windsock.auth.authorizer import Authorizer
from windsock.auth.csrf import check_same_origin
from windsock.auth.keys import hash_token
from windsock.db.database import Actor, Database, Row, Statement, Transaction
from windsock.errors import NotAuthenticated, NotSignedIn

SLUG = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
COOKIE = "windsock_session"


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated user: by API key, or by session, which has no key."""

    id: UUID
    email: str
    name: str
    is_superadmin: bool
    key_id: UUID | None
    session_id: UUID | None
    _db: Database

    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        """Outside any space; shows the caller's own memberships."""
        return self._db.user_transaction(self.actor)

    def space_transaction(self, space_id: UUID) -> AbstractAsyncContextManager[Transaction]:
        """In a space that is created or left; everything else uses a Space."""
        return self._db.tenant_transaction(space_id, self.actor)

    async def fetch_batch(self, *statements: Statement) -> list[list[Row]]:
        """As transaction, for what Database.fetch_batch does."""
        return await self._db.fetch_batch_of_user(self.id, *statements)

    async def fetch_batch_in(self, space_id: UUID, *statements: Statement) -> list[list[Row]]:
        """As space_transaction, for what Database.fetch_batch does."""
        return await self._db.fetch_batch(space_id, *statements)

    @property
    def actor(self) -> Actor:
        """The caller as the audit trail names them."""
        return Actor(self.id, self.key_id, structlog.contextvars.get_contextvars().get("request_id"))


@dataclass(frozen=True, slots=True)
class Space:
    """A space the caller may be in, with the role there. Holding one is the only way to its data."""

    id: UUID
    slug: str
    role: str
    version: int
    """Every write in the space increments it. Read before anything else: what is read later is as new, or newer."""
    caller: Caller
    etag: str | None = None
    """Of the response to a GET, where the route compares it."""

    @property
    def etag_key(self) -> tuple[object, ...]:
        """The values that every response of this space depends on; each write in it, by any process, changes them."""
        return self.id, self.version, self.caller.id, self.role

    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        """Open a transaction that row-level security limits to this space. Do not hold it during outbound requests."""
        return self.caller.space_transaction(self.id)

    async def fetch_batch(self, *statements: Statement) -> list[list[Row]]:
        """As Database.fetch_batch, in this space: for statements of which none needs what another one finds."""
        return await self.caller.fetch_batch_in(self.id, *statements)


async def authenticate_key(request: Request, slug: str | None) -> tuple[Caller, Row]:
    """Return the caller and the authorisation row, which holds the role in the space `slug`.

    Raises NotAuthenticated without a valid API key.
    """
    scheme, key = get_authorization_scheme_param(request.headers.get("authorization"))
    if scheme.lower() != "bearer" or not key:
        raise NotAuthenticated("This needs an API key: send the header Authorization: Bearer <API key>.")
    authorizer: Authorizer = request.app.state.authorizer
    row = await authorizer.authorize(hash_token(key), _valid_slug(slug))
    if row is None:
        raise NotAuthenticated("This API key is unknown, expired or revoked. Make another one and try again.")
    return _caller(request, row), row


async def authenticate_session(request: Request, slug: str | None) -> tuple[Caller, Row]:
    """As authenticate_key, for pages: by the session of the cookie. Pages accept no API key, the API no session.

    Raises NotSignedIn without a valid session.
    """
    await check_same_origin(request)
    token = request.cookies.get(COOKIE)
    sessions: Authorizer = request.app.state.sessions
    row = await sessions.authorize(hash_token(token), _valid_slug(slug)) if token else None
    if row is None:
        raise NotSignedIn("Sign in to see this page.")
    return _caller(request, row), row


def _valid_slug(slug: str | None) -> str | None:
    return slug if slug is not None and SLUG.fullmatch(slug) else None


def _caller(request: Request, row: Row) -> Caller:
    structlog.contextvars.bind_contextvars(user_id=str(row["user_id"]))
    who = (row["user_id"], row["email"], row["name"], row["is_superadmin"], row.get("key_id"), row.get("session_id"))
    return Caller(*who, request.app.state.db)
