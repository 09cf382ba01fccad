"""One pass over a provider: the pipelines when due, what changed, some history, what was deleted."""

import time as clocks
from datetime import UTC, datetime, timedelta
from functools import partial

from windsock.db.database import Database, Row
from windsock.errors import ProviderFailed, ProviderHTTPError, ProviderRejectedCredentials, ProviderUnreachable
from windsock.providers.airflow.config import AirflowConfig
from windsock.providers.base import Provider
from windsock.sync import per_dag, reconcile
from windsock.sync.backfill import Backfill, initial_position, save_as_checkpoint, save_in_state
from windsock.sync.backfill_new import backfill_new_pipelines
from windsock.sync.clock_correction import measure_clocks, save_clocks
from windsock.sync.incremental import IncrementalSync
from windsock.sync.per_dag import PerDag
from windsock.sync.progress import QUERIES, PassResult, Progress, Requeued
from windsock.sync.reread import reread_skipped
from windsock.sync.safeguards import apply_or_quarantine, select_identity_samples, verify_source_identity
from windsock.sync.session import SyncSession
from windsock.sync.task_graphs import read_graphs
from windsock.sync.unfinished import read_older_runs
from windsock.sync.writer import MirrorWriter

PIPELINES_EVERY = timedelta(minutes=5)
HISTORY_SECONDS = 15.0
"""How long a scheduled pass reads the history before it ends, so that news come in between."""
LONG_SECONDS = 15.0
"""After that a sync lets others have its worker, where they wait."""
YIELD_CHECK_SECONDS = 2.0
SLOW_SECONDS = 10.0
"""As is_doubtful says in the database: for one answer."""


