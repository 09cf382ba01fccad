"""A space in a database of the tests' own, incidents in it, and receivers that do what a test tells them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from psycopg.types.json import Jsonb

from windsock.connectors.encryption import Encryption
from windsock.db.database import Database, Row
from windsock.notifications.channels.base import HttpRequest, HttpResponse, Mail, Outcome
from windsock.notifications.delivery import Delivery
from windsock.notifications.models import ChannelIn
from windsock.notifications.queue import evaluate_space
from windsock.notifications.rule_models import RuleIn
from windsock.notifications.store import create_channel, create_rule
from windsock.spaces.store import create_space, create_user, expect_row, upsert_member

SIGNING_SECRET = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"
CHANNELS: dict[str, dict[str, Any]] = {
    "webhook": {"config": {"url": "https://hooks.example.com/in"}, "secret": {"signing_secret": SIGNING_SECRET}},
    "slack": {"secret": {"webhook_url": "https://hooks.slack.com/services/T/B/secret"}},
    "teams": {"secret": {"webhook_url": "https://prod.logic.azure.com/workflows/1?sig=secret"}},
    "pagerduty": {"secret": {"routing_key": "R0123456789"}},
    "alertmanager": {"config": {"url": "https://alertmanager.example.com"}},
    "email": {"config": {"to": ["data@example.com"]}},
}

Responder = Callable[[HttpRequest], HttpResponse | Outcome]


@dataclass
class ScriptedOutbound:
    """Responds to requests as a test configures, and records them."""

    respond: Responder = field(default=lambda _request: HttpResponse(202, {}, b"ok"))
    mail_outcome: Callable[[Mail], Outcome] = field(default=lambda _mail: Outcome("delivered", 250, "queued"))
    requests: list[HttpRequest] = field(default_factory=list)
    mails: list[Mail] = field(default_factory=list)

    async def request(self, request: HttpRequest) -> HttpResponse | Outcome:
        self.requests.append(request)
        await asyncio.sleep(0)
        return self.respond(request)

    async def send_mail(self, mail: Mail) -> Outcome:
        self.mails.append(mail)
        return self.mail_outcome(mail)


def respond_with(status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Responder:
    return lambda _request: HttpResponse(status, headers or {}, body)


class Harness:
    """`outbound`: what its delivery sends through."""

    def __init__(self, db: Database, secrets: Encryption, space_id: UUID, slug: str, connector_id: UUID) -> None:
        self.db, self.secrets, self.space_id, self.slug, self.connector_id = db, secrets, space_id, slug, connector_id
        self.outbound = ScriptedOutbound()
        self.delivery = Delivery(db, secrets, self.outbound, base_url="https://windsock.example.com", has_mail=True)

    @classmethod
    async def create(cls, db: Database, secrets: Encryption) -> "Harness":
        slug = f"s-{uuid4().hex[:12]}"
        async with db.transaction() as tx:
            space = await create_space(tx, slug=slug, name=slug.title())
        async with db.tenant_transaction(space["id"]) as tx:
            connector = expect_row(await tx.fetch_one(CONNECTOR, space_id=space["id"]))
            await tx.execute(NO_RULES, space_id=space["id"])
        return cls(db, secrets, space["id"], slug, connector["id"])

    async def execute(self, statement: Any, **parameters: object) -> list[Row]:
        async with self.db.tenant_transaction(self.space_id) as tx:
            return await tx.fetch_all(statement, space_id=self.space_id, **parameters)

    async def add_channel(self, kind: str = "webhook", **more: Any) -> UUID:
        body = ChannelIn(**{"name": f"{kind} {uuid4().hex[:6]}", "kind": kind, **CHANNELS[kind], **more})
        async with self.db.tenant_transaction(self.space_id) as tx:
            channel_id: UUID = (await create_channel(tx, self.space_id, body, self.secrets))["id"]
        return channel_id

    async def add_rule(self, *channel_ids: UUID, **more: Any) -> UUID:
        body = RuleIn(**{"name": f"rule {uuid4().hex[:6]}", "channel_ids": list(channel_ids), **more})
        async with self.db.tenant_transaction(self.space_id) as tx:
            rule_id: UUID = (await create_rule(tx, self.space_id, body))["id"]
        return rule_id

    async def add_member(self, *, role: str = "viewer") -> UUID:
        async with self.db.transaction() as tx:
            user = await create_user(tx, email=f"{uuid4().hex[:8]}@example.com", name="Ana", is_superadmin=False)
        async with self.db.tenant_transaction(self.space_id) as tx:
            await upsert_member(tx, self.space_id, user["id"], role)
        user_id: UUID = user["id"]
        return user_id

    async def add_pipeline(self, criticality: str = "high", team_id: UUID | None = None) -> UUID:
        name = f"p_{uuid4().hex[:8]}"
        rows = await self.execute(
            PIPELINE, connector_id=self.connector_id, name=name, criticality=criticality, team_id=team_id
        )
        pipeline_id: UUID = rows[0]["id"]
        return pipeline_id

    async def add_team(self) -> UUID:
        team_id: UUID = (await self.execute(TEAM, name=f"t_{uuid4().hex[:8]}"))[0]["id"]
        return team_id

    async def watch(self, pipeline_id: UUID, user_id: UUID) -> None:
        await self.execute(WATCH, pipeline_id=pipeline_id, user_id=user_id)

    async def open_incident(self, pipeline_id: UUID | None = None, kind: str = "failed", **more: Any) -> UUID:
        pipeline_id = pipeline_id or await self.add_pipeline()
        rows = await self.execute(INCIDENT, connector_id=self.connector_id, pipeline_id=pipeline_id, kind=kind)
        incident_id: UUID = rows[0]["id"]
        await self.add_event(incident_id, "opened", **more)
        return incident_id

    async def add_event(self, incident_id: UUID, kind: str, *, state: str | None = None, **more: Any) -> UUID:
        """`state`: that of the incident from then on."""
        if state is not None:
            await self.execute(SET_STATE, incident_id=incident_id, state=state)
        values = {"happened_at": datetime.now(UTC), "details": {}, **more}
        values["details"] = Jsonb(values["details"])
        event_id: UUID = (await self.execute(EVENT, incident_id=incident_id, kind=kind, **values))[0]["id"]
        return event_id

    async def resolve(self, incident_id: UUID) -> None:
        await self.add_event(incident_id, "resolved", state="resolved")

    async def evaluate(self, now: datetime | None = None) -> int:
        return await evaluate_space(self.db, self.space_id, has_mail=True, now=now)

    async def deliver(self) -> None:
        """Send everything that is due."""
        async with self.db.transaction() as tx:
            due = await tx.fetch_all(DUE)
        for row in due:
            if row["space_id"] == self.space_id:
                await self.delivery.deliver_to(self.space_id, row["recipient_id"])

    async def run(self) -> None:
        await self.evaluate()
        await self.deliver()

    async def messages(self) -> list[Row]:
        return await self.execute(MESSAGES)

    async def outcomes(self) -> list[str]:
        return [row["outcome"] for row in await self.execute(DECISIONS)]

    async def make_due(self) -> None:
        """As if the time of every waiting message had come, and every lease had run out."""
        await self.execute(MAKE_DUE)


@contextlib.asynccontextmanager
async def open_harness(url: str, secret_key: str) -> AsyncIterator[Harness]:
    db = Database(url, pool_size=4)
    await db.open()
    try:
        yield await Harness.create(db, Encryption([secret_key]))
    finally:
        await db.close()


def around_now(before: int, after: int) -> dict[str, str]:
    """Quiet hours that began `before` minutes ago."""
    now = datetime.now(UTC)
    return {
        "quiet_start": (now - timedelta(minutes=before)).strftime("%H:%M"),
        "quiet_end": (now + timedelta(minutes=after)).strftime("%H:%M"),
    }


def hours_ago(hours: float) -> datetime:
    return datetime.now(UTC) - timedelta(hours=hours)


CONNECTOR: Any = """
INSERT INTO connectors (space_id, name, connector_type) VALUES (%(space_id)s, 'prod', 'airflow') RETURNING id
"""
NO_RULES: Any = "DELETE FROM notification_rules WHERE space_id = %(space_id)s"
TEAM: Any = "INSERT INTO teams (space_id, name) VALUES (%(space_id)s, %(name)s) RETURNING id"
PIPELINE: Any = """
INSERT INTO pipelines (space_id, connector_id, external_id, name, is_paused, is_active, has_import_errors, criticality,
                       team_id)
