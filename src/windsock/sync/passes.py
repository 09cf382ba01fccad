"""One pass over a provider: the pipelines when due, then what changed, or the whole history window by window."""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any, Literal, TypeVar
from uuid import UUID

from psycopg.types.json import Jsonb

from windsock.db import Database, Row, Transaction
from windsock.errors import ProviderIncomplete
from windsock.providers.airflow.config import AirflowConfig
from windsock.providers.contract import (
    ChangedSince,
    Page,
    PipelineListing,
    Provider,
    ProviderPipeline,
    ProviderRun,
    ProviderTaskRun,
    Resume,
    RunsBetween,
    Scope,
)
from windsock.sync.graphs import read_graphs
from windsock.sync.mirror import MOST_UNKNOWN_RUNS, Mirror, Stored, Window
from windsock.sync.progress import QUERIES, Progress

OVERLAP = timedelta(seconds=120)
"""Read again before the watermark: transactions stamp updated_at before they commit (measured lag: up to 7.3 s)."""
PIPELINES_EVERY = timedelta(minutes=5)
FIRST_WINDOW, SHORTEST_WINDOW = timedelta(days=1), timedelta(hours=1)
FEW_ROWS, MANY_ROWS = 500, 5_000
CHECKPOINT_LIFETIME = timedelta(hours=6)
"""An offset in a listing that old may mean other rows by now; then the scan begins again."""

Checkpoint = dict[str, Any]
Stream = Literal["runs", "task_runs"]
T = TypeVar("T", ProviderRun, ProviderTaskRun)


