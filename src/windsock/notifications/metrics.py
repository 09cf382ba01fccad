"""Metrics of notifications: open incidents, messages, the oldest unsent one, the time until delivery."""

import math

from prometheus_client import Counter, Gauge, Histogram

from windsock.db.database import Database
from windsock.errors import DatabaseFailed
from windsock.notifications.queue import QUERIES

INCIDENTS = Gauge("windsock_incidents", "Unresolved incidents of all spaces.", ["kind", "criticality"])
ATTEMPTS = Counter(
    "windsock_notification_attempts", "Attempts of this process to deliver a message.", ["channel", "outcome"]
)
MESSAGES = Counter(
    "windsock_notification_messages", "Messages that this process delivered or gave up.", ["channel", "state"]
)
OLDEST = Gauge("windsock_notification_oldest_due_seconds", "How long the oldest message that is due waits, in seconds.")
LATENCY = Histogram(
    "windsock_notification_seconds",
    "From the event of an incident to the delivery of its message, in seconds.",
    ["channel"],
    buckets=(0.5, 1, 2, 3, 5, 10, 30, 60, 300, 3600, 86400, math.inf),
)


def record_delivery(channel: str, outcome: str, state: str, latency: float | None) -> None:
    ATTEMPTS.labels(channel, outcome).inc()
    if state in {"sent", "failed"}:
        MESSAGES.labels(channel, state).inc()
    if state == "sent" and latency is not None:
        LATENCY.labels(channel).observe(max(0.0, latency))


async def update_notification_gauges(db: Database) -> None:
    """Of all spaces together: /metrics needs no key, so it must not name any. Unknown while the database is away."""
    try:
        async with db.transaction() as tx:
            rows = await tx.fetch_all(QUERIES["get_notification_statistics"])
    except DatabaseFailed:
        OLDEST.set(math.nan)
        INCIDENTS.clear()
        return
    INCIDENTS.clear()
    for row in rows:
        if row["kind"] is None:
            OLDEST.set(row["oldest_seconds"])
        else:
            INCIDENTS.labels(row["kind"], row["criticality"]).set(row["incidents"])
