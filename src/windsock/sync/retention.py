"""Deletes expired rows in batches so small that they block no other writer."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID

from windsock import log
from windsock.db.database import Database
from windsock.db.job_queue import BATCH_PAUSE, MAX_BATCHES
from windsock.db.queries import load, read_fragments
from windsock.sync.writer import refresh_pipelines

QUERIES = load(__package__, "retention.sql", shared=read_fragments(__package__, "fingerprint_counts.sql"))

BATCH = 200

logger = log.get(__name__)


async def purge_expired(db: Database) -> int:
    """Go through all spaces once; how many runs were deleted."""
    async with db.transaction() as tx:
        spaces = await tx.fetch_all(QUERIES["list_spaces_with_retention"])
    deleted = 0
    for space in spaces:
        if space["retention_days"] is not None:
            deleted += await _delete_runs(db, space["space_id"], space["retention_days"])
            await _delete_fingerprints(db, space["space_id"], space["retention_days"])
        async with db.tenant_transaction(space["space_id"]) as tx:
            for query in ("delete_old_actions", "delete_old_bulk_clears"):
                await tx.execute(QUERIES[query], space_id=space["space_id"], most=BATCH)
    return deleted


async def _delete_runs(db: Database, space_id: UUID, days: int) -> int:
    before = datetime.now(UTC) - timedelta(days=days)
    deleted = 0
    for _ in range(MAX_BATCHES):
        async with db.tenant_transaction(space_id) as tx:
            rows = await tx.fetch_all(QUERIES["delete_old_runs"], space_id=space_id, before=before, most=BATCH)
            await refresh_pipelines(tx, space_id, {row["pipeline_id"] for row in rows})
            ids = list({fingerprint_id for row in rows for fingerprint_id in row["fingerprint_ids"]})
            for query in ("lock_fingerprints", "refresh_fingerprints") if ids else ():
                await tx.execute(QUERIES[query], space_id=space_id, ids=ids)
        deleted += len(rows)
        if len(rows) < BATCH:
            break
        await asyncio.sleep(BATCH_PAUSE)
    if deleted:
        logger.info("deleted runs that are past the retention", space_id=str(space_id), runs=deleted, days=days)
    return deleted


async def _delete_fingerprints(db: Database, space_id: UUID, days: int) -> None:
    """Delete groups without failures, unless users have named, merged or split them, or pinned a runbook."""
    before = datetime.now(UTC) - timedelta(days=days)
    for _ in range(MAX_BATCHES):
        async with db.tenant_transaction(space_id) as tx:
            locked = await tx.fetch_all(
                QUERIES["lock_expired_fingerprints"], space_id=space_id, before=before, most=BATCH
            )
            ids = [row["id"] for row in locked]
            await tx.execute(QUERIES["delete_expired_fingerprints"], space_id=space_id, ids=ids)
        if len(ids) < BATCH:
            break
        await asyncio.sleep(BATCH_PAUSE)
