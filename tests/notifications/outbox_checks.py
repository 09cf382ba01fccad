"""Checks at the end of an example: every transition was told to every channel once, and the records say the same."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from notifications.harness import Harness
from notifications.outbox_receiver import Arrival, Deduplicated, Receiver
from windsock.db.database import Row

IDEMPOTENT = frozenset({"webhook", "pagerduty", "alertmanager"})
MAX_ATTEMPTS, MAX_AMBIGUOUS = 7, 2
"""As documented: six more attempts, and two where it is unknown whether the first has arrived."""
WITHOUT_ATTEMPT = {
    "Whether it arrived is unknown, after two attempts.",
    "The processes that sent it ended before they recorded a response, the last time too.",
}
"""Of a message whose last lease was followed by no attempt."""
QUIET = time(22), time(2, 30)
ZONE, SPRING = "Europe/Berlin", date(2026, 3, 29)


@dataclass
class Example:
    """Everything that was recorded and has arrived. `channels`: kinds; `names`: of the pipelines of incidents."""

    channels: Mapping[UUID, str]
    names: Mapping[UUID, str]
    receiver: Receiver
    messages: list[Row]
    attempts: list[Row]
    decisions: list[Row]
    events: list[Row]
    members: list[Row]

    @classmethod
    async def read(
        cls, harness: Harness, channels: Mapping[UUID, str], names: Mapping[UUID, str], receiver: Receiver
    ) -> "Example":
        tables = [await harness.execute(statement) for statement in (MESSAGES, ATTEMPTS, DECISIONS, EVENTS, MEMBERS)]
        return cls(channels, names, receiver, *tables)

    def check(self) -> None:
        assert self.receiver.faults == [], self.receiver.faults
        self._check_decisions()
        by_message: dict[str, list[Arrival]] = defaultdict(list)
        for arrival in self.receiver.arrivals:
            by_message[arrival.message_id].append(arrival)
        attempts: dict[UUID, list[Row]] = defaultdict(list)
        for attempt in self.attempts:
            attempts[attempt["message_id"]].append(attempt)
        for message in self.messages:
            self._check_message(message, attempts[message["id"]], by_message.pop(str(message["id"]), []))
        assert not by_message, "something was sent that is no message"
        self._check_order()
        self._check_announced()
        self._check_receivers()

    def _check_decisions(self) -> None:
        decided: Counter[tuple[UUID, UUID, UUID]] = Counter()
        messages: dict[tuple[UUID, UUID], set[UUID]] = defaultdict(set)
        for row in self.decisions:
            if row["channel_id"] is None or row["outcome"] == "reminded":
                continue
            decided[row["event_id"], row["channel_id"], row["rule_id"]] += 1
            if row["message_id"] is not None:
                messages[row["event_id"], row["channel_id"]].add(row["message_id"])
        assert all(count == 1 for count in decided.values()), "an event was decided twice"
        assert all(len(ids) == 1 for ids in messages.values()), "an event caused two messages to a channel"
        notified = {(event_id, channel_id) for event_id, channel_id, _ in decided}
        for event in self.events:
            assert event["evaluated_at"] is not None, "an event was not evaluated"
            assert all((event["id"], channel_id) in notified for channel_id in self.channels), (
                "an event without a decision"
            )
        decided_messages = {row["message_id"] for row in self.decisions}
        assert all(message["id"] in decided_messages for message in self.messages), "a message without a decision"
        unsent = [row for row in self.decisions if row["outcome"] in {"sent", "quiet", "rate_limited", "reminded"}]
        assert all(row["message_id"] is not None for row in unsent), "a decision to send without a message"

    def _check_message(self, message: Row, attempts: list[Row], arrivals: list[Arrival]) -> None:
        kind, state = self.channels[message["channel_id"]], message["state"]
        requests = self.receiver.requests[str(message["id"])]
        outcomes = [attempt["outcome"] for attempt in attempts]
        leases = message["attempts"] - (message["detail"] in WITHOUT_ATTEMPT)
        assert [attempt["number"] for attempt in attempts] == list(range(1, leases + 1)), "an attempt is not recorded"
        assert None not in outcomes, "an attempt was left open"
        assert requests.keys() <= set(range(1, len(attempts) + 1)), "a request without an attempt"
        assert state in {"sent", "failed", "dropped"}, f"a message is {state} at the end"
        if state == "dropped":
            assert (len(requests), message["event"]) == (0, "opened"), "a message was dropped that was sent"
            return
        for before, after in pairwise(sorted(requests)):
            if outcomes[before - 1] == "temporary":
                earliest = requests[before].at + timedelta(seconds=requests[before].retry_after)
                assert requests[after].at >= earliest, "a message was sent again before its Retry-After"
        assert outcomes.count("delivered") == (state == "sent"), "delivered is what was sent, once"
        assert state == "failed" or arrivals, "a message that is sent did not arrive"
        if kind in IDEMPOTENT:
            assert len({arrival.body for arrival in arrivals}) <= 1, "a repetition with another content"
            assert state == "sent" or len(attempts) >= MAX_ATTEMPTS, "given up too early"
        else:
            assert len(arrivals) <= MAX_AMBIGUOUS, "a message arrived more than twice"
            assert message["is_repetition"] or not any(arrival.is_marked for arrival in arrivals), (
                "marked without record"
            )
            assert message["ambiguous"] or not message["is_repetition"], "recorded as a repetition without a reason"
            assert all(arrival.is_marked and message["is_repetition"] for arrival in arrivals[1:]), "not marked"
            exhausted = message["ambiguous"] >= MAX_AMBIGUOUS or len(attempts) >= MAX_ATTEMPTS
            assert state == "sent" or exhausted, "given up too early"
        keys = {row["key"] for row in self.members if row["group_id"] == message["group_id"]}
        for key in keys:
            kind, _, until = key.partition(":")
            if kind == "quiet" and message["event"] == "catch_up":
                ends_at = datetime.fromisoformat(until)
                assert _quiet_hours_end_at(ends_at), "quiet hours end at another time"
                assert all(arrival.at >= ends_at for arrival in arrivals), "a message arrived within quiet hours"

    def _check_order(self) -> None:
        groups = {str(message["id"]): message["group_id"] for message in self.messages}
        last: dict[UUID, str] = {}
        for arrival in self.receiver.arrivals:
            group = groups[arrival.message_id]
            assert last.get(group, "") <= arrival.message_id, "a message overtook an earlier one of its group"
            last[group] = arrival.message_id

    def _check_announced(self) -> None:
        """Every open incident is in something that each channel accepted, unless that is recorded as failed."""
        for incident_id, name in self.names.items():
            groups = {row["group_id"] for row in self.members if row["incident_id"] == incident_id}
            for channel_id, kind in self.channels.items():
                of_it = [row for row in self.messages if row["group_id"] in groups and row["channel_id"] == channel_id]
                assert of_it, f"an open incident was not announced to {kind}"
                is_named = any(name.encode() in arrival.body for arrival in self.receiver.of(kind))
                assert is_named or any(row["state"] == "failed" for row in of_it), f"{kind} was never told its name"

    def _check_receivers(self) -> None:
        state = Deduplicated.of(self.receiver.arrivals)
        assert state.faults == [], state.faults
        is_open = {str(row["group_id"]): row["closed_at"] is None for row in self.members}
        failed = {str(message["group_id"]) for message in self.messages if message["state"] == "failed"}
        for channel_id, kind in self.channels.items():
            if kind == "webhook":
                sent = {f"msg_{message['id']}" for message in self._sent(channel_id)}
                assert sent <= state.webhooks.keys(), "a webhook did not arrive"
                continue
            if kind not in IDEMPOTENT:
                continue
            firing = state.firing_groups(kind) - failed
            assert firing <= is_open.keys(), f"{kind} shows what is no group of incidents"
            stale = {group for group in firing if not is_open[group]}
            assert not stale, f"{kind} still shows what is resolved: {stale}"
            groups = {str(message["group_id"]) for message in self._sent(channel_id)} - failed
            missing = {group for group in groups if is_open[group]} - firing
            assert not missing, f"{kind} does not show what is open: {missing}"

    def _sent(self, channel_id: UUID) -> list[Row]:
        return [row for row in self.messages if row["channel_id"] == channel_id and row["state"] == "sent"]


def _quiet_hours_end_at(at: datetime) -> bool:
    """By the clocks of the zone; on the day on which those skip that time they show an hour more."""
    local = at.astimezone(ZoneInfo(ZONE))
    return local.time() == (time(3, 30) if local.date() == SPRING else QUIET[1])


MESSAGES: Any = "SELECT * FROM messages WHERE space_id = %(space_id)s ORDER BY id"
ATTEMPTS: Any = "SELECT * FROM message_attempts WHERE space_id = %(space_id)s ORDER BY message_id, number"
DECISIONS: Any = "SELECT * FROM notification_decisions WHERE space_id = %(space_id)s ORDER BY id"
EVENTS: Any = "SELECT * FROM incident_events WHERE space_id = %(space_id)s ORDER BY id"
MEMBERS: Any = """
SELECT gi.group_id, gi.incident_id, g.key, g.closed_at
FROM notification_group_incidents gi
JOIN notification_groups g ON g.space_id = gi.space_id AND g.id = gi.group_id
WHERE gi.space_id = %(space_id)s
"""
