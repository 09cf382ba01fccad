"""What the parts of a pass share: pages are stored as they come, each with its counts and where to go on."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any, Literal, TypeVar
from uuid import UUID

from windsock.db import Database, Row, Transaction
from windsock.errors import ProviderIncomplete
from windsock.providers.airflow.config import AirflowConfig
from windsock.providers.contract import Page, PipelineListing, Provider, ProviderPipeline, ProviderRun, ProviderTaskRun
from windsock.sync.gone import Gone
from windsock.sync.mirror import MOST_UNKNOWN_RUNS, Mirror, Stored
from windsock.sync.progress import QUERIES, Progress

Stream = Literal["runs", "task_runs"]
Save = Callable[[Transaction], Awaitable[object]]
"""Writes, in the transaction of a page, where to go on after it."""
T = TypeVar("T", ProviderRun, ProviderTaskRun)
RUNS_AT_ONCE = 50
"""Fetched one by one and then stored."""


class Reading:
    """One pass's way from the provider into the mirror. `pipelines` maps the wanted DAGs to their ids here."""

    def __init__(
        self, db: Database, provider: Provider, config: AirflowConfig, state: Row, mirror: Mirror, progress: Progress
    ) -> None:
        self.db, self.provider, self.config, self.state = db, provider, config, state
        self.mirror, self.progress = mirror, progress
        self.gone = Gone(progress.space_id, progress.connector_id, progress.sync_id)
        self.pipelines: dict[str, UUID] = {}
        self.has_listed = self.is_vouched_for = False
        self.missing = 0
        self.older_runs: dict[tuple[str, str], None] = {}
        self.ask_witnesses: Callable[[], Awaitable[None]] | None = None
        self.names = {"space_id": progress.space_id, "connector_id": progress.connector_id}
        self._unwanted: set[str] = set(state["unwanted"])
        self._stay_unknown: set[str] = set()
        self._asked_for: set[tuple[str, str]] = set()
        retention = state["retention_days"]
        self.oldest = datetime.now(UTC) - timedelta(days=retention) if retention else None
        self.let_others: Callable[[], Awaitable[None]] | None = None

    @property
    def goal(self) -> datetime:
        """How far back the history is read, once it has been."""
        goal = time((self.state["history"] or {}).get("goal"))
        return goal or datetime.now(UTC) - timedelta(days=self.config.history_days)

    @property
    def leaves_some_out(self) -> bool:
        """The provider lists DAGs that this connector is not to mirror, so that its totals are not ours."""
        return bool(self._unwanted)

    async def load(self) -> None:
        async with self.db.in_space(self.progress.space_id) as tx:
            self.pipelines = await self.mirror.known_pipelines(tx)

    async def vouch(self) -> None:
        """Before the first row of a pass is stored: raise OtherAirflow when it is not of the one that is mirrored."""
        if not self.is_vouched_for:
            self.is_vouched_for = True
            if self.ask_witnesses is not None:
                await self.ask_witnesses()

    # --- Pipelines ---------------------------------------------------------------------------------------------------

    async def list_pipelines(self, deleted: set[str] | None = None) -> datetime:
        """The provider's clock before the listing. `deleted`: what its log says was deleted."""
        self.progress.phase = "listing pipelines"
        await self.save_progress()
        await self.vouch()
        listing = await self.provider.list_pipelines()
        wanted = [pipeline for pipeline in listing.rows if is_wanted(pipeline, self.config)]
        self.progress.expected += len(listing.rows)
        async with self.db.in_space(self.progress.space_id) as tx:
            has_begun = self.has_listed or self.state["history"] is not None
            stored, self.pipelines = await self.mirror.store_pipelines(tx, wanted, has_begun=has_begun)
            missing = await self.gone.miss_pipelines(tx, stored.ids, deleted or ())
            self._count("pipelines", stored, read=len(listing.rows))
            self._unwanted = {row.external_id for row in listing.rows} - self.pipelines.keys()
            await tx.run(QUERIES["save_listing"], **self.names, unwanted=sorted(self._unwanted))
            await self.progress.save(tx)
        self.has_listed = True
        self.missing += missing
        _mention(listing, missing, self.progress)
        self.progress.go_on_or_stop()
        return listing.as_of

    async def list_pipelines_when_unknown(self, dag_ids: set[str]) -> None:
        """A DAG that is new since the last listing would lose its runs: list again, once for what stays unknown."""
        unknown = dag_ids - self.pipelines.keys() - self._unwanted - self._stay_unknown
        if unknown:
            await self.list_pipelines()
            self._stay_unknown |= unknown - self.pipelines.keys()

    # --- Pages -------------------------------------------------------------------------------------------------------

    async def scan(self, kind: Stream, pages: AsyncIterator[Page[T]]) -> AsyncIterator[Page[T]]:
        """The pages as they come, with what they promise counted as expected."""
        self.progress.phase = "reading runs" if kind == "runs" else "reading task runs"
        before, promised, got = self.progress.expected, 0, 0
        async for page in _one_ahead(pages):
            got += len(page.rows)
            promised = max(promised, page.expected or 0, got)
            self.progress.expected = before + promised
            yield page

    async def store_runs(self, rows: list[ProviderRun], save: Save | None = None) -> Stored:
        """One page, its counts and where to go on (None: what is there stays), in one transaction."""
        if not rows and save is None:
            return self._nothing()
        await self.vouch()
        async with self.db.in_space(self.progress.space_id) as tx:
            stored = await self.mirror.store_runs(tx, rows, self.pipelines, self.oldest)
            await self._end_of_page(tx, "runs", stored, len(rows), save)
        self._note_older(rows, stored)
        await self._go_on_or_stop(save)
        return stored

    async def store_task_runs(self, rows: list[ProviderTaskRun], save: Save | None = None) -> Stored:
        """As store_runs; runs that are not known yet are fetched first."""
        if not rows and save is None:
            return self._nothing()
        await self.vouch()
        stored = None
        while stored is None:
            async with self.db.in_space(self.progress.space_id) as tx:
                unknown = await self._unknown_runs(tx, rows)
                if not unknown:
                    stored = await self.mirror.store_task_runs(tx, rows, self.pipelines)
                    await self._end_of_page(tx, "task_runs", stored, len(rows), save)
            await self._fetch(unknown)
        await self._go_on_or_stop(save)
        return stored

    def _nothing(self) -> Stored:
        """An empty page needs no transaction: an idle sync reads little else."""
        self.count_requests()
        self.progress.go_on_or_stop()
        return Stored()

    async def save_progress(self) -> None:
        async with self.db.in_space(self.progress.space_id) as tx:
            await self.progress.save(tx)

    async def _end_of_page(self, tx: Transaction, kind: str, stored: Stored, read: int, save: Save | None) -> None:
        self._count(kind, stored, read=read)
        await self.progress.save(tx)  # before the checkpoint: everybody locks the sync run before the state
        if save is not None:
            await save(tx)

    async def _unknown_runs(self, tx: Transaction, task_runs: list[ProviderTaskRun]) -> list[tuple[str, str]]:
        """Runs that began after the runs were read, or lie before the history: their task runs need them.

        Not of those that the space no longer keeps, nor those that were asked for before and are not there.
        """
        oldest = self.oldest
        kept = [task for task in task_runs if oldest is None or task.run_at is None or task.run_at >= oldest]
        unknown = await self.mirror.unknown_runs(tx, kept, self.pipelines)
        if len(unknown) > MOST_UNKNOWN_RUNS:
            raise ProviderIncomplete("Task runs came for more than 10,000 runs that the provider had not listed.")
        return [key for key in unknown if key not in self._asked_for]

    async def _fetch(self, runs: list[tuple[str, str]]) -> None:
        for first in range(0, len(runs), RUNS_AT_ONCE):
            keys = runs[first : first + RUNS_AT_ONCE]
            found = [run for key in keys if (run := await self.provider.run(*key)) is not None]
            self._asked_for.update(keys)
            self.progress.expected += len(found)
            await self.store_runs(found)

    def _note_older(self, runs: list[ProviderRun], stored: Stored) -> None:
        """Runs from before the history come with those task runs only that changed; the others are to be read."""
        goal = self.goal
        for run in runs if stored.created else ():
            key = (run.pipeline_external_id, run.external_id)
            if run.run_at < goal and (self.pipelines.get(key[0]), key[1]) in stored.created:
                self.older_runs.setdefault(key)

    async def _go_on_or_stop(self, save: Save | None) -> None:
        """Raises where the pass shall end here; to let others have their turn only where its place is written down."""
        self.progress.go_on_or_stop()
        if save is not None and self.let_others is not None:
            await self.let_others()

    def _count(self, kind: str, stored: Stored, *, read: int) -> None:
        self.count_requests()
        self.progress.add(kind, stored, read=read)

    def count_requests(self) -> None:
        self.progress.provider_requests = self.progress.provider_requests_before + self.provider.requests


