"""Metrics of incidents and notifications on /metrics."""

import math
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client.parser import text_string_to_metric_families

from conftest import RolledBackDatabase
from factories import TwoTenants
from notifications.harness import Harness, respond_with
from validating_client import ValidatingClient
from windsock.errors import DatabaseFailed
from windsock.notifications.channels.base import Outcome
from windsock.notifications.metrics import INCIDENTS, OLDEST, update_notification_gauges

pytestmark = pytest.mark.anyio

Samples = dict[tuple[str, ...], float]
MESSAGES, ATTEMPTS = "windsock_notification_messages_total", "windsock_notification_attempts_total"
LATENCY = "windsock_notification_seconds"


async def read_metrics(client: ValidatingClient) -> Samples:
    """Each sample of Windsock's by its name and the values of its labels, in the order of the labels' names."""
    text = (await client.request("GET", "http://test/metrics")).text
    return {
        (sample.name, *(sample.labels[label] for label in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_unresolved_incidents_are_counted_by_criticality_and_kind(
    client: ValidatingClient, tenants: TwoTenants, db: RolledBackDatabase
) -> None:
    async with db.tenant_transaction(tenants.finance.id):
        await db.connection.execute("DELETE FROM incidents WHERE held_back_by_incident_id IS NOT NULL")
        await db.connection.execute(
            "INSERT INTO incidents (space_id, connector_id, kind, opened_at, last_failed_at)"
            " SELECT space_id, connector_id, 'sync', now(), now() FROM incidents"
        )
    both = await read_metrics(client)
    assert (both["windsock_incidents", "critical", "sync"], both["windsock_incidents", "medium", "failed"]) == (1, 3)
    async with db.tenant_transaction(tenants.finance.id):
        await db.connection.execute("UPDATE incidents SET state = 'resolved', resolved_at = now() WHERE kind = 'sync'")
    assert ("windsock_incidents", "critical", "sync") not in await read_metrics(client)


async def test_age_is_that_of_the_oldest_message_that_is_due(
    client: ValidatingClient, tenants: TwoTenants, db: RolledBackDatabase
) -> None:
    name = ("windsock_notification_oldest_due_seconds",)
    assert (await read_metrics(client))[name] == 0
    async with db.tenant_transaction(tenants.finance.id):
        await db.connection.execute(
            "UPDATE messages SET state = 'queued', sent_at = NULL, due_at = now() - interval '90 seconds'"
        )
    assert 90 <= (await read_metrics(client))[name] < 120
    async with db.tenant_transaction(tenants.finance.id):
        await db.connection.execute("UPDATE messages SET due_at = now() + interval '1 hour'")
    assert (await read_metrics(client))[name] == 0, "it waits for its time"


async def test_messages_are_counted_by_channel_and_outcome(client: ValidatingClient, harness: Harness) -> None:
    channel = await harness.add_channel("webhook")
    await harness.add_rule(channel)
    before = await read_metrics(client)
    await harness.open_incident(happened_at=datetime.now(UTC) - timedelta(seconds=4))
    harness.outbound.respond = respond_with(503)
    await harness.run()
    harness.outbound.respond = lambda _request: Outcome("ambiguous", detail="No response")
    await harness.make_due()
    await harness.deliver()
    harness.outbound.respond = respond_with(200)
    await harness.make_due()
    await harness.deliver()
    await harness.open_incident()
    harness.outbound.respond = respond_with(404)
    await harness.run()
    after = await read_metrics(client)

    def added(*name: str) -> float:
        return after.get(name, 0) - before.get(name, 0)

    outcomes = ("temporary", "ambiguous", "delivered", "permanent")
    assert [added(ATTEMPTS, "webhook", outcome) for outcome in outcomes] == [1, 1, 1, 1]
    assert [added(MESSAGES, "webhook", state) for state in ("sent", "failed")] == [1, 1]
    assert added(f"{LATENCY}_count", "webhook") == 1, "the time is that of what was delivered"
    assert 4 <= added(f"{LATENCY}_sum", "webhook") < 60
    assert [added(f"{LATENCY}_bucket", "webhook", bound) for bound in ("3.0", "+Inf")] == [0, 1]


async def test_gauges_are_unknown_while_the_database_is_away() -> None:
    class AwayDatabase:
        def transaction(self) -> None:
            raise DatabaseFailed("away")

    INCIDENTS.labels("failed", "high").set(1)
    await update_notification_gauges(AwayDatabase())  # type: ignore[arg-type]
    assert math.isnan(OLDEST._value.get())
    assert not next(iter(INCIDENTS.collect())).samples
