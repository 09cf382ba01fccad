"""Syncs as people see and ask for them."""

from collections.abc import Mapping
from typing import Any, Literal
from uuid import UUID

from windsock.db.database import Row, Transaction
from windsock.errors import Conflict, NotFound
from windsock.http.pagination import PageParams
from windsock.spaces.store import expect_row
from windsock.sync.deletions import DeletionTracker
from windsock.sync.progress import QUERIES
from windsock.sync.safeguards import MASS_LOSS


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
    row = await tx.fetch_one(
        QUERIES["queue_sync"],
        space_id=space_id,
        connector_id=connector_id,
        trigger=trigger,
        is_full=is_full,
        requested_by=requested_by,
    )
    return row["id"] if row else None


async def request_sync(
    tx: Transaction, space_id: UUID, connector_id: UUID, *, is_full: bool, requested_by: UUID | None = None
) -> tuple[Row | None, bool]:
    """The sync that serves this request, and whether it is to be deferred; None when the one under way has just ended.

    A normal one is served by any that is unfinished. A full one makes a queued sync full, or waits behind a running one
    that is not; there is at most one that waits, whoever requests it.
    """
    names = {"space_id": space_id, "connector_id": connector_id}
    upgraded = (
        await tx.fetch_one(QUERIES["make_queued_sync_full"], **names, requested_by=requested_by) if is_full else None
    )
    if upgraded is not None:
        return await get_sync(tx, space_id, upgraded["id"]), False
    sync_id = await queue_sync(tx, space_id, connector_id, trigger="manual", is_full=is_full, requested_by=requested_by)
    if sync_id is not None:
        return await get_sync(tx, space_id, sync_id), True
    unfinished = await unfinished_syncs(tx, space_id, connector_id)
    if not is_full or any(sync["is_full"] for sync in unfinished):
        return next((sync for sync in unfinished if sync["is_full"] or not is_full), None), False
    row = await tx.fetch_one(QUERIES["queue_follow_up"], **names, requested_by=requested_by)
    if row is not None:
        return await get_sync(tx, space_id, row["id"]), True
    return next((sync for sync in await unfinished_syncs(tx, space_id, connector_id) if sync["is_full"]), None), False


async def get_sync(tx: Transaction, space_id: UUID, sync_id: UUID) -> Row:
    rows = await tx.fetch_json(QUERIES["get_sync"], space_id=space_id, sync_id=sync_id)
    if not rows:
        raise NotFound("sync")
    return rows[0]


async def list_syncs_of(tx: Transaction, which: Mapping[str, object], paging: PageParams) -> tuple[list[Row], int]:
    """A page of syncs, newest first, and how many there are in all. `which`: space_id, connector_id, status."""
    rows = await tx.fetch_json(QUERIES["list_syncs"], **which, limit=paging.size, offset=paging.offset)
    return rows, expect_row(await tx.fetch_one(QUERIES["count_syncs"], **which))["total"]


async def unfinished_syncs(tx: Transaction, space_id: UUID, connector_id: UUID) -> list[Row]:
    """The one that is under way, if any, then the full one that waits behind it."""
    return await tx.fetch_json(QUERIES["get_active_syncs"], space_id=space_id, connector_id=connector_id)


async def cancel_sync(tx: Transaction, space_id: UUID, sync_id: UUID) -> bool:
    """A queued one has ended with this, a running one ends soon. False when it had ended before."""
    ended = await tx.fetch_one(QUERIES["cancel_sync"], space_id=space_id, sync_id=sync_id)
    if ended is None:
        return False
    await tx.execute(QUERIES["postpone_next_sync"], space_id=space_id, connector_id=ended["connector_id"])
    return True


async def release_quarantine(tx: Transaction, space_id: UUID, connector_id: UUID, kind: str) -> dict[str, Any]:
    """Do what a sync has held back, and say what that was; 409 when it holds nothing of this kind."""
    row = await tx.fetch_one(QUERIES["release_quarantine"], space_id=space_id, connector_id=connector_id, kind=kind)
    if row is None:
        raise Conflict(f"Nothing of the kind {kind} is held back for this connector.")
    if kind == MASS_LOSS:
        await DeletionTracker(space_id, connector_id, None).tombstone(tx)
    held: dict[str, Any] = row["accepted"]
    return held
