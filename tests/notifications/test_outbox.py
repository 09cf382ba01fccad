"""Property test of the outbox: random events, workers that die, receivers that fail, quiet hours across DST changes.

Few examples by default; WINDSOCK_TEST_EXAMPLES=3000 for more.
"""

import asyncio
import contextlib
import os
from collections import Counter
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from conftest import SECRET_KEY
from notifications.harness import Harness
from windsock.connectors.encryption import Encryption
from windsock.db.database import Database
from windsock.notifications.channels.base import HttpRequest, HttpResponse, Mail, Outcome
from windsock.notifications.delivery import Delivery, Leased

EXAMPLES = int(os.environ.get("WINDSOCK_TEST_EXAMPLES", "8"))
DST_DAYS = (datetime(2026, 3, 28, 20, tzinfo=UTC), datetime(2026, 10, 24, 20, tzinfo=UTC))
"""Evenings before the clocks of Berlin change."""
BEHAVIOURS = ("ok", "ok", "ok", "429", "503", "500", "cut", "lost", "kill_before", "kill_after")


SENDING: ContextVar[str] = ContextVar("SENDING")
"""The id of the message that is being sent: requests to Slack do not have it."""


class Killed(BaseException):
    """The process ends here."""


class Receiver:
    """Does what it is told with each request, and counts what has arrived."""

    def __init__(self) -> None:
        self.behaviours: list[str] = []
        self.arrived: Counter[str] = Counter()
        self.bodies: dict[str, list[bytes]] = {}

    async def request(self, request: HttpRequest) -> HttpResponse | Outcome:
        behaviour = self.behaviours.pop() if self.behaviours else "ok"
        await asyncio.sleep(0)
        if behaviour == "kill_before":
            raise Killed
        if behaviour in {"429", "503"}:
            return HttpResponse(int(behaviour), {}, b"")
        if behaviour == "lost":
            return Outcome("ambiguous", detail="cut before it arrived")
        self._accept(request)
        if behaviour == "kill_after":
            raise Killed
        if behaviour == "500":
            return HttpResponse(500, {}, b"")
        return Outcome("ambiguous", detail="cut") if behaviour == "cut" else HttpResponse(200, {}, b"ok")

    def _accept(self, request: HttpRequest) -> None:
        key = request.headers.get("webhook-id", SENDING.get())
        self.arrived[key] += 1
        self.bodies.setdefault(key, []).append(request.body)

    async def send_mail(self, mail: Mail) -> Outcome:
        raise AssertionError(mail)


class NamingDelivery(Delivery):
    async def send(self, leased: Leased) -> Outcome:
        SENDING.set(str(leased.row["id"]))
        return await super().send(leased)


