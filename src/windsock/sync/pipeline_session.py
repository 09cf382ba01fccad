"""Reads the list of pipelines and stores it."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

from windsock.db.database import Database, Transaction
from windsock.errors import (
    ProviderFailed,
    ProviderRejectedCredentials,
    ProviderUnreachable,
)
from windsock.providers.airflow.config import AirflowConfig
from windsock.providers.base import (
    PipelineListing,
    Provider,
    ProviderPipeline,
)
from windsock.providers.miscounts import Miscounts
from windsock.sync.clocks import Clocks
from windsock.sync.dag_filter import is_included, may_be_included
from windsock.sync.deletions import DeletionTracker
from windsock.sync.page_store import PageStore
from windsock.sync.polling import ListingCost, digest_of
from windsock.sync.progress import Progress
from windsock.sync.state import SyncState
from windsock.sync.writer import MirrorWriter, UpsertResult


class PipelineSession(PageStore):
    """One pass's way into the mirror: the pipelines. `pipelines` maps the wanted DAGs to their ids here."""

    def __init__(
        self,
        db: Database,
        provider: Provider,
        config: AirflowConfig,
        state: SyncState,
        progress: Progress,
    ) -> None:
        super().__init__(db, provider, progress)
        self.config, self.state = config, state
        self.mirror = MirrorWriter(progress.space_id, progress.connector_id)
        self.gone = DeletionTracker(progress.space_id, progress.connector_id, progress.sync_id)
        self.pipelines: dict[str, UUID] = {}
        self.has_listed = self.source_verified = False
        self.missing = self.missing_pipelines = 0
        self.older_runs: dict[tuple[str, str], None] = {}
        self.unfinished_read: set[tuple[str, str]] = set()
        self.newest_stamp: datetime | None = None
        self.clocks = Clocks(provider, state.clocks)
        self.identity_check: Callable[[], Awaitable[None]] | None = None
        self._excluded: set[str] = set(state.excluded_dag_ids)
        self._unlisted: set[str] = set()
        self._fetched_runs: set[tuple[str, str]] = set()
        days = state.retention_days
        self.oldest = datetime.now(UTC) - timedelta(days=days) if days else None
        self.yield_to_others: Callable[[], Awaitable[None]] | None = None

    @property
    def goal(self) -> datetime:
        """How far back the history is read, once it has been."""
        if self.state.backfill is not None:
            return self.state.backfill.goal
        return datetime.now(UTC) - timedelta(days=self.config.history_days)

    @property
    def excluded_dags(self) -> frozenset[str]:
        """DAGs of the provider's list that this connector is not to mirror."""
        return frozenset(self._excluded)

    @property
    def has_excluded_dags(self) -> bool:
        """The provider lists DAGs that this connector is not to mirror, so that its totals are not ours."""
        return bool(self._excluded) or self.skips.hides_pipelines

    async def load(self) -> None:
        async with self.transaction() as tx:
            self.pipelines = await self.mirror.known_pipelines(tx)
            self.skips.is_per_dag = self.state.is_per_dag
            if self.state.skipped:
                await self.skips.load(tx)
        self.progress.miscounts = Miscounts(self.state.miscounts, self.skips.unlisted)
        self.provider.set_miscounts(self.progress.miscounts)

    async def position_of(self, dag_id: str, run_id: str) -> datetime | None:
        """Where the provider's lists have a mirrored run in time (see RunRange)."""
        async with self.transaction() as tx:
            return await self.gone.position_of(tx, dag_id, run_id)

    async def miss_run(self, dag_id: str, run_id: str) -> None:
        """Mark a requested run that does not exist as missing."""
        async with self.transaction() as tx:
            self.missing += await self.gone.mark_missing_run(tx, dag_id, run_id)
            await self.progress.save(tx)

    async def verify_source(self) -> None:
        """Before the first row of a pass is stored: raise SourceMismatch when it is not of the one that is mirrored."""
        if not self.source_verified:
            self.source_verified = True
            if self.identity_check is not None:
                await self.identity_check()

    async def list_pipelines(self, deleted: set[str] | None = None) -> datetime:
        """The provider's clock before the listing. `deleted`: what its log says was deleted."""
        self.progress.phase = "listing pipelines"
        await self.save_progress()
        await self.verify_source()
        listing, cost = await self._list(reads_import_errors=True)
        return await self._store_listing(listing, cost, deleted)

    async def list_pipelines_if_cheap(self) -> None:
        """List them where that takes few requests, and store the list where it differs from the one stored last.

        Airflow does not tell of new names, tags, schedules and next runs in any other way.
        """
        before = self.state.listing
        if self.has_listed or before is None or not before.is_cheap:
            return
        try:
            listing, cost = await self._list(reads_import_errors=False)
        except (ProviderUnreachable, ProviderRejectedCredentials):
            raise
        except ProviderFailed as failure:  # the list of every five minutes is the one that must be had
            self.progress.warn(f"The DAGs could not be listed this time: {failure}")
            return
        self.count_requests()
        if cost.digest != before.digest:
            await self.verify_source()
            await self._store_listing(listing, cost, None)

    async def _list(self, *, reads_import_errors: bool) -> tuple[PipelineListing, ListingCost]:
        """The pipelines, and what the list cost."""
        requests, seconds = self.provider.requests, self.provider.request_seconds
        listing = await self.provider.list_pipelines(reads_import_errors=reads_import_errors)
        requests = self.provider.requests - requests - reads_import_errors
        seconds = round(self.provider.request_seconds - seconds, 3)
        return listing, ListingCost(requests, seconds, digest_of(listing))

    async def _store_listing(self, listing: PipelineListing, cost: ListingCost, deleted: set[str] | None) -> datetime:
        wanted = [pipeline for pipeline in listing.rows if is_included(pipeline, self.config)]
        skipped = [row for row in listing.skipped if may_be_included(row, self.config)]
        self.progress.expected += len(listing.rows) + sum(not row.fields for row in skipped)
        backfill_started, known = self.has_listed or self.state.backfill is not None, self.pipelines
        found: dict[str, UUID] = {}

        async def store(tx: Transaction, rows: list[ProviderPipeline]) -> UpsertResult:
            stored, pipelines = await self.mirror.store_pipelines(tx, rows, backfill_started=backfill_started)
            found.update(pipelines)
            return stored

        async def finish(tx: Transaction, stored: UpsertResult) -> int:
            unseen = self.skips.unseen_pipelines(known)
            self.pipelines = found | {dag_id: known[dag_id] for dag_id in unseen}
            await self.skips.settle(tx, "pipelines")
            missing = await self.gone.mark_missing_pipelines(tx, self.pipelines.values(), deleted or ())
            self.count("pipelines", stored, read=len(listing.rows))
            self._excluded = {row.external_id for row in listing.rows} - self.pipelines.keys() - self.skips.pipelines
            if listing.import_errors is not None:
                await self.mirror.replace_import_errors(tx, listing.import_errors)
            await self.state_writer.save_listing(tx, self._excluded, cost)
            await self.save(tx)
            return missing

        self.skips.begin_scan("pipelines", None)
        self.skips.meet(skipped)
        missing = await self.store_page("pipelines", wanted, store, finish)
        self.has_listed = True
        self.missing += missing
        self.missing_pipelines += missing
        _mention(listing, missing, self.progress)
        self.progress.raise_if_interrupted()
        return listing.as_of

    async def list_pipelines_when_unknown(self, dag_ids: set[str]) -> None:
        """A DAG that is new since the last listing would lose its runs: list again, once for what stays unknown."""
        unknown = dag_ids - self.pipelines.keys() - self._excluded - self._unlisted - self.skips.pipelines
        if unknown:
            await self.list_pipelines()
            self._unlisted |= unknown - self.pipelines.keys()


def _mention(listing: PipelineListing, missing: int, progress: Progress) -> None:
    if listing.import_errors:
        count = len(listing.import_errors)
        files = "1 DAG file" if count == 1 else f"{count} DAG files"
        progress.warn(f"{files} could not be imported by Airflow; its import errors name them.")
    if missing:
        which = "1 pipeline is" if missing == 1 else f"{missing} pipelines are"
        progress.warn(f"{which} missing in Airflow's list, which held {len(listing.rows)}. A second look decides.")
