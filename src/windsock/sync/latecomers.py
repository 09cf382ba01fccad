"""Reads the runs of pipelines that came, or came back, after the history was begun: the watermark passed them."""

import time as clocks

from windsock.errors import ProviderRefused
from windsock.providers.scopes import RunsBetween
from windsock.sync.reading import Reading

MOST_AT_ONCE = 50
SECONDS = 15.0
"""After that the pass goes on; the next one, which comes at once, reads the others."""
NOT_TO_BE_READ = frozenset({403, 404})


async def read_latecomers(reading: Reading) -> bool:
    """All runs of each, as far back as the history goes. Whether some of the pipelines are left."""
    until = clocks.monotonic() + SECONDS
    async with reading.db.in_space(reading.progress.space_id) as tx:
        found = await reading.mirror.pipelines_without_history(tx, MOST_AT_ONCE)
    for pipeline in found:
        await _read(reading, pipeline["external_id"])
        async with reading.db.in_space(reading.progress.space_id) as tx:
            await reading.progress.save(tx)
            await reading.mirror.has_its_history(tx, pipeline["id"])
        reading.progress.go_on_or_stop()
        if clocks.monotonic() >= until:
            return True
    return len(found) == MOST_AT_ONCE


async def _read(reading: Reading, dag_id: str) -> None:
    if dag_id not in reading.pipelines:
        return
    scope = RunsBetween(reading.goal, None, dag_id)
    try:
        async for page in reading.scan("runs", reading.provider.runs(scope), scope):
            await reading.store_runs(page.rows)
        async for task_page in reading.scan("task_runs", reading.provider.task_runs(scope), scope):
            await reading.store_task_runs(task_page.rows)
        for kind in ("task_runs", "runs"):
            await reading.end_scan(kind)
    except ProviderRefused as refusal:  # gone again; the listing will say so, and when it is back
        if refusal.status not in NOT_TO_BE_READ:
            raise
