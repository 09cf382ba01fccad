"""Property test of the outbox: random events, worker processes that are killed, receivers that fail, DST changes.

Few examples by default; docs/notification-testing.md says how to draw more, and what they have found.
"""

import asyncio
import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from conftest import SECRET_KEY
from databases import Databases
from notifications.harness import CHANNELS, Harness
from notifications.outbox_checks import IDEMPOTENT, QUIET, ZONE, Example
from notifications.outbox_processes import WorkerPool
from notifications.outbox_receiver import BEHAVIOURS, Receiver
from notifications.outbox_worker import CLOCK_OPTIONS
from windsock.connectors.encryption import Encryption
from windsock.db.database import Database
from windsock.embedded import EmbeddedPostgres

EXAMPLES = int(os.environ.get("WINDSOCK_TEST_EXAMPLES", "8"))
STEPS = 16
MAX_INCIDENTS = 8
"""A message lists twenty."""
DST_DAYS = (datetime(2026, 3, 28, 20, tzinfo=UTC), datetime(2026, 10, 24, 20, tzinfo=UTC))
"""Evenings before the clocks of Berlin change."""
ADDRESSES = {
    "webhook": ("config", "url"), "slack": ("secret", "webhook_url"), "teams": ("secret", "webhook_url"),
    "pagerduty": ("config", "url"), "alertmanager": ("config", "url"),
}  # fmt: skip
POINTS = ("leased", "sent", "recorded", *["stop:leased", "stop:sent"] * 2)
IN_DELIVERY = st.one_of(st.none(), st.sampled_from(POINTS), st.integers(2, 20))
"""A point at which a worker kills itself or stops, or the statement before which it kills itself."""
IN_EVALUATION = st.one_of(st.none(), st.none(), st.integers(1, 25))
BEFORE = st.tuples(st.sampled_from([0, 0, 2, 2, 61, 190]), st.sampled_from([False, False, True]))
"""Minutes that pass, and whether processes that have stopped go on then."""
RECEIVED = st.lists(st.sampled_from(BEHAVIOURS), min_size=1, max_size=8)
CRITICALITIES = st.lists(st.sampled_from(["low", "critical"]), min_size=1, max_size=2)
EVENTS = {
    "open": ("failed_again", "resolved", "acknowledged", "snoozed", "fingerprint_changed"),
    "acknowledged": ("failed_again", "resolved", "acknowledgement_ended"),
    "snoozed": ("failed_again", "resolved", "snooze_ended"),
    "resolved": ("reopened",),
}
STATES = {
    "resolved": "resolved", "acknowledged": "acknowledged", "snoozed": "snoozed", "acknowledgement_ended": "open",
    "snooze_ended": "open", "reopened": "open",
}  # fmt: skip
"""Of an incident after an event."""


class Environment:
    """What all examples share: the database, the worker processes and the receiver; all of it runs in one loop."""

    def __init__(self, url: str, folder: Path) -> None:
        self.runner = asyncio.Runner()
        self.url, self.folder = url, folder
        self.examples = self.requests = 0

    def run(self, work: Any) -> Any:
        return self.runner.run(work)

    async def open(self) -> None:
        self.db = Database(self.url, pool_size=6)
        await self.db.open()
        self.pool = await WorkerPool.start(self.folder, self.url, SECRET_KEY)
        self._receiver = Receiver.start(DST_DAYS[0])
        self.receiver = await self._receiver.__aenter__()

    async def close(self) -> None:
        await self.pool.close()
        await self._receiver.__aexit__(None, None, None)
        await self.db.close()


