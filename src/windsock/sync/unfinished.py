"""Runs that have not ended, whenever they changed: those of the mirror are checked, those from before the history read.

What changed is asked for by the time of its stamp, which is wrong where the host that stamps and the one that tells the
time disagree, and too old where a backfill runs or a run waits. What has not ended is told by its state alone.
"""

from datetime import datetime, timedelta

from windsock.db.queries import load
from windsock.providers.base import Page, ProviderRun, SkippedRow
from windsock.providers.scopes import ScanScope, Unfinished, UpdatedSince
from windsock.sync.session import SyncSession

QUERIES = load(__package__, "unfinished.sql")
MOST_BELIEVED = 5_000
MAX_LOOKUPS = 100
"""Of one pass, each of two requests; the others come in the next one."""
MOST_PAGES = 50
MOST_OLDER_RUNS = 5_000

RunKey = tuple[str, str]


async def find_ended(session: SyncSession) -> tuple[list[RunKey], list[RunKey]]:
    """The runs that the mirror takes for unfinished and Airflow does not, and those that only Airflow had till now.

    No request where the pass has read all that the mirror takes for unfinished; else one, for the oldest of them. All
    are read by a pass that also listed the pipelines.
    """
    async with session.transaction() as tx:
        rows = await tx.fetch_all(QUERIES["unfinished_runs"], **session.names, most=MOST_BELIEVED)
    mirrored = {(row["dag_id"], row["run_id"]): (row["status"], row["started_at"]) for row in rows}
    # What cannot be read completely is read again by reread_skipped.
    believed = {key for key in mirrored.keys() - session.unfinished_read if not session.skips.has_run(*key)}
    if not believed:
        return [], []
    seen: set[RunKey] = set()
    ended: list[RunKey] = []
    created: list[RunKey] = []
    page: Page[ProviderRun] | None = None
    for _ in range(MOST_PAGES if session.has_listed else 1):
        page = await anext(session.provider.runs(Unfinished(), page.resume if page else None))
        session.progress.expected += len(page.rows)
        session.count_requests()
        # What is as it is here is no news, and no reason to ask who answers.
        differs = [run for run in page.rows if _is_retained(session, run) or _key(run) in mirrored]
        differs = [run for run in differs if mirrored.get(_key(run)) != (run.status, run.started_at)]
        # Those that cannot be read completely are named once, and read again by reread_skipped.
        differs = [run for run in differs if not session.skips.has_run(*_key(run))]
        session.skips.meet(_incomplete(page, differs), is_listed=False)
        stored = await session.store_runs(differs, is_listed=False)
        session.progress.read += len(page.rows) - len(differs)
        created += [
            _key(run)
            for run in differs
            if (session.pipelines.get(run.pipeline_external_id), run.external_id) in stored.created
        ]
        seen.update(map(_key, page.rows))
        if page.resume is None:
            ended = sorted(believed - seen)
            break
    if ended:
        await session.verify_source()  # another Airflow has none of them
    return ended[:MAX_LOOKUPS], created[: MAX_LOOKUPS - len(ended)] if len(ended) < MAX_LOOKUPS else []


def _incomplete(page: Page[ProviderRun], runs: list[ProviderRun]) -> list[SkippedRow]:
    """Return the rows of the page that name unreadable fields of these runs."""
    keys = {_key(run) for run in runs}
    return [row for row in page.skipped if (row.pipeline_external_id, row.run_external_id) in keys]


def _is_retained(session: SyncSession, run: ProviderRun) -> bool:
    is_young = session.oldest is None or run.run_at >= session.oldest
    return is_young and run.pipeline_external_id in session.pipelines


def _key(run: ProviderRun) -> RunKey:
    return run.pipeline_external_id, run.external_id


async def read_older_runs(session: SyncSession, as_of: datetime) -> None:
    """Runs from before the history that have not ended, or changed within so many days: backfills, runs that waited.

    Their task runs are read with what else is to be followed (Changes).
    """
    goal = session.goal
    if session.oldest is not None and session.oldest >= goal:
        return
    since = as_of - timedelta(days=session.config.history_days)
    scopes: tuple[ScanScope, ...] = (Unfinished(runs_until=goal), UpdatedSince(since, runs_until=goal))
    for scope in scopes:
        read = 0
        async for page in session.track_pages("runs", session.provider.runs(scope)):
            await session.store_runs(page.rows)
            read += len(page.rows)
            if read >= MOST_OLDER_RUNS and page.resume is not None:
                session.progress.warn(
                    f"More than {MOST_OLDER_RUNS:,} runs from before the history run, wait or changed within "
                    f"{session.config.history_days} days; the others come when they change (see history_days)."
                )
                break
