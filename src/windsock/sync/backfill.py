"""Reads the history window by window, the newest first: once in the background, and again to find what was deleted."""

import time as clocks
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from windsock.db.database import Transaction
from windsock.providers.scopes import Resume, RunRange
from windsock.sync.page_store import CheckpointWriter, Stream
from windsock.sync.progress import QUERIES
from windsock.sync.session import SyncSession
from windsock.sync.times import iso, time
from windsock.sync.writer import TimeWindow

FIRST_WINDOW, SHORTEST_WINDOW = timedelta(hours=1), timedelta(minutes=10)
FEW_ROWS, MANY_ROWS = 500, 5_000
POSITION_LIFETIME = timedelta(hours=6)
"""An offset in a listing that old may mean other rows by now; then the window begins again."""

BackfillPosition = dict[str, Any]
"""as_of: the provider's clock before the first window. goal, end: how far back it shall go, and has come. span: of the
next window, in seconds. window: within it, if one is half read. is_complete."""
SaveAt = Callable[[BackfillPosition], CheckpointWriter]


class Backfill:
    """One reading of the history. `save_at` gives what writes a place down."""

    def __init__(self, reading: SyncSession, place: BackfillPosition, save_at: SaveAt, *, finds_missing: bool) -> None:
        self._reading = reading
        self.place = place
        self._save_at = save_at
        self._finds_missing = finds_missing

    @property
    def is_complete(self) -> bool:
        return bool(self.place.get("is_complete"))

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
        place = self.place
        as_of, goal, end = datetime.fromisoformat(place["as_of"]), datetime.fromisoformat(place["goal"]), place["end"]
        span = timedelta(seconds=place["span"]) if place.get("span") else FIRST_WINDOW
        newest = time(end)
        start = max((newest or as_of) - span, goal)
        rows = await read_window(self._reading, TimeWindow(start, newest), self, finds_missing=self._finds_missing)
        self.place = {
            "as_of": place["as_of"],
            "goal": place["goal"],
            "end": iso(start),
            "span": _next_span(span, rows).total_seconds(),
            "is_complete": start <= goal,
        }
        async with self._reading.db.tenant_transaction(self._reading.progress.space_id) as tx:
            await self._reading.progress.save(tx)
            await self._save_at(self.place)(tx)
        self._reading.progress.raise_if_interrupted()

    def resume(self, window: TimeWindow) -> tuple[Stream, Resume | None] | None:
        """Where an earlier pass stopped in this window."""
        was = self.place.get("window") or {}
        saved_at = time(was.get("saved_at"))
        if was.get("at") != _at(window) or saved_at is None or datetime.now(UTC) - saved_at > POSITION_LIFETIME:
            return None
        return was["stream"], was["resume"]

    def checkpoint(self, window: TimeWindow, stream: Stream, resume: Resume | None) -> CheckpointWriter:
        was = {"at": _at(window), "stream": stream, "resume": resume, "saved_at": iso(datetime.now(UTC))}
        return self._save_at(self.place | {"window": was})


def initial_position(as_of: datetime, days: int, oldest: datetime | None) -> BackfillPosition:
    """Return the start of a backfill; nothing before `oldest` is stored."""
    goal = as_of - timedelta(days=days)
    goal = goal if oldest is None else max(goal, oldest)
    return {"as_of": iso(as_of), "goal": iso(goal), "end": None, "span": None, "is_complete": False}


def save_in_state(reading: SyncSession) -> SaveAt:
    """Save the position of the background backfill."""

    def save_at(place: BackfillPosition) -> CheckpointWriter:
        async def save(tx: Transaction) -> None:
            await tx.execute(QUERIES["save_history"], **reading.names, history=Jsonb(place))

        return save

    return save_at


def save_as_checkpoint(reading: SyncSession) -> SaveAt:
    """Save the position of a backfill that belongs to this sync."""

    def save_at(place: BackfillPosition) -> CheckpointWriter:
        async def save(tx: Transaction) -> None:
            stamped = Jsonb(place | {"kind": "history", "saved_at": iso(datetime.now(UTC))})
            await tx.execute(QUERIES["save_checkpoint"], **reading.names, checkpoint=stamped)

        return save

    return save_at


async def read_window(
    reading: SyncSession, window: TimeWindow, history: Backfill | None, *, finds_missing: bool
) -> int:
    """Read a window's runs and task runs; only when both were read from end to end is anything marked missing.

    How many rows were read, those included that the connector leaves out.
    """
    scope = RunRange(window.start, window.end)
    begun_at = datetime.now(UTC)
    was = history.resume(window) if history else None
    stream, resume = was or ("runs", None)
    runs: set[UUID] = set()
    tasks: set[UUID] = set()
    read_before = reading.progress.read
    if stream == "runs":
        async for page in reading.track_pages("runs", reading.provider.runs(scope, resume), scope):
            save = history.checkpoint(window, "runs", page.resume) if history and page.resume else None
            runs |= (await reading.store_runs(page.rows, save)).ids
        resume = None
    async for task_page in reading.track_pages("task_runs", reading.provider.task_runs(scope, resume), scope):
        save = history.checkpoint(window, "task_runs", task_page.resume) if history and task_page.resume else None
        tasks |= (await reading.store_task_runs(task_page.rows, save)).ids
    if was is None:
        tasks |= await reading.end_scan("task_runs", window)
        runs |= await reading.end_scan("runs", window)
    if was is None and finds_missing:
        async with reading.db.tenant_transaction(reading.progress.space_id) as tx:
            reading.missing += await reading.gone.mark_missing_in_window(tx, window, runs, tasks, begun_at)
            await reading.progress.save(tx)
    return reading.progress.read - read_before


def _at(window: TimeWindow) -> dict[str, str | None]:
    return {"start": iso(window.start), "end": iso(window.end) if window.end else None}


def _next_span(span: timedelta, rows: int) -> timedelta:
    if rows < FEW_ROWS:
        return span * 2
    return max(span / 2, SHORTEST_WINDOW) if rows > MANY_ROWS else span
