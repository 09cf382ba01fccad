"""Carries out one queued sync: claim, lease, pass, outcome; whatever happens, the SyncRun says what."""

import asyncio
import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from psycopg.types.json import Jsonb

from windsock import log
from windsock.access.store import present
from windsock.connectors.secrets import Secrets
from windsock.connectors.store import AirflowConnector, open_connector
from windsock.db import Database, Row, explained
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
from windsock.providers.contract import Provider
from windsock.sync.lease import held_lease
from windsock.sync.mirror import Mirror
from windsock.sync.numbers import note_sync
from windsock.sync.passes import Pass
from windsock.sync.progress import (
    LEASE,
    QUERIES,
    Cancelled,
    HandedOver,
    Interrupted,
    Learnt,
    LeaseLost,
    Progress,
)
from windsock.sync.skip_warnings import warn_of_skipped

LONGEST_PAUSE = timedelta(minutes=15)

logger = log.get(__name__)


class OpenProvider(Protocol):
    def __call__(self, connector: AirflowConnector, api_version: str | None) -> Provider: ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a pass ended; `learnt` only when it was complete."""

    status: str
    error: str | None = None
    learnt: Learnt | None = None
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """A sync that this process has the lease of, and what earlier syncs of its connector left behind."""

    progress: Progress
    state: Row


@dataclass(frozen=True, slots=True)
class Execution:
    """What syncs need in this process; `holder` names it in leases. Once `stopping` is set, they hand over."""

    db: Database
    secrets: Secrets
    open_provider: OpenProvider
    holder: str
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, space_id: UUID, sync_id: UUID) -> None:
        """Carry out a queued sync; returns at once when another process has it already."""
        claim = await self.claim(space_id, sync_id)
        if claim is not None:
            await self.carry_out(claim)

    async def claim(self, space_id: UUID, sync_id: UUID, *, is_doubtful: bool = True) -> Claim | None:
        """Take a queued sync; None when another one of its connector, or another process, was faster.

        `is_doubtful`: of which queue it is.
        """
        names = {"space_id": space_id, "sync_id": sync_id}
        try:
            with explained({"sync_runs_one_at_a_time": Conflict("Another sync of this connector has begun.")}):
                async with self.db.in_space(space_id) as tx:
                    row = await tx.row(QUERIES["claim_sync"], **names, holder=self.holder, lease=LEASE)
                    if row is None:
                        return None
                    connector = {"space_id": space_id, "connector_id": row["connector_id"]}
                    state = present(await tx.row(QUERIES["get_state"], **connector))
        except Conflict:
            return None
        progress = Progress(
            space_id,
            row["connector_id"],
            sync_id,
            self.holder,
            row["trigger"],
            row["is_full"],
            row["started_at"],
            stopping=self.stopping,
            is_doubtful=is_doubtful,
        )
        progress.take_up(row)
        return Claim(progress, state)

    async def carry_out(self, claim: Claim) -> None:
        """The sync that was claimed."""
        progress = claim.progress
        names = {name: str(getattr(progress, name)) for name in ("space_id", "connector_id", "sync_id")}
        with log.bound(**names):
            await self._carry_out(progress, claim.state)

    async def _carry_out(self, progress: Progress, state: Row) -> None:
        interval = timedelta(minutes=1)
        began = time.monotonic()
        try:
            async with held_lease(self.db, progress):
                async with self.db.in_space(progress.space_id) as tx:
                    connector = await open_connector(tx, progress.space_id, progress.connector_id, self.secrets)
                interval = timedelta(seconds=connector.config.sync_interval_seconds)
                outcome = await self._pass(progress, state, connector)
        except LeaseLost:
            logger.warning("another worker has taken this sync over, or it was given up")
            return
        except Cancelled:
            outcome = Outcome("cancelled", "Cancelled. What it had stored is kept.")
        except HandedOver:
            await self._hand_over(progress)
            return
        except asyncio.CancelledError:
            # The process is stopping in the middle of a request. Saying so must not be cancelled as well.
            await asyncio.shield(self._hand_over(progress))
            raise
        except (Overloaded, DiskFull) as error:
            outcome = Outcome(_unfinished(progress), str(error))
        except Unavailable:
            logger.warning("the database went away; the lease will run out and the next sync goes on", exc_info=True)
            return
        except WindsockError as error:
            outcome = Outcome(_unfinished(progress), str(error))
        await self._finish(progress, state, outcome, interval)
        note_sync(progress, outcome.status, time.monotonic() - began)

    async def _pass(self, progress: Progress, state: Row, connector: AirflowConnector) -> Outcome:
        provider = progress.provider = self.open_provider(connector, state["api_version"])
        mirror = Mirror(progress.space_id, progress.connector_id)
        try:
            learnt = await Pass(self.db, provider, connector.config, state, mirror, progress).run()
        except WrongApiVersion as failure:
            # Airflow was upgraded, or another one answers there now: find out again next time.
            async with self.db.in_space(progress.space_id) as tx:
                names = {"space_id": progress.space_id, "connector_id": progress.connector_id}
                await tx.run(QUERIES["save_identity"], **names, api_version=None, provider_version=None)
            return Outcome(_unfinished(progress), str(failure))
        except ProviderFailed as failure:
            logger.warning("the sync did not get everything", error=str(failure))
            told = " ".join((str(failure), *failure.hints[:1]))
            return Outcome(_unfinished(progress), told, retry_after=failure.retry_after)
        except (Interrupted, WindsockError):
            raise
        except Exception:  # the edge of a sync: a fault of ours must show on the SyncRun too
            logger.exception("the sync failed by a fault of Windsock's own")
            return Outcome(
                _unfinished(progress),
                f"A fault of Windsock's own, not of the provider; see the log for {progress.sync_id}.",
            )
        finally:
            progress.provider_requests = progress.provider_requests_before + provider.requests
            await provider.aclose()
        return Outcome("complete", learnt=learnt)

    async def _hand_over(self, progress: Progress) -> None:
        try:
            async with self.db.in_space(progress.space_id) as tx:
                await progress.save(tx)
                await progress.hand_over(tx)
                if progress.is_stuck:
                    names = {"space_id": progress.space_id, "connector_id": progress.connector_id}
                    await tx.run(QUERIES["mark_stuck"], **names)
        except (LeaseLost, DatabaseFailed):
            logger.warning("could not hand the sync over; its lease will run out")
            return
        stuck = {"is_stuck": True} if progress.is_stuck else {}
        logger.info("handed the sync over", **stuck, requests=progress.provider_requests, read=progress.read)

    async def _finish(self, progress: Progress, state: Row, outcome: Outcome, interval: timedelta) -> None:
        learnt, is_failure = outcome.learnt, outcome.status in {"partial", "failed"}
        pause = interval
        if is_failure:
            pause = min(interval * 2 ** min(state["failures"], 6), max(LONGEST_PAUSE, interval))
            pause = max(pause, timedelta(seconds=outcome.retry_after or 0))
        names = {"space_id": progress.space_id, "connector_id": progress.connector_id}
        try:
            async with self.db.in_space(progress.space_id) as tx:
                if state["skipped"] or progress.skipped:
                    await warn_of_skipped(tx, progress)
                await progress.finish(tx, status=outcome.status, error=outcome.error)
                if progress.miscounts is not None and progress.miscounts.to_json() != state["miscounts"]:
                    await tx.run(QUERIES["save_miscounts"], **names, miscounts=Jsonb(progress.miscounts.to_json()))
                if learnt is not None:
                    await tx.run(
                        QUERIES["save_what_was_learnt"],
                        **names,
                        mode=learnt.mode,
                        poll_seconds=learnt.poll_seconds,
                        polling=Jsonb(learnt.polling),
                        quick_from=learnt.quick_from,
                        checked_at=learnt.checked_at,
                        checked_whole_at=learnt.checked_whole_at,
                        looks_again=learnt.looks_again,
                        events=Jsonb(learnt.events),
                        witnesses=Jsonb(learnt.witnesses),
                        address=learnt.address,
                        is_vouched_for=learnt.is_vouched_for,
                        watermark=learnt.watermark,
                        started_at=progress.started_at,
                    )
                await tx.run(
                    QUERIES["finish_state"],
                    **names,
                    status=outcome.status,
                    error=outcome.error,
                    is_complete=learnt is not None,
                    is_failure=is_failure,
                    skipped=progress.skipped,
                    as_of=_complete_as_of(progress, learnt),
                    started_at=progress.started_at,
                    watermark=learnt.watermark if learnt is not None else None,
                    goes_on=learnt is not None and learnt.goes_on,
                    pause=pause,
                )
                await tx.run(QUERIES["forget_old_syncs"], **names)
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


def _complete_as_of(progress: Progress, learnt: Learnt | None) -> datetime | None:
    """As of when everything is stored, by our clock; None where that has not changed."""
    if learnt is None:
        return None
    return progress.started_at if learnt.is_whole else learnt.complete_as_of


def _unfinished(progress: Progress) -> str:
    return "partial" if progress.read else "failed"
