"""Reads skipped rows again that no listing of changes brings: a few at a time, with the listing of pipelines."""

from datetime import datetime

from windsock.errors import (
    ProviderFailed,
    ProviderHTTPError,
    ProviderInconclusive,
    ProviderRejectedCredentials,
    ProviderUnreachable,
)
from windsock.providers.scopes import RunRange, SingleRun, UpdatedSince
from windsock.sync.backfill import read_window
from windsock.sync.session import SyncSession
from windsock.sync.skipped_rows import OPEN_END, Entry
from windsock.sync.writer import TimeWindow

MAX_ROWS = 10
"""Read again by one pass, those first that were not met for longest."""
NOT_FOUND = frozenset({403, 404})


async def reread_skipped(session: SyncSession) -> None:
    """Rows that can be read now are stored and forgotten, as are those that the provider no longer has."""
    done: set[object] = set()
    due = session.skips.due(MAX_ROWS)
    if not due:
        return
    async with session.transaction() as tx:
        await session.skips.touch(tx, due)
    for entry in due:
        if entry.identity not in session.skips.known:  # settled by the reading of another one
            continue
        place = (entry.row.kind, entry.row.pipeline_external_id, entry.row.run_external_id, entry.span, entry.changes)
        if place in done:
            continue
        done.add(place)
        try:
            if entry.changes is not None:
                await _reread_changes(session, entry, *entry.changes)
            if entry.identity in session.skips.known:
                await _reread(session, entry)
        except (ProviderUnreachable, ProviderRejectedCredentials):
            raise
        except ProviderFailed as failure:
            if isinstance(failure, ProviderHTTPError) and failure.status in NOT_FOUND:
                await session.forget_skipped(entry)
            # Otherwise it stays as it is: nothing is known that was not known before.
        session.progress.raise_if_interrupted()


async def _reread(session: SyncSession, entry: Entry) -> None:
    row = entry.row
    if row.kind == "pipelines":  # the listing has just read them
        return
    if row.pipeline_external_id is not None and row.pipeline_external_id not in session.pipelines:
        await session.forget_skipped(entry)
    elif row.pipeline_external_id is None or row.run_external_id is None:
        await _reread_span(session, entry)
    elif row.kind == "task_runs":
        await _reread_task_runs(session, entry, row.pipeline_external_id, row.run_external_id)
    else:
        await _reread_run(session, entry, row.pipeline_external_id, row.run_external_id)


async def _reread_changes(session: SyncSession, entry: Entry, since: datetime, until: datetime) -> None:
    """Read the range of changes again in which a row without a name was met."""
    dag_id = entry.row.pipeline_external_id if session.state.is_per_dag else None
    if dag_id is not None and dag_id not in session.pipelines:
        async with session.transaction() as tx:
            await session.skips.clear_changes(tx, [entry])
        return
    scope = UpdatedSince(since, until=until, pipeline_external_id=dag_id)
    if entry.row.kind == "runs":
        new: list[SingleRun] = []
        async for page in session.track_pages("runs", session.provider.runs(scope), scope):
            created = (await session.store_runs(page.rows)).created
            keys = [(run.pipeline_external_id, run.external_id, run.position) for run in page.rows]
            new += [SingleRun(*key) for key in keys if (session.pipelines.get(key[0]), key[1]) in created]
        await session.end_changes("runs", scope)
        for run in new:  # their task runs were left out
            async for task_page in session.track_pages("task_runs", session.provider.task_runs(run), run):
                await session.store_task_runs(task_page.rows)
            await session.end_scan("task_runs")
    else:
        async for task_page in session.track_pages("task_runs", session.provider.task_runs(scope), scope):
            await session.store_task_runs(task_page.rows)
        await session.end_changes("task_runs", scope)


async def _reread_span(session: SyncSession, entry: Entry) -> None:
    """Read the range of an unnamed row again; only in its DAG, if that is known."""
    if entry.span is None:
        return
    start, end = entry.span[0], None if entry.span[1] == OPEN_END else entry.span[1]
    dag_id = entry.row.pipeline_external_id
    if not session.state.is_per_dag:
        await read_window(session, TimeWindow(start, end), None, finds_missing=False)
    elif dag_id is not None:
        await _read_pipeline(session, RunRange(start, end, dag_id))


async def _read_pipeline(session: SyncSession, scope: RunRange) -> None:
    async for page in session.track_pages("runs", session.provider.runs(scope), scope):
        await session.store_runs(page.rows)
    await session.end_scan("runs")
    async for task_page in session.track_pages("task_runs", session.provider.task_runs(scope), scope):
        await session.store_task_runs(task_page.rows)
    await session.end_scan("task_runs")


async def _reread_task_runs(session: SyncSession, entry: Entry, dag_id: str, run_id: str) -> None:
    position = await session.position_of(dag_id, run_id)
    scope = SingleRun(dag_id, run_id, position)
    try:
        async for page in session.track_pages("task_runs", session.provider.task_runs(scope), scope):
            await session.store_task_runs(page.rows)
    except ProviderInconclusive:
        await _reread_without_address(session, entry, position)
    else:
        await session.end_scan("task_runs")


async def _reread_without_address(session: SyncSession, entry: Entry, position: datetime | None) -> None:
    """Read the row's window; without one it is not mirrored, and a warning about a part of it has no subject.

    A whole run is looked for in the history of its DAG, where its list shows it with its window or not at all.
    """
    if position is not None or entry.span is not None:
        await _reread_span(session, entry)
        return
    if entry.is_whole and entry.row.kind == "runs":
        await _read_pipeline(session, RunRange(session.goal, None, entry.row.pipeline_external_id))
    known = session.skips.known.get(entry.identity)
    if known is not None and known.span is None:
        await session.forget_skipped(entry)


async def _reread_run(session: SyncSession, entry: Entry, dag_id: str, run_id: str) -> None:
    """Read the single run first, for its position in time; then its list, for fields that must be left out."""
    position = await session.position_of(dag_id, run_id)
    try:
        run = await session.provider.run(dag_id, run_id, position)
    except ProviderInconclusive:
        await _reread_without_address(session, entry, position)
        return
    if run is None:
        await session.forget_skipped(entry)
        return
    await session.store_runs([run], is_listed=False)
    at = run.run_after or run.logical_date
    if at is None:
        return
    scope = RunRange(at, at, dag_id)
    async for page in session.track_pages("runs", session.provider.runs(scope), scope):
        await session.store_runs(page.rows)
    await session.end_scan("runs")
    if not entry.row.fields:
        of_run = SingleRun(dag_id, run_id, run.position)
        async for task_page in session.track_pages("task_runs", session.provider.task_runs(of_run), of_run):
            await session.store_task_runs(task_page.rows)
        await session.end_scan("task_runs")
