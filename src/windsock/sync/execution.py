"""Carries out one queued sync: claim, lease, pass, outcome; whatever happens, the SyncRun says what."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from windsock import log
from windsock.access.store import present
from windsock.connectors.secrets import Secrets
from windsock.connectors.store import AirflowConnector, open_connector
from windsock.db import Database, Row
from windsock.errors import ProviderFailed, Unavailable, WindsockError
from windsock.providers.airflow import WrongApiVersion
from windsock.providers.contract import Provider
from windsock.sync.mirror import Mirror
from windsock.sync.passes import Pass
from windsock.sync.progress import LEASE, LEASE_RENEWAL_SECONDS, QUERIES, LeaseLost, Progress

LONGEST_PAUSE = timedelta(minutes=15)

logger = log.get(__name__)


class OpenProvider(Protocol):
    def __call__(self, connector: AirflowConnector, api_version: str | None) -> Provider: ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a pass ended; `watermark` only when it was complete."""

    status: str
    error: str | None = None
    watermark: datetime | None = None
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class Execution:
    """What syncs need in this process; `holder` names it in leases."""

    db: Database
    secrets: Secrets
    open_provider: OpenProvider
    holder: str

    async def run(self, space_id: UUID, sync_id: UUID) -> None:
        """Carry out a queued sync; returns at once when another process has it already."""
        async with self.db.in_space(space_id) as tx:
            claim = await tx.row(
                QUERIES["claim_sync"], space_id=space_id, sync_id=sync_id, holder=self.holder, lease=LEASE
            )
            if claim is None:
                return
            state = present(await tx.row(QUERIES["get_state"], space_id=space_id, connector_id=claim["connector_id"]))
        progress = Progress(
            space_id,
            claim["connector_id"],
            sync_id,
            self.holder,
            claim["trigger"],
            claim["is_full"],
            claim["started_at"],
        )
        with log.bound(space_id=str(space_id), connector_id=str(claim["connector_id"]), sync_id=str(sync_id)):
            await self._carry_out(progress, state)

    async def _carry_out(self, progress: Progress, state: Row) -> None:
        interval = timedelta(minutes=1)
        try:
            async with self._renewed_lease(progress):
                async with self.db.in_space(progress.space_id) as tx:
                    connector = await open_connector(tx, progress.space_id, progress.connector_id, self.secrets)
                interval = timedelta(seconds=connector.config.sync_interval_seconds)
                outcome = await self._pass(progress, state, connector)
        except LeaseLost:
            logger.warning("another worker has taken this sync over, or it was given up")
            return
        except asyncio.CancelledError:
            # The process is stopping. What is stored stays; saying so must not be cancelled as well.
            told = Outcome(
                _unfinished(progress), "Windsock was stopped in the middle; the next sync goes on from there."
            )
            await asyncio.shield(self._finish(progress, state, told, timedelta()))
            raise
        except Unavailable:
            logger.warning("the database went away; the lease will run out and the next sync goes on", exc_info=True)
            return
        except WindsockError as error:
            outcome = Outcome(_unfinished(progress), str(error))
        await self._finish(progress, state, outcome, interval)

    async def _pass(self, progress: Progress, state: Row, connector: AirflowConnector) -> Outcome:
        provider = self.open_provider(connector, state["api_version"])
        mirror = Mirror(progress.space_id, progress.connector_id, progress.sync_id)
        try:
            watermark = await Pass(self.db, provider, connector.config, state, mirror, progress).run()
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
        except (LeaseLost, WindsockError):
            raise
        except Exception:  # the edge of a sync: a fault of ours must show on the SyncRun too
            logger.exception("the sync failed by a fault of Windsock's own")
            return Outcome(
                _unfinished(progress),
                f"A fault of Windsock's own, not of the provider; see the log for {progress.sync_id}.",
            )
        finally:
            progress.provider_requests = provider.requests
            await provider.aclose()
        return Outcome("complete", watermark=watermark)

    async def _finish(self, progress: Progress, state: Row, outcome: Outcome, interval: timedelta) -> None:
        is_complete = outcome.watermark is not None
        pause = interval
        if not is_complete and interval:
            pause = min(interval * 2 ** min(state["failures"], 6), max(LONGEST_PAUSE, interval))
            pause = max(pause, timedelta(seconds=outcome.retry_after or 0))
        names = {"space_id": progress.space_id, "connector_id": progress.connector_id}
        try:
            async with self.db.in_space(progress.space_id) as tx:
                await progress.finish(tx, status=outcome.status, error=outcome.error)
                await tx.run(
                    QUERIES["finish_state"],
                    **names,
                    status=outcome.status,
                    is_complete=is_complete,
                    started_at=progress.started_at,
                    watermark=outcome.watermark,
                    pause=pause,
                )
                await tx.run(QUERIES["forget_old_syncs"], **names)
        except (LeaseLost, Unavailable):
            logger.warning("could not write down how the sync ended; its lease will run out")
            return
        logger.info(
            "sync ended",
            status=outcome.status,
            requests=progress.provider_requests,
            read=progress.read,
            error=outcome.error,
        )

    @contextlib.asynccontextmanager
    async def _renewed_lease(self, progress: Progress) -> AsyncIterator[None]:
        """Renew the lease beside the body; when it is lost, the body is stopped with LeaseLost."""
        lost = False
        body = asyncio.current_task()

        async def renew() -> None:
            nonlocal lost
            while True:
                await asyncio.sleep(LEASE_RENEWAL_SECONDS)
                try:
                    async with self.db.in_space(progress.space_id) as tx:
                        await progress.renew_lease(tx)
                except Unavailable:
                    continue
                except LeaseLost:
                    lost = True
                    if body is not None:
                        body.cancel()
                    return

        renewal = asyncio.create_task(renew())
        try:
            yield
        except asyncio.CancelledError:
            if lost and body is not None and body.uncancel() == 0:
                raise LeaseLost from None
            raise
        finally:
            renewal.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await renewal


def _unfinished(progress: Progress) -> str:
    return "partial" if progress.read else "failed"
