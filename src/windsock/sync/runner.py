"""Carries out one queued sync: claim, lease, pass, outcome; whatever happens, the SyncRun says what."""

import asyncio
import time
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol
from uuid import UUID

from windsock import log
from windsock.connectors.encryption import Encryption
from windsock.connectors.store import AirflowConnector, load_connector
from windsock.db.database import Database, map_constraint_errors
from windsock.errors import (
    Conflict,
    DatabaseFailed,
    DiskFull,
    Overloaded,
    ProviderFailed,
    Unavailable,
    WindsockError,
)
from windsock.providers.airflow import WrongApiVersion
from windsock.providers.base import Provider
from windsock.sync.backoff import delay_after_failure
from windsock.sync.lease import LEASE, QUERIES, Cancelled, LeaseLost, PassInterrupted, Requeued, held_lease
from windsock.sync.metrics import record_sync
from windsock.sync.progress import Progress
from windsock.sync.session import SyncSession
from windsock.sync.skip_warnings import warn_of_skipped
from windsock.sync.state import FAILURES, PassResult, StateWriter, SyncState
from windsock.sync.sync_pass import SyncPass

logger = log.get(__name__)


class OpenProvider(Protocol):
    def __call__(self, connector: AirflowConnector, api_version: str | None) -> Provider: ...


@dataclass(frozen=True, slots=True)
class SyncOutcome:
    """How a pass ended; `result` only when it was complete."""

    status: str
    error: str | None = None
    result: PassResult | None = None
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """A sync that this process has the lease of, and what earlier syncs of its connector left behind."""

    progress: Progress
    state: SyncState


