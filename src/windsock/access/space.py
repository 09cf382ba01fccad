"""The wall: a route gets a Space, and with it its data, only by asking for a permission."""

import re
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

import structlog
from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from windsock.access.authorizer import Authorizer
from windsock.access.keys import hash_token
from windsock.db.database import Actor, Database, Row, Statement, Transaction
from windsock.db.queries import load
from windsock.errors import Forbidden, NotAuthenticated, NotSignedIn, WindsockError

ROLES = ("viewer", "editor", "admin")
VIEW = "viewer", "read"
SLUG = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")

QUERIES = load(__package__, "access.sql")

bearer = HTTPBearer(auto_error=False, description="An API key: `Authorization: Bearer wsk_…`", scheme_name="ApiKey")
Bearer = Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]


AUTH_RESULT = "windsock.authorized"
"""In the scope of a request: what was asked since it came, (hash of the key, slug), and the answer or the error."""


COOKIE = "windsock_session"
SAFE_METHODS = {"GET", "HEAD"}


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
        """In a space that is being made or left; everything else asks for a Space."""
        return self._db.tenant_transaction(space_id, self.actor)

    async def fetch_batch_in(self, space_id: UUID, *statements: Statement) -> list[list[Row]]:
        """As transaction_in, for what Database.fetch_batch does."""
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
    """Moves with every write in the space. Read before anything else, it says how old the rest may be."""
    caller: Caller

    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        """Open a transaction that row-level security limits to this space. Do not hold it during outbound requests."""
        return self.caller.space_transaction(self.id)

    async def fetch_batch(self, *statements: Statement) -> list[list[Row]]:
        """As Database.fetch_batch, in this space: for statements of which none needs what another one finds."""
        return await self.caller.fetch_batch_in(self.id, *statements)


async def _authorize(
    request: Request, credentials: HTTPAuthorizationCredentials | None, slug: str | None
) -> tuple[Caller, Row]:
    if credentials is None or not credentials.credentials:
        raise NotAuthenticated("This needs an API key: send the header Authorization: Bearer <API key>.")
    request_key = hash_token(credentials.credentials), slug
    auth_request, row = request.scope.get(AUTH_RESULT, (None, None))
    if auth_request != request_key:
        authorizer: Authorizer = request.app.state.authorizer
        row = await authorizer.authorize(*request_key)
    if isinstance(row, WindsockError):
        raise row
    if row is None:
        raise NotAuthenticated("This API key is unknown, expired or revoked. Make another one and try again.")
    return _caller(request.app.state.db, row), row


def _caller(db: Database, row: Row) -> Caller:
    structlog.contextvars.bind_contextvars(user_id=str(row["user_id"]))
    who = (row["user_id"], row["email"], row["name"], row["is_superadmin"], row.get("key_id"), row.get("session_id"))
    return Caller(*who, db)


async def authenticate(request: Request) -> Caller:
    """The caller, for answers that are given before a route could ask: a body that is no JSON must not hide a 401."""
    caller, _ = await _authorize(request, await bearer(request), None)
    return caller


async def require_caller(request: Request, credentials: Bearer) -> Caller:
    caller, _ = await _authorize(request, credentials, None)
    return caller


async def _superadmin(request: Request, credentials: Bearer) -> Caller:
    caller, _ = await _authorize(request, credentials, None)
    if not caller.is_superadmin:
        raise Forbidden("This needs a superadmin.")
    return caller


def require_role(minimum: str, right: str) -> Callable[..., Awaitable[Space]]:
    """A dependency giving the Space of the path's slug to callers whose role there is `minimum` or more."""

    async def permission(request: Request, slug: str, credentials: Bearer) -> Space:
        known = slug if SLUG.fullmatch(slug) else None
        caller, row = await _authorize(request, credentials, known)
        return _space(caller, row, minimum, right)

    return permission


def space_for_viewer(db: Database, row: Row) -> Space:
    """Return the `Space` that `require_view` returns, from an authorisation row."""
    return _space(_caller(db, row), row, *VIEW)


def _space(caller: Caller, row: Row, minimum: str, right: str) -> Space:
    if row["space_id"] is None or row["role"] is None:
        raise Forbidden("This space does not exist, or you are not a member of it. Ask an admin of the space.")
    if ROLES.index(row["role"]) < ROLES.index(minimum):
        raise Forbidden(f"Only the role {minimum} or above may {right} in this space; yours is {row['role']}.")
    structlog.contextvars.bind_contextvars(space=row["slug"])
    return Space(row["space_id"], row["slug"], row["role"], row["version"], caller)


