"""Reads an Airflow DAG by DAG, where the account may read single DAGs only: lists over all DAGs answer 403.

Each pipeline has its own watermark. A sync sends a bounded number of requests; the pipelines take turns.
"""

from datetime import UTC, datetime, timedelta
from http import HTTPStatus

from windsock.db.database import Row
from windsock.db.queries import load
from windsock.errors import ProviderHTTPError, ProviderIncomplete
from windsock.providers.scopes import RunRange, UpdatedSince
from windsock.sync.incremental import OVERLAP, PollResult
from windsock.sync.reconcile import KINDS, SETTLING_TIME
from windsock.sync.session import SyncSession
from windsock.sync.state_records import ResyncCheckpoint
from windsock.sync.writer import TimeWindow

QUERIES = load(__package__, "per_dag.sql")

MAX_REQUESTS = 100
"""After so many requests a sync begins with no other pipeline. An unchanged one takes two."""
MAX_WAIT, HEAD_START = timedelta(minutes=5), timedelta(minutes=5)
"""Before a refused pipeline is asked for again; of a pipeline with an unfinished run before others."""
CHECK_EVERY = timedelta(hours=1)
"""How often the totals of a pipeline are compared, which finds what was deleted: two requests."""
MAX_PROBES, MAX_NAMES = 3, 5
FORBIDDEN, NOT_FOUND = 403, 404


