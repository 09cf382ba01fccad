"""One pass over a provider: the pipelines when due, what changed, some history, what was deleted."""

import time as clocks
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

from windsock.errors import ProviderFailed, ProviderHTTPError, ProviderRejectedCredentials, ProviderUnreachable
from windsock.sync import per_dag, reconcile
from windsock.sync.backfill import Backfill, backfill_new_pipelines, initial_position
from windsock.sync.clock_correction import measure_clocks, save_clocks
from windsock.sync.incremental import IncrementalSync
from windsock.sync.lease import QUERIES, Requeued
from windsock.sync.per_dag import PerDag
from windsock.sync.reread import reread_skipped
from windsock.sync.safeguards import apply_or_quarantine, select_identity_samples, verify_source_identity
from windsock.sync.session import SyncSession
from windsock.sync.state import PassResult
from windsock.sync.state_records import ResyncCheckpoint
from windsock.sync.task_graphs import read_graphs
from windsock.sync.unfinished import read_older_runs

PIPELINES_EVERY = timedelta(minutes=5)
HISTORY_SECONDS = 15.0
"""How long a scheduled pass reads the history before it ends, so that news come in between."""
LONG_SECONDS = 15.0
"""After that a sync lets others have its worker, where they wait."""
YIELD_CHECK_SECONDS = 2.0