class Outbox(RuleBasedStateMachine):
    environment: ClassVar[Environment]

    def __init__(self) -> None:
        super().__init__()
        self.channels: dict[UUID, str] = {}
        self.incidents: dict[UUID, str] = {}
        self.names: dict[UUID, str] = {}

    @initialize(
        start=st.sampled_from(DST_DAYS),
        kinds=st.tuples(st.sampled_from(["slack", "teams"]), st.sets(st.sampled_from(sorted(IDEMPOTENT)), min_size=1)),
        quiet=st.booleans(),
        hold=st.sampled_from([0, 90]),
        group_by=st.sampled_from([["connector"], ["pipeline", "kind"]]),
        repeat=st.sampled_from([None, None, 3_600]),
        max_per_hour=st.sampled_from([2, 1_000, 1_000]),
        has_second_rule=st.booleans(),
        criticalities=CRITICALITIES,
        is_resolved_at_end=st.booleans(),
    )
    def begin(self, criticalities: list[str], *, is_resolved_at_end: bool, **more: Any) -> None:
        self.is_resolved_at_end = is_resolved_at_end
        self.environment.run(self._begin(**more))
        self.open(criticalities)

    async def _begin(
        self, *, start: datetime, kinds: tuple[str, set[str]], max_per_hour: int, has_second_rule: bool, quiet: bool,
        hold: int, group_by: list[str], repeat: int | None,
    ) -> None:  # fmt: skip
        self.environment.receiver.begin(start)
        self.harness = await Harness.create(self.environment.db, Encryption([SECRET_KEY]))
        await self._set_clock(start)
        for kind in (kinds[0], *sorted(kinds[1])):
            place, name = ADDRESSES[kind]
            settings = {
                **CHANNELS[kind],
                place: {**CHANNELS[kind].get(place, {}), name: self.environment.receiver.url(kind)},
            }
            self.channels[await self.harness.add_channel(kind, max_per_hour=max_per_hour, **settings)] = kind
        rule: dict[str, Any] = {"hold_seconds": hold, "group_by": group_by, "repeat_seconds": repeat}
        if quiet:
            start_at, end_at = (f"{at:%H:%M}" for at in QUIET)
            rule |= {"quiet_start": start_at, "quiet_end": end_at, "time_zone": ZONE}
        await self.harness.add_rule(*self.channels, **rule)
        if has_second_rule:
            await self.harness.add_rule(*list(self.channels)[:1], min_criticality="critical")

    @property
    def now(self) -> datetime:
        return self.environment.receiver.now

    async def _set_clock(self, now: datetime) -> None:
        self.environment.receiver.now = now
        async with self.environment.db.transaction() as tx:
            await tx.execute(SET_CLOCK, now=now)

    @precondition(lambda self: len(self.incidents) < MAX_INCIDENTS)
    @rule(criticalities=CRITICALITIES)
    def open(self, criticalities: list[str]) -> None:
        self.environment.run(self._open(criticalities))

    async def _open(self, criticalities: list[str]) -> None:
        for criticality in criticalities:
            pipeline_id = await self.harness.add_pipeline(criticality)
            incident_id = await self.harness.open_incident(pipeline_id, happened_at=self.now)
            self.incidents[incident_id] = "open"
            self.names[incident_id] = (await self.harness.execute(NAME, pipeline_id=pipeline_id))[0]["name"]

    @precondition(lambda self: self.incidents)
    @rule(data=st.data())
    def happen(self, data: st.DataObject) -> None:
        number = data.draw(st.integers(0, len(self.incidents) - 1), label="incident")
        incident_id = list(self.incidents)[number]
        kind = data.draw(st.sampled_from(EVENTS[self.incidents[incident_id]]), label="event")
        self.incidents[incident_id] = STATES.get(kind, self.incidents[incident_id])
        state = STATES.get(kind)
        self.environment.run(self.harness.add_event(incident_id, kind, state=state, happened_at=self.now))

    @rule(interruptions=st.lists(IN_EVALUATION, min_size=1, max_size=3))
    def evaluate(self, interruptions: list[int | None]) -> None:
        self.environment.run(self._work([("evaluate", each) for each in interruptions], []))

    @rule(before=BEFORE, interruptions=st.lists(IN_DELIVERY, min_size=2, max_size=4), behaviours=RECEIVED)
    def deliver(self, before: tuple[int, bool], interruptions: list[str | int | None], behaviours: list[str]) -> None:
        self.environment.run(self._continue(*before))
        self.environment.run(self._work([("deliver", each) for each in interruptions], behaviours))

    @rule(
        before=BEFORE,
        evaluation=IN_EVALUATION,
        deliveries=st.lists(IN_DELIVERY, min_size=1, max_size=3),
        behaviours=RECEIVED,
        are_together=st.booleans(),
    )
    def evaluate_and_deliver(
        self, before: tuple[int, bool], evaluation: int | None, deliveries: list[str | int | None],
        behaviours: list[str], *, are_together: bool,
    ) -> None:  # fmt: skip
        self.environment.run(self._continue(*before))
        tasks: list[tuple[str, str | int | None]] = [("deliver", each) for each in deliveries]
        if are_together:
            tasks.append(("evaluate", evaluation))
        else:
            self.environment.run(self._work([("evaluate", None)], []))
        self.environment.run(self._work(tasks, behaviours))

    async def _continue(self, minutes: int, resumes: bool) -> None:
        await self._set_clock(self.now + timedelta(minutes=minutes))
        if resumes:
            await self.environment.pool.resume(self.now)

    async def _work(self, tasks: Sequence[tuple[str, str | int | None]], behaviours: list[str]) -> None:
        """In as many processes, at the same time. They wait for an answer only so long as one may be missing."""
        self.environment.receiver.behaviours[:] = behaviours
        is_silent = any(name.startswith("silent") for name in behaviours)
        common = {
            "space_id": str(self.harness.space_id), "now": self.now.isoformat(),
            "http_seconds": 0.2 if is_silent else 30.0,
        }  # fmt: skip
        orders = [{"kind": kind, "interruption": interruption, **common} for kind, interruption in tasks]
        await self.environment.pool.run(orders, self.now)

    def teardown(self) -> None:
        if self.channels:
            self.environment.run(self._end())

    async def _end(self) -> None:
        """Without faults and reminders everything is sent; then it is checked, perhaps also when all is resolved."""
        await self._continue(2, resumes=False)
        await self._work([("deliver", None)], [])  # takes over what processes have leased that have stopped
        await self.environment.pool.resume(self.now)
        await self.harness.execute(NO_REMINDERS)
        await self._finish()
        if self.is_resolved_at_end:
            for incident_id, state in self.incidents.items():
                if state != "resolved":
                    self.incidents[incident_id] = "resolved"
                    await self.harness.add_event(incident_id, "resolved", state="resolved", happened_at=self.now)
            await self._finish()
        self.environment.examples += 1
        self.environment.requests += sum(map(len, self.environment.receiver.requests.values()))
        if self.environment.examples % 100 == 0:  # for whoever waits for thousands, with pytest -s
            figures = self.environment.examples, self.environment.requests, self.environment.pool.killed
            print("{} examples, {} requests, {} processes killed".format(*figures), flush=True)  # noqa: T201

    async def _finish(self) -> None:
        for _ in range(20):
            await self._work([("evaluate", None)], [])
            await self._work([("deliver", None)], [])
            waits = (await self.harness.execute(WAITS))[0]
            if waits["events"] == 0 and waits["until"] is None:
                break
            if waits["until"] is not None:
                await self._set_clock(max(self.now, waits["until"]) + timedelta(seconds=1))
        else:
            raise AssertionError("something is still waiting")
        names = {id_: self.names[id_] for id_, state in self.incidents.items() if state == "open"}
        example = await Example.read(self.harness, self.channels, names, self.environment.receiver)
        example.check()


