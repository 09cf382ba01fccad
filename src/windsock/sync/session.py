"""Shared state of a pass: stores pages as they arrive, each with its counts and position."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import TypeVar

from windsock.db.database import Transaction
from windsock.errors import (
    ProviderFailed,
    ProviderIncomplete,
    ProviderInconclusive,
)
from windsock.providers.base import (
    Page,
    ProviderRun,
    ProviderTaskRun,
)
from windsock.providers.scopes import ScanScope
from windsock.sync.isolation import skipped_row
from windsock.sync.page_store import CheckpointWriter
from windsock.sync.pipeline_session import PipelineSession
from windsock.sync.skipped_rows import key_of, key_of_run
from windsock.sync.state_records import Stream
from windsock.sync.writer import MAX_MISSING_PARENT_RUNS, UpsertResult

T = TypeVar("T", ProviderRun, ProviderTaskRun)
UNFINISHED = frozenset({"queued", "running"})
RUNS_AT_ONCE = 50
"""Fetched one by one and then stored."""


class _UnknownRuns(Exception):
    """Task runs need runs that are not in the mirror."""

    def __init__(self, keys: list[tuple[str, str]]) -> None:
        super().__init__()
        self.keys = keys


class SyncSession(PipelineSession):
    """One pass's way from the provider into the mirror: runs and task runs, page by page."""

    async def track_pages(
        self, kind: Stream, pages: AsyncIterator[Page[T]], scope: ScanScope | None = None
    ) -> AsyncIterator[Page[T]]:
        """The pages as they come, with what they promise counted as expected. `scope`: what is read."""
        self.progress.phase = "reading runs" if kind == "runs" else "reading task runs"
        before, promised, got = self.progress.expected, 0, 0
        self.skips.begin_scan(kind, scope)
        async for page in _prefetch(pages):
            got += len(page.rows) + sum(not row.fields for row in page.skipped)
            promised = max(promised, page.expected or 0, got)
            self.progress.expected = before + promised
            skipped = (row for row in page.skipped if row.pipeline_external_id not in self._excluded)
            self.skips.meet(skipped, now=self.provider.server_time)
            yield page

    async def store_runs(
        self, rows: list[ProviderRun], save: CheckpointWriter | None = None, *, is_listed: bool = True
    ) -> UpsertResult:
        """One page, its counts and where to go on (None: what is there stays), in one transaction.

        Not `is_listed`: the provider gave them one by one, and does not say what it left out of them.
        """
        if not rows and save is None and not self.skips.has_pending:
            return self.store_nothing()
        await self.verify_source()

        async def store(tx: Transaction, part: list[ProviderRun]) -> UpsertResult:
            return await self.mirror.store_runs(tx, part, self.pipelines, self.oldest)

        async def finish(tx: Transaction, stored: UpsertResult) -> UpsertResult:
            keys = (key_of_run(run.pipeline_external_id, run.external_id) for run in rows)
            await self.skips.write(tx, keys if is_listed else ())
            await self.end_page(tx, "runs", stored, len(rows), save)
            return stored

        stored = await self.store_page("runs", rows, store, finish, is_listed=is_listed)
        self._note_stamps(rows)
        self.unfinished_read |= {
            (run.pipeline_external_id, run.external_id) for run in rows if run.status in UNFINISHED
        }
        self._note_pre_backfill_runs(rows, stored)
        await self._raise_if_interrupted(save)
        return stored

    async def store_task_runs(self, rows: list[ProviderTaskRun], save: CheckpointWriter | None = None) -> UpsertResult:
        """As upsert_runs; runs that are not known yet are fetched first."""
        if not rows and save is None and not self.skips.has_pending:
            return self.store_nothing()
        await self.verify_source()

        async def store(tx: Transaction, part: list[ProviderTaskRun]) -> UpsertResult:
            if unknown := await self._unknown_runs(tx, part):
                raise _UnknownRuns(unknown)
            return await self.mirror.store_task_runs(tx, part, self.pipelines)

        async def finish(tx: Transaction, stored: UpsertResult) -> UpsertResult:
            self.skips.count_task_runs(rows)
            await self.skips.write(tx, (key_of(skipped_row("task_runs", task, "")) for task in rows))
            await self.end_page(tx, "task_runs", stored, len(rows), save)
            return stored

        stored = None
        while stored is None:
            try:
                stored = await self.store_page("task_runs", rows, store, finish)
            except _UnknownRuns as unknown:
                positions = {(row.pipeline_external_id, row.run_external_id): row.run_at for row in rows}
                await self._fetch(unknown.keys, positions)
        self._note_stamps(rows)
        self._note_replaced(stored)
        await self._raise_if_interrupted(save)
        return stored

    def _note_stamps(self, rows: Sequence[ProviderRun | ProviderTaskRun]) -> None:
        stamps = [at for row in rows for at in (row.queued_at, row.started_at, row.ended_at, self.newest_stamp) if at]
        self.newest_stamp = max(stamps, default=None)

    async def _unknown_runs(self, tx: Transaction, task_runs: list[ProviderTaskRun]) -> list[tuple[str, str]]:
        """Runs that began after the runs were read, or lie before the history: their task runs need them.

        Not of those that the space no longer keeps, nor those that were asked for before and are not there.
        """
        oldest = self.oldest
        recent = [task for task in task_runs if oldest is None or task.run_at is None or task.run_at >= oldest]
        unknown = await self.mirror.missing_parent_runs(tx, recent, self.pipelines)
        if len(unknown) > MAX_MISSING_PARENT_RUNS:
            raise ProviderIncomplete("Task runs came for more than 10,000 runs that the provider had not listed.")
        return [key for key in unknown if key not in self._fetched_runs and not self.skips.skips_run(*key)]

    async def _fetch(self, runs: list[tuple[str, str]], positions: dict[tuple[str, str], datetime | None]) -> None:
        for first in range(0, len(runs), RUNS_AT_ONCE):
            keys = runs[first : first + RUNS_AT_ONCE]
            found = [run for key in keys if (run := await self.read_run(*key, positions.get(key))) is not None]
            self._fetched_runs.update(keys)
            self.progress.expected += len(found)
            await self.store_runs(found, is_listed=False)

    async def read_run(self, dag_id: str, run_id: str, position: datetime | None = None) -> ProviderRun | None:
        """One run; None where the provider has it not, or where it cannot be read, which is recorded.

        `position`: as ProviderRun has it; a run without a usable address is looked for there, or not at all.
        """
        try:
            return await self.provider.run(dag_id, run_id, position)
        except ProviderInconclusive as unknown:
            self.skip_unlisted_run(dag_id, run_id, position, unknown)
            return None
        except ProviderFailed as failure:
            if not self.skip_unreadable_run(dag_id, run_id, failure):
                raise
            return None

    def _note_pre_backfill_runs(self, runs: list[ProviderRun], stored: UpsertResult) -> None:
        """Runs from before the history come with those task runs only that changed; the others are to be read."""
        goal = self.goal
        for run in runs if stored.created else ():
            key = (run.pipeline_external_id, run.external_id)
            if (run.position or run.run_at) < goal and (self.pipelines.get(key[0]), key[1]) in stored.created:
                self.older_runs.setdefault(key)

    def _note_replaced(self, stored: UpsertResult) -> None:
        """Nothing tells that task runs of a live run are gone; its whole list does."""
        dag_ids = {self.pipelines[dag_id]: dag_id for dag_id in self.pipelines} if stored.replaced else {}
        for pipeline_id, run_id in stored.replaced:
            self.older_runs.setdefault((dag_ids[pipeline_id], run_id))

    async def _raise_if_interrupted(self, save: CheckpointWriter | None) -> None:
        """Raises where the pass shall end here; to let others have their turn only where its place is written down."""
        self.progress.raise_if_interrupted()
        if save is not None and self.yield_to_others is not None:
            await self.yield_to_others()


async def _prefetch(pages: AsyncIterator[Page[T]]) -> AsyncIterator[Page[T]]:
    """Fetch the next page while this one is stored, so that the provider never waits.

    Still one request at a time: the provider takes turns.
    """

    async def next_page() -> Page[T] | None:
        return await anext(pages, None)

    coming = asyncio.create_task(next_page())
    try:
        while (page := await coming) is not None:
            coming = asyncio.create_task(next_page())
            yield page
    finally:
        coming.cancel()
        await asyncio.gather(coming, return_exceptions=True)
