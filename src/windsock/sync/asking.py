"""Asks for a sync on behalf of a person."""

from uuid import UUID

from windsock.auth.authenticator import Space
from windsock.connectors.encryption import Encryption
from windsock.connectors.store import load_connector
from windsock.db.database import Row
from windsock.errors import Conflict
from windsock.sync.jobs import SyncJobs
from windsock.sync.store import request_sync


async def ask_for_sync(space: Space, connector_id: UUID, secrets: Encryption, jobs: SyncJobs, *, is_full: bool) -> Row:
    """The sync that serves the request: a new one, or one that is queued or running for the connector already."""
    async with space.transaction() as tx:
        connector = await load_connector(tx, space.id, connector_id, secrets)
        if not connector.is_active:
            raise Conflict("This connector is switched off (is_active is false). Switch it on to sync it.")
        row, is_new = await request_sync(tx, space.id, connector_id, is_full=is_full, requested_by=space.caller.id)
    if row is None:
        raise Conflict("The sync that was running has just ended. Try again.")
    if is_new:
        jobs.wake()
    return row