SET_CLOCK: Any = "UPDATE clock.present SET at = %(now)s"
NAME: Any = "SELECT name FROM pipelines WHERE space_id = %(space_id)s AND id = %(pipeline_id)s"
NO_REMINDERS: Any = """
UPDATE notification_rules SET repeat_seconds = NULL WHERE space_id = %(space_id)s RETURNING id
"""
WAITS: Any = """
SELECT (SELECT count(*) FROM incident_events WHERE space_id = %(space_id)s AND evaluated_at IS NULL) AS events,
       (SELECT max(coalesce(lease_until, due_at)) FROM messages
        WHERE space_id = %(space_id)s AND state IN ('queued', 'sending')) AS until
"""


@pytest.fixture
def environment(
    postgres: EmbeddedPostgres, make_database: Databases, open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Environment]:
    url = make_database("outbox")
    with psycopg.connect(postgres.url(user="postgres", database="outbox"), autocommit=True) as connection:
        connection.execute(Path(__file__).with_name("outbox_clock.sql").read_bytes())
    monkeypatch.setattr("windsock.db.database.CONNECTION_OPTIONS", CLOCK_OPTIONS)
    opened = Environment(url, open_folder)
    try:
        opened.run(opened.open())
        yield opened
        opened.run(opened.close())
    finally:
        opened.runner.close()


@pytest.mark.timeout(0 if EXAMPLES > 100 else 300)
def test_each_transition_is_delivered_once_or_marked(environment: Environment) -> None:
    run_state_machine_as_test(
        type("AnExample", (Outbox,), {"environment": environment}),
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.generate,),  # an example of sixteen steps can be read as it is
            print_blob=True,
            report_multiple_bugs=False,
        ),
    )