class PerDag:
    """One pass over single DAGs. `read` stands in for the scans over all of them.

    `complete_as_of`: by our clock, when the pipeline was read that was read longest ago. `has_unread`: some have not
    been read at all. `has_checked_all`: no totals wait for their (second) comparison. `full_since`: when the full sync
    began that reads each pipeline whole; None for a normal one.
    """

    def __init__(self, session: SyncSession, *, full_since: datetime | None) -> None:
        self._session, self._provider = session, session.provider
        self._is_full, self._full_since = full_since is not None, full_since
        self.complete_as_of: datetime | None = None
        self.has_unread = self.has_checked_all = False

    async def read(self) -> PollResult:
        session, progress = self._session, self._session.progress
        requests, visited = self._provider.requests, 0
        failure: ProviderHTTPError | None = None
        incomplete: ProviderIncomplete | None = None
        rows = await self._in_turn()
        for row in rows:
            if visited and not self._is_full and self._provider.requests - requests >= MAX_REQUESTS:
                break
            if row["external_id"] not in session.pipelines:
                continue
            visited += 1
            try:
                await self._visit(row)
            except ProviderHTTPError as refusal:
                if refusal.status not in {FORBIDDEN, NOT_FOUND}:
                    raise
                failure = failure or refusal
                await self._note_refusal(row)
            except ProviderIncomplete as lacking:  # the others have no part in it
                incomplete = incomplete or lacking
            progress.raise_if_interrupted()
            if self._is_full and session.yield_to_others is not None:
                await session.yield_to_others()
        if incomplete is not None:
            raise incomplete
        async with session.transaction() as tx:
            found = await tx.fetch_one(QUERIES["sum_up_reads"], **session.names) or {}
        if failure is not None and len(found["refused"]) == found["pipelines"]:
            raise failure  # no single DAG may be read any more
        used = self._provider.requests - requests
        self._mention(found, f"{visited} of {found['pipelines']} pipelines in {used} requests")
        self.has_unread, self.complete_as_of = found["unread"] > 0, found["read_at"]
        self.has_checked_all = found["unchecked"] == 0
        now = self._provider.server_time or progress.started_at
        watermark = found["watermark"] or (session.state.watermark if found["pipelines"] else None) or now
        is_whole = visited == found["pipelines"] and failure is None and not self.has_unread
        return PollResult(watermark, is_whole=is_whole)

    async def _in_turn(self) -> list[Row]:
        session = self._session
        async with session.transaction() as tx:
            return await tx.fetch_all(
                QUERIES["pipelines_in_turn"],
                **session.names,
                patience=MAX_WAIT,
                head_start=HEAD_START,
                began_at=self._full_since,
            )

    async def _visit(self, row: Row) -> None:
        """Read what changed in one pipeline, or all of it where that was not read before, and compare its totals.

        Where it was not, what changed since the history was begun is read too: the history has no older runs.
        """
        session, dag_id, backfill = self._session, row["external_id"], self._session.state.backfill
        read_at, watermark = datetime.now(UTC), row["watermark"]
        is_new = row["needs_backfill"] or watermark is None
        if watermark is None and backfill is not None:
            watermark = backfill.as_of
        whole = RunRange(session.goal, None, dag_id)
        reconciled_at: datetime | None = row["reconciled_at"]
        as_of = None
        if watermark is not None:  # where nobody vouched since, another Airflow may have answered: see Changes
            since = min(watermark, session.state.verified_watermark or watermark) - OVERLAP
            as_of = await self._scan(UpdatedSince(since, pipeline_external_id=dag_id))
        if as_of is None or is_new or self._is_full:  # runs from before the history are among the changes only
            read_as_of = await self._read_whole(whole, row, finds_missing=not is_new)
            as_of, reconciled_at = min(as_of or read_as_of, read_as_of), read_at
        elif reconciled_at is None or read_at - reconciled_at >= CHECK_EVERY:
            reconciled_at = await self._compare(row, as_of, read_at)
        async with session.transaction() as tx:
            await session.progress.save(tx)
            await tx.execute(
                QUERIES["save_read"],
                **self._names(row),
                watermark=as_of,
                read_at=read_at,
                reconciled_at=reconciled_at,
            )
            if row["needs_backfill"]:
                await session.mirror.mark_backfilled(tx, row["id"])

    async def _read_whole(self, scope: RunRange, row: Row, *, finds_missing: bool) -> datetime:
        """All runs of the pipeline; what it had and does not show any more is marked missing."""
        session, scan_started_at = self._session, datetime.now(UTC)
        # Both ends belong to a scope, to a window only the first: a moment more lets the last one in.
        window = TimeWindow(scope.start, scope.end and scope.end + timedelta(microseconds=1))
        runs, tasks = set(), set()
        as_of: datetime | None = None
        async for page in session.track_pages("runs", self._provider.runs(scope), scope):
            as_of = as_of or page.as_of
            runs |= (await session.store_runs(page.rows)).ids
        async for task_page in session.track_pages("task_runs", self._provider.task_runs(scope), scope):
            tasks |= (await session.store_task_runs(task_page.rows)).ids
        tasks |= await session.end_scan("task_runs", window)
        runs |= await session.end_scan("runs", window)
        if finds_missing:
            async with session.transaction() as tx:
                session.missing += await session.gone.mark_missing_in_window(
                    tx, window, runs, tasks, scan_started_at, pipeline_id=row["id"]
                )
                await session.progress.save(tx)
        return as_of or scan_started_at - OVERLAP

    async def _scan(self, scope: UpdatedSince) -> datetime:
        session = self._session
        as_of: datetime | None = None
        async for page in session.track_pages("runs", self._provider.runs(scope), scope):
            as_of = as_of or page.as_of
            await session.store_runs(page.rows)
        async for task_page in session.track_pages("task_runs", self._provider.task_runs(scope), scope):
            await session.store_task_runs(task_page.rows)
        return as_of or scope.since

    def _compared(self, dag_id: str, as_of: datetime) -> RunRange:
        """The history of a DAG up to the part that may still be in flux."""
        session = self._session
        start = max(session.goal, session.oldest + timedelta(hours=1)) if session.oldest else session.goal
        return RunRange(start, as_of - SETTLING_TIME, dag_id)

    async def _compare(self, row: Row, as_of: datetime, read_at: datetime) -> datetime | None:
        """Compare the totals of a DAG, and read it where they differ.

        When it was last compared; None where it is to be compared again soon.
        """
        session, compared = self._session, self._compared(row["external_id"], as_of)
        missing = session.missing
        try:
            is_equal = await self._has_equal_totals(row, compared)
        except ProviderHTTPError as refusal:
            if refusal.status < HTTPStatus.INTERNAL_SERVER_ERROR:
                raise
            session.progress.warn(f"The totals of a DAG could not be compared this time: {refusal}")
            reconciled_at: datetime | None = row["reconciled_at"]
            return reconciled_at
        if not is_equal:
            await self._read_whole(compared, row, finds_missing=True)
        return read_at if session.missing == missing else None  # the second look decides

    async def _has_equal_totals(self, row: Row, window: RunRange) -> bool:
        session = self._session
        theirs = [await self._provider.count_runs(window), await self._provider.count_task_runs(window)]
        async with session.transaction() as tx:
            ours = [
                await session.gone.count(tx, kind, window, pipeline_id=row["id"]) + session.skips.counted(kind, window)
                for kind in KINDS
            ]
        return ours == theirs

    async def _note_refusal(self, row: Row) -> None:
        """Its data stays; it is read anew when it may be read again."""
        session = self._session
        async with session.transaction() as tx:
            await session.progress.save(tx)
            await tx.execute(QUERIES["save_refusal"], **self._names(row))
            await tx.execute(QUERIES["require_backfill"], **session.names, pipeline_id=row["id"])

    def _mention(self, found: Row, what: str) -> None:
        self._session.progress.warn(
            f"The account may not read all DAGs at once, so each is read by itself: {what} in this sync."
        )
        refused = found["refused"]
        if refused:
            names = ", ".join(refused[:MAX_NAMES]) + (" and others" if len(refused) > MAX_NAMES else "")
            self._session.progress.warn(
                f"Airflow refuses the runs of {len(refused)} of its pipelines ({names}). What was read before is kept."
            )

    def _names(self, row: Row) -> dict[str, object]:
        return {"space_id": self._session.progress.space_id, "pipeline_id": row["id"]}


