"""Permission dependencies: a route reaches tenant data only through the `Space` that one of them returns."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from enum import Enum
from typing import Annotated
from uuid import UUID

import structlog
from fastapi import Depends, Request

from windsock.auth.authenticator import Caller, Space, authenticate_key, authenticate_session
from windsock.auth.authorizer import QUERIES
from windsock.db.database import Database, Row
from windsock.errors import Forbidden
from windsock.http.etag import check_etag

ROLES = ("viewer", "editor", "admin")


class Permission(Enum):
    """The lowest role that has each permission, and what it allows, in the words of the refusal."""

    VIEW = "viewer", "read"
    WATCH = "viewer", "watch pipelines"
    COMMENT = "viewer", "comment"
    SAVE_VIEW = "viewer", "save views"
    SHARE_VIEW = "editor", "share views"
    SYNC = "editor", "start a sync"
    ASSIGN = "editor", "set team and criticality"
    TRIGGER = "editor", "trigger pipelines"
    ACT = "editor", "clear, mark, pause, note and answer in Airflow"
    EDIT_FINGERPRINTS = "editor", "name, merge and split fingerprints"
    EDIT_INCIDENTS = "editor", "acknowledge, snooze, assign and resolve incidents"
    NOTIFY = "editor", "create and edit channels and rules of notifications"
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


def open_visible_space(caller: Caller, row: Row) -> Space:
    """Return a space of the caller, from a row of the query my_spaces: for a page across all of them.

    Its `version` is 0: the response must not have an ETag of the space.
    """
    return Space(row["id"], row["slug"], row["role"], 0, caller)


async def open_space_of_user(db: Database, space_id: UUID, user_id: UUID | None, permission: Permission) -> Space:
    """Return the space of a job that continues what a user started. Its `version` is 0.

    Raises Forbidden where the user has been deleted or deactivated, or has lost the permission.
    """
    async with db.tenant_transaction(space_id) as tx:
        row = await tx.fetch_one(QUERIES["authorize_job"], space_id=space_id, user_id=user_id)
    if row is None:
        raise Forbidden("The user who started this has been deleted or deactivated.")
    caller = Caller(row["user_id"], row["email"], row["name"], row["is_superadmin"], None, None, db)
    return _open_space(caller, row, permission)


def _open_space(caller: Caller, row: Row, permission: Permission) -> Space:
    if row["space_id"] is None or row["role"] is None:
        raise Forbidden("This space does not exist, or you are not a member of it. Ask an admin of the space.")
    check_role(row["role"], permission)
    structlog.contextvars.bind_contextvars(space=row["slug"])
    return Space(row["space_id"], row["slug"], row["role"], row["version"], caller)


def check_role(role: str, permission: Permission) -> None:
    """Raise Forbidden for a role that lacks the permission."""
    if ROLES.index(role) < ROLES.index(permission.minimum):
        raise Forbidden(
            f"Only the role {permission.minimum} or above may {permission.action} in this space; yours is {role}."
        )


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


async def require_superadmin_session(request: Request) -> Caller:
    caller, _ = await authenticate_session(request, None)
    if not caller.is_superadmin:
        raise Forbidden("This page is for superadmins.")
    return caller


API_PERMISSIONS = {permission: require_permission(permission) for permission in Permission}
PAGE_PERMISSIONS = {permission: require_page_permission(permission) for permission in Permission}
CONDITIONAL_VIEW, CONDITIONAL_VIEW_BY_MINUTE = require_view_conditionally(), require_view_conditionally(by_minute=True)
PERMISSIONS = frozenset(
    {require_caller, require_superadmin, require_session, require_superadmin_session}
    | {CONDITIONAL_VIEW, CONDITIONAL_VIEW_BY_MINUTE}
    | {*API_PERMISSIONS.values(), *PAGE_PERMISSIONS.values()}
)
"""Every dependency that checks the caller; an invariant test requires one on each route."""

CurrentCaller = Annotated[Caller, Depends(require_caller)]
IsSuperadmin = Annotated[Caller, Depends(require_superadmin)]
IsSignedIn = Annotated[Caller, Depends(require_session)]
PageSuperadmin = Annotated[Caller, Depends(require_superadmin_session)]

CanView = Annotated[Space, Depends(API_PERMISSIONS[Permission.VIEW])]
CanWatch = Annotated[Space, Depends(API_PERMISSIONS[Permission.WATCH])]
CanComment = Annotated[Space, Depends(API_PERMISSIONS[Permission.COMMENT])]
CanSaveView = Annotated[Space, Depends(API_PERMISSIONS[Permission.SAVE_VIEW])]
CanSync = Annotated[Space, Depends(API_PERMISSIONS[Permission.SYNC])]
CanAssign = Annotated[Space, Depends(API_PERMISSIONS[Permission.ASSIGN])]
CanTrigger = Annotated[Space, Depends(API_PERMISSIONS[Permission.TRIGGER])]
CanAct = Annotated[Space, Depends(API_PERMISSIONS[Permission.ACT])]
CanEditFingerprints = Annotated[Space, Depends(API_PERMISSIONS[Permission.EDIT_FINGERPRINTS])]
CanEditIncidents = Annotated[Space, Depends(API_PERMISSIONS[Permission.EDIT_INCIDENTS])]
CanNotify = Annotated[Space, Depends(API_PERMISSIONS[Permission.NOTIFY])]
CanEdit = Annotated[Space, Depends(API_PERMISSIONS[Permission.EDIT])]
CanAdminister = Annotated[Space, Depends(API_PERMISSIONS[Permission.ADMINISTER])]
CanAudit = Annotated[Space, Depends(API_PERMISSIONS[Permission.AUDIT])]

PageView = Annotated[Space, Depends(PAGE_PERMISSIONS[Permission.VIEW])]
PageWatch = Annotated[Space, Depends(PAGE_PERMISSIONS[Permission.WATCH])]
PageComment = Annotated[Space, Depends(PAGE_PERMISSIONS[Permission.COMMENT])]
PageSaveView = Annotated[Space, Depends(PAGE_PERMISSIONS[Permission.SAVE_VIEW])]
PageSync = Annotated[Space, Depends(PAGE_PERMISSIONS[Permission.SYNC])]
PageAssign = Annotated[Space, Depends(PAGE_PERMISSIONS[Permission.ASSIGN])]
PageTrigger = Annotated[Space, Depends(PAGE_PERMISSIONS[Permission.TRIGGER])]
PageAct = Annotated[Space, Depends(PAGE_PERMISSIONS[Permission.ACT])]
PageEditFingerprints = Annotated[Space, Depends(PAGE_PERMISSIONS[Permission.EDIT_FINGERPRINTS])]
PageEditIncidents = Annotated[Space, Depends(PAGE_PERMISSIONS[Permission.EDIT_INCIDENTS])]
PageNotify = Annotated[Space, Depends(PAGE_PERMISSIONS[Permission.NOTIFY])]
PageEdit = Annotated[Space, Depends(PAGE_PERMISSIONS[Permission.EDIT])]
PageAdminister = Annotated[Space, Depends(PAGE_PERMISSIONS[Permission.ADMINISTER])]
PageAudit = Annotated[Space, Depends(PAGE_PERMISSIONS[Permission.AUDIT])]

ConditionalView = Annotated[Space, Depends(CONDITIONAL_VIEW)]
"""CanView for a GET with an ETag; a parameter after it is not read where the response is a 304."""
ConditionalViewByMinute = Annotated[Space, Depends(CONDITIONAL_VIEW_BY_MINUTE)]
"""As ConditionalView, where the response depends on the time too: its windows end at the current minute."""
