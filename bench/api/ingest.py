"""How many changed task runs and runs one worker stores in a second, into the fleet's tables, and what that writes."""

from __future__ import annotations

import gc
import statistics
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import psycopg

from windsock.db.database import Database
from windsock.db.queries import Query
from windsock.providers.base import ProviderRun, ProviderTaskRun
from windsock.sync.writer import MirrorWriter

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from bench.api.seeding import Fleet

ROUNDS = 5
BATCHES = (100, 1_000, 10_000)
LATER = timedelta(seconds=1)
TASK_RUNS = Query("""
SELECT p.external_id AS pipeline_external_id, r.external_id AS run_external_id, t.external_id, t.map_index, t.name,
       t.operator, t.status, t.try_number, t.max_tries, t.queued_at, t.started_at, t.ended_at, t.pool, t.queue,
       t.hostname, t.note, t.provider_metadata
FROM pipelines p
CROSS JOIN LATERAL (SELECT * FROM runs x WHERE x.space_id = p.space_id AND x.pipeline_id = p.id AND x.status = 'success'
                    ORDER BY x.effective_start_at DESC LIMIT 1 + %(many)s / 4000) r
JOIN task_runs t ON t.space_id = p.space_id AND t.run_id = r.id AND t.map_index = -1
WHERE p.space_id = %(space_id)s
ORDER BY p.id
LIMIT %(many)s
""")
RUNS = Query("""
SELECT p.external_id AS pipeline_external_id, r.external_id, r.status, r.run_type, r.run_at, r.queued_at, r.started_at,
       r.ended_at, r.run_after, r.logical_date, r.data_interval_start, r.data_interval_end, r.conf, r.note,
       r.triggered_by, r.provider_metadata
FROM pipelines p
CROSS JOIN LATERAL (SELECT * FROM runs x WHERE x.space_id = p.space_id AND x.pipeline_id = p.id AND x.status = 'success'
                    ORDER BY x.effective_start_at DESC LIMIT 1 + %(many)s / 1000) r
WHERE p.space_id = %(space_id)s
ORDER BY p.id
LIMIT %(many)s
""")


@dataclass(frozen=True, slots=True)
class Stored:
    """Medians of the rounds. `wal`: bytes of write-ahead log for each row that changed."""

    what: str
    at_once: int
    rows_per_second: float
    wal: float


async def ingest(app_url: str, superuser_url: str, fleet: Fleet) -> list[Stored]:
    """Each batch in a transaction of its own, as a sync stores a page; each row of it has changed. All is committed."""
    db = Database(app_url, pool_size=1)
    await db.open()
    try:
        with psycopg.connect(superuser_url, autocommit=True) as connection:
            row = connection.execute(
                "SELECT connector_id FROM windsock.pipelines WHERE space_id = %s LIMIT 1", (fleet.space_id,)
            ).fetchone()
            if row is None:
                raise RuntimeError("the fleet has no pipeline")
            mirror = MirrorWriter(fleet.space_id, row[0])
            results = []
            for at_once in BATCHES:
                for what in ("task runs", "runs"):
                    rounds = [
                        await _round(db, connection, mirror, fleet.space_id, what, at_once) for _ in range(ROUNDS)
                    ]
                    if measured := [item for item in rounds if item is not None]:
                        results.append(Stored(what, at_once, *map(statistics.median, zip(*measured, strict=True))))
            return results
    finally:
        await db.close()


async def _round(
    db: Database, connection: psycopg.Connection, mirror: MirrorWriter, space_id: UUID, what: str, at_once: int
) -> tuple[float, float] | None:
    """Rows a second and bytes of write-ahead log for each; None where the fleet has fewer rows than a batch."""
    async with db.tenant_transaction(space_id) as tx:
        pipelines = await mirror.known_pipelines(tx)
        rows = await tx.fetch_all(TASK_RUNS if what == "task runs" else RUNS, space_id=space_id, many=10_000)
    changed = [row | {"ended_at": row["ended_at"] + LATER} for row in rows][: 10 * at_once]
    if len(changed) < at_once:
        return None
    gc.collect()
    gc.freeze()  # as a worker does, which does not hold the rows of all its pages at once
    before = _written(connection)
    started = time.perf_counter()
    for first in range(0, len(changed), at_once):
        await _store(db, mirror, space_id, what, changed[first : first + at_once], pipelines)
    seconds = time.perf_counter() - started
    return len(changed) / seconds, (_written(connection) - before) / len(changed)


async def _store(
    db: Database,
    mirror: MirrorWriter,
    space_id: UUID,
    what: str,
    rows: Sequence[dict[str, object]],
    pipelines: dict[str, UUID],
) -> None:
    async with db.tenant_transaction(space_id) as tx:
        if what == "task runs":
            stored = await mirror.store_task_runs(tx, [ProviderTaskRun(**row) for row in rows], pipelines)  # type: ignore[arg-type]
        else:
            stored = await mirror.store_runs(tx, [ProviderRun(**row) for row in rows], pipelines)  # type: ignore[arg-type]
    if stored.outcomes != {"updated": len(rows)}:
        raise RuntimeError(f"not all {what} had changed: {stored.outcomes}")


def _written(connection: psycopg.Connection) -> int:
    (bytes_so_far,) = connection.execute("SELECT pg_current_wal_insert_lsn() - '0/0'").fetchone() or (0,)
    return int(bytes_so_far)


def format_table(stored: Sequence[Stored]) -> str:
    """A table of docs/benchmarks.md."""
    lines = ["| stored | in one transaction | rows/s | WAL bytes/row |", "|---|---|---|---|"]
    lines += [f"| {item.what} | {item.at_once:,} | {item.rows_per_second:,.0f} | {item.wal:,.0f} |" for item in stored]
    return "\n".join(lines)