VALUES (%(space_id)s, %(connector_id)s, %(name)s, %(name)s, false, true, false, %(criticality)s, %(team_id)s)
RETURNING id
"""
WATCH: Any = """
INSERT INTO watches (space_id, pipeline_id, user_id) VALUES (%(space_id)s, %(pipeline_id)s, %(user_id)s)
RETURNING user_id
"""
INCIDENT: Any = """
INSERT INTO incidents (space_id, connector_id, pipeline_id, kind, opened_at, last_failed_at)
VALUES (%(space_id)s, %(connector_id)s, %(pipeline_id)s, %(kind)s, now(), now())
RETURNING id
"""
SET_STATE: Any = """
UPDATE incidents
SET state = %(state)s, resolved_at = CASE %(state)s WHEN 'resolved' THEN now() END,
    acknowledged_at = CASE %(state)s WHEN 'acknowledged' THEN now() END,
    snoozed_until = CASE %(state)s WHEN 'snoozed' THEN now() END
WHERE space_id = %(space_id)s AND id = %(incident_id)s
RETURNING id
"""
EVENT: Any = """
INSERT INTO incident_events (space_id, incident_id, kind, happened_at, details)
VALUES (%(space_id)s, %(incident_id)s, %(kind)s, %(happened_at)s, %(details)s)
RETURNING id
"""
DUE: Any = "SELECT space_id, recipient_id FROM due_messages()"
MESSAGES: Any = "SELECT * FROM messages WHERE space_id = %(space_id)s ORDER BY id"
DECISIONS: Any = "SELECT * FROM notification_decisions WHERE space_id = %(space_id)s ORDER BY id"
MAKE_DUE: Any = """
UPDATE messages
SET due_at = CASE WHEN state = 'queued' THEN now() ELSE due_at END,
    lease_until = CASE WHEN state = 'sending' THEN now() - interval '1 second' ELSE lease_until END
WHERE space_id = %(space_id)s AND state IN ('queued', 'sending')
RETURNING id
"""
