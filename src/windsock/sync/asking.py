"""Asks for a sync on behalf of a person."""

from uuid import UUID

from windsock.access.space import Space
from windsock.connectors.secrets import Secrets
from windsock.connectors.store import open_connector
from windsock.db import Row
from windsock.errors import Conflict
from windsock.sync.jobs import SyncJobs
from windsock.sync.store import get_sync, queue_sync, unfinished_sync


async def ask_for_sync(space: Space, connector_id: UUID, secrets: Secrets, jobs: SyncJobs, *, is_full: bool) -> Row:
    """The sync that was asked for, or the one that is queued or running for the connector already."""
    async with space.transaction() as tx:
        connector = await open_connector(tx, space.id, connector_id, secrets)
        if not connector.is_active:
            raise Conflict("This connector is switched off (is_active is false). Switch it on to sync it.")
        sync_id = await queue_sync(
            tx, space.id, connector_id, trigger="manual", is_full=is_full, requested_by=space.caller.id
        )
        row = await (get_sync(tx, space.id, sync_id) if sync_id else unfinished_sync(tx, space.id, connector_id))
    if row is None:
        raise Conflict("The sync that was running has just ended. Try again.")
    if sync_id is not None:
        await jobs.defer(space.id, sync_id, is_manual=True)
    return row
