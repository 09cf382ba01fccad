"""Carries out one queued sync: claim, lease, pass, outcome; whatever happens, the SyncRun says what."""

import asyncio
import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from psycopg.types.json import Jsonb

from windsock import log
from windsock.connectors.encryption import Encryption
from windsock.connectors.store import AirflowConnector, load_connector
from windsock.db.database import Database, Row, map_constraint_errors
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
from windsock.spaces.store import expect_row
from windsock.sync.lease import held_lease
from windsock.sync.metrics import record_sync
from windsock.sync.progress import (
    LEASE,
    QUERIES,
    Cancelled,
    LeaseLost,
    PassInterrupted,
    PassResult,
    Progress,
    Requeued,
)
from windsock.sync.skip_warnings import warn_of_skipped
from windsock.sync.sync_pass import SyncPass
from windsock.sync.writer import MirrorWriter

MAX_RETRY_SECONDS = timedelta(minutes=15)

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
    state: Row


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
                    connector = {"space_id": space_id, "connector_id": row["connector_id"]}
                    state = expect_row(await tx.fetch_one(QUERIES["get_state"], **connector))
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

    async def _run_leased(self, progress: Progress, state: Row) -> None:
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

    async def _pass(self, progress: Progress, state: Row, connector: AirflowConnector) -> SyncOutcome:
        provider = progress.provider = self.open_provider(connector, state["api_version"])
        mirror = MirrorWriter(progress.space_id, progress.connector_id)
        try:
            result = await SyncPass(self.db, provider, connector.config, state, mirror, progress).run()
        except WrongApiVersion as failure:
            # Airflow was upgraded, or another one answers there now: find out again next time.
            async with self.db.tenant_transaction(progress.space_id) as tx:
                names = {"space_id": progress.space_id, "connector_id": progress.connector_id}
                await tx.execute(QUERIES["save_identity"], **names, api_version=None, provider_version=None)
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
                    names = {"space_id": progress.space_id, "connector_id": progress.connector_id}
                    await tx.execute(QUERIES["mark_stuck"], **names)
        except (LeaseLost, DatabaseFailed):
            logger.warning("could not hand the sync over; its lease will run out")
            return
        stuck = {"is_stuck": True} if progress.is_stuck else {}
        logger.info("handed the sync over", **stuck, requests=progress.provider_requests, read=progress.read)

    async def _finish(self, progress: Progress, state: Row, outcome: SyncOutcome, interval: timedelta) -> None:
        result, is_failure = outcome.result, outcome.status in {"partial", "failed"}
        pause = interval
        if is_failure:
            pause = min(interval * 2 ** min(state["failures"], 6), max(MAX_RETRY_SECONDS, interval))
            pause = max(pause, timedelta(seconds=outcome.retry_after or 0))
        names = {"space_id": progress.space_id, "connector_id": progress.connector_id}
        try:
            async with self.db.tenant_transaction(progress.space_id) as tx:
                if state["skipped"] or progress.skipped:
                    await warn_of_skipped(tx, progress)
                await progress.finish(tx, status=outcome.status, error=outcome.error)
                if progress.miscounts is not None and progress.miscounts.to_json() != state["miscounts"]:
                    await tx.execute(QUERIES["save_miscounts"], **names, miscounts=Jsonb(progress.miscounts.to_json()))
                if result is not None:
                    await tx.execute(
                        QUERIES["save_pass_result"],
                        **names,
                        mode=result.mode,
                        poll_seconds=result.poll_seconds,
                        polling=Jsonb(result.polling),
                        quick_from=result.quick_from,
                        checked_at=result.checked_at,
                        checked_whole_at=result.checked_whole_at,
                        looks_again=result.recheck_due,
                        events=Jsonb(result.events),
                        witnesses=Jsonb(result.identity_samples),
                        address=result.base_url,
                        is_vouched_for=result.source_verified,
                        watermark=result.watermark,
                        started_at=progress.started_at,
                    )
                await tx.execute(
                    QUERIES["update_sync_state"],
                    **names,
                    status=outcome.status,
                    error=outcome.error,
                    is_complete=result is not None,
                    is_failure=is_failure,
                    skipped=progress.skipped,
                    as_of=_complete_as_of(progress, result),
                    started_at=progress.started_at,
                    watermark=result.watermark if result is not None else None,
                    goes_on=result is not None and result.reschedule_immediately,
                    pause=pause,
                )
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


def _complete_as_of(progress: Progress, result: PassResult | None) -> datetime | None:
    """As of when everything is stored, by our clock; None where that has not changed."""
    if result is None:
        return None
    return progress.started_at if result.is_whole else result.complete_as_of


def _unfinished(progress: Progress) -> str:
    return "partial" if progress.read else "failed"
