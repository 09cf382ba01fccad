"""Reads the history window by window, the newest first: once in the background, and again to find what was deleted.

And the runs of pipelines that came, or came back, after that was begun: the watermark passed them.
"""

import time as clocks
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from windsock.db.database import Transaction
from windsock.errors import ProviderHTTPError
from windsock.providers.scopes import Resume, RunRange
from windsock.sync.page_store import CheckpointWriter
from windsock.sync.session import SyncSession
from windsock.sync.state_records import BackfillPosition, Stream, WindowPosition
from windsock.sync.writer import TimeWindow

FIRST_WINDOW, SHORTEST_WINDOW = timedelta(hours=1), timedelta(minutes=10)
FEW_ROWS, MANY_ROWS = 500, 5_000
POSITION_LIFETIME = timedelta(hours=6)
"""An offset in a listing that old may mean other rows by now; then the window begins again."""
MAX_NEW_PIPELINES = 50
NEW_PIPELINES_SECONDS = 15.0
"""After that the pass goes on; the next one, which comes at once, reads the others."""
NOT_TO_BE_READ = frozenset({403, 404})

PositionWriter = Callable[[Transaction, BackfillPosition], Awaitable[None]]


class Backfill:
    """One reading of the history. `save` writes its position."""

    def __init__(
        self, session: SyncSession, position: BackfillPosition, save: PositionWriter, *, finds_missing: bool
    ) -> None:
        self._session = session
        self.position = position
        self._save = save
        self._finds_missing = finds_missing

    @property
    def is_complete(self) -> bool:
        return self.position.is_complete

    async def read(self, *, seconds: float | None, between: Callable[[], Awaitable[None]] | None = None) -> None:
        """Window after window, at least one, for about so many `seconds`; `between` is called after each."""
        until = None if seconds is None else clocks.monotonic() + seconds
        while not self.is_complete:
            await self._read_next()
            if until is not None and clocks.monotonic() >= until:
                return
            if between is not None and not self.is_complete:
                await between()

    async def _read_next(self) -> None:
        position = self.position
        span = position.span or FIRST_WINDOW
        start = max((position.end or position.as_of) - span, position.goal)
        window = TimeWindow(start, position.end)
        rows = await read_window(self._session, window, self, finds_missing=self._finds_missing)
        self.position = BackfillPosition(
            position.as_of, position.goal, start, _next_span(span, rows), is_complete=start <= position.goal
        )
        await self.save()
        self._session.progress.raise_if_interrupted()

    async def save(self) -> None:
        async with self._session.transaction() as tx:
            await self._session.progress.save(tx)
            await self._save(tx, self.position)

    def resume(self, window: TimeWindow) -> tuple[Stream, Resume | None] | None:
        """Where an earlier pass stopped in this window."""
        was = self.position.window
        if was is None or (was.start, was.end) != (window.start, window.end):
            return None
        return None if datetime.now(UTC) - was.saved_at > POSITION_LIFETIME else (was.stream, was.resume)

    def checkpoint(self, window: TimeWindow, stream: Stream, resume: Resume) -> CheckpointWriter:
        within = WindowPosition(window.start, window.end, stream, resume, saved_at=datetime.now(UTC))
        position = replace(self.position, window=within)
        return lambda tx: self._save(tx, position)


def initial_position(as_of: datetime, days: int, oldest: datetime | None) -> BackfillPosition:
    """Return the start of a backfill; nothing before `oldest` is stored."""
    goal = as_of - timedelta(days=days)
    return BackfillPosition(as_of, goal if oldest is None else max(goal, oldest))


async def read_window(
    session: SyncSession, window: TimeWindow, history: Backfill | None, *, finds_missing: bool
) -> int:
    """Read a window's runs and task runs; only when both were read from end to end is anything marked missing.

    How many rows were read, those included that the connector leaves out.
    """
    scope = RunRange(window.start, window.end)
    scan_started_at = datetime.now(UTC)
    was = history.resume(window) if history else None
    stream, resume = was or ("runs", None)
    runs: set[UUID] = set()
    tasks: set[UUID] = set()
    read_before = session.progress.read
    if stream == "runs":
        async for page in session.track_pages("runs", session.provider.runs(scope, resume), scope):
            save = history.checkpoint(window, "runs", page.resume) if history and page.resume else None
            runs |= (await session.store_runs(page.rows, save)).ids
        resume = None
    async for task_page in session.track_pages("task_runs", session.provider.task_runs(scope, resume), scope):
        save = history.checkpoint(window, "task_runs", task_page.resume) if history and task_page.resume else None
        tasks |= (await session.store_task_runs(task_page.rows, save)).ids
    if was is None:
        tasks |= await session.end_scan("task_runs", window)
        runs |= await session.end_scan("runs", window)
    if was is None and finds_missing:
        async with session.transaction() as tx:
            session.missing += await session.gone.mark_missing_in_window(tx, window, runs, tasks, scan_started_at)
            await session.progress.save(tx)
    return session.progress.read - read_before


def _next_span(span: timedelta, rows: int) -> timedelta:
    if rows < FEW_ROWS:
        return span * 2
    return max(span / 2, SHORTEST_WINDOW) if rows > MANY_ROWS else span


async def backfill_new_pipelines(session: SyncSession) -> bool:
    """All runs of each, as far back as the history goes. Whether some of the pipelines are left."""
    until = clocks.monotonic() + NEW_PIPELINES_SECONDS
    async with session.transaction() as tx:
        found = await session.mirror.list_pipelines_to_backfill(tx, MAX_NEW_PIPELINES)
    for pipeline in found:
        await _read_pipeline(session, pipeline["external_id"])
        async with session.transaction() as tx:
            await session.progress.save(tx)
            await session.mirror.mark_backfilled(tx, pipeline["id"])
        session.progress.raise_if_interrupted()
        if clocks.monotonic() >= until:
            return True
    return len(found) == MAX_NEW_PIPELINES


async def _read_pipeline(session: SyncSession, dag_id: str) -> None:
    if dag_id not in session.pipelines:
        return
    scope = RunRange(session.goal, None, dag_id)
    try:
        async for page in session.track_pages("runs", session.provider.runs(scope), scope):
            await session.store_runs(page.rows)
        async for task_page in session.track_pages("task_runs", session.provider.task_runs(scope), scope):
            await session.store_task_runs(task_page.rows)
        for kind in ("task_runs", "runs"):
            await session.end_scan(kind)
    except ProviderHTTPError as refusal:  # gone again; the listing will say so, and when it is back
        if refusal.status not in NOT_TO_BE_READ:
            raise