@dataclass(frozen=True, slots=True)
class SyncRunner:
    """Runs syncs in this process; `worker_id` names it in leases. Once `stopping` is set, they are requeued."""

    db: Database
    secrets: Encryption
    open_provider: OpenProvider
    worker_id: str
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, space_id: UUID, sync_id: UUID) -> None:
        """Carry out a queued sync; returns at once when another process has it already."""
        claim = await self.claim(space_id, sync_id)
        if claim is not None:
            await self.carry_out(claim)

    async def claim(self, space_id: UUID, sync_id: UUID, *, is_slow_or_failing: bool = True) -> Claim | None:
        """Take a queued sync; None when another one of its connector, or another process, was faster.

        `is_slow_or_failing`: of which queue it is.
        """
        names = {"space_id": space_id, "sync_id": sync_id}
        try:
            with map_constraint_errors(
                {"sync_runs_one_at_a_time": Conflict("Another sync of this connector has begun.")}
            ):
                async with self.db.tenant_transaction(space_id) as tx:
                    row = await tx.fetch_one(QUERIES["claim_sync"], **names, holder=self.worker_id, lease=LEASE)
                    if row is None:
                        return None
                    state = await StateWriter(space_id, row["connector_id"]).load(tx)
        except Conflict:
            return None
        progress = Progress(
            space_id,
            row["connector_id"],
            sync_id,
            self.worker_id,
            row["trigger"],
            row["is_full"],
            row["started_at"],
            stopping=self.stopping,
            is_slow_or_failing=is_slow_or_failing,
        )
        progress.resume(row)
        return Claim(progress, state)

    async def carry_out(self, claim: Claim) -> None:
        """The sync that was claimed."""
        progress = claim.progress
        names = {name: str(getattr(progress, name)) for name in ("space_id", "connector_id", "sync_id")}
        with log.bound(**names):
            await self._run_leased(progress, claim.state)

    async def _run_leased(self, progress: Progress, state: SyncState) -> None:
        interval = timedelta(minutes=1)
        started = time.monotonic()
        try:
            async with held_lease(self.db, progress):
                async with self.db.tenant_transaction(progress.space_id) as tx:
                    connector = await load_connector(tx, progress.space_id, progress.connector_id, self.secrets)
                interval = timedelta(seconds=connector.config.sync_interval_seconds)
                outcome = await self._pass(progress, state, connector)
        except LeaseLost:
            logger.warning("another worker has taken this sync over, or it was given up")
            return
        except Cancelled:
            outcome = SyncOutcome("cancelled", "Cancelled. What it had stored is kept.")
        except Requeued:
            await self._requeue(progress)
            return
        except asyncio.CancelledError:
            # The process is stopping in the middle of a request. Saying so must not be cancelled as well.
            await asyncio.shield(self._requeue(progress))
            raise
        except (Overloaded, DiskFull) as error:
            outcome = SyncOutcome(_unfinished(progress), str(error))
        except Unavailable:
            logger.warning("the database went away; the lease will run out and the next sync goes on", exc_info=True)
            return
        except WindsockError as error:
            outcome = SyncOutcome(_unfinished(progress), str(error))
        await self._finish(progress, state, outcome, interval)
        record_sync(progress, outcome.status, time.monotonic() - started)

    async def _pass(self, progress: Progress, state: SyncState, connector: AirflowConnector) -> SyncOutcome:
        provider = progress.provider = self.open_provider(connector, state.api_version)
        try:
            result = await SyncPass(SyncSession(self.db, provider, connector.config, state, progress)).run()
        except WrongApiVersion as failure:
            # Airflow was upgraded, or another one answers there now: find out again next time.
            async with self.db.tenant_transaction(progress.space_id) as tx:
                await _state_writer(progress).save_version(tx, None, None)
            return SyncOutcome(_unfinished(progress), str(failure))
        except ProviderFailed as failure:
            logger.warning("the sync did not get everything", error=str(failure))
            message = " ".join((str(failure), *failure.hints[:1]))
            return SyncOutcome(_unfinished(progress), message, retry_after=failure.retry_after)
        except (PassInterrupted, WindsockError):
            raise
        except Exception:  # the edge of a sync: a fault of ours must show on the SyncRun too
            logger.exception("the sync failed by a fault of Windsock's own")
            return SyncOutcome(
                _unfinished(progress),
                f"A fault of Windsock's own, not of the provider; see the log for {progress.sync_id}.",
            )
        finally:
            progress.provider_requests = progress.provider_requests_before + provider.requests
            await provider.aclose()
        return SyncOutcome("complete", result=result)

    async def _requeue(self, progress: Progress) -> None:
        try:
            async with self.db.tenant_transaction(progress.space_id) as tx:
                await progress.save(tx)
                await progress.requeue(tx)
                if progress.is_stuck:
                    await _state_writer(progress).mark_stuck(tx)
        except (LeaseLost, DatabaseFailed):
            logger.warning("could not hand the sync over; its lease will run out")
            return
        stuck = {"is_stuck": True} if progress.is_stuck else {}
        logger.info("handed the sync over", **stuck, requests=progress.provider_requests, read=progress.read)

    async def _finish(self, progress: Progress, state: SyncState, outcome: SyncOutcome, interval: timedelta) -> None:
        result, status, writer, pause = outcome.result, outcome.status, _state_writer(progress), interval
        if status in FAILURES:
            pause = delay_after_failure(interval, state.failures, outcome.retry_after)
        try:
            async with self.db.tenant_transaction(progress.space_id) as tx:
                if state.skipped or progress.skipped:
                    await warn_of_skipped(tx, progress)
                await progress.finish(tx, status=status, error=outcome.error)
                if progress.miscounts is not None and progress.miscounts.recorded() != state.miscounts:
                    await writer.save_miscounts(tx, progress.miscounts.recorded())
                if result is not None:
                    await writer.save_result(tx, result, progress.started_at)
                await writer.finish(tx, progress, status=status, error=outcome.error, result=result, pause=pause)
                names = {"space_id": progress.space_id, "connector_id": progress.connector_id}
                await tx.execute(QUERIES["delete_old_syncs"], **names)
        except (LeaseLost, DatabaseFailed):
            logger.warning("could not write down how the sync ended; its lease will run out")
            return
        logger.info(
            "sync ended",
            status=outcome.status,
            requests=progress.provider_requests,
            read=progress.read,
            error=outcome.error,
        )


def _state_writer(progress: Progress) -> StateWriter:
    return StateWriter(progress.space_id, progress.connector_id)


def _unfinished(progress: Progress) -> str:
    return "partial" if progress.read else "failed"
