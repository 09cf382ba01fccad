"""The lease of a running sync: renewed while it runs, and the sync ended when it is lost, cancelled or stuck."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from windsock.db.database import Database
from windsock.db.queries import load
from windsock.errors import DatabaseFailed

if TYPE_CHECKING:
    from windsock.sync.progress import Progress

QUERIES = load(__package__, "sync.sql")

LEASE = "20 seconds"
LEASE_RENEWAL_SECONDS = 5.0
STUCK_SECONDS = 10.0
"""In which no further request was sent; then a sync goes on in the queue of slow connectors, if others wait."""


class PassInterrupted(Exception):
    """The pass stops without a fault; its stored rows stay."""


class LeaseLost(PassInterrupted):
    """Another worker took this sync over, or it was given up: stop, and write nothing more."""


class Cancelled(PassInterrupted):
    """A person does not want this sync any more."""


class Requeued(PassInterrupted):
    """This process stops, or others wait for their turn: another worker goes on from the checkpoint."""


@contextlib.asynccontextmanager
async def held_lease(db: Database, progress: "Progress") -> AsyncIterator[None]:
    """Renew the lease beside the body; what ends the sync early is raised in the body."""
    reason: PassInterrupted | None = None
    body = asyncio.current_task()

    async def renew() -> None:
        nonlocal reason
        requests, since = progress.requests_sent, time.monotonic()
        while reason is None:
            await asyncio.sleep(LEASE_RENEWAL_SECONDS)
            if requests != progress.requests_sent:
                requests, since = progress.requests_sent, time.monotonic()
            reason = await _renew(db, progress, silent_seconds=time.monotonic() - since)
        if body is not None:
            body.cancel()

    renewal = asyncio.create_task(renew())
    try:
        yield
    except asyncio.CancelledError:
        if reason is not None and body is not None and body.uncancel() == 0:
            raise reason from None
        raise
    finally:
        renewal.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await renewal


async def _renew(db: Database, progress: "Progress", *, silent_seconds: float) -> PassInterrupted | None:
    """Why the sync is to end here, if it is."""
    try:
        async with db.tenant_transaction(progress.space_id) as tx:
            await progress.renew_lease(tx)
        is_stuck = silent_seconds >= STUCK_SECONDS and not progress.is_slow_or_failing and await _others_wait(db)
    except DatabaseFailed:
        return None
    except LeaseLost as lost:
        return lost
    if progress.is_cancelled:
        return Cancelled()
    progress.is_stuck = is_stuck
    return Requeued() if is_stuck else None


async def _others_wait(db: Database) -> bool:
    async with db.transaction() as tx:
        waiting = await tx.fetch_one(QUERIES["syncs_waiting"], slow_queue=False)
    return waiting is not None and waiting["total"] > 0