# --- Pages: who has signed in; a key is nothing here, and a session is nothing to the API -----------------------------


async def check_same_origin(request: Request) -> None:
    """A form that another site sends with our cookie: browsers say where it comes from, and cannot be made to lie."""
    if request.method in SAFE_METHODS:
        return
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site == "same-origin" or (site is None and origin == f"{request.url.scheme}://{request.url.netloc}"):
        return
    raise Forbidden("This was not sent from one of Windsock's own pages. Open the page again and try there.")


async def _signed_in(request: Request, slug: str | None) -> tuple[Caller, Row]:
    await check_same_origin(request)
    token = request.cookies.get(COOKIE)
    sessions: Authorizer = request.app.state.sessions
    row = await sessions.authorize(hash_token(token), slug) if token else None
    if row is None:
        raise NotSignedIn("Sign in to see this page.")
    return _caller(request.app.state.db, row), row


async def signed_in(request: Request) -> Caller:
    caller, _ = await _signed_in(request, None)
    return caller


def _page(minimum: str, right: str) -> Callable[..., Awaitable[Space]]:
    """As _member, for a page."""

    async def permission(request: Request, slug: str) -> Space:
        caller, row = await _signed_in(request, slug if SLUG.fullmatch(slug) else None)
        return _space(caller, row, minimum, right)

    return permission


require_view = require_role(*VIEW)
require_edit = require_role("editor", "create and edit connectors")
require_sync = require_role("editor", "start a sync")
require_assign = require_role("editor", "set team and criticality")
require_trigger = require_role("editor", "trigger pipelines")
require_watch = require_role("viewer", "watch pipelines")
require_comment = require_role("viewer", "comment")
require_administer = require_role("admin", "manage members, teams and what is deleted")
require_audit = require_role("admin", "read the audit trail")

page_view = _page(*VIEW)
page_watch = _page("viewer", "watch pipelines")
page_comment = _page("viewer", "comment")
page_sync = _page("editor", "start a sync")
page_govern = _page("editor", "set team and criticality")
page_trigger = _page("editor", "trigger pipelines")
page_edit = _page("editor", "create and edit connectors")
page_administer = _page("admin", "manage members and teams")
page_audit = _page("admin", "read the audit trail")

CurrentCaller = Annotated[Caller, Depends(require_caller)]
IsSuperadmin = Annotated[Caller, Depends(_superadmin)]
CanView = Annotated[Space, Depends(require_view)]
CanEdit = Annotated[Space, Depends(require_edit)]
CanSync = Annotated[Space, Depends(require_sync)]
CanAssign = Annotated[Space, Depends(require_assign)]
CanTrigger = Annotated[Space, Depends(require_trigger)]
CanWatch = Annotated[Space, Depends(require_watch)]
CanComment = Annotated[Space, Depends(require_comment)]
CanAdminister = Annotated[Space, Depends(require_administer)]
CanAudit = Annotated[Space, Depends(require_audit)]
IsSignedIn = Annotated[Caller, Depends(signed_in)]
PageView = Annotated[Space, Depends(page_view)]
PageWatch = Annotated[Space, Depends(page_watch)]
PageComment = Annotated[Space, Depends(page_comment)]
PageSync = Annotated[Space, Depends(page_sync)]
PageAssign = Annotated[Space, Depends(page_govern)]
PageTrigger = Annotated[Space, Depends(page_trigger)]
PageEdit = Annotated[Space, Depends(page_edit)]
PageAdminister = Annotated[Space, Depends(page_administer)]
PageAudit = Annotated[Space, Depends(page_audit)]

PERMISSIONS = frozenset(
    {
        require_caller,
        _superadmin,
        require_view,
        require_edit,
        require_sync,
        require_assign,
        require_trigger,
        require_watch,
        require_comment,
        require_administer,
        require_audit,
        signed_in,
        page_view,
        page_watch,
        page_comment,
        page_sync,
        page_govern,
        page_trigger,
        page_edit,
        page_administer,
        page_audit,
    }
)
"""Every dependency that counts as asking; the law test walks the routes with it."""
