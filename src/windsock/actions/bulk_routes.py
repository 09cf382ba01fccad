"""Clear all failed runs of a fingerprint, and follow that."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Body, Request, Response

from windsock.actions.bulk import BulkClearService, get_bulk_clear
from windsock.actions.models import BulkClear, BulkClearIn
from windsock.actions.routes import REPLAYED, IdempotencyKey
from windsock.auth.permissions import CanAct, CanView
from windsock.http.responses import json_response

router = APIRouter(prefix="/spaces/{slug}/orchestration/fingerprints/{fingerprint_id}/clear", tags=["failures"])

STARTED: dict[int | str, dict[str, Any]] = {
    200: {"model": BulkClear, "description": "A dry run: what would be cleared."},
    202: {
        "headers": {"Location": {"description": "Where to follow it.", "schema": {"type": "string"}}, **REPLAYED},
    },
}


@router.post(
    "",
    response_model=BulkClear,
    status_code=202,
    responses=STARTED,
    summary="Clear the failed tasks of all failed runs of a group of failures",
)
async def clear_fingerprint(
    request: Request,
    space: CanAct,
    fingerprint_id: UUID,
    body: Annotated[BulkClearIn | None, Body()] = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Queue it; a worker clears two runs at a time per connector, each at most once, whether the caller waits or not.

    At most 200 runs, the oldest first. 409 where there is nothing to clear. The same key and body answer the same bulk
    clear again, as it is by then.
    """
    body = body or BulkClearIn()
    service: BulkClearService = request.app.state.bulk_clears
    if body.dry_run:
        return json_response(request, await service.plan(space, fingerprint_id))
    row, is_replayed = await service.start(space, fingerprint_id, body, idempotency_key)
    request.app.state.bulk_clear_jobs.wake()
    location = f"/api/v1.0/spaces/{space.slug}/orchestration/fingerprints/{row['fingerprint_id']}/clear/{row['id']}"
    headers = {"Location": location} | ({"Idempotency-Replayed": "true"} if is_replayed else {})
    return json_response(request, row, status=202, headers=headers)


@router.get(
    "/{bulk_clear_id}",
    response_model=BulkClear,
    name="get_bulk_clear",
    summary="One bulk clear with the result of each run, to follow it",
)
async def get_one_bulk_clear(request: Request, space: CanView, fingerprint_id: UUID, bulk_clear_id: UUID) -> Response:
    """Kept for 90 days."""
    async with space.transaction() as tx:
        row = await get_bulk_clear(tx, space, fingerprint_id, bulk_clear_id)
    return json_response(request, row)