class Pass:
    """Reads from the provider, stores page by page; a page's transaction holds its rows, counts and checkpoint."""

    def __init__(
        self, db: Database, provider: Provider, config: AirflowConfig, state: Row, mirror: Mirror, progress: Progress
    ) -> None:
        self._db, self._provider, self._config = db, provider, config
        self._mirror, self._progress = mirror, progress
        self._state = state
        self._checkpoint: Checkpoint = _still_good(state["checkpoint"])
        self._pipelines: dict[str, UUID] = {}
        self._unwanted: set[str] = set(state["unwanted"])
        self._has_listed = False
        self._names = {"space_id": progress.space_id, "connector_id": progress.connector_id}
        watermark = state["watermark"]
        progress.is_full = progress.is_full or watermark is None or self._checkpoint.get("kind") == "history"

    async def run(self) -> datetime:
        """The new watermark, once everything before it is stored."""
        if self._state["api_version"] is None:
            identity = await self._provider.identify()
            async with self._db.in_space(self._progress.space_id) as tx:
                await tx.run(
                    QUERIES["save_identity"],
                    **self._names,
                    api_version=identity.api_version,
                    provider_version=identity.version,
                )
        async with self._db.in_space(self._progress.space_id) as tx:
            self._pipelines = await self._mirror.known_pipelines(tx)
        if self._progress.is_full:
            watermark = await self._read_history(await self._list_pipelines())
        else:
            listed_at: datetime | None = self._state["pipelines_listed_at"]
            is_due = listed_at is None or datetime.now(UTC) - listed_at >= PIPELINES_EVERY
            if is_due or self._progress.trigger == "manual":  # whoever asks has often just changed something in Airflow
                await self._list_pipelines()
            watermark = await self._read_changes()
        # Only now is the pass complete; one that broke off must not have taken anything away.
        async with self._db.in_space(self._progress.space_id) as tx:
            for kind, removed in (await self._mirror.remove_gone(tx)).items():
                self._progress.counts[kind]["removed"] += removed
            await self._progress.save(tx)
        if self._has_listed:
            await read_graphs(self._db, self._provider, self._progress.space_id, self._progress.connector_id)
        return watermark

    # --- Pipelines ---------------------------------------------------------------------------------------------------

    async def _list_pipelines(self) -> datetime:
        self._progress.phase = "listing pipelines"
        await self._save_progress()
        listing = await self._provider.list_pipelines()
        wanted = [pipeline for pipeline in listing.rows if is_wanted(pipeline, self._config)]
        self._progress.expected += len(listing.rows)
        async with self._db.in_space(self._progress.space_id) as tx:
            stored, self._pipelines = await self._mirror.store_pipelines(tx, wanted)
            await self._mirror.miss_pipelines(tx, stored.ids)
            self._count("pipelines", stored, read=len(listing.rows))
            self._unwanted = {row.external_id for row in listing.rows} - self._pipelines.keys()
            await tx.run(QUERIES["save_listing"], **self._names, unwanted=sorted(self._unwanted))
            await self._progress.save(tx)
        self._has_listed = True
        _mention_import_errors(listing, self._progress)
        return listing.as_of

    async def _list_pipelines_when_unknown(self, dag_ids: set[str]) -> None:
        """A DAG that is new since the last listing would lose its runs: list again, once in a pass."""
        if not self._has_listed and dag_ids - self._pipelines.keys() - self._unwanted:
            await self._list_pipelines()

    # --- What changed ------------------------------------------------------------------------------------------------

    async def _read_changes(self) -> datetime:
        point = self._checkpoint
        if not point:
            point = {"kind": "changes", "since": _iso(self._state["watermark"] - OVERLAP), "stream": "runs"}
        scope = ChangedSince(datetime.fromisoformat(point["since"]))
        as_of = _time(point.get("as_of"))
        resume = point.get("resume")
        if point["stream"] == "runs":
            async for page in self._scan("runs", self._provider.runs(scope, resume)):
                as_of = as_of or page.as_of
                await self._list_pipelines_when_unknown({run.pipeline_external_id for run in page.rows})
                after = point | {"as_of": _iso(as_of), "resume": page.resume}
                await self._store("runs", page.rows, after if page.resume else None)
            resume = None
        point = point | {"as_of": _iso(as_of) if as_of else None, "stream": "task_runs", "resume": resume}
        async for task_page in self._scan("task_runs", self._provider.task_runs(scope, resume)):
            as_of = as_of or task_page.as_of
            await self._list_pipelines_when_unknown({task.pipeline_external_id for task in task_page.rows})
            await self._fetch_unknown_runs(task_page.rows)
            after = point | {"resume": task_page.resume}
            await self._store("task_runs", task_page.rows, after if task_page.resume else None)
        if as_of is None:
            raise ProviderIncomplete("The provider answered a listing without a single page.")
        return as_of

    # --- The whole history -------------------------------------------------------------------------------------------

    async def _read_history(self, listed_at: datetime) -> datetime:
        """Windows from the newest to the oldest. The watermark is that of the listing, which came before them."""
        point = self._checkpoint
        if point.get("kind") != "history":
            point = {"kind": "history", "as_of": _iso(listed_at), "end": None, "span": None}
        as_of = datetime.fromisoformat(point["as_of"])
        oldest = as_of - timedelta(days=self._config.history_days)
        end = _time(point["end"])
        span = timedelta(seconds=point["span"]) if point["span"] else FIRST_WINDOW
        while end is None or end > oldest:
            start = max((end or as_of) - span, oldest)
            window = Window(start, end)
            rows = await self._read_window(window, point)
            span = _next_span(span, rows)
            end = start
            point = {"kind": "history", "as_of": _iso(as_of), "end": _iso(end), "span": span.total_seconds()}
            async with self._db.in_space(self._progress.space_id) as tx:
                await self._progress.save(tx)
                await self._save_checkpoint(tx, point)
        return as_of

    async def _read_window(self, window: Window, point: Checkpoint) -> int:
        """Read a window's runs and task runs; only when both were read from end to end is anything marked missing."""
        scope: Scope = RunsBetween(window.start, window.end)
        begun_at = datetime.now(UTC)
        at = {"start": _iso(window.start), "end": _iso(window.end) if window.end else None}
        was = point.get("window") if (point.get("window") or {}).get("at") == at else None
        stream, resume = (was["stream"], was["resume"]) if was else ("runs", None)
        is_whole = was is None
        runs: set[UUID] = set()
        tasks: set[UUID] = set()
        read_before = self._progress.read

        def after(stream: Stream, resume: Resume | None) -> Checkpoint:
            return point | {"window": {"at": at, "stream": stream, "resume": resume}}

        if stream == "runs":
            async for page in self._scan("runs", self._provider.runs(scope, resume)):
                stored = await self._store("runs", page.rows, after("runs", page.resume) if page.resume else None)
                runs |= stored.ids
            resume = None
        async for task_page in self._scan("task_runs", self._provider.task_runs(scope, resume)):
            await self._fetch_unknown_runs(task_page.rows)
            stored = await self._store("task_runs", task_page.rows, after("task_runs", task_page.resume))
            tasks |= stored.ids
        if is_whole:
            async with self._db.in_space(self._progress.space_id) as tx:
                await self._mirror.miss_in(tx, window, runs, tasks, begun_at)
                await self._progress.save(tx)
        return self._progress.read - read_before  # also what the connector leaves out: it has to be read all the same

    # --- Pages -------------------------------------------------------------------------------------------------------

    async def _scan(self, kind: Stream, pages: AsyncIterator[Page[T]]) -> AsyncIterator[Page[T]]:
        """The pages as they come, with what they promise counted as expected."""
        self._progress.phase = "reading runs" if kind == "runs" else "reading task runs"
        before, promised, got = self._progress.expected, 0, 0
        async for page in pages:
            got += len(page.rows)
            promised = max(promised, page.expected or 0, got)
            self._progress.expected = before + promised
            yield page

    async def _store(
        self, kind: Stream, rows: list[ProviderRun] | list[ProviderTaskRun], checkpoint: Checkpoint | None
    ) -> Stored:
        """One page, its counts and its checkpoint (None: what is there stays), in one transaction."""
        store: Callable[..., Any] = self._mirror.store_runs if kind == "runs" else self._mirror.store_task_runs
        async with self._db.in_space(self._progress.space_id) as tx:
            stored: Stored = await store(tx, rows, self._pipelines)
            self._count(kind, stored, read=len(rows))
            await self._progress.save(tx)  # before the checkpoint: everybody locks the sync run before the state
            if checkpoint is not None:
                await self._save_checkpoint(tx, checkpoint)
        return stored

    async def _fetch_unknown_runs(self, task_runs: list[ProviderTaskRun]) -> None:
        """Runs that began after the runs were read, or lie before the history: their task runs need them."""
        async with self._db.in_space(self._progress.space_id) as tx:
            unknown = await self._mirror.unknown_runs(tx, task_runs, self._pipelines)
        if len(unknown) > MOST_UNKNOWN_RUNS:
            raise ProviderIncomplete("Task runs came for more than 10,000 runs that the provider had not listed.")
        found = [run for key in unknown if (run := await self._provider.run(*key)) is not None]
        if found:
            self._progress.expected += len(found)
            await self._store("runs", found, None)

    def _count(self, kind: str, stored: Stored, *, read: int) -> None:
        self._progress.provider_requests = self._provider.requests
        self._progress.add(kind, stored, read=read)

    async def _save_checkpoint(self, tx: Transaction, checkpoint: Checkpoint) -> None:
        stamped = checkpoint | {"saved_at": _iso(datetime.now(UTC))}
        await tx.run(QUERIES["save_checkpoint"], **self._names, checkpoint=Jsonb(stamped))

    async def _save_progress(self) -> None:
        async with self._db.in_space(self._progress.space_id) as tx:
            await self._progress.save(tx)


