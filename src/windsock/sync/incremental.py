"""Reads what changed since the last time: all of it, or in the large mode of the last days' runs, and all now and then.

The mode is chosen by `polling`. Only the query for everything moves the watermark. A quick poll of the large mode never
sends more requests than that query would: it asks for the same, of the last days' runs only, and not for task instances
where no run has changed.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from windsock.db.database import Transaction
from windsock.errors import (
    ProviderCannotTell,
    ProviderFailed,
    ProviderHTTPError,
    ProviderIncomplete,
    ProviderLacksObject,
    ProviderRejectedCredentials,
    ProviderUnreachable,
)
from windsock.providers.hints import EventLogHints
from windsock.providers.scopes import SingleRun, UpdatedSince
from windsock.sync.page_store import CheckpointWriter
from windsock.sync.polling import Polling, RunKey, note_revisions
from windsock.sync.progress import QUERIES
from windsock.sync.quick_poll import poll_quickly
from windsock.sync.session import SyncSession
from windsock.sync.times import iso, time
from windsock.sync.unfinished import find_ended

OVERLAP = timedelta(seconds=120)
"""Read again before the watermark: transactions stamp updated_at before they commit (measured lag: up to 7.3 s)."""
CHECKPOINT_LIFETIME = timedelta(hours=6)
"""An offset in a listing that old may mean other rows by now; then the scan begins again."""
FULL_POLL_INTERVAL = timedelta(minutes=5)
MAX_CATCH_UP = timedelta(hours=3)
"""The most that is read at once after an absence: days of a large Airflow in one scan would end at its limits."""
FEW_ROWS = 1_000
BACKLOG_KEYS = ("pending", "missed", "older")
"""Runs that the next pass looks at: those that the log named; those that were not there, which is one witness; those
from before the history, which came because they changed."""
MAX_HINTED_RUNS, MAX_PENDING_RUNS = 100, 5_000
"""Followed by one pass, and by those after it, which come at once."""
FORBIDDEN = 403
LOG_PAUSE = timedelta(minutes=10)
"""How long an event log that did not answer is left alone."""

Checkpoint = dict[str, Any]


@dataclass(frozen=True, slots=True)
class PollResult:
    """`watermark` as it is now; `is_whole`: all until now is stored, not only what a quick poll or a step brings."""

    watermark: datetime
    is_whole: bool


ReadPerDag = Callable[[], Awaitable[PollResult]]
"""Reads each pipeline by itself, where the lists of all of them may not be read."""


class IncrementalSync:
    """`mode`, `polling`, `quick_from` and `events` are what the next pass should know.

    `compares`: people did more than was followed, so that the totals should be compared soon. `is_behind`: only a step
    was read of what there is to catch up.
    """

    def __init__(self, reading: SyncSession, watermark: datetime, read_per_dag: ReadPerDag | None = None) -> None:
        self._reading, self._provider = reading, reading.provider
        self._watermark, self._read_per_dag = watermark, read_per_dag
        self._vouched_until: datetime | None = reading.state["vouched_until"]
        self.mode: str = reading.state["mode"]
        self.polling = Polling.of(reading.state["polling"])
        self.quick_from: datetime | None = reading.state["quick_from"]
        self.events: dict[str, Any] = reading.state["events"]
        self._missed_before = _keys(self.events, "missed")
        self.compares = self.is_behind = False
        self._log: dict[str, Any] = {}

    async def poll(self, *, recent_only: bool = True, checkpoint: bool = True) -> PollResult:
        """Read what changed. One that is not hasty reads all of it in the large mode too.

        `checkpoint` False: where it has come to is not written down, since a longer reading has its place there.
        """
        hints = await self._hints()
        if hints.pipelines_changed and not self._reading.has_listed:
            await self._reading.list_pipelines(hints.deleted_pipelines)
        elif self.mode == "small":
            await self._reading.list_pipelines_if_cheap()
        if self._read_per_dag is not None:
            polled = await self._read_per_dag()
            self._watermark = polled.watermark
            await self._refetch_hinted(hints)
            return polled
        point = _still_good(self._reading.state["checkpoint"]) if checkpoint else {}
        is_whole = bool(point) or not recent_only or self._is_full_poll_due()
        if not is_whole:
            since = self.quick_from or self._watermark
            self.quick_from = await poll_quickly(self._reading, self.polling, since, OVERLAP) or self.quick_from
        else:
            await self._full_poll(point, saves=checkpoint)
            # What is of this pass is read; the next one of the same pass begins at its watermark.
            self._reading.state["checkpoint"] = None
            if point and not self.is_behind:
                # The reading that was broken off is as of its beginning; what has changed since is read too.
                await self._full_poll({}, saves=checkpoint)
        await self._refetch_hinted(hints)
        await self._refetch_unfinished()
        return PollResult(self._watermark, is_whole=is_whole and not self.is_behind)

    @property
    def _since(self) -> datetime:
        """Start of the changes to read: if the source was not verified (`vouch`), another Airflow may have responded.

        That it had nothing to tell is no witness. The next answer that has is vouched for, so that this costs nothing.
        """
        return min(self._watermark, self._vouched_until or self._watermark) - OVERLAP

    # --- All of it ---------------------------------------------------------------------------------------------------

    def _is_full_poll_due(self) -> bool:
        """Both times are of the provider's clock: that of the last poll, and that of the last one which read all."""
        return (
            self.mode == "small" or self.quick_from is None or self.quick_from - self._watermark >= FULL_POLL_INTERVAL
        )

    async def _full_poll(self, point: Checkpoint, *, saves: bool) -> None:
        """Move the watermark, at most by a step."""
        reading = self._reading
        if not point:
            end = self._watermark + MAX_CATCH_UP
            until = iso(end) if self._provider.server_time is not None and end < self._provider.server_time else None
            point = {"kind": "changes", "since": iso(self._since), "until": until, "stream": "runs"}
        step_ends = time(point.get("until"))
        scope = UpdatedSince(datetime.fromisoformat(point["since"]), until=step_ends)
        as_of, resume = time(point.get("as_of")), point.get("resume")
        revisions: dict[RunKey, str] = {}
        if point["stream"] == "runs":
            async for page in reading.track_pages("runs", self._provider.runs(scope, resume)):
                as_of = as_of or page.as_of
                await reading.list_pipelines_when_unknown({run.pipeline_external_id for run in page.rows})
                note_revisions(revisions, page.rows)
                after = point | {"as_of": iso(as_of), "resume": page.resume}
                await reading.store_runs(page.rows, self._save(after) if saves and page.resume else None)
            resume = None
        point = point | {"as_of": iso(as_of) if as_of else None, "stream": "task_runs", "resume": resume}
        before, is_first = self._provider.request_seconds, resume is None
        async for task_page in reading.track_pages("task_runs", self._provider.task_runs(scope, resume)):
            if is_first and len(task_page.rows) <= FEW_ROWS:
                self.polling.add(self._provider.request_seconds - before)
            is_first = False
            as_of = as_of or task_page.as_of
            await reading.list_pipelines_when_unknown({task.pipeline_external_id for task in task_page.rows})
            after = point | {"resume": task_page.resume}
            await reading.store_task_runs(task_page.rows, self._save(after) if saves and task_page.resume else None)
        if as_of is None:
            raise ProviderIncomplete("The provider answered a listing without a single page.")
        self._watermark, self.is_behind = step_ends or as_of, step_ends is not None
        self.quick_from = self.polling.tasks_from = None if self.is_behind else as_of
        self.mode = await self.polling.choose_mode(self._provider, self.mode)
        self.polling.read_runs = revisions if self.mode == "large" and not self.is_behind else {}

    def _save(self, point: Checkpoint) -> CheckpointWriter:
        async def save(tx: Transaction) -> None:
            stamped = Jsonb(point | {"saved_at": iso(datetime.now(UTC))})
            await tx.execute(QUERIES["save_checkpoint"], **self._reading.names, checkpoint=stamped)

        return save

    # --- The news of the last days -----------------------------------------------------------------------------------

    @property
    def has_more_to_follow(self) -> bool:
        return any(self.events.get(name) for name in BACKLOG_KEYS)

    async def _read_tasks_of(self, run: SingleRun) -> set[UUID] | None:
        """The ids of all task runs of a run, now stored; None when the provider does not have the run any more."""
        seen: set[UUID] = set()
        try:
            async for page in self._reading.track_pages("task_runs", self._provider.task_runs(run), run):
                seen |= (await self._reading.store_task_runs(page.rows)).ids
        except ProviderLacksObject:
            return None
        return seen | await self._reading.end_scan("task_runs")

    # --- What people did ---------------------------------------------------------------------------------------------

    async def _hints(self) -> EventLogHints:
        """Read the event log. If it is unavailable, its entries are read by the next sync."""
        now, since = datetime.now(UTC), time(self.events.get("since")) or self._since
        retry_at = time(self.events.get("asked_again_at"))
        seen: list[int] = self.events.get("seen", [])
        failure = "it did not answer the last time"
        if retry_at is None or retry_at <= now:
            try:
                hints = await self._provider.read_event_log(since, seen, self.events.get("once", []))
            except (ProviderUnreachable, ProviderRejectedCredentials):
                raise
            except ProviderFailed as failed:
                failure = str(failed)
                retry_at = now + LOG_PAUSE
            else:
                self._log = {}
                return hints
        self._reading.progress.warn(
            f"Airflow's event log could not be read, so notes and deletions are seen later: {failure}"
        )
        self._log = {"since": iso(since), "asked_again_at": iso(retry_at)}
        is_readable = bool(self.events.get("is_readable"))
        return EventLogHints(
            runs=[],
            deleted_pipelines=set(),
            pipelines_changed=False,
            processed_ids=seen if is_readable else None,
            recheck_ids=self.events.get("once", []),
            is_complete=True,
        )

    async def _refetch_hinted(self, hints: EventLogHints) -> None:
        """Read again what the provider's log has entries about: notes and deletions change no updated_at.

        And the runs from before the history that came because they changed, which lack the task runs that did not.
        """
        named = [*_keys(self.events, "pending"), *reversed(hints.runs)]
        others = [*_keys(self.events, "missed"), *_keys(self.events, "older"), *self._reading.older_runs]
        self._reading.older_runs.clear()
        wanted = [key for key in dict.fromkeys(named + others) if key[0] in self._reading.pipelines]
        left, proven = wanted[MAX_HINTED_RUNS:][:MAX_PENDING_RUNS], {*named, *self._missed_before}
        self.events = {
            "is_readable": hints.processed_ids is not None,
            "seen": hints.processed_ids or [],
            "once": hints.recheck_ids,
            "pending": [key for key in left if key in proven],
            "older": [key for key in left if key not in proven],
            "missed": [],
            **self._log,
        }
        is_cut = hints.processed_ids is not None and not hints.is_complete
        if is_cut or len(wanted) > MAX_HINTED_RUNS + MAX_PENDING_RUNS or hints.deleted_pipelines:
            self.compares = True
        for key in wanted[:MAX_HINTED_RUNS]:
            if not await self._refetch_run(*key, is_proven=key in proven):
                self.events["missed"].append(key)

    async def _refetch_unfinished(self) -> None:
        reading = self._reading
        ended, created = await find_ended(reading)
        for key in ended + created:
            reading.newest_stamp, newest = None, reading.newest_stamp
            if not await self._refetch_run(*key, is_proven=False):
                await reading.miss_run(*key)
            if key in ended:
                reading.clocks.hear_missed(reading.newest_stamp)
            reading.newest_stamp = newest

    async def _refetch_run(self, dag_id: str, run_id: str, *, is_proven: bool) -> bool:
        """Read it again. False where it is not there, and nothing else says that it is gone."""
        reading, begun_at = self._reading, datetime.now(UTC)
        try:
            run = await self._provider.run(dag_id, run_id, position := await reading.position_of(dag_id, run_id))
        except ProviderCannotTell as unknown:  # where it is not mirrored, there is nothing to take away
            reading.skip_unlisted_run(dag_id, run_id, position, unknown)
            return True
        except ProviderFailed as failure:  # a DAG that the account may no longer read proves nothing, nor a bad row
            is_forbidden = isinstance(failure, ProviderHTTPError) and failure.status == FORBIDDEN
            if not is_forbidden and not reading.skip_unreadable_run(dag_id, run_id, failure):
                raise
            return True
        seen = None
        if run is not None:
            await reading.store_runs([run], is_listed=False)
            reading.older_runs.pop((dag_id, run_id), None)
            seen = await self._read_tasks_of(SingleRun(dag_id, run_id, run.position))
        if seen is None and not is_proven:
            return False
        async with reading.db.tenant_transaction(reading.progress.space_id) as tx:
            if seen is None:
                await reading.gone.mark_deleted(tx, dag_id, run_id)
            else:
                await reading.gone.mark_task_runs_deleted(tx, dag_id, run_id, seen, begun_at, is_proven=is_proven)
            await reading.progress.save(tx)
        return True


def _keys(events: dict[str, Any], name: str) -> list[tuple[str, str]]:
    return [(dag_id, run_id) for dag_id, run_id in events.get(name, [])]


def _still_good(checkpoint: Checkpoint | None) -> Checkpoint:
    """Of an unfinished reading of changes, not too long ago."""
    saved_at = time((checkpoint or {}).get("saved_at"))
    is_young = saved_at is not None and datetime.now(UTC) - saved_at < CHECKPOINT_LIFETIME
    return checkpoint if checkpoint and is_young and checkpoint.get("kind") == "changes" else {}
