"""Syncs as people see and request them."""

from collections.abc import Callable, Mapping
from typing import Literal
from uuid import UUID

from windsock.auth.authenticator import Space
from windsock.connectors.encryption import Encryption
from windsock.connectors.store import load_connector
from windsock.db.database import Reader, Row, Statement, Transaction
from windsock.errors import Conflict, NotFound
from windsock.http.pagination import PageParams
from windsock.spaces.store import expect_row
from windsock.sync.deletions import DeletionTracker
from windsock.sync.lease import QUERIES
from windsock.sync.safeguards import MASS_LOSS
from windsock.sync.state import StateWriter


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
    space: Space, connector_id: UUID, secrets: Encryption, wake: Callable[[], None], *, is_full: bool
) -> Row:
    """The sync that serves the request: a new one, or one that is queued or running for the connector already."""
    async with space.transaction() as tx:
        connector = await load_connector(tx, space.id, connector_id, secrets)
        if not connector.is_active:
            raise Conflict("This connector is switched off (is_active is false). Switch it on to sync it.")
        row, is_new = await find_or_queue_sync(
            tx, space.id, connector_id, is_full=is_full, requested_by=space.caller.id
        )
    if row is None:
        raise Conflict("The sync that was running has just ended. Try again.")
    if is_new:
        wake()
    return row


async def find_or_queue_sync(
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


async def list_import_errors_of(
    reader: Reader, space_id: UUID, connector_ids: list[UUID] | None, paging: PageParams
) -> tuple[list[Row], int]:
    """A page of the files that Airflow could not import, newest first, and how many there are in all."""
    which = {"space_id": space_id, "connector_id": connector_ids}
    rows, totals = await reader.fetch_batch(
        Statement(QUERIES["list_import_errors"], which | {"limit": paging.size, "offset": paging.offset}),
        Statement(QUERIES["count_import_errors"], which),
    )
    return rows, totals[0]["total"]


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


async def release_quarantine(tx: Transaction, space_id: UUID, connector_id: UUID, kind: str) -> Row:
    """Do what a sync has held back, and say what that was; 409 when it holds nothing of this kind."""
    released = await StateWriter(space_id, connector_id).release_quarantine(tx, kind)
    if released is None:
        raise Conflict(f"Nothing of the kind {kind} is held back for this connector.")
    if kind == MASS_LOSS:
        await DeletionTracker(space_id, connector_id, None).tombstone(tx)
    return released
