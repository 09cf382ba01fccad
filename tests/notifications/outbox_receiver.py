"""The receiver of the outbox's property test: HTTP on loopback, with the deduplication of each kind of channel.

For each request it does what it is told: it accepts it or not, and then responds, cuts the connection, says nothing,
or kills the process that has sent it.
"""

import asyncio
import contextlib
import os
import signal
from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Self

import orjson

from windsock.notifications.channels.base import REPETITION

RESPONSES = {
    "429": (429, 120), "429_long": (429, 7_200), "503": (503, 0), "500_lost": (500, 0), "500_accepted": (500, 0),
}  # fmt: skip
"""Status and seconds of Retry-After, 0 for none."""
REFUSING = ("429", "429_long", "503", "500_lost", "cut_lost", "silent_lost", "kill_before")
"""Behaviours with which the request is not accepted."""
ACCEPTING = ("500_accepted", "cut_accepted", "silent_accepted", "kill_after")
SILENT = ("silent_lost", "silent_accepted")
BEHAVIOURS = (*["ok"] * 6, *[name for name in REFUSING + ACCEPTING if not name.startswith("silent")] * 3, *SILENT)
"""As often as they are drawn: those that say nothing seldom, since they cost time."""


@dataclass(frozen=True)
class Arrival:
    """A request that was accepted."""

    kind: str
    message_id: str
    webhook_id: str | None
    body: bytes
    at: datetime

    @property
    def is_marked(self) -> bool:
        return REPETITION.encode() in self.body


@dataclass(frozen=True)
class Request:
    at: datetime
    retry_after: int


@dataclass
class Receiver:
    """`now`: the time of the test; `behaviours`: of the next requests, the others are accepted."""

    now: datetime
    behaviours: list[str] = field(default_factory=list)
    requests: dict[str, dict[int, Request]] = field(default_factory=lambda: defaultdict(dict))
    """By message and attempt."""
    arrivals: list[Arrival] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    port: int = 0

    def begin(self, now: datetime) -> None:
        """Forget the example before."""
        self.now = now
        for collection in (self.behaviours, self.requests, self.arrivals, self.faults):
            collection.clear()

    @classmethod
    @contextlib.asynccontextmanager
    async def start(cls, now: datetime) -> AsyncIterator[Self]:
        receiver = cls(now)
        server = await asyncio.start_server(receiver._serve, "127.0.0.1", 0)
        receiver.port = server.sockets[0].getsockname()[1]
        async with server:
            yield receiver

    def url(self, kind: str) -> str:
        return f"http://127.0.0.1:{self.port}/{kind}"

    def of(self, kind: str) -> list[Arrival]:
        return [arrival for arrival in self.arrivals if arrival.kind == kind]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            body = await reader.readexactly(int(headers["content-length"]))
            behaviour = self.behaviours.pop() if self.behaviours else "ok"
            self._note(headers["x-message"], int(headers["x-attempt"]), RESPONSES.get(behaviour, (0, 0))[1])
            if behaviour not in REFUSING:
                kind = first.split()[1].split("/")[1]
                self.arrivals.append(Arrival(kind, headers["x-message"], headers.get("webhook-id"), body, self.now))
            await self._respond(behaviour, headers, reader, writer)
        writer.close()

    def _note(self, message_id: str, attempt: int, retry_after: int) -> None:
        attempts = self.requests[message_id]
        if attempt in attempts:
            self.faults.append(f"message {message_id} was sent twice by its attempt {attempt}")
        attempts[attempt] = Request(self.now, retry_after)

    async def _respond(
        self, behaviour: str, headers: dict[str, str], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if behaviour.startswith("kill"):
            with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile by itself
                os.kill(int(headers["x-process"]), signal.SIGKILL)
        if behaviour.startswith("silent"):
            await reader.read()  # until the sender gives up
        if behaviour.startswith(("kill", "silent", "cut")):
            writer.transport.abort()
            return
        status, retry_after = RESPONSES.get(behaviour, (202, 0))
        more = f"Retry-After: {retry_after}\r\n" if retry_after else ""
        writer.write(f"HTTP/1.1 {status} X\r\n{more}Content-Length: 2\r\nConnection: close\r\n\r\nok".encode())
        await writer.drain()


@dataclass
class Deduplicated:
    """The state of receivers that recognise repetitions, made of what has arrived."""

    webhooks: dict[str, bytes] = field(default_factory=dict)
    """Bodies by webhook-id."""
    pagerduty: dict[str, str] = field(default_factory=dict)
    """The last action by dedup_key."""
    alerts: dict[str, tuple[str, datetime]] = field(default_factory=dict)
    """Of Alertmanager by labels: the group of incidents, and when it ends."""
    faults: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, arrivals: list[Arrival]) -> Self:
        state = cls()
        for arrival in arrivals:
            content = orjson.loads(arrival.body)
            if arrival.kind == "webhook":
                state._add_webhook(arrival)
            elif arrival.kind == "pagerduty":
                state.pagerduty[content["dedup_key"]] = content["event_action"]
            elif arrival.kind == "alertmanager":
                for alert in content:
                    labels = orjson.dumps(alert["labels"], option=orjson.OPT_SORT_KEYS).decode()
                    state.alerts[labels] = alert["labels"]["group"], datetime.fromisoformat(alert["endsAt"])
        return state

    def _add_webhook(self, arrival: Arrival) -> None:
        assert arrival.webhook_id is not None
        if self.webhooks.setdefault(arrival.webhook_id, arrival.body) != arrival.body:
            self.faults.append(f"{arrival.webhook_id} arrived with another content")

    def firing_groups(self, kind: str) -> set[str]:
        """Groups of incidents for which an alert is shown."""
        if kind == "pagerduty":
            return {key.removeprefix("windsock/") for key, action in self.pagerduty.items() if action != "resolve"}
        tomorrow = datetime.now(UTC) + timedelta(days=1)
        return {group for group, ends_at in self.alerts.values() if ends_at > tomorrow}
