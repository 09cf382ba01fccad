"""Finds what was deleted in Airflow without reading it all: only where our number of rows and Airflow's differ."""

from datetime import UTC, datetime, timedelta
from typing import Literal

from windsock.providers.scopes import RunRange
from windsock.sync.backfill import read_window
from windsock.sync.session import SyncSession
from windsock.sync.state_records import Stream
from windsock.sync.writer import TimeWindow

INTERVAL, SLOW_INTERVAL = timedelta(minutes=5), timedelta(hours=1)
FULL_INTERVAL, SLOW_FULL_INTERVAL = timedelta(hours=1), timedelta(days=1)
RECENT = timedelta(days=2)
"""What is compared each time; all that the history holds is compared less often, since that costs what there is."""
SETTLING_TIME = timedelta(minutes=10)
"""So young a part of the history may have changed between our count and theirs."""
FEW_ROWS = 1_000
SHORTEST = timedelta(hours=1)
MAX_REQUESTS = 60
MAX_ROWS_REREAD = 2_000
REREAD_WINDOW = timedelta(days=2)
KINDS: tuple[Stream, ...] = ("runs", "task_runs")
END_OF_TIME = datetime.max.replace(tzinfo=UTC)


class Reconciler:
    """One comparison. Oldest first: what Airflow cleaned up is known by nothing older being left."""

    def __init__(self, session: SyncSession) -> None:
        self._session = session
        self._requests = 0

    async def run(self, as_of: datetime, *, is_whole: bool) -> None:
        """Compare the last days or all of the history, up to what is still in flux as of now."""
        days = RECENT if not is_whole else timedelta(days=self._session.config.history_days)
        start = max(self._session.goal, as_of - days)
        if self._session.oldest is not None:
            start = max(start, self._session.oldest + timedelta(hours=1))
        end = as_of - SETTLING_TIME
        if start >= end:
            return
        self._session.progress.phase = "comparing totals"
        await self._compare_future(as_of + SETTLING_TIME)
        if self._session.has_excluded_dags:
            await self._reread_recent(RunRange(max(start, end - REREAD_WINDOW), end))
        else:
            await self._compare(RunRange(start, end))

    async def _compare(self, window: RunRange) -> None:
        if self._requests >= MAX_REQUESTS or window.end is None:
            return
        theirs = await self._theirs(window)
        if await self._ours(window) == theirs:
            return
        if sum(theirs) <= FEW_ROWS or window.end - window.start <= SHORTEST:
            # Both ends belong to their windows, to ours only the first: a moment more lets the last one in.
            await self._read(TimeWindow(window.start, window.end + timedelta(microseconds=1)))
            return
        middle = window.start + (window.end - window.start) / 2
        await self._compare(RunRange(window.start, middle))
        await self._compare(RunRange(middle, window.end))

    async def _compare_future(self, start: datetime) -> None:
        """Runs for a moment that is still to come (one triggered for 2031), where there are any here."""
        ours = await self._ours(RunRange(start, END_OF_TIME))
        if not any(ours):
            return
        theirs = await self._theirs(RunRange(start, None))
        if ours != theirs and sum(theirs) <= MAX_ROWS_REREAD:
            await self._read(TimeWindow(start, None))

    async def _ours(self, window: RunRange) -> list[int]:
        async with self._session.transaction() as tx:
            return [
                await self._session.gone.count(tx, kind, window) + self._session.skips.counted(kind, window)
                for kind in KINDS
            ]

    async def _theirs(self, window: RunRange) -> list[int]:
        self._requests += 2
        provider = self._session.provider
        return [await provider.count_runs(window), await provider.count_task_runs(window)]

    async def _read(self, window: TimeWindow) -> None:
        self._requests += 2
        await read_window(self._session, window, None, finds_missing=True)

    async def _reread_recent(self, window: RunRange) -> None:
        """Their totals hold DAGs that are not mirrored and say nothing; what is recent is read if it is little."""
        theirs = await self._theirs(window)
        if window.end is not None and sum(theirs) <= MAX_ROWS_REREAD:
            await self._read(TimeWindow(window.start, window.end + timedelta(microseconds=1)))


def is_due(session: SyncSession, *, mode: str) -> Literal["no", "recent", "whole"]:
    """Not before the history has been read; at once when something was missing for the first time."""
    state = session.state
    if not state.is_backfilled:
        return "no"
    reconciled_at, whole_at = state.reconciled_at, state.fully_reconciled_at
    now, is_slow = datetime.now(UTC), mode == "large" or session.has_excluded_dags
    if reconciled_at is None or whole_at is None or state.recheck_due:
        return "whole"
    if now - whole_at >= (SLOW_FULL_INTERVAL if is_slow else FULL_INTERVAL):
        return "whole"
    return "recent" if now - reconciled_at >= (SLOW_INTERVAL if is_slow else INTERVAL) else "no"
