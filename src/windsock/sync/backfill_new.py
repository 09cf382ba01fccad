"""Reads the runs of pipelines that came, or came back, after the history was begun: the watermark passed them."""

import time as clocks

from windsock.errors import ProviderHTTPError
from windsock.providers.scopes import RunRange
from windsock.sync.session import SyncSession

MAX_PIPELINES = 50
SECONDS = 15.0
"""After that the pass goes on; the next one, which comes at once, reads the others."""
NOT_TO_BE_READ = frozenset({403, 404})


async def backfill_new_pipelines(reading: SyncSession) -> bool:
    """All runs of each, as far back as the history goes. Whether some of the pipelines are left."""
    until = clocks.monotonic() + SECONDS
    async with reading.db.tenant_transaction(reading.progress.space_id) as tx:
        found = await reading.mirror.list_pipelines_to_backfill(tx, MAX_PIPELINES)
    for pipeline in found:
        await _read(reading, pipeline["external_id"])
        async with reading.db.tenant_transaction(reading.progress.space_id) as tx:
            await reading.progress.save(tx)
            await reading.mirror.mark_backfilled(tx, pipeline["id"])
        reading.progress.raise_if_interrupted()
        if clocks.monotonic() >= until:
            return True
    return len(found) == MAX_PIPELINES


async def _read(reading: SyncSession, dag_id: str) -> None:
    if dag_id not in reading.pipelines:
        return
    scope = RunRange(reading.goal, None, dag_id)
    try:
        async for page in reading.track_pages("runs", reading.provider.runs(scope), scope):
            await reading.store_runs(page.rows)
        async for task_page in reading.track_pages("task_runs", reading.provider.task_runs(scope), scope):
            await reading.store_task_runs(task_page.rows)
        for kind in ("task_runs", "runs"):
            await reading.end_scan(kind)
    except ProviderHTTPError as refusal:  # gone again; the listing will say so, and when it is back
        if refusal.status not in NOT_TO_BE_READ:
            raise