class SyncPass:
    """Reads from the provider, stores page by page; a page's transaction holds its rows, counts and checkpoint."""

    def __init__(
        self,
        db: Database,
        provider: Provider,
        config: AirflowConfig,
        state: Row,
        mirror: MirrorWriter,
        progress: Progress,
    ) -> None:
        self._reading = SyncSession(db, provider, config, state, mirror, progress)
        self._db, self._provider, self._config, self._state = db, provider, config, state
        self._progress = progress
        self._began = self._polled_at = self._asked_at = clocks.monotonic()
        self._reading.let_others = self._yield_if_contended
        self._changes: IncrementalSync | None = None
        self._per_dag: PerDag | None = None
        self._is_whole = True
        self._checked_at: datetime | None = state["checked_at"]
        self._checked_whole_at: datetime | None = state["checked_whole_at"]

    async def run(self) -> PassResult:
        """Run the pass; return its result once everything before its watermark is stored."""
        await self._identify()
        await self._reading.load()
        await measure_clocks(self._reading)
        await self._arm_identity_check()
        # What an interrupted full reading had seen missing before proves nothing; the totals are compared soon.
        was_interrupted = (self._state["checkpoint"] or {}).get("kind") == "history"
        history, watermark = await self._read_all_or_per_dag()
        single = self._per_dag
        has_backfill = single.has_unread if single else await backfill_new_pipelines(self._reading)
        if self._reading.has_listed:
            await reread_skipped(self._reading)
        if not history.is_complete and history.place["end"]:
            self._progress.warn(f"The history is here back to {history.place['end'][:16]}; the rest follows.")
        compares_soon = await self._reconcile(watermark)
        recheck_due = was_interrupted or compares_soon or self._reading.missing > 0
        for kind, removed in (await apply_or_quarantine(self._reading)).items():
            self._progress.counts[kind]["removed"] += removed
        await self._reading.save_progress()
        self._reading.clocks.hear_newest(self._reading.newest_stamp)
        await save_clocks(self._reading)
        if self._reading.has_listed:
            await read_graphs(self._db, self._provider, self._progress)
        changes = self._changes
        return PassResult(
            watermark=watermark,
            is_whole=self._is_whole,
            complete_as_of=single.complete_as_of if single else None,
            reschedule_immediately=has_backfill
            or not history.is_complete
            or self._reading.missing_pipelines > 0  # the second look decides
            or bool(changes and (changes.is_behind or changes.has_more_to_follow)),
            mode=changes.mode if changes else self._state["mode"],
            poll_seconds=changes.polling.median if changes else None,
            polling=changes.polling.to_json() if changes else self._state["polling"],
            quick_from=changes.quick_from if changes else None,
            checked_at=self._checked_at,
            checked_whole_at=self._checked_whole_at,
            recheck_due=recheck_due,
            events=changes.events if changes else self._state["events"],
            identity_samples=await select_identity_samples(self._reading, watermark),
            base_url=self._config.base_url,
            source_verified=self._reading.is_vouched_for,
        )

    async def _read(self) -> tuple[Backfill, datetime]:
        """The history as far as it was read, and the watermark."""
        if self._state["watermark"] is None:
            return await self._initial_sync()
        if self._progress.is_full or (self._state["checkpoint"] or {}).get("kind") == "history":
            return await self._full_resync()
        # Whoever asks has often just changed something in Airflow.
        if self._is_listing_due() or (self._progress.trigger == "manual" and not self._has_listed_before()):
            await self._reading.list_pipelines()
        watermark = await self._poll(self._state["watermark"], recent_only=self._progress.trigger != "manual")
        history = self._history(watermark)
        await history.read(seconds=HISTORY_SECONDS)
        return history, watermark

    async def _initial_sync(self) -> tuple[Backfill, datetime]:
        """The first sync: the newest windows, so that there is something to see; a full one reads all of them.

        What an interrupted sync before this one read is as of then, so what changed since is read too.
        """
        listed_at = await self._reading.list_pipelines()
        history = self._history(listed_at)
        as_of = datetime.fromisoformat(history.place["as_of"])
        if self._state["history"] is None:  # before the first row: whatever breaks off from here on is as of then
            await self._save_place(history)
        await history.read(
            seconds=None if self._progress.is_full else HISTORY_SECONDS, between=self._yield_if_contended
        )
        await read_older_runs(self._reading, as_of)
        is_due = self._state["history"] is not None or bool(self._reading.older_runs)
        return history, await self._poll(as_of, checkpoint=False) if is_due else as_of

    async def _full_resync(self) -> tuple[Backfill, datetime]:
        """The whole history, marking what is missing, with what changes meanwhile read in between."""
        self._progress.is_full = True
        if not self._has_listed_before():
            await self._reading.list_pipelines()
        watermark: datetime = self._state["watermark"]
        was = self._state["checkpoint"] or {}
        place = was if was.get("kind") == "history" and "goal" in was else None
        again = Backfill(
            self._reading,
            place or initial_position(watermark, self._config.history_days, self._reading.oldest),
            save_as_checkpoint(self._reading),
            finds_missing=True,
        )
        if place is None:  # before the first row: a window that is not whole is read again, as it is now
            async with self._db.tenant_transaction(self._progress.space_id) as tx:
                await self._progress.save(tx)
                await save_as_checkpoint(self._reading)(again.place)(tx)
        await again.read(seconds=None, between=self._poll_when_due)
        await read_older_runs(self._reading, watermark)
        history = self._history(watermark)
        if not history.is_complete:  # all of it has been read now
            history.place = again.place
            await self._save_place(history)
        return history, await self._poll(watermark, recent_only=False, checkpoint=False)

    # --- Pipeline by pipeline --------------------------------------------------------------------------------------

    async def _read_all_or_per_dag(self) -> tuple[Backfill, datetime]:
        """Read through lists over all DAGs, or where the account may only read single ones, DAG by DAG."""
        if self._state["is_per_dag"]:
            if not self._is_listing_due() or not await self._provider.may_read_all():
                return await self._read_dags()
            await per_dag.end(self._reading)
        try:
            return await self._read()
        except ProviderHTTPError as refusal:
            if refusal.status != per_dag.FORBIDDEN or not await per_dag.must_read_per_dag(self._reading):
                raise
        if self._state["history"] is not None:
            await per_dag.begin(self._reading)
        return await self._read_dags()

    async def _read_dags(self) -> tuple[Backfill, datetime]:
        """The history counts as read: each pipeline that lacks its own is marked so."""
        progress, state = self._progress, self._state
        if state["history"] is None:  # begun anew: what was read before counts for nothing
            await per_dag.begin(self._reading)
        started_at = per_dag.full_since(self._reading)
        progress.is_full = started_at is not None
        is_manual = progress.trigger == "manual" or progress.is_full
        if not self._reading.has_listed and (self._is_listing_due() or (is_manual and not self._has_listed_before())):
            await self._reading.list_pipelines()
        as_of = state["watermark"] or self._provider.server_time or datetime.now(UTC)
        history = self._history(as_of)
        if not history.is_complete:
            history.place |= {"is_complete": True, "end": history.place["goal"]}
            await self._save_place(history)
            state["history"] = history.place
        if started_at is not None:
            async with self._db.tenant_transaction(progress.space_id) as tx:
                await save_as_checkpoint(self._reading)(per_dag.checkpoint_of(started_at))(tx)
        self._per_dag = PerDag(self._reading, full_since=started_at)
        self._changes = IncrementalSync(self._reading, as_of, self._per_dag.read)
        return history, await self._poll(as_of)

    def _is_listing_due(self) -> bool:
        listed_at: datetime | None = self._state["pipelines_listed_at"]
        return listed_at is None or datetime.now(UTC) - listed_at >= PIPELINES_EVERY or self._state["looks_again"]

    # --- Parts -------------------------------------------------------------------------------------------------------

    async def _identify(self) -> None:
        if self._state["api_version"] is not None:
            return
        identity = await self._provider.detect_version()
        async with self._db.tenant_transaction(self._progress.space_id) as tx:
            await tx.execute(
                QUERIES["save_identity"],
                **self._reading.names,
                api_version=identity.api_version,
                provider_version=identity.version,
            )

    async def _arm_identity_check(self) -> None:
        """Before anything is stored, and at once where something gives a reason to ask: it costs a request."""
        state = self._state
        if not state["witnesses"]:
            return
        self._reading.ask_witnesses = partial(verify_source_identity, self._reading, self._config.base_url)
        has_moved = state["address"] != self._config.base_url or state["api_version"] is None
        if has_moved or state["failures"] > 0 or state["held"] is not None:
            await self._reading.verify_source()

    def _has_listed_before(self) -> bool:
        """This sync, on the worker that handed it over."""
        listed_at: datetime | None = self._state["pipelines_listed_at"]
        return listed_at is not None and listed_at > self._progress.started_at

    def _history(self, as_of: datetime) -> Backfill:
        place = self._state["history"] or initial_position(as_of, self._config.history_days, self._reading.oldest)
        return Backfill(self._reading, place, save_in_state(self._reading), finds_missing=False)

    async def _save_place(self, history: Backfill) -> None:
        async with self._db.tenant_transaction(self._progress.space_id) as tx:
            await self._progress.save(tx)
            await save_in_state(self._reading)(history.place)(tx)

    async def _poll(self, watermark: datetime, *, recent_only: bool = True, checkpoint: bool = True) -> datetime:
        self._changes = self._changes or IncrementalSync(self._reading, watermark)
        polled = await self._changes.poll(recent_only=recent_only, checkpoint=checkpoint)
        self._polled_at, self._is_whole = clocks.monotonic(), polled.is_whole
        return polled.watermark

    async def _poll_when_due(self) -> None:
        await self._yield_if_contended()
        if clocks.monotonic() - self._polled_at >= self._config.sync_interval_seconds:
            await self._poll(self._state["watermark"], checkpoint=False)

    async def _yield_if_contended(self) -> None:
        """Hand this long sync over when others wait for a worker; it goes on after them."""
        now = clocks.monotonic()
        if now - self._began < LONG_SECONDS or now - self._asked_at < YIELD_CHECK_SECONDS:
            return
        self._asked_at = now
        is_slow_or_failing = self._state["failures"] > 0 or (self._state["poll_seconds"] or 0) > SLOW_SECONDS
        async with self._db.transaction() as tx:
            waiting = await tx.fetch_one(QUERIES["syncs_waiting"], doubtful=is_slow_or_failing)
        if waiting and waiting["total"]:
            raise Requeued

    async def _reconcile(self, watermark: datetime) -> bool:
        """Compare the totals when it is time. Whether the next pass is to look again, for other reasons than losses."""
        now, changes = datetime.now(UTC), self._changes
        if self._progress.is_full:
            await self._reading.forget_placeless()
            self._checked_at = self._checked_whole_at = now
            return False
        if self._per_dag is not None:  # it compares the totals of each pipeline
            if self._per_dag.has_checked_all:
                self._checked_at = self._checked_whole_at = now
            return False
        due = reconcile.is_due(self._reading, mode=changes.mode) if changes else "no"
        if due == "no":
            return changes is not None and changes.compares
        try:
            await reconcile.Reconciler(self._reading).run(watermark, is_whole=due == "whole")
            if due == "whole":
                await self._reading.forget_placeless()
        except (ProviderUnreachable, ProviderRejectedCredentials):
            raise
        except ProviderFailed as failure:  # what was read is true all the same
            self._progress.warn(f"The totals could not be compared this time: {failure}")
        self._checked_at = now
        self._checked_whole_at = now if due == "whole" else self._checked_whole_at
        return False