def is_wanted(pipeline: ProviderPipeline, config: AirflowConfig) -> bool:
    """By name, and by tag where the connector names tags."""
    if any(fnmatchcase(pipeline.external_id, pattern) for pattern in config.exclude_dags):
        return False
    if config.include_dags and not any(fnmatchcase(pipeline.external_id, pattern) for pattern in config.include_dags):
        return False
    return not config.include_tags or any(
        fnmatchcase(tag, pattern) for tag in pipeline.tags for pattern in config.include_tags
    )


def _mention_import_errors(listing: PipelineListing, progress: Progress) -> None:
    if listing.import_errors:
        files = "1 DAG file" if listing.import_errors == 1 else f"{listing.import_errors} DAG files"
        progress.warn(f"{files} could not be imported by Airflow; its import errors name them.")


def _still_good(checkpoint: Checkpoint | None) -> Checkpoint:
    saved_at = _time((checkpoint or {}).get("saved_at"))
    return checkpoint if checkpoint and saved_at and datetime.now(UTC) - saved_at < CHECKPOINT_LIFETIME else {}


def _next_span(span: timedelta, rows: int) -> timedelta:
    if rows < FEW_ROWS:
        return span * 2
    return max(span / 2, SHORTEST_WINDOW) if rows > MANY_ROWS else span


def _iso(at: datetime) -> str:
    return at.isoformat()


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
