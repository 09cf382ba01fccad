"""Syncs as people see and ask for them."""

from typing import Literal
from uuid import UUID

from windsock.db import Row, Transaction
from windsock.errors import NotFound
from windsock.sync.progress import QUERIES


async def queue_sync(
    tx: Transaction,
    space_id: UUID,
    connector_id: UUID,
    *,
    trigger: Literal["manual", "schedule"],
    is_full: bool = False,
    requested_by: UUID | None = None,
) -> UUID | None:
    """The id of the new sync, or None when the connector has an unfinished one."""
    row = await tx.row(
        QUERIES["queue_sync"],
        space_id=space_id,
        connector_id=connector_id,
        trigger=trigger,
        is_full=is_full,
        requested_by=requested_by,
    )
    return row["id"] if row else None


async def get_sync(tx: Transaction, space_id: UUID, sync_id: UUID) -> Row:
    rows = await tx.answers(QUERIES["get_sync"], space_id=space_id, sync_id=sync_id)
    if not rows:
        raise NotFound("sync")
    return rows[0]


async def unfinished_sync(tx: Transaction, space_id: UUID, connector_id: UUID) -> Row | None:
    rows = await tx.answers(QUERIES["unfinished_sync"], space_id=space_id, connector_id=connector_id)
    return rows[0] if rows else None
