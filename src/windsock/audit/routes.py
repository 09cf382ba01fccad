"""The audit trail of a space, for its admins."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from windsock.access.space import CanAudit
from windsock.access.store import present
from windsock.audit.models import Action, AuditEvent, TargetType
from windsock.inputs import Moment
from windsock.pages import LIST_HEADERS, SmallPage, answer_page
from windsock.sql import load

QUERIES = load(__package__, "audit.sql")

router = APIRouter(prefix="/spaces/{slug}", tags=["audit"])

LIST: dict[int | str, dict[str, Any]] = {200: {"headers": LIST_HEADERS}}


@router.get(
    "/audit-events", response_model=list[AuditEvent], responses=LIST, summary="What people changed, newest first"
)
async def list_audit_events(
    request: Request,
    space: CanAudit,
    paging: SmallPage,
    actor_id: Annotated[list[UUID] | None, Query(description="Who did it. Several mean any of them.")] = None,
    action: Annotated[list[Action] | None, Query(description="Several mean any of them.")] = None,
    target_type: Annotated[list[TargetType] | None, Query(description="Several mean any of them.")] = None,
    target_id: Annotated[list[UUID] | None, Query(description="Several mean any of them.")] = None,
    created_from: Annotated[Moment | None, Query(description="Inclusive.")] = None,
    created_to: Annotated[Moment | None, Query(description="Exclusive.")] = None,
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
        rows = await tx.answers(QUERIES["list_audit_events"], **which, limit=paging.size, offset=paging.offset)
        total = present(await tx.row(QUERIES["count_audit_events"], **which))["total"]
    return answer_page(request, rows, total, paging)
