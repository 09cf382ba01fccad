"""The sync state of a connector: what earlier syncs leave for the next one, a row of sync_states."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from psycopg.types.json import Jsonb
from pydantic import TypeAdapter
from pydantic_core import to_jsonable_python

from windsock.db.database import Row, Transaction
from windsock.db.queries import load
from windsock.providers.miscounts import Miscount
from windsock.spaces.store import expect_row
from windsock.sync.polling import ListingCost, Polling
from windsock.sync.state_records import (
    BackfillPosition,
    Checkpoint,
    ClockDifference,
    EventLogCursor,
    IdentitySample,
    Quarantine,
    ResyncCheckpoint,
)

if TYPE_CHECKING:
    from windsock.sync.progress import Progress

QUERIES = load(__package__, "state.sql")

FAILURES = frozenset({"partial", "failed"})
SLOW_SECONDS = 10.0
"""As is_slow_or_failing says in the database: for one answer."""


@dataclass(slots=True)
class SyncState:
    """State of a connector as its sync finds it, corrected while the sync runs; see sync_states for the columns."""

    api_version: str | None
    failures: int
    poll_seconds: float | None
    is_per_dag: bool
    retention_days: int | None
    skipped: int
    watermark: datetime | None
    recent_watermark: datetime | None
    verified_watermark: datetime | None
    last_complete_at: datetime | None
    mode: str
    polling: Polling
    event_log_cursor: EventLogCursor
    checkpoint: Checkpoint | None
    backfill: BackfillPosition | None
    pipelines_listed_at: datetime | None
    listing: ListingCost | None
    excluded_dag_ids: list[str]
    reconciled_at: datetime | None
    fully_reconciled_at: datetime | None
    recheck_due: bool
    identity_samples: list[IdentitySample]
    identity_base_url: str | None
    quarantine: Quarantine | None
    miscounts: list[Miscount]
    clocks: ClockDifference

    @property
    def is_slow_or_failing(self) -> bool:
        return self.failures > 0 or (self.poll_seconds or 0) > SLOW_SECONDS

    @property
    def is_backfilled(self) -> bool:
        return self.backfill is not None and self.backfill.is_complete

    def quarantine_of(self, kind: str) -> Quarantine | None:
        return self.quarantine if self.quarantine and self.quarantine.kind == kind else None

    @staticmethod
    def from_row(row: Row) -> SyncState:
        """Columns have the names of the fields; JSON documents become records."""
        return _STATE.validate_python(row | {"clocks": row["clocks"] or {}})


@dataclass(frozen=True, slots=True)
class PassResult:
    """Result of a complete pass for the next one. `is_whole`: all data is as of its beginning.

    `complete_as_of`: by our clock, as of when all is where it was read pipeline by pipeline.
    """

    watermark: datetime
    is_whole: bool
    complete_as_of: datetime | None
    reschedule_immediately: bool
    mode: str
    poll_seconds: float | None
    polling: Polling
    recent_watermark: datetime | None
    reconciled_at: datetime | None
    fully_reconciled_at: datetime | None
    recheck_due: bool
    event_log_cursor: EventLogCursor
    identity_samples: list[IdentitySample]
    base_url: str
    source_verified: bool


_STATE = TypeAdapter(SyncState)
_RESULT = TypeAdapter(PassResult)


def _json(record: object) -> Jsonb:
    return Jsonb(to_jsonable_python(record))


class StateWriter:
    """Writes the state of one connector. Callers save the progress of their sync first, in the same transaction.

    That renews the lease, and everybody locks the sync run before the state.
    """

    def __init__(self, space_id: UUID, connector_id: UUID) -> None:
        self._names = {"space_id": space_id, "connector_id": connector_id}

    async def load(self, tx: Transaction) -> SyncState:
        return SyncState.from_row(expect_row(await tx.fetch_one(QUERIES["get_state"], **self._names)))

    async def save_version(self, tx: Transaction, api_version: str | None, provider_version: str | None) -> None:
        names = {"api_version": api_version, "provider_version": provider_version}
        await tx.execute(QUERIES["save_version"], **self._names, **names)

    async def save_listing(self, tx: Transaction, excluded: Iterable[str], listing: ListingCost) -> None:
        document = _json(listing)
        await tx.execute(QUERIES["save_listing"], **self._names, excluded=sorted(excluded), listing=document)

    async def save_checkpoint(self, tx: Transaction, checkpoint: Checkpoint) -> None:
        """Save the position of this sync."""
        checkpoint = replace(checkpoint, saved_at=datetime.now(UTC))
        await tx.execute(QUERIES["save_checkpoint"], **self._names, checkpoint=_json(checkpoint))

    async def save_resync(self, tx: Transaction, position: BackfillPosition) -> None:
        """Save the position of a backfill that belongs to this sync."""
        await self.save_checkpoint(tx, ResyncCheckpoint(position))

    async def save_backfill(self, tx: Transaction, position: BackfillPosition) -> None:
        """Save the position of the background backfill."""
        await tx.execute(QUERIES["save_backfill"], **self._names, backfill=_json(position))

    async def save_clocks(self, tx: Transaction, state: SyncState) -> None:
        """With the watermarks, so that what was corrected stays so if this pass breaks off."""
        watermarks = {"watermark": state.watermark, "recent_watermark": state.recent_watermark}
        await tx.execute(QUERIES["save_clocks"], **self._names, **watermarks, clocks=_json(state.clocks))

    async def save_quarantine(self, tx: Transaction, quarantine: Quarantine | None) -> None:
        document = _json(quarantine) if quarantine else None
        await tx.execute(QUERIES["save_quarantine"], **self._names, quarantine=document)

    async def release_quarantine(self, tx: Transaction, kind: str) -> Row | None:
        """Lift the quarantine of this kind; what it was, None if there is none."""
        row = await tx.fetch_one(QUERIES["release_quarantine"], **self._names, kind=kind)
        released: Row | None = row["released"] if row else None
        return released

    async def rewind(self, tx: Transaction) -> None:
        """Go back to the verified watermark: another Airflow responded, perhaps for some time."""
        await tx.execute(QUERIES["rewind_to_verified_watermark"], **self._names)

    async def begin_per_dag(self, tx: Transaction) -> None:
        await tx.execute(QUERIES["begin_per_dag"], **self._names)

    async def end_per_dag(self, tx: Transaction, watermark: datetime | None) -> None:
        await tx.execute(QUERIES["end_per_dag"], **self._names, watermark=watermark)

    async def mark_stuck(self, tx: Transaction) -> None:
        await tx.execute(QUERIES["mark_stuck"], **self._names)

    async def save_miscounts(self, tx: Transaction, miscounts: list[Miscount]) -> None:
        await tx.execute(QUERIES["save_miscounts"], **self._names, miscounts=Jsonb(miscounts))

    async def save_result(self, tx: Transaction, result: PassResult, started_at: datetime) -> None:
        """Save what a complete pass leaves for the next one."""
        documents = _RESULT.dump_python(result, mode="json")
        await tx.execute(
            QUERIES["save_pass_result"],
            **self._names,
            mode=result.mode,
            poll_seconds=result.poll_seconds,
            polling=Jsonb(documents["polling"]),
            recent_watermark=result.recent_watermark,
            reconciled_at=result.reconciled_at,
            fully_reconciled_at=result.fully_reconciled_at,
            recheck_due=result.recheck_due,
            event_log_cursor=Jsonb(documents["event_log_cursor"]),
            identity_samples=Jsonb(documents["identity_samples"]),
            base_url=result.base_url,
            source_verified=result.source_verified,
            watermark=result.watermark,
            started_at=started_at,
        )

    async def finish(
        self,
        tx: Transaction,
        progress: Progress,
        *,
        status: str,
        error: str | None,
        result: PassResult | None,
        pause: timedelta,
    ) -> None:
        """Record how the sync ended, and when the next one begins."""
        await tx.execute(
            QUERIES["update_sync_state"],
            **self._names,
            status=status,
            error=error,
            is_complete=result is not None,
            is_failure=status in FAILURES,
            skipped=progress.skipped,
            as_of=None if result is None else progress.started_at if result.is_whole else result.complete_as_of,
            started_at=progress.started_at,
            watermark=result.watermark if result is not None else None,
            goes_on=result is not None and result.reschedule_immediately,
            pause=pause,
        )