class SyncPass:
    """Reads from the provider, stores page by page; a page's transaction holds its rows, counts and checkpoint."""

    def __init__(self, session: SyncSession) -> None:
        self._session, self._db, self._provider = session, session.db, session.provider
        self._config, self._state, self._progress = session.config, session.state, session.progress
        self._began = self._polled_at = self._yield_checked_at = clocks.monotonic()
        self._session.yield_to_others = self._yield_if_contended
        self._changes: IncrementalSync | None = None
        self._per_dag: PerDag | None = None
        self._is_whole = True
        self._reconciled_at, self._fully_reconciled_at = self._state.reconciled_at, self._state.fully_reconciled_at

    async def run(self) -> PassResult:
        """Run the pass; return its result once everything before its watermark is stored."""
        await self._identify()
        await self._session.load()
        await measure_clocks(self._session)
        await self._arm_identity_check()
        # What an interrupted full reading had seen missing before proves nothing; the totals are compared soon.
        was_interrupted = isinstance(self._state.checkpoint, ResyncCheckpoint)
        history, watermark = await self._read_all_or_per_dag()
        single = self._per_dag
        has_backfill = single.has_unread if single else await backfill_new_pipelines(self._session)
        if self._session.has_listed:
            await reread_skipped(self._session)
        if not history.is_complete and history.position.end is not None:
            self._progress.warn(f"The history is here back to {history.position.end:%Y-%m-%dT%H:%M}; the rest follows.")
        compares_soon = await self._reconcile(watermark)
        recheck_due = was_interrupted or compares_soon or self._session.missing > 0
        for kind, removed in (await apply_or_quarantine(self._session)).items():
            self._progress.counts[kind]["removed"] += removed
        await self._session.save_progress()
        self._session.clocks.note_newest_stamp(self._session.newest_stamp)
        await save_clocks(self._session)
        if self._session.has_listed:
            await read_graphs(self._db, self._provider, self._progress)
        changes = self._changes
        return PassResult(
            watermark=watermark,
            is_whole=self._is_whole,
            complete_as_of=single.complete_as_of if single else None,
            reschedule_immediately=has_backfill
            or not history.is_complete
            or self._session.missing_pipelines > 0  # the second look decides
            or bool(changes and (changes.is_behind or changes.event_log_cursor.has_backlog)),
            mode=changes.mode if changes else self._state.mode,
            poll_seconds=changes.polling.median if changes else None,
            polling=changes.polling if changes else self._state.polling,
            recent_watermark=changes.recent_watermark if changes else None,
            reconciled_at=self._reconciled_at,
            fully_reconciled_at=self._fully_reconciled_at,
            recheck_due=recheck_due,
            event_log_cursor=changes.event_log_cursor if changes else self._state.event_log_cursor,
            identity_samples=await select_identity_samples(self._session, watermark),
            base_url=self._config.base_url,
            source_verified=self._session.source_verified,
        )

    async def _read(self) -> tuple[Backfill, datetime]:
        """The history as far as it was read, and the watermark."""
        watermark = self._state.watermark
        if watermark is None:
            return await self._initial_sync()
        if self._progress.is_full or isinstance(self._state.checkpoint, ResyncCheckpoint):
            return await self._full_resync(watermark)
        # Whoever asks has often just changed something in Airflow.
        if self._is_listing_due() or (self._progress.trigger == "manual" and not self._has_listed_before()):
            await self._session.list_pipelines()
        watermark = await self._poll(watermark, recent_only=self._progress.trigger != "manual")
        history = self._history(watermark)
        await history.read(seconds=HISTORY_SECONDS)
        return history, watermark

    async def _initial_sync(self) -> tuple[Backfill, datetime]:
        """The first sync: the newest windows, so that there is something to see; a full one reads all of them.

        What an interrupted sync before this one read is as of then, so what changed since is read too.
        """
        listed_at = await self._session.list_pipelines()
        history = self._history(listed_at)
        as_of = history.position.as_of
        if self._state.backfill is None:  # before the first row: whatever breaks off from here on is as of then
            await history.save()
        await history.read(
            seconds=None if self._progress.is_full else HISTORY_SECONDS, between=self._yield_if_contended
        )
        await read_older_runs(self._session, as_of)
        is_due = self._state.backfill is not None or bool(self._session.older_runs)
        return history, await self._poll(as_of, checkpoint=False) if is_due else as_of

    async def _full_resync(self, watermark: datetime) -> tuple[Backfill, datetime]:
        """The whole history, marking what is missing, with what changes meanwhile read in between."""
        self._progress.is_full = True
        if not self._has_listed_before():
            await self._session.list_pipelines()
        was = self._state.checkpoint
        position = was.position if isinstance(was, ResyncCheckpoint) else None
        again = Backfill(
            self._session,
            position or initial_position(watermark, self._config.history_days, self._session.oldest),
            self._session.state_writer.save_resync,
            finds_missing=True,
        )
        if position is None:  # before the first row: a window that is not whole is read again, as it is now
            await again.save()
        await again.read(seconds=None, between=partial(self._poll_when_due, watermark))
        await read_older_runs(self._session, watermark)
        history = self._history(watermark)
        if not history.is_complete:  # all of it has been read now
            history.position = again.position
            await history.save()
        return history, await self._poll(watermark, recent_only=False, checkpoint=False)

    async def _read_all_or_per_dag(self) -> tuple[Backfill, datetime]:
        """Read through lists over all DAGs, or where the account may only read single ones, DAG by DAG."""
        if self._state.is_per_dag:
            if not self._is_listing_due() or not await self._provider.may_read_all():
                return await self._read_dags()
            await per_dag.end(self._session)
        try:
            return await self._read()
        except ProviderHTTPError as refusal:
            if refusal.status != per_dag.FORBIDDEN or not await per_dag.must_read_per_dag(self._session):
                raise
        if self._state.backfill is not None:
            await per_dag.begin(self._session)
        return await self._read_dags()

    async def _read_dags(self) -> tuple[Backfill, datetime]:
        """The history counts as read: each pipeline that lacks its own is marked so."""
        progress, state = self._progress, self._state
        if state.backfill is None:  # begun anew: what was read before counts for nothing
            await per_dag.begin(self._session)
        started_at = per_dag.full_since(self._session)
        progress.is_full = started_at is not None
        is_manual = progress.trigger == "manual" or progress.is_full
        if not self._session.has_listed and (self._is_listing_due() or (is_manual and not self._has_listed_before())):
            await self._session.list_pipelines()
        as_of = state.watermark or self._provider.server_time or datetime.now(UTC)
        history = self._history(as_of)
        if not history.is_complete:
            history.position = replace(history.position, is_complete=True, end=history.position.goal)
            await history.save()
            state.backfill = history.position
        if started_at is not None:
            async with self._session.transaction() as tx:
                await self._session.state_writer.save_checkpoint(tx, ResyncCheckpoint(started_at=started_at))
        self._per_dag = PerDag(self._session, full_since=started_at)
        self._changes = IncrementalSync(self._session, as_of, self._per_dag.read)
        return history, await self._poll(as_of)

    def _is_listing_due(self) -> bool:
        listed_at = self._state.pipelines_listed_at
        return listed_at is None or datetime.now(UTC) - listed_at >= PIPELINES_EVERY or self._state.recheck_due

    async def _identify(self) -> None:
        if self._state.api_version is not None:
            return
        identity = await self._provider.detect_version()
        async with self._session.transaction() as tx:
            await self._session.state_writer.save_version(tx, identity.api_version, identity.version)

    async def _arm_identity_check(self) -> None:
        """Before anything is stored, and at once where something gives a reason to ask: it costs a request."""
        state = self._state
        if not state.identity_samples:
            return
        self._session.identity_check = partial(verify_source_identity, self._session, self._config.base_url)
        has_moved = state.identity_base_url != self._config.base_url or state.api_version is None
        if has_moved or state.failures > 0 or state.quarantine is not None:
            await self._session.verify_source()

    def _has_listed_before(self) -> bool:
        """This sync, on the worker that handed it over."""
        listed_at = self._state.pipelines_listed_at
        return listed_at is not None and listed_at > self._progress.started_at

    def _history(self, as_of: datetime) -> Backfill:
        position = self._state.backfill or initial_position(as_of, self._config.history_days, self._session.oldest)
        return Backfill(self._session, position, self._session.state_writer.save_backfill, finds_missing=False)

    async def _poll(self, watermark: datetime, *, recent_only: bool = True, checkpoint: bool = True) -> datetime:
        self._changes = self._changes or IncrementalSync(self._session, watermark)
        polled = await self._changes.poll(recent_only=recent_only, checkpoint=checkpoint)
        self._polled_at, self._is_whole = clocks.monotonic(), polled.is_whole
        return polled.watermark

    async def _poll_when_due(self, watermark: datetime) -> None:
        await self._yield_if_contended()
        if clocks.monotonic() - self._polled_at >= self._config.sync_interval_seconds:
            await self._poll(watermark, checkpoint=False)

    async def _yield_if_contended(self) -> None:
        """Hand this long sync over when others wait for a worker; it goes on after them."""
        now = clocks.monotonic()
        if now - self._began < LONG_SECONDS or now - self._yield_checked_at < YIELD_CHECK_SECONDS:
            return
        self._yield_checked_at = now
        async with self._db.transaction() as tx:
            waiting = await tx.fetch_one(QUERIES["syncs_waiting"], slow_queue=self._state.is_slow_or_failing)
        if waiting and waiting["total"]:
            raise Requeued

    async def _reconcile(self, watermark: datetime) -> bool:
        """Compare the totals when it is time. Whether the next pass is to look again, for other reasons than losses."""
        now, changes = datetime.now(UTC), self._changes
        if self._progress.is_full:
            await self._session.forget_placeless()
            self._reconciled_at = self._fully_reconciled_at = now
            return False
        if self._per_dag is not None:  # it compares the totals of each pipeline
            if self._per_dag.has_checked_all:
                self._reconciled_at = self._fully_reconciled_at = now
            return False
        due = reconcile.is_due(self._session, mode=changes.mode) if changes else "no"
        if due == "no":
            return changes is not None and changes.compares
        try:
            await reconcile.Reconciler(self._session).run(watermark, is_whole=due == "whole")
            if due == "whole":
                await self._session.forget_placeless()
        except (ProviderUnreachable, ProviderRejectedCredentials):
            raise
        except ProviderFailed as failure:  # what was read is true all the same
            self._progress.warn(f"The totals could not be compared this time: {failure}")
        self._reconciled_at = now
        self._fully_reconciled_at = now if due == "whole" else self._fully_reconciled_at
        return False
