"""Permission dependencies: a route reaches tenant data only through the `Space` that one of them returns."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from enum import Enum
from typing import Annotated

import structlog
from fastapi import Depends, Request

from windsock.auth.authenticator import Caller, Space, authenticate_key, authenticate_session
from windsock.db.database import Row
from windsock.errors import Forbidden
from windsock.http.etag import check_etag

ROLES = ("viewer", "editor", "admin")


class Permission(Enum):
    """The lowest role that has each permission, and what it allows, in the words of the refusal."""

    VIEW = "viewer", "read"
    WATCH = "viewer", "watch pipelines"
    COMMENT = "viewer", "comment"
    SYNC = "editor", "start a sync"
    ASSIGN = "editor", "set team and criticality"
    TRIGGER = "editor", "trigger pipelines"
    EDIT = "editor", "create and edit connectors"
    ADMINISTER = "admin", "manage members, teams and what is deleted"
    AUDIT = "admin", "read the audit trail"

    def __init__(self, minimum: str, action: str) -> None:
        self.minimum = minimum
        self.action = action


def require_permission(permission: Permission) -> Callable[..., Awaitable[Space]]:
    """Return a dependency of the API: the `Space` named in the path, for callers with this permission.

    Raises NotAuthenticated without a valid key, and Forbidden for others; a space that does not exist and one the
    caller is not a member of look the same.
    """

    async def api_permission(request: Request, slug: str) -> Space:
        return _open_space(*await authenticate_key(request, slug), permission)

    return api_permission


def require_page_permission(permission: Permission) -> Callable[..., Awaitable[Space]]:
    """As require_permission, for a page: by session. Raises NotSignedIn without one."""

    async def page_permission(request: Request, slug: str) -> Space:
        return _open_space(*await authenticate_session(request, slug), permission)

    return page_permission


def require_view_conditionally(*, by_minute: bool = False) -> Callable[..., Awaitable[Space]]:
    """As require_permission(VIEW), for a GET: sets `Space.etag`, or raises NotModified.

    FastAPI calls it before it validates the parameters that follow: an ETag is sent for valid ones only. One dependency
    checks both, because FastAPI resolves what two depend on twice.
    """

    async def conditional_view(request: Request, slug: str) -> Space:
        space = _open_space(*await authenticate_key(request, slug), Permission.VIEW)
        return replace(space, etag=check_etag(request, space.etag_key, by_minute=by_minute))

    return conditional_view


def _open_space(caller: Caller, row: Row, permission: Permission) -> Space:
    if row["space_id"] is None or row["role"] is None:
        raise Forbidden("This space does not exist, or you are not a member of it. Ask an admin of the space.")
    minimum, role = permission.minimum, row["role"]
    if ROLES.index(role) < ROLES.index(minimum):
        raise Forbidden(f"Only the role {minimum} or above may {permission.action} in this space; yours is {role}.")
    structlog.contextvars.bind_contextvars(space=row["slug"])
    return Space(row["space_id"], row["slug"], role, row["version"], caller)


async def require_caller(request: Request) -> Caller:
    caller, _ = await authenticate_key(request, None)
    return caller


async def require_superadmin(request: Request) -> Caller:
    caller, _ = await authenticate_key(request, None)
    if not caller.is_superadmin:
        raise Forbidden("This needs a superadmin.")
    return caller


async def require_session(request: Request) -> Caller:
    caller, _ = await authenticate_session(request, None)
    return caller


API_PERMISSIONS = {permission: require_permission(permission) for permission in Permission}
PAGE_PERMISSIONS = {permission: require_page_permission(permission) for permission in Permission}
CONDITIONAL_VIEW, CONDITIONAL_VIEW_BY_MINUTE = require_view_conditionally(), require_view_conditionally(by_minute=True)
PERMISSIONS = frozenset(
    {require_caller, require_superadmin, require_session, CONDITIONAL_VIEW, CONDITIONAL_VIEW_BY_MINUTE}
    | {*API_PERMISSIONS.values(), *PAGE_PERMISSIONS.values()}
)
"""Every dependency that checks the caller; an invariant test requires one on each route."""

CurrentCaller = Annotated[Caller, Depends(require_caller)]
IsSuperadmin = Annotated[Caller, Depends(require_superadmin)]
IsSignedIn = Annotated[Caller, Depends(require_session)]

CanView = Annotated[Space, Depends(API_PERMISSIONS[Permission.VIEW])]
CanWatch = Annotated[Space, Depends(API_PERMISSIONS[Permission.WATCH])]
CanComment = Annotated[Space, Depends(API_PERMISSIONS[Permission.COMMENT])]
CanSync = Annotated[Space, Depends(API_PERMISSIONS[Permission.SYNC])]
CanAssign = Annotated[Space, Depends(API_PERMISSIONS[Permission.ASSIGN])]
CanTrigger = Annotated[Space, Depends(API_PERMISSIONS[Permission.TRIGGER])]
CanEdit = Annotated[Space, Depends(API_PERMISSIONS[Permission.EDIT])]
CanAdminister = Annotated[Space, Depends(API_PERMISSIONS[Permission.ADMINISTER])]
CanAudit = Annotated[Space, Depends(API_PERMISSIONS[Permission.AUDIT])]

PageView = Annotated[Space, Depends(PAGE_PERMISSIONS[Permission.VIEW])]
PageWatch = Annotated[Space, Depends(PAGE_PERMISSIONS[Permission.WATCH])]
PageComment = Annotated[Space, Depends(PAGE_PERMISSIONS[Permission.COMMENT])]
PageSync = Annotated[Space, Depends(PAGE_PERMISSIONS[Permission.SYNC])]
PageAssign = Annotated[Space, Depends(PAGE_PERMISSIONS[Permission.ASSIGN])]
PageTrigger = Annotated[Space, Depends(PAGE_PERMISSIONS[Permission.TRIGGER])]
PageEdit = Annotated[Space, Depends(PAGE_PERMISSIONS[Permission.EDIT])]
PageAdminister = Annotated[Space, Depends(PAGE_PERMISSIONS[Permission.ADMINISTER])]
PageAudit = Annotated[Space, Depends(PAGE_PERMISSIONS[Permission.AUDIT])]

ConditionalView = Annotated[Space, Depends(CONDITIONAL_VIEW)]
"""CanView for a GET with an ETag; a parameter after it is not read where the response is a 304."""
ConditionalViewByMinute = Annotated[Space, Depends(CONDITIONAL_VIEW_BY_MINUTE)]
"""As ConditionalView, where the response depends on the time too: its windows end at the current minute."""
