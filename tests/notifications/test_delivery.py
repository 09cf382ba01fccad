"""Lease, send, record: retries, repetitions, disabled channels, and what is written of each attempt."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from notifications.harness import SIGNING_SECRET, Harness, respond_with
from notifications.receivers import wait_until
from windsock.db.database import Transaction
from windsock.notifications import delivery
from windsock.notifications.channels.base import HttpRequest, HttpResponse, Outcome
from windsock.notifications.delivery import BACKOFF_SECONDS, LOST_ATTEMPTS, MAX_ATTEMPTS
from windsock.notifications.queue import QUERIES
from windsock.notifications.store import mute_space

pytestmark = pytest.mark.anyio

ATTEMPTS: Any = "SELECT * FROM message_attempts WHERE space_id = %(space_id)s ORDER BY message_id, number"
CHANNEL: Any = "SELECT * FROM channels WHERE space_id = %(space_id)s AND id = %(channel_id)s"
LOCKED_MESSAGES: Any = "SELECT id FROM messages WHERE space_id = %(space_id)s FOR UPDATE"
WAITING: Any = "SELECT pid FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid))"
LOST = Outcome("ambiguous", detail="No response")


async def announce(harness: Harness, kind: str, respond: Any) -> Any:
    channel = await harness.add_channel(kind)
    await harness.add_rule(channel)
    await harness.open_incident()
    harness.outbound.respond = respond
    await harness.run()
    return channel


async def test_delivered_message_has_an_attempt_and_a_healthy_channel(harness: Harness) -> None:
    channel = await announce(harness, "webhook", respond_with(200, b"thanks"))
    (attempt,) = await harness.execute(ATTEMPTS)
    assert (attempt["outcome"], attempt["status"], attempt["detail"]) == ("delivered", 200, "thanks")
    (stored,) = await harness.execute(CHANNEL, channel_id=channel)
    assert stored["last_delivered_at"] is not None
    assert stored["disabled_at"] is None


@pytest.mark.parametrize("kind", ["webhook", "slack", "teams", "pagerduty", "alertmanager"])
@pytest.mark.parametrize("status", [429, 503])
async def test_temporary_refusal_is_retried_after_the_time_that_the_receiver_names(
    harness: Harness, kind: str, status: int
) -> None:
    await announce(harness, kind, respond_with(status, headers={"retry-after": "120"}))
    (message,) = await harness.messages()
    assert (message["state"], message["is_repetition"]) == ("queued", False)
    assert timedelta(seconds=115) < message["due_at"] - datetime.now(UTC) <= timedelta(seconds=120)
    harness.outbound.respond = respond_with(202)
    await harness.make_due()
    await harness.deliver()
    assert [row["state"] for row in await harness.messages()] == ["sent"]


async def test_attempts_back_off_and_end(harness: Harness) -> None:
    await announce(harness, "webhook", respond_with(503))
    delays = []
    for _ in range(len(BACKOFF_SECONDS)):
        (message,) = await harness.messages()
        delays.append((message["due_at"] - datetime.now(UTC)).total_seconds())
        await harness.make_due()
        await harness.deliver()
    for delay, expected in zip(delays, BACKOFF_SECONDS, strict=True):
        assert expected * 0.7 < delay < expected * 1.3
    assert [row["state"] for row in await harness.messages()] == ["failed"]
    assert len(harness.outbound.requests) == MAX_ATTEMPTS


async def test_message_that_cannot_be_written_fails_once(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise KeyError("title")

    monkeypatch.setattr(delivery, "build_content", fail)
    await announce(harness, "webhook", respond_with(200))
    (message,) = await harness.messages()
    assert (message["state"], message["detail"]) == ("failed", delivery.FAULT)
    assert harness.outbound.requests == []


@pytest.mark.parametrize("kind", ["webhook", "slack"])
async def test_fault_while_sending_is_an_attempt_and_ends(harness: Harness, kind: str) -> None:
    def fail(_request: HttpRequest) -> Outcome:
        raise KeyError("ts")

    await announce(harness, kind, fail)
    (attempt,) = await harness.execute(ATTEMPTS)
    assert (attempt["outcome"], attempt["detail"]) == ("ambiguous", delivery.FAULT)
    for _ in BACKOFF_SECONDS:
        await harness.make_due()
        await harness.deliver()
    assert [row["state"] for row in await harness.messages()] == ["failed"]


class ProcessKilled(BaseException):
    """Nothing after it runs, as after SIGKILL."""


async def test_message_that_ends_its_process_each_time_is_not_sent_without_end(harness: Harness) -> None:
    def kill(_request: HttpRequest) -> Outcome:
        raise ProcessKilled

    with pytest.raises(ProcessKilled):
        await announce(harness, "webhook", kill)
    for _ in range(MAX_ATTEMPTS - 1):
        await harness.make_due()
        with pytest.raises(ProcessKilled):
            await harness.deliver()
    await harness.make_due()
    await harness.deliver()
    (message,) = await harness.messages()
    assert (message["state"], message["detail"]) == ("failed", LOST_ATTEMPTS)
    outcomes = [attempt["outcome"] for attempt in await harness.execute(ATTEMPTS)]
    assert outcomes == ["ambiguous"] * MAX_ATTEMPTS


@pytest.mark.parametrize("kind", ["webhook", "pagerduty", "alertmanager"])
async def test_lost_response_of_idempotent_channel_is_retried_unchanged(harness: Harness, kind: str) -> None:
    await announce(harness, kind, lambda _request: LOST)
    for _ in range(3):
        await harness.make_due()
        await harness.deliver()
    assert len(harness.outbound.requests) == 4
    assert len({request.body for request in harness.outbound.requests}) == 1
    assert [row["is_repetition"] for row in await harness.messages()] == [False]


@pytest.mark.parametrize("kind", ["slack", "teams"])
async def test_lost_response_of_other_channel_is_repeated_once_and_marked(harness: Harness, kind: str) -> None:
    await announce(harness, kind, lambda _request: LOST)
    for _ in range(3):
        await harness.make_due()
        await harness.deliver()
    assert [b"may be a repetition" in request.body for request in harness.outbound.requests] == [False, True]
    assert [(row["state"], row["is_repetition"]) for row in await harness.messages()] == [("failed", True)]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 302])
async def test_permanent_refusal_disables_the_channel_and_notifies_admins(harness: Harness, status: int) -> None:
    admin = await harness.add_member(role="admin")
    channel = await announce(harness, "webhook", respond_with(status, SIGNING_SECRET.encode()))
    (stored,) = await harness.execute(CHANNEL, channel_id=channel)
    assert stored["disabled_at"] is not None
    assert "MDEyMzQ1" not in stored["disabled_reason"]
    await harness.open_incident()
    await harness.run()
    assert len(harness.outbound.requests) == 1, "nothing more is sent to a disabled channel"
    assert "muted" in await harness.outcomes()
    (mail,) = harness.outbound.mails
    assert "is disabled" in mail.subject
    assert [row["user_id"] for row in await harness.messages() if row["event"] == "notice"] == [admin]


async def test_refusal_is_reported_by_another_channel_where_no_admin_gets_mail(harness: Harness) -> None:
    admin = await harness.add_member(role="admin")
    async with harness.db.transaction() as tx:
        await mute_space(tx, admin, harness.space_id)
    other = await harness.add_channel("slack")
    await announce(harness, "webhook", respond_with(410))
    await harness.deliver()
    assert [row["channel_id"] for row in await harness.messages() if row["event"] == "notice"] == [other]


async def test_bad_channel_does_not_delay_another(harness: Harness) -> None:
    bad, good = await harness.add_channel("pagerduty"), await harness.add_channel("webhook")
    await harness.add_rule(bad, good)
    await harness.open_incident()
    harness.outbound.respond = lambda request: LOST if "pagerduty" in request.url else HttpResponse(200, {}, b"")
    await harness.run()
    assert sorted((row["channel_id"] == good, row["state"]) for row in await harness.messages()) == [
        (False, "queued"),
        (True, "sent"),
    ]


async def test_resolution_does_not_overtake_an_opening_that_waits(harness: Harness) -> None:
    channel = await harness.add_channel("pagerduty")
    await harness.add_rule(channel)
    incident = await harness.open_incident()
    harness.outbound.respond = respond_with(503)
    await harness.run()
    await harness.resolve(incident)
    harness.outbound.respond = respond_with(202)
    await harness.run()
    assert len(harness.outbound.requests) == 1
    await harness.make_due()
    await harness.deliver()
    assert [b'"trigger"' in request.body for request in harness.outbound.requests] == [True, True, False]
    assert b'"resolve"' in harness.outbound.requests[-1].body


@pytest.mark.parametrize("kind", ["slack", "teams"])
async def test_recorded_response_has_no_secret_and_at_most_500_bytes(harness: Harness, kind: str) -> None:
    def echo(request: HttpRequest) -> HttpResponse:
        path = request.url.removeprefix("https://").partition("/")[2]
        return HttpResponse(500, {}, f"no {request.url}, no /{path} é{'x' * 2_000}\x00".encode())

    await announce(harness, kind, echo)
    (attempt,) = await harness.execute(ATTEMPTS)
    assert "secret" not in attempt["detail"]
    assert 400 < len(attempt["detail"].encode()) <= 500


async def test_expired_lease_of_other_channel_is_an_ambiguous_attempt(harness: Harness) -> None:
    channel = await harness.add_channel("slack")
    await harness.add_rule(channel)
    await harness.open_incident()
    await harness.evaluate()
    for _ in range(3):  # processes that die between lease and record
        async with harness.db.tenant_transaction(harness.space_id) as tx:
            row = await tx.fetch_one(
                QUERIES["lease_next_message"], space_id=harness.space_id, recipient_id=channel, lease_seconds=60
            )
            if row is not None:
                await harness.delivery._prepare(tx, harness.space_id, row)
        await harness.make_due()
    assert [(row["state"], row["ambiguous"]) for row in await harness.messages()] == [("failed", 2)]
    assert {row["outcome"] for row in await harness.execute(ATTEMPTS)} == {"ambiguous"}


async def test_slack_bot_edits_the_message_of_the_group(harness: Harness) -> None:
    channel = await harness.add_channel(
        "slack", config={"channel": "C1"}, secret={"bot_token": "xoxb-1-2-abcdefghijklmnopqrstuv"}
    )
    await harness.add_rule(channel)
    incident = await harness.open_incident()
    harness.outbound.respond = respond_with(200, b'{"ok": true, "channel": "C1", "ts": "17.5"}')
    await harness.run()
    await harness.resolve(incident)
    await harness.run()
    assert [request.url.rpartition("/")[2] for request in harness.outbound.requests] == [
        "chat.postMessage",
        "chat.update",
    ]
    assert b'"ts":"17.5"' in harness.outbound.requests[1].body


async def test_response_is_recorded_while_another_process_takes_the_message_over(harness: Harness) -> None:
    """Both lock the message before its attempts."""
    arrived, goes_on = asyncio.Event(), asyncio.Event()

    async def respond(_request: HttpRequest) -> HttpResponse:
        arrived.set()
        await goes_on.wait()
        return HttpResponse(200, {}, b"")

    harness.outbound.request = respond  # type: ignore[method-assign, assignment]
    await harness.add_rule(await harness.add_channel())
    await harness.open_incident()
    await harness.evaluate()
    sending = asyncio.create_task(harness.deliver())
    await arrived.wait()
    async with harness.db.tenant_transaction(harness.space_id) as tx:
        (message,) = await tx.fetch_all(LOCKED_MESSAGES, space_id=harness.space_id)
        goes_on.set()
        await wait_until(lambda: _one_waits(tx))
        await tx.execute(QUERIES["close_lost_attempts"], space_id=harness.space_id, message_id=message["id"])
    await sending
    assert [row["state"] for row in await harness.messages()] == ["sent"]


async def _one_waits(tx: Transaction) -> bool:
    return (await tx.fetch_one(WAITING)) is not None


async def test_refused_mailbox_of_user_stops_mail_to_that_user(harness: Harness) -> None:
    user = await harness.add_member()
    await harness.add_rule(to_watchers=True)
    pipeline = await harness.add_pipeline()
    await harness.watch(pipeline, user)
    harness.outbound.mail_outcome = lambda _mail: Outcome("permanent", 550, "no such mailbox")
    await harness.open_incident(pipeline)
    await harness.run()
    await harness.open_incident(pipeline, kind="approval")
    await harness.run()
    assert len(harness.outbound.mails) == 1
    assert await harness.outcomes() == ["sent", "muted"]