async def _one_ahead(pages: AsyncIterator[Page[T]]) -> AsyncIterator[Page[T]]:
    """The next page is asked for while this one is stored, so that the provider never waits for us.

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


def is_wanted(pipeline: ProviderPipeline, config: AirflowConfig) -> bool:
    """By name, and by tag where the connector names tags."""
    if any(fnmatchcase(pipeline.external_id, pattern) for pattern in config.exclude_dags):
        return False
    if config.include_dags and not any(fnmatchcase(pipeline.external_id, pattern) for pattern in config.include_dags):
        return False
    return not config.include_tags or any(
        fnmatchcase(tag, pattern) for tag in pipeline.tags for pattern in config.include_tags
    )


def _mention(listing: PipelineListing, missing: int, progress: Progress) -> None:
    if listing.import_errors:
        files = "1 DAG file" if listing.import_errors == 1 else f"{listing.import_errors} DAG files"
        progress.warn(f"{files} could not be imported by Airflow; its import errors name them.")
    if missing:
        which = "1 pipeline is" if missing == 1 else f"{missing} pipelines are"
        progress.warn(f"{which} missing in Airflow's list, which held {len(listing.rows)}. A second look decides.")


def iso(at: datetime) -> str:
    return at.isoformat()


def time(text: Any) -> datetime | None:  # noqa: ANN401 - out of a jsonb
    return datetime.fromisoformat(text) if text else None
