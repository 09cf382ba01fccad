"""Reads what changed since the last time: all of it, or in the large mode of the last days' runs, and all now and then.

The mode is chosen by `polling`. Only a full poll advances the watermark. A recent poll never sends more requests: it
asks for the same, of the last days' runs only, and not for task instances where no run has changed.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from windsock.errors import (
    ProviderFailed,
    ProviderHTTPError,
    ProviderIncomplete,
    ProviderInconclusive,
    ProviderLacksObject,
    ProviderRejectedCredentials,
    ProviderUnreachable,
)
from windsock.providers.hints import EventLogHints
from windsock.providers.scopes import SingleRun, UpdatedSince
from windsock.sync.page_store import CheckpointWriter
from windsock.sync.polling import RunKey, note_revisions
from windsock.sync.session import SyncSession
from windsock.sync.state_records import ChangesCheckpoint, Checkpoint
from windsock.sync.unfinished import find_ended

OVERLAP = timedelta(seconds=120)
"""Read again before the watermark: transactions stamp updated_at before they commit (measured lag: up to 7.3 s)."""
CHECKPOINT_LIFETIME = timedelta(hours=6)
"""An offset in a listing that old may mean other rows by now; then the scan begins again."""
FULL_POLL_INTERVAL = timedelta(minutes=5)
MAX_CATCH_UP = timedelta(hours=3)
"""The most that is read at once after an absence: days of a large Airflow in one scan would end at its limits."""
RECENT_DAYS = timedelta(days=2)
"""Of whose runs a recent poll reads the changes."""
FEW_ROWS = 1_000
MAX_HINTED_RUNS, MAX_PENDING_RUNS = 100, 5_000
"""Followed by one pass, and by those after it, which come at once."""
FORBIDDEN = 403
LOG_PAUSE = timedelta(minutes=10)
"""How long an event log that did not answer is left alone."""


@dataclass(frozen=True, slots=True)
class PollResult:
    """`watermark` as it is now; `is_whole`: all until now is stored, not only what a quick poll or a step brings."""

    watermark: datetime
    is_whole: bool


ReadPerDag = Callable[[], Awaitable[PollResult]]  # where the lists of all pipelines may not be read


class IncrementalSync:
    """`mode`, `polling`, `recent_watermark` and `event_log_cursor` are what the next pass should know.

    `compares`: people did more than was followed, so that the totals should be compared soon. `is_behind`: only a step
    was read of what there is to catch up.
    """

    def __init__(self, session: SyncSession, watermark: datetime, read_per_dag: ReadPerDag | None = None) -> None:
        self._session, self._provider = session, session.provider
        self._watermark, self._read_per_dag = watermark, read_per_dag
        self._verified_watermark = session.state.verified_watermark
        self.mode = session.state.mode
        self.polling = replace(session.state.polling)
        self.recent_watermark = session.state.recent_watermark
        self.event_log_cursor = session.state.event_log_cursor
        self._missed_before = self.event_log_cursor.missed
        self.compares = self.is_behind = False

    async def poll(self, *, recent_only: bool = True, checkpoint: bool = True) -> PollResult:
        """Read what changed. One that is not hasty reads all of it in the large mode too.

        `checkpoint` False: where it has come to is not written down, since a longer reading has its place there.
        """
        hints = await self._hints()
        if hints.pipelines_changed and not self._session.has_listed:
            await self._session.list_pipelines(hints.deleted_pipelines)
        elif self.mode == "small":
            await self._session.list_pipelines_if_cheap()
        if self._read_per_dag is not None:
            polled = await self._read_per_dag()
            self._watermark = polled.watermark
            await self._refetch_hinted(hints)
            return polled
        point = _still_good(self._session.state.checkpoint) if checkpoint else None
        is_whole = point is not None or not recent_only or self._is_full_poll_due()
        if not is_whole:
            self.recent_watermark = await self._recent_poll(self.recent_watermark or self._watermark)
        else:
            await self._full_poll(point, saves=checkpoint)
            # What is of this pass is read; the next one of the same pass begins at its watermark.
            self._session.state.checkpoint = None
            if point and not self.is_behind:
                # The reading that was broken off is as of its beginning; what has changed since is read too.
                await self._full_poll(None, saves=checkpoint)
        await self._refetch_hinted(hints)
        await self._refetch_unfinished()
        return PollResult(self._watermark, is_whole=is_whole and not self.is_behind)

    @property
    def _since(self) -> datetime:
        """Start of the changes to read: if the source was not verified, another Airflow may have responded.

        That it had nothing to tell is no witness. The next answer that has is vouched for, so that this costs nothing.
        """
        return min(self._watermark, self._verified_watermark or self._watermark) - OVERLAP

    def _is_full_poll_due(self) -> bool:
        """Both times are of the provider's clock: that of the last poll, and that of the last one which read all."""
        recent = self.recent_watermark
        return self.mode == "small" or recent is None or recent - self._watermark >= FULL_POLL_INTERVAL

    async def _full_poll(self, point: ChangesCheckpoint | None, *, saves: bool) -> None:
        """Move the watermark, at most by a step."""
        session = self._session
        if point is None:
            end, now = self._watermark + MAX_CATCH_UP, self._provider.server_time
            point = ChangesCheckpoint(self._since, until=end if now is not None and end < now else None)
        scope = UpdatedSince(point.since, until=point.until)
        as_of, resume = point.as_of, point.resume
        revisions: dict[RunKey, str] = {}
        if point.stream == "runs":
            async for page in session.track_pages("runs", self._provider.runs(scope, resume), scope):
                as_of = as_of or page.as_of
                await session.list_pipelines_when_unknown({run.pipeline_external_id for run in page.rows})
                note_revisions(revisions, page.rows)
                after = replace(point, as_of=as_of, resume=page.resume)
                await session.store_runs(page.rows, self._save(after) if saves and page.resume else None)
            resume = None
        point = replace(point, as_of=as_of, stream="task_runs", resume=resume)
        before, is_first = self._provider.request_seconds, resume is None
        async for task_page in session.track_pages("task_runs", self._provider.task_runs(scope, resume), scope):
            if is_first and len(task_page.rows) <= FEW_ROWS:
                self.polling.add(self._provider.request_seconds - before)
            is_first = False
            as_of = as_of or task_page.as_of
            await session.list_pipelines_when_unknown({task.pipeline_external_id for task in task_page.rows})
            after = replace(point, resume=task_page.resume)
            await session.store_task_runs(task_page.rows, self._save(after) if saves and task_page.resume else None)
        if as_of is None:
            raise ProviderIncomplete("The provider answered a listing without a single page.")
        self._watermark, self.is_behind = point.until or as_of, point.until is not None
        self.recent_watermark = self.polling.tasks_from = None if self.is_behind else as_of
        self.mode = await self.polling.choose_mode(self._provider, self.mode)
        self.polling.read_runs = revisions if self.mode == "large" and not self.is_behind else {}

    def _save(self, point: ChangesCheckpoint) -> CheckpointWriter:
        return lambda tx: self._session.state_writer.save_checkpoint(tx, point)

    async def _recent_poll(self, since: datetime) -> datetime | None:
        """The changed runs of the last days, and where any has changed since the last time, their changed task runs.

        Returns where the next recent poll begins, by the clock of the provider.
        """
        session, polling = self._session, self.polling
        scope = UpdatedSince(since - OVERLAP, runs_from=since - RECENT_DAYS)
        revisions: dict[RunKey, str] = {}
        read = 0
        as_of: datetime | None = None
        async for page in session.track_pages("runs", self._provider.runs(scope), scope):
            as_of, read = as_of or page.as_of, read + len(page.rows)
            await session.list_pipelines_when_unknown({run.pipeline_external_id for run in page.rows})
            await session.store_runs(page.rows)
            note_revisions(revisions, page.rows)
        if polling.unread(revisions) or read > len(revisions):
            # Where no run changed, the recent polls before this one did not read task runs.
            polling.tasks_from = await self._read_recent_tasks(min(polling.tasks_from or since, since))
        polling.read_runs = revisions
        return as_of or self.recent_watermark

    async def _read_recent_tasks(self, since: datetime) -> datetime | None:
        scope = UpdatedSince(since - OVERLAP, runs_from=since - RECENT_DAYS)
        as_of: datetime | None = None
        async for page in self._session.track_pages("task_runs", self._provider.task_runs(scope), scope):
            as_of = as_of or page.as_of
            await self._session.list_pipelines_when_unknown({task.pipeline_external_id for task in page.rows})
            await self._session.store_task_runs(page.rows)
        return as_of

    async def _read_tasks_of(self, run: SingleRun) -> set[UUID] | None:
        """The ids of all task runs of a run, now stored; None when the provider does not have the run any more."""
        seen: set[UUID] = set()
        try:
            async for page in self._session.track_pages("task_runs", self._provider.task_runs(run), run):
                seen |= (await self._session.store_task_runs(page.rows)).ids
        except ProviderLacksObject:
            return None
        return seen | await self._session.end_scan("task_runs")

    async def _hints(self) -> EventLogHints:
        """Read the event log. If it is unavailable, its entries are read by the next sync."""
        cursor, now = self.event_log_cursor, datetime.now(UTC)
        since, retry_at = cursor.since or self._since, cursor.retry_at
        failure = "it did not answer the last time"
        if retry_at is None or retry_at <= now:
            try:
                hints = await self._provider.read_event_log(since, cursor.processed_ids, cursor.recheck_ids)
            except (ProviderUnreachable, ProviderRejectedCredentials):
                raise
            except ProviderFailed as failed:
                failure = str(failed)
                retry_at = now + LOG_PAUSE
            else:
                self.event_log_cursor = replace(cursor, since=None, retry_at=None)
                return hints
        warning = f"Airflow's event log could not be read, so notes and deletions are seen later: {failure}"
        self._session.progress.warn(warning)
        self.event_log_cursor = replace(cursor, since=since, retry_at=retry_at)
        return EventLogHints(
            runs=[],
            deleted_pipelines=set(),
            pipelines_changed=False,
            processed_ids=cursor.processed_ids if cursor.is_readable else None,
            recheck_ids=cursor.recheck_ids,
            is_complete=True,
        )

    async def _refetch_hinted(self, hints: EventLogHints) -> None:
        """Read again what the provider's log has entries about: notes and deletions change no updated_at.

        And the runs from before the history that came because they changed, which lack the task runs that did not.
        """
        cursor = self.event_log_cursor
        named = [*cursor.pending, *reversed(hints.runs)]
        others = [*cursor.missed, *cursor.older, *self._session.older_runs]
        self._session.older_runs.clear()
        wanted = [key for key in dict.fromkeys(named + others) if key[0] in self._session.pipelines]
        left, proven = wanted[MAX_HINTED_RUNS:][:MAX_PENDING_RUNS], {*named, *self._missed_before}
        self.event_log_cursor = replace(
            cursor,
            is_readable=hints.processed_ids is not None,
            processed_ids=hints.processed_ids or [],
            recheck_ids=hints.recheck_ids,
            pending=[key for key in left if key in proven],
            older=[key for key in left if key not in proven],
            missed=[],
        )
        is_cut = hints.processed_ids is not None and not hints.is_complete
        if is_cut or len(wanted) > MAX_HINTED_RUNS + MAX_PENDING_RUNS or hints.deleted_pipelines:
            self.compares = True
        for key in wanted[:MAX_HINTED_RUNS]:
            if not await self._refetch_run(*key, is_proven=key in proven):
                self.event_log_cursor.missed.append(key)

    async def _refetch_unfinished(self) -> None:
        session = self._session
        ended, created = await find_ended(session)
        for key in ended + created:
            session.newest_stamp, newest = None, session.newest_stamp
            if not await self._refetch_run(*key, is_proven=False):
                await session.miss_run(*key)
            if key in ended:
                session.clocks.note_missed_stamp(session.newest_stamp)
            session.newest_stamp = newest

    async def _refetch_run(self, dag_id: str, run_id: str, *, is_proven: bool) -> bool:
        """Read it again. False where it is not there, and nothing else says that it is gone."""
        session, scan_started_at = self._session, datetime.now(UTC)
        try:
            run = await self._provider.run(dag_id, run_id, position := await session.position_of(dag_id, run_id))
        except ProviderInconclusive as unknown:  # where it is not mirrored, there is nothing to take away
            session.skip_unlisted_run(dag_id, run_id, position, unknown)
            return True
        except ProviderFailed as failure:  # a DAG that the account may no longer read proves nothing, nor a bad row
            is_forbidden = isinstance(failure, ProviderHTTPError) and failure.status == FORBIDDEN
            if not is_forbidden and not session.skip_unreadable_run(dag_id, run_id, failure):
                raise
            return True
        seen = None
        if run is not None:
            await session.store_runs([run], is_listed=False)
            session.older_runs.pop((dag_id, run_id), None)
            seen = await self._read_tasks_of(SingleRun(dag_id, run_id, run.position))
        if seen is None and not is_proven:
            return False
        async with session.transaction() as tx:
            if seen is None:
                await session.gone.mark_deleted(tx, dag_id, run_id)
            else:
                await session.gone.mark_task_runs_deleted(
                    tx, dag_id, run_id, seen, scan_started_at, is_proven=is_proven
                )
            await session.progress.save(tx)
        return True


def _still_good(checkpoint: Checkpoint | None) -> ChangesCheckpoint | None:
    """Of an unfinished reading of changes, not too long ago."""
    if not isinstance(checkpoint, ChangesCheckpoint) or checkpoint.saved_at is None:
        return None
    return checkpoint if datetime.now(UTC) - checkpoint.saved_at < CHECKPOINT_LIFETIME else None
