"""Metrics of syncs: results, durations, requests, rows written, age of the data."""

import math
from collections.abc import Iterable

from prometheus_client import Counter, Gauge, Histogram

from windsock.db.database import Database, Row
from windsock.errors import DatabaseFailed
from windsock.sync.lease import QUERIES
from windsock.sync.progress import Progress

STATES = ("new", "fresh", "late", "partial", "failing", "held", "off")

SYNCS = Counter("windsock_syncs", "Syncs that this process carried out to their end.", ["status"])
SECONDS = Histogram(
    "windsock_sync_seconds",
    "How long syncs took, in seconds.",
    ["status"],
    buckets=(0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, math.inf),
)
REQUESTS = Counter("windsock_sync_provider_requests", "Requests that syncs of this process sent to Airflows.")
ROWS = Counter("windsock_sync_rows", "What syncs of this process did to rows of the mirror.", ["kind", "outcome"])
CONNECTORS = Gauge("windsock_connectors", "Connectors of all spaces by the state of their mirror.", ["state"])
LAG = Gauge(
    "windsock_sync_lag_seconds", "Age of the oldest mirror among the connectors in a state, in seconds.", ["state"]
)


def record_sync(progress: Progress, status: str, seconds: float) -> None:
    SYNCS.labels(status).inc()
    SECONDS.labels(status).observe(seconds)
    REQUESTS.inc(max(0, progress.provider_requests - progress.provider_requests_before))
    for kind, outcomes in progress.counts.items():
        for outcome, number in outcomes.items():
            ROWS.labels(kind, outcome).inc(number)


async def update_freshness_gauges(db: Database) -> None:
    """Of all spaces together: /metrics needs no key, so it must not name any. Unknown while the database is away."""
    rows: Iterable[Row] = ()
    known = True
    try:
        async with db.transaction() as tx:
            rows = await tx.fetch_all(QUERIES["sync_freshness"])
    except DatabaseFailed:
        known = False
    by_state = {row["state"]: row for row in rows}
    for state in STATES:
        found = by_state.get(state)
        CONNECTORS.labels(state).set(float(found["connectors"] if found else 0) if known else math.nan)
        LAG.labels(state).set(float(found["lag_seconds"] or 0) if found else (0.0 if known else math.nan))