class Outbox(RuleBasedStateMachine):
    url: str

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.receivers = {"webhook": Receiver(), "slack": Receiver()}
        self.channels: dict[UUID, str] = {}
        self.incidents: dict[UUID, str] = {}
        self.now = DST_DAYS[0]

    def run(self, work: Any) -> Any:
        return self.runner.run(work)

    @initialize(
        quiet=st.booleans(), hold=st.sampled_from([0, 30]), grouped=st.booleans(), start=st.sampled_from(DST_DAYS)
    )
    def begin(self, quiet: bool, hold: int, grouped: bool, start: datetime) -> None:
        self.now = start
        self.run(self._begin(quiet, hold, grouped))

    async def _begin(self, quiet: bool, hold: int, grouped: bool) -> None:
        self.db = Database(self.url, pool_size=6)
        await self.db.open()
        self.harness = await Harness.create(self.db, Encryption([SECRET_KEY]))
        for kind in self.receivers:
            self.channels[await self.harness.add_channel(kind, max_per_hour=1_000)] = kind
        more: dict[str, Any] = {"hold_seconds": hold, "group_by": ["connector"] if grouped else ["pipeline", "kind"]}
        if quiet:
            more |= {"quiet_start": "22:00", "quiet_end": "02:30", "time_zone": "Europe/Berlin"}
        await self.harness.add_rule(*self.channels, **more)

    def teardown(self) -> None:
        try:
            if self.channels:
                self.run(self._drain())
                self.run(self._check())
                self.run(self.db.close())
        finally:
            self.runner.close()

    @rule(criticality=st.sampled_from(["low", "critical"]))
    def open(self, criticality: str) -> None:
        async def work() -> UUID:
            return await self.harness.open_incident(await self.harness.add_pipeline(criticality))

        self.incidents[self.run(work())] = "open"

    @precondition(lambda self: self.incidents)
    @rule(
        data=st.data(),
        kind=st.sampled_from(["failed_again", "resolved", "acknowledged", "reopened", "fingerprint_changed"]),
    )
    def happen(self, data: st.DataObject, kind: str) -> None:
        incident = data.draw(st.sampled_from(sorted(self.incidents)))
        if (kind == "reopened") != (self.incidents[incident] == "resolved"):
            return
        state = {"resolved": "resolved", "acknowledged": "acknowledged", "reopened": "open"}.get(kind)
        self.incidents[incident] = state or self.incidents[incident]
        self.run(self.harness.add_event(incident, kind, state=state))

    @rule(workers=st.integers(2, 4))
    def evaluate(self, workers: int) -> None:
        async def work() -> None:
            await asyncio.gather(*(self.harness.evaluate(self.now) for _ in range(workers)))

        self.run(work())

    @rule(minutes=st.sampled_from([1, 61, 190]))
    def wait(self, minutes: int) -> None:
        self.now += timedelta(minutes=minutes)
        self.run(self.harness.make_due())

    @rule(workers=st.integers(2, 4), behaviours=st.lists(st.sampled_from(BEHAVIOURS), max_size=6))
    def deliver(self, workers: int, behaviours: list[str]) -> None:
        for receiver in self.receivers.values():
            receiver.behaviours = list(behaviours)
        self.run(self._deliver(workers))

    async def _deliver(self, workers: int) -> None:
        async def work(channel_id: UUID, kind: str) -> None:
            delivery = NamingDelivery(
                self.db, self.harness.secrets, self.receivers[kind], base_url="http://w.test", has_mail=False
            )
            with contextlib.suppress(Killed):
                await delivery.deliver_to(self.harness.space_id, channel_id)

        await asyncio.gather(*(work(*item) for item in self.channels.items() for _ in range(workers)))

    @invariant()
    def no_message_arrives_too_often(self) -> None:
        for receiver in self.receivers.values():
            assert all(len(set(map(_unmarked, bodies))) == 1 for bodies in receiver.bodies.values()), "another content"

    async def _drain(self) -> None:
        for receiver in self.receivers.values():
            receiver.behaviours = []
        for _ in range(12):
            await self.harness.evaluate(self.now)
            await self.harness.make_due()
            await self._deliver(1)
            if not any(row["state"] in {"queued", "sending"} for row in await self.harness.messages()):
                return
        raise AssertionError("messages are left")

    async def _check(self) -> None:
        messages = await self.harness.messages()
        for message in messages:
            kind = self.channels[message["channel_id"]]
            count = self._arrivals(message, kind)
            if message["state"] == "sent":
                assert count >= 1
            if kind == "webhook":
                assert message["state"] in {"sent", "dropped"}, "idempotent channels are retried"
            else:
                assert count <= 2
                assert count < 2 or message["is_repetition"]
        decided = await self.harness.execute(UNDECIDED)
        assert decided == [], "an event without a decision"
        assert await self.harness.execute(UNEXPLAINED) == [], "a message without a decision"
        open_ones = {id_ for id_, state in self.incidents.items() if state == "open"}
        assert open_ones <= {row["incident_id"] for row in await self.harness.execute(ANNOUNCED)}, (
            "an open incident was not announced"
        )

    def _arrivals(self, message: Any, kind: str) -> int:
        key = f"msg_{message['id']}" if kind == "webhook" else str(message["id"])
        return self.receivers[kind].arrived[key]


def _unmarked(body: bytes) -> bytes:
    content = orjson.loads(body)
    if "blocks" in content:
        return orjson.dumps(content["blocks"][0])
    return body


UNDECIDED: Any = """
SELECT e.id FROM incident_events e
WHERE e.space_id = %(space_id)s
  AND (e.evaluated_at IS NULL OR NOT EXISTS (SELECT FROM notification_decisions d WHERE d.event_id = e.id))
"""
UNEXPLAINED: Any = """
SELECT m.id FROM messages m
WHERE m.space_id = %(space_id)s AND NOT EXISTS (SELECT FROM notification_decisions d WHERE d.message_id = m.id)
"""
ANNOUNCED: Any = """
SELECT gi.incident_id FROM notification_group_incidents gi
JOIN messages m ON m.space_id = gi.space_id AND m.group_id = gi.group_id
WHERE gi.space_id = %(space_id)s AND m.state IN ('sent', 'failed')
"""


def test_outbox_delivers_each_message_once_or_marks_it(notification_database: str) -> None:
    Outbox.url = notification_database
    Outbox.TestCase.settings = settings(
        max_examples=EXAMPLES,
        stateful_step_count=20,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        derandomize=True,
    )
    Outbox.TestCase("runTest").runTest()


@pytest.fixture(autouse=True)
def _more_time(request: pytest.FixtureRequest) -> None:
    request.node.add_marker(pytest.mark.timeout(0 if EXAMPLES > 100 else 300))
