"""Delivers messages of the outbox: lease, commit, send, record."""

import asyncio
import secrets as random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast
from uuid import UUID

import psycopg
from psycopg.types.json import Jsonb

from windsock import log
from windsock.connectors.encryption import Encryption
from windsock.db.database import Database, Row, Transaction
from windsock.errors import Conflict, DatabaseFailed
from windsock.notifications.channels.base import Channel, Content, Outbound, Outcome
from windsock.notifications.channels.email import Email, EmailConfig
from windsock.notifications.evaluation_types import uuid7
from windsock.notifications.kinds import open_channel
from windsock.notifications.metrics import record_delivery
from windsock.notifications.queue import QUERIES
from windsock.notifications.rendering import Links, build_content, build_note
from windsock.providers.redaction import redact_secrets
from windsock.spaces.store import expect_row

BACKOFF_SECONDS = (5.0, 60.0, 600.0, 3_600.0, 21_600.0, 86_400.0)
MAX_ATTEMPTS = len(BACKOFF_SECONDS) + 1
LEASE_SECONDS = 60.0
SEND_SECONDS = 30.0
START_SECONDS = 20.0
"""A process that was stopped for so long after its lease does not send any more: another may have taken over."""
MAX_AMBIGUOUS = 2
"""Of channels that do not recognise a repetition: so often may a message arrive at most."""
MAX_DETAIL_BYTES = 500
LOST_ATTEMPTS = "The processes that sent it ended before they recorded a response, the last time too."
FAULT = "A fault of Windsock's own; the log of the worker has it."
BATCH = 20
"""Messages of one recipient in a row."""

logger = log.get(__name__)


@dataclass(frozen=True, slots=True)
class Leased:
    space_id: UUID
    row: Row
    channel: Channel
    kind: str
    content: Content
    ref: Mapping[str, str] | None
    leased_at: float


