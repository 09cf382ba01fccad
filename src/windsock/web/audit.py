"""The audit log of a space, in words, with filters."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any, get_args
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from windsock.audit.models import AuditAction, TargetType
from windsock.audit.routes import QUERIES as EVENTS
from windsock.auth.permissions import PageAudit
from windsock.db.queries import load
from windsock.http.pagination import PageQuery100
from windsock.spaces.store import QUERIES as SPACES
from windsock.spaces.store import expect_row
from windsock.web.audit_text import Names, describe, referenced_ids, type_in_words
from windsock.web.layout import layout_context
from windsock.web.templates import redirect_past_end, render

QUERIES = load(__package__, "audit.sql")

router = APIRouter(include_in_schema=False, prefix="/spaces/{slug}/audit")

MAX_MEMBERS = 500
"""To choose from in the filter."""


@router.get("")
async def show_audit(
    request: Request,
    space: PageAudit,
    paging: PageQuery100,
    actor_id: Annotated[list[UUID] | None, Query()] = None,
    action: Annotated[list[AuditAction] | None, Query()] = None,
    target_type: Annotated[list[TargetType] | None, Query()] = None,
    target_id: Annotated[list[UUID] | None, Query()] = None,
    created_from: Annotated[date | None, Query()] = None,
    created_to: Annotated[date | None, Query()] = None,
) -> Response:
    """`created_from` and `created_to` are days in UTC; both are included."""
    filters: dict[str, Any] = {
        "space_id": space.id, "actor_id": actor_id, "action": action, "target_type": target_type,
        "target_id": target_id, "created_from": created_from and _midnight(created_from),
        "created_to": created_to and _midnight(created_to) + timedelta(days=created_to < date.max),
    }  # fmt: skip
    async with space.transaction() as tx:
        events = await tx.fetch_all(EVENTS["list_audit_events"], **filters, limit=paging.size, offset=paging.offset)
        total = expect_row(await tx.fetch_one(EVENTS["count_audit_events"], **filters))["total"]
        members = await tx.fetch_all(SPACES["list_members"], space_id=space.id, limit=MAX_MEMBERS, offset=0)
        ids = referenced_ids(events)
        names = Names(await tx.fetch_all(QUERIES["list_target_names"], space_id=space.id, ids=ids))
    pages = paging.last_page(total)
    if past_end := redirect_past_end(request, paging.page, pages):
        return past_end
    people = {member["user_id"]: member["name"] for member in members}
    people |= {
        event["actor_id"]: event["actor"]["name"] for event in events if event["actor_id"] not in {None, *people}
    }
    rows = [event | describe(event, names) for event in events]
    return render(
        request, "audit.html", **await layout_context(space), events=rows, total=total, number=paging.page, pages=pages,
        people=sorted(people.items(), key=lambda item: item[1].lower()), actions=get_args(AuditAction.__value__),
        types=sorted((type_in_words(name), name) for name in get_args(TargetType.__value__)),
        actor_id=actor_id or [], action=action or [], target_type=target_type or [], target_id=target_id or [],
        created_from=created_from, created_to=created_to,
    )  # fmt: skip


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time.min, UTC)