async def must_read_per_dag(session: SyncSession) -> bool:
    """Whether a 403 means that the account may read single DAGs only. At most six requests, and only after a 403."""
    provider = session.provider
    try:
        if not session.has_listed:
            await session.list_pipelines()
        if await provider.may_read_all():
            return False
        now = datetime.now(UTC)
        for dag_id in [*sorted(session.pipelines), *sorted(session.excluded_dags)][:MAX_PROBES]:
            try:
                await provider.count_runs(RunRange(now, now, dag_id))
            except ProviderHTTPError as refusal:
                if refusal.status not in {FORBIDDEN, NOT_FOUND}:
                    raise
            else:
                return True
    except ProviderHTTPError as refusal:
        if refusal.status != FORBIDDEN:
            raise
    return False


async def begin(session: SyncSession) -> None:
    """From now on DAG by DAG; from the watermark on where everything before it has been read, else from the start."""
    state = session.state
    unread = [entry for entry in session.skips.known.values() if entry.changes]
    async with session.transaction() as tx:
        await session.progress.save(tx)
        await session.state_writer.begin_per_dag(tx)
        await tx.execute(QUERIES["delete_reads"], **session.names)
        if state.watermark is not None and state.is_backfilled:
            read_at = state.last_complete_at or state.watermark
            watermark = min([state.watermark, *(entry.changes[0] for entry in unread if entry.changes)])
            await tx.execute(QUERIES["begin_reads"], **session.names, watermark=watermark, read_at=read_at)
        else:
            await tx.execute(QUERIES["require_backfill"], **session.names, pipeline_id=None)
        await session.skips.clear_changes(tx, unread)  # each DAG meets its own again
    state.is_per_dag = session.skips.is_per_dag = True


def full_since(session: SyncSession) -> datetime | None:
    """When the full sync began that this pass carries out or goes on with."""
    checkpoint = session.state.checkpoint
    if isinstance(checkpoint, ResyncCheckpoint):
        return checkpoint.started_at or session.progress.started_at
    return session.progress.started_at if session.progress.is_full else None


async def end(session: SyncSession) -> None:
    """Back to lists over all DAGs, from the oldest watermark on."""
    async with session.transaction() as tx:
        await session.progress.save(tx)
        found = await tx.fetch_one(QUERIES["sum_up_reads"], **session.names) or {}
        await session.state_writer.end_per_dag(tx, found["watermark"])
        await tx.execute(QUERIES["delete_reads"], **session.names)
    state, oldest = session.state, found["watermark"]
    state.is_per_dag, state.recent_watermark = False, None
    session.skips.is_per_dag = False
    if state.watermark is not None and oldest is not None:
        state.watermark = min(state.watermark, oldest)
