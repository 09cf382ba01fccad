"""Stores pages with their counts, their place and their skipped rows, in one transaction each."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from functools import partial
from typing import TypeVar
from uuid import UUID

from windsock import log
from windsock.db.database import Database, Transaction
from windsock.errors import ProviderBadResponse, ProviderFailed, ProviderInconclusive
from windsock.providers.base import Provider, ProviderPipeline, ProviderRun, ProviderTaskRun
from windsock.providers.scopes import UpdatedSince
from windsock.sync.isolation import Kind, Unstorable, store_isolated, storing
from windsock.sync.progress import Progress
from windsock.sync.skipped_rows import Entry
from windsock.sync.skips import Skips
from windsock.sync.state import StateWriter
from windsock.sync.state_records import Stream
from windsock.sync.writer import TimeWindow, UpsertResult, merged

CheckpointWriter = Callable[[Transaction], Awaitable[object]]
"""Writes, in the transaction of a page, where to go on after it."""
P = TypeVar("P", ProviderPipeline, ProviderRun, ProviderTaskRun)
R = TypeVar("R")
MAX_UNREADABLE_RUNS = 50
"""In one pass; where more fail, it is not the runs."""
INTERNAL_SERVER_ERROR = 500

logger = log.get(__name__)


class PageStore:
    """Stores pages. A row that cannot be stored does not prevent the others from being stored."""

    def __init__(self, db: Database, provider: Provider, progress: Progress) -> None:
        self.db, self.provider, self.progress = db, provider, progress
        self.names = {"space_id": progress.space_id, "connector_id": progress.connector_id}
        self.state_writer = StateWriter(progress.space_id, progress.connector_id)
        self.skips = Skips(progress.space_id, progress.connector_id, progress.sync_id)
        self._unreadable_runs = 0

    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        return self.db.tenant_transaction(self.progress.space_id)

    async def end_scan(self, kind: Stream, window: TimeWindow | None = None) -> set[UUID]:
        """After a scan with a scope was read to its end: ids here of what may be among the rows that it skipped."""
        if not self.skips.has_met:
            return set()
        async with self.transaction() as tx:
            await self.skips.settle(tx, kind)
            await self.save(tx)
            return await self.skips.spared(tx, kind, window)

    async def end_changes(self, kind: Stream, scope: UpdatedSince) -> None:
        """After a range of changes was read to its end."""
        async with self.transaction() as tx:
            await self.skips.settle_changes(tx, kind, scope)
            await self.save(tx)

    async def store_page(
        self,
        kind: Kind,
        rows: list[P],
        store: Callable[[Transaction, list[P]], Awaitable[UpsertResult]],
        finish: Callable[[Transaction, UpsertResult], Awaitable[R]],
        *,
        is_listed: bool = True,
    ) -> R:
        """In one transaction: at once, or row by row where that is refused because of a value."""
        try:
            async with self.transaction() as tx:
                return await finish(tx, await storing(store(tx, rows)))
        except Unstorable:
            logger.warning("a page cannot be stored as a whole; it is stored row by row", kind=kind, exc_info=True)
        async with self.transaction() as tx:
            isolated = await store_isolated(tx, kind, rows, partial(store, tx))
            self.skips.meet(isolated.skipped, is_listed=is_listed)
            return await finish(tx, merged(isolated.results))

    async def forget_skipped(self, entry: Entry) -> None:
        async with self.transaction() as tx:
            await self.skips.forget(tx, [entry.identity])
            await self.save(tx)

    async def forget_placeless(self) -> None:
        """After all of the history was read or compared."""
        if self.skips.has_met:
            async with self.transaction() as tx:
                await self.skips.forget_placeless(tx)
                await self.save(tx)

    async def save_progress(self) -> None:
        async with self.transaction() as tx:
            await self.skips.write(tx)
            await self.save(tx)

    async def save(self, tx: Transaction) -> None:
        self.progress.skipped = len(self.skips.known)
        await self.progress.save(tx)

    async def end_page(
        self, tx: Transaction, kind: str, stored: UpsertResult, read: int, save: CheckpointWriter | None
    ) -> None:
        self.count(kind, stored, read=read)
        await self.save(tx)  # before the checkpoint: everybody locks the sync run before the state
        if save is not None:
            await save(tx)

    def store_nothing(self) -> UpsertResult:
        """An empty page needs no transaction: an idle sync reads little else."""
        self.count_requests()
        self.progress.raise_if_interrupted()
        return UpsertResult()

    def skip_unreadable_run(self, dag_id: str, run_id: str, failure: ProviderFailed) -> bool:
        """Record that this run cannot be read; False where the failure is not of one row."""
        is_of_row = isinstance(failure, ProviderBadResponse) or failure.status == INTERNAL_SERVER_ERROR
        self._unreadable_runs += is_of_row
        if not is_of_row or self._unreadable_runs > MAX_UNREADABLE_RUNS:
            return False
        self.skips.meet_run(dag_id, run_id, str(failure))
        return True

    def skip_unlisted_run(
        self, dag_id: str, run_id: str, position: datetime | None, failure: ProviderInconclusive
    ) -> None:
        """A mirrored run without an address, where the list of its moment lacks rows: it may be one of those."""
        if position is not None:
            self.skips.meet_run(dag_id, run_id, str(failure), position)

    def count(self, kind: str, stored: UpsertResult, *, read: int) -> None:
        self.count_requests()
        self.progress.add(kind, stored, read=read)

    def count_requests(self) -> None:
        self.progress.provider_requests = self.progress.provider_requests_before + self.provider.requests
