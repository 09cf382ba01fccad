"""The audit trail of a space, for its admins."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from windsock.audit.models import AuditAction, AuditEvent, TargetType
from windsock.auth.permissions import CanAudit
from windsock.db.queries import load
from windsock.http.pagination import LIST_HEADERS, PageQuery20
from windsock.http.responses import page_response
from windsock.http.validation import AwareDatetime
from windsock.spaces.store import expect_row

QUERIES = load(__package__, "audit.sql")

router = APIRouter(prefix="/spaces/{slug}", tags=["audit"])

LIST: dict[int | str, dict[str, Any]] = {200: {"headers": LIST_HEADERS}}


@router.get(
    "/audit-events", response_model=list[AuditEvent], responses=LIST, summary="What people changed, newest first"
)
async def list_audit_events(
    request: Request,
    space: CanAudit,
    paging: PageQuery20,
    actor_id: Annotated[list[UUID] | None, Query(description="Who did it. Several mean any of them.")] = None,
    action: Annotated[list[AuditAction] | None, Query(description="Several mean any of them.")] = None,
    target_type: Annotated[list[TargetType] | None, Query(description="Several mean any of them.")] = None,
    target_id: Annotated[list[UUID] | None, Query(description="Several mean any of them.")] = None,
    created_from: Annotated[AwareDatetime | None, Query(description="Inclusive.")] = None,
    created_to: Annotated[AwareDatetime | None, Query(description="Exclusive.")] = None,
) -> Response:
    """Every change by a person or a key: written by the database in the transaction of the change, never edited."""
    which = {
        "space_id": space.id,
        "actor_id": actor_id,
        "action": action,
        "target_type": target_type,
        "target_id": target_id,
        "created_from": created_from,
        "created_to": created_to,
    }
    async with space.transaction() as tx:
        rows = await tx.fetch_json(QUERIES["list_audit_events"], **which, limit=paging.size, offset=paging.offset)
        total = expect_row(await tx.fetch_one(QUERIES["count_audit_events"], **which))["total"]
    return page_response(request, rows, total, paging)