class Delivery:
    """`base_url`: what links in messages begin with; `has_mail`: whether admins can be told by e-mail."""

    def __init__(self, db: Database, secrets: Encryption, outbound: Outbound, *, base_url: str, has_mail: bool) -> None:
        self.db, self.secrets, self.outbound = db, secrets, outbound
        self.base_url, self.has_mail = base_url, has_mail

    async def deliver_to(self, space_id: UUID, recipient_id: UUID) -> bool:
        """Send what is due to a recipient, one message after another; False if nothing was due."""
        for count in range(BATCH):
            async with self.db.tenant_transaction(space_id) as tx:
                row = await tx.fetch_one(
                    QUERIES["lease_next_message"], space_id=space_id, recipient_id=recipient_id,
                    lease_seconds=LEASE_SECONDS,
                )  # fmt: skip
                leased = None if row is None else await self._prepare(tx, space_id, row)
            if row is None:
                return count > 0
            if leased is not None:
                await self.send(leased)
        return True

    async def deliver_message(self, space_id: UUID, message_id: UUID) -> Outcome | None:
        """Send one message now, also to a disabled channel: for tests. None where another process has it."""
        async with self.db.tenant_transaction(space_id) as tx:
            row = await tx.fetch_one(
                QUERIES["lease_message"], space_id=space_id, message_id=message_id, lease_seconds=LEASE_SECONDS
            )
            leased = None if row is None else await self._prepare(tx, space_id, row, is_test=True)
        return None if leased is None else await self.send(leased)

    async def _prepare(self, tx: Transaction, space_id: UUID, row: Row, *, is_test: bool = False) -> Leased | None:
        """Everything that is needed to send, read and written in the transaction of the lease; None: it is not sent."""
        leased_at = time.monotonic()
        if row["is_taken_over"]:
            await tx.execute(QUERIES["close_lost_attempts"], space_id=space_id, message_id=row["id"])
        try:
            kind, channel = await self._open_channel(tx, space_id, row, is_test=is_test)
        except Conflict as error:
            await self._release(tx, space_id, row, "failed", str(error))
            return None
        if isinstance(channel, str):
            await self._release(tx, space_id, row, "dropped", channel)
            return None
        if not channel.is_idempotent and row["ambiguous"] >= MAX_AMBIGUOUS:
            await self._release(tx, space_id, row, "failed", "Whether it arrived is unknown, after two attempts.")
            return None
        if row["attempts"] > MAX_ATTEMPTS:
            await self._release(tx, space_id, row, "failed", LOST_ATTEMPTS)
            return None
        is_repetition = row["is_repetition"] or (not channel.is_idempotent and row["ambiguous"] > 0)
        try:
            content = row["content"] and Content.model_validate(row["content"])
            content = content or await build_content(tx, space_id, row, base_url=self.base_url, secrets=self.secrets)
        except (DatabaseFailed, psycopg.Error):
            raise
        except Exception:  # the edge of a job: the next attempt would fail in the same way
            logger.exception("a message could not be written by a fault of Windsock's own", message_id=str(row["id"]))
            await self._release(tx, space_id, row, "failed", FAULT)
            return None
        await tx.execute(
            QUERIES["prepare_message"], space_id=space_id, message_id=row["id"], lease_id=row["lease_id"],
            content=Jsonb(content.model_dump(mode="json")), is_repetition=is_repetition,
        )  # fmt: skip
        await tx.execute(QUERIES["insert_attempt"], space_id=space_id, message_id=row["id"], number=row["attempts"])
        ref = None
        if row["group_id"] is not None:
            group = await tx.fetch_one(QUERIES["get_group"], space_id=space_id, group_id=row["group_id"])
            ref = expect_row(group)["ref"]
        content = content.model_copy(update={"is_repetition": is_repetition})
        return Leased(space_id, row, channel, kind, content, ref, leased_at)

    async def _open_channel(
        self, tx: Transaction, space_id: UUID, row: Row, *, is_test: bool
    ) -> tuple[str, Channel | str]:
        """The kind, and the channel or why nothing is sent. Raises Conflict for a secret that cannot be decrypted."""
        if row["user_id"] is not None:
            user = await tx.fetch_one(QUERIES["get_recipient"], space_id=space_id, user_id=row["user_id"])
            if user is None or not user["is_reachable"]:
                return "email", "The user has left the space, or wants no e-mail from it."
            return "email", Email(EmailConfig.model_construct(to=[user["email"]]))
        stored = expect_row(
            await tx.fetch_one(QUERIES["get_channel_to_use"], space_id=space_id, channel_id=row["channel_id"])
        )
        if not is_test and (stored["is_disabled"] or not stored["is_active"]):
            return stored["kind"], "The channel is switched off, or was disabled because it refused messages."
        return stored["kind"], open_channel(stored, self.secrets)

    async def _release(self, tx: Transaction, space_id: UUID, row: Row, state: str, detail: str) -> None:
        await tx.execute(
            QUERIES["release_message"], space_id=space_id, message_id=row["id"], lease_id=row["lease_id"], state=state,
            detail=detail, delay=0, ambiguous=0, is_repetition=False,
        )  # fmt: skip

    async def send(self, leased: Leased) -> Outcome:
        """Make the attempt and record it."""
        if time.monotonic() - leased.leased_at > START_SECONDS:
            outcome = Outcome("temporary", detail="The process was stopped before it could send.")
            return await self._record(leased, outcome, 0)
        started = time.monotonic()
        try:
            async with asyncio.timeout(SEND_SECONDS):
                outcome = await leased.channel.send(leased.content, leased.ref, self.outbound)
        except TimeoutError:
            outcome = Outcome("ambiguous", detail="No response in time.")
        except Exception:  # the edge of a job: recorded as an attempt, so that the attempts end
            logger.exception("a channel failed by a fault of Windsock's own", message_id=str(leased.row["id"]))
            outcome = Outcome("ambiguous", detail=FAULT)
        return await self._record(leased, outcome, round((time.monotonic() - started) * 1000))

    async def _record(self, leased: Leased, outcome: Outcome, ms: int) -> Outcome:
        row, space_id = leased.row, leased.space_id
        detail = _cut(redact_secrets(outcome.detail, leased.channel.secrets))
        state, delay = self._next_state(leased, outcome)
        is_ambiguous = outcome.kind == "ambiguous"
        async with self.db.tenant_transaction(space_id) as tx:
            released = await tx.fetch_one(
                QUERIES["release_message"], space_id=space_id, message_id=row["id"], lease_id=row["lease_id"],
                state=state, detail=None if state == "sent" else detail, delay=delay, ambiguous=int(is_ambiguous),
                is_repetition=is_ambiguous and not leased.channel.is_idempotent,
            )  # fmt: skip
            # After the message, which a process that takes it over locks before its attempts.
            await tx.execute(
                QUERIES["finish_attempt"], space_id=space_id, message_id=row["id"], number=row["attempts"],
                outcome=outcome.kind, status=outcome.status, ms=ms, detail=detail,
            )  # fmt: skip
            if released is not None:
                await self._note(tx, leased, outcome, detail)
        record_delivery(leased.kind, outcome.kind, state, released["latency"] if released and row["group_id"] else None)
        return Outcome(outcome.kind, outcome.status, detail, outcome.retry_after, outcome.ref)

    def _next_state(self, leased: Leased, outcome: Outcome) -> tuple[str, float]:
        """The state after an attempt, and the seconds until the next one."""
        if outcome.kind == "delivered":
            return "sent", 0.0
        attempts, is_test = leased.row["attempts"], leased.content.event == "test"
        if outcome.kind == "permanent" or is_test or attempts >= MAX_ATTEMPTS:
            return "failed", 0.0
        is_exhausted = leased.row["ambiguous"] + 1 >= MAX_AMBIGUOUS
        if outcome.kind == "ambiguous" and not leased.channel.is_idempotent and is_exhausted:
            return "failed", 0.0
        delay = BACKOFF_SECONDS[attempts - 1] * random.SystemRandom().uniform(0.8, 1.2)
        return "queued", max(delay, outcome.retry_after or 0.0)

    async def _note(self, tx: Transaction, leased: Leased, outcome: Outcome, detail: str) -> None:
        """Facts about its group and its channel that follow from an attempt."""
        row, space_id = leased.row, leased.space_id
        if outcome.kind == "delivered" and row["group_id"] is not None:
            ref = None if outcome.ref is None else Jsonb(dict(outcome.ref))
            await tx.execute(QUERIES["note_group_sent"], space_id=space_id, group_id=row["group_id"], ref=ref)
        if row["user_id"] is not None:
            if outcome.kind == "permanent":
                await tx.execute(QUERIES["refuse_email"], user_id=row["user_id"])
            return
        names: dict[str, Any] = {"space_id": space_id, "channel_id": row["channel_id"]}
        if outcome.kind == "delivered":
            await tx.execute(QUERIES["note_channel_delivery"], **names)
        elif outcome.kind == "permanent":
            disabled = await tx.fetch_one(QUERIES["disable_channel"], **names, detail=detail or "refused")
            if disabled is not None and leased.content.event != "test":
                await self._notify_admins(tx, leased, cast("str", disabled["name"]), detail)
        else:
            await tx.execute(QUERIES["note_channel_failure"], **names, detail=detail)

    async def _notify_admins(self, tx: Transaction, leased: Leased, name: str, detail: str) -> None:
        """By e-mail, else by another channel of the space."""
        space_id, channel_id = leased.space_id, leased.row["channel_id"]
        admins = await tx.fetch_all(QUERIES["list_admins_to_notify"], space_id=space_id) if self.has_mail else []
        recipients: list[tuple[UUID | None, UUID | None]] = [(None, admin["id"]) for admin in admins]
        if not recipients:
            other = await tx.fetch_one(QUERIES["find_other_channel"], space_id=space_id, channel_id=channel_id)
            recipients = [] if other is None else [(other["id"], None)]
        if not recipients:
            logger.warning("a channel was disabled, and there is no other to tell the admins", channel=name)
        links = Links(self.base_url, leased.content.space)
        reason = (
            "You get this as an admin of the space." if admins else "The channel that refused messages cannot tell you."
        )
        for other_channel_id, user_id in recipients:
            message_id = uuid7()
            content = build_note(
                message_id, "notice", links, title=f"The channel {name} is disabled",
                text=f"It refused a message: {detail} Nothing is sent there until you save or test the channel.",
                reason=reason, settings_url=links.channel(channel_id),
            )  # fmt: skip
            await tx.execute(
                QUERIES["insert_message"], space_id=space_id, message_id=message_id, group_id=None,
                channel_id=other_channel_id, user_id=user_id, event="notice",
                dedup_key=f"disabled/{channel_id}/{leased.row['id']}", delay=0, reason=reason,
                content=Jsonb(content.model_dump(mode="json")),
            )  # fmt: skip


def _cut(text: str) -> str:
    """At most 500 bytes that can be stored."""
    return (
        text.replace("\x00", "").encode("utf-8", errors="replace")[:MAX_DETAIL_BYTES].decode("utf-8", errors="ignore")
    )
