"""Channels, rules, messages and personal settings: reading and changing them."""

from collections.abc import Iterable, Mapping
from datetime import time
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb
from pydantic import BaseModel, ValidationError

from windsock.connectors.encryption import Encryption
from windsock.db.database import Row, Transaction, map_constraint_errors
from windsock.db.queries import load, read_fragments
from windsock.errors import Conflict, Invalid, NotFound
from windsock.http.pagination import PageParams
from windsock.notifications.evaluation_types import uuid7
from windsock.notifications.kinds import KINDS
from windsock.notifications.models import (
    ChannelIn,
    ChannelUpdate,
    PersonalSettingsIn,
)
from windsock.notifications.rule_models import RuleIn, RuleUpdate
from windsock.notifications.sentences import clock, describe_rule
from windsock.notifications.times import check_quiet_hours
from windsock.spaces.store import expect_row

QUERIES = load(__package__, "channels_and_rules.sql", shared=read_fragments(__package__, "episodes.sql"))

MAX_CHANNELS, MAX_RULES = 100, 100
"""Of a space."""
TIMES = ("quiet_start", "quiet_end", "digest_at")


# --- Channels.


async def list_channels(tx: Transaction, space_id: UUID, paging: PageParams) -> tuple[list[Row], int]:
    rows = await tx.fetch_all(QUERIES["list_channels"], space_id=space_id, limit=paging.size, offset=paging.offset)
    total = expect_row(await tx.fetch_one(QUERIES["count_channels"], space_id=space_id))["total"]
    return rows, total


async def get_channel(tx: Transaction, space_id: UUID, channel_id: UUID) -> Row:
    row = await tx.fetch_one(QUERIES["get_channel"], space_id=space_id, channel_id=channel_id)
    if row is None:
        raise NotFound("channel")
    return row


async def create_channel(tx: Transaction, space_id: UUID, body: ChannelIn, secrets: Encryption) -> Row:
    """Raises Invalid for what does not fit the kind, and Conflict for a name that is taken and beyond MAX_CHANNELS."""
    config, secret = _validate(body.kind, body.config, body.secret or {})
    await _require_team(tx, space_id, body.team_id)
    with _unique("channels_name_unique", "channel", body.name):
        row = await tx.fetch_one(
            QUERIES["create_channel"], space_id=space_id, name=body.name, kind=body.kind, config=Jsonb(config),
            secret=secrets.encrypt(secret) if secret else None, team_id=body.team_id, is_active=body.is_active,
            max_per_hour=body.max_per_hour, maximum=MAX_CHANNELS,
        )  # fmt: skip
    if row is None:
        raise Conflict(f"The space has {MAX_CHANNELS} channels, as many as it may have. Delete one first.")
    return await get_channel(tx, space_id, row["id"])


async def change_channel(
    tx: Transaction, space_id: UUID, channel_id: UUID, body: ChannelUpdate, secrets: Encryption
) -> Row:
    """Change what was sent, and enable the channel again."""
    old = await tx.fetch_one(QUERIES["lock_channel"], space_id=space_id, channel_id=channel_id)
    if old is None:
        raise NotFound("channel")
    config = old["config"] if body.config is None else body.config
    sealed = old["secret"]
    if body.secret is not None:
        config, secret = _validate(old["kind"], config, body.secret)
        sealed = secrets.encrypt(secret) if secret else None
    elif old["secret_lost_at"] is not None:
        raise Invalid("Send the secret too: no key decrypts the stored one any more.", loc=("body", "secret"))
    elif body.config is not None:
        config = _check(KINDS[old["kind"]].config, config, "config")
        moved = any(config.get(name) != old["config"].get(name) for name in KINDS[old["kind"]].addresses)
        if moved and sealed is not None:
            # Otherwise an editor could have the secret used at a server of their own.
            raise Invalid(
                "Send the secret too when the address changes: the stored one is only for the old address.",
                loc=("body", "secret"),
            )
        if old["kind"] == "slack" and (config["channel"] is None) != (old["config"]["channel"] is None):
            raise Invalid(
                "Send the secret too: a bot token needs a channel, a webhook has none.", loc=("body", "secret")
            )
    team_id = body.team_id if "team_id" in body.model_fields_set else old["team_id"]
    await _require_team(tx, space_id, team_id)
    name = body.name or old["name"]
    with _unique("channels_name_unique", "channel", name):
        await tx.execute(
            QUERIES["update_channel"], space_id=space_id, channel_id=channel_id, name=name, config=Jsonb(config),
            secret=sealed, team_id=team_id, is_active=old["is_active"] if body.is_active is None else body.is_active,
            max_per_hour=body.max_per_hour or old["max_per_hour"],
        )  # fmt: skip
    return await get_channel(tx, space_id, channel_id)


async def delete_channel(tx: Transaction, space_id: UUID, channel_id: UUID) -> None:
    await tx.execute(QUERIES["remove_channel_from_rules"], space_id=space_id, channel_id=channel_id)
    if not await tx.execute(QUERIES["delete_channel"], space_id=space_id, channel_id=channel_id):
        raise NotFound("channel")


async def rotate_channel_secrets(tx: Transaction, space_id: UUID, secrets: Encryption) -> int:
    """Encrypt the secrets of a space's channels with the first key; their number."""
    rows = await tx.fetch_all(QUERIES["lock_secrets"], space_id=space_id)
    for row in rows:
        secret = secrets.rotate(row["secret"])
        await tx.execute(QUERIES["replace_secret"], space_id=space_id, channel_id=row["id"], secret=secret)
    return len(rows)


def _validate(kind: str, config: dict[str, Any], secret: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    checked = _check(KINDS[kind].config, config, "config")
    sealed = _check(KINDS[kind].secret, secret, "secret")
    if kind == "slack" and (checked["channel"] is None) != (sealed.get("bot_token") is None):
        raise Invalid("A bot token needs the channel, a webhook URL has none.", loc=("body", "config", "channel"))
    return checked, {name: value for name, value in sealed.items() if value is not None}


def _check(model: type[BaseModel], value: dict[str, Any], place: str) -> dict[str, Any]:
    """Raises Invalid, which says where, and never repeats the value."""
    try:
        return model.model_validate(value).model_dump(mode="json")
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        raise Invalid(first["msg"], loc=("body", place, *first["loc"]), kind=first["type"]) from None


async def _require_team(tx: Transaction, space_id: UUID, team_id: UUID | None) -> None:
    if team_id is not None:
        await _require_known(tx, space_id, {"team_ids": [team_id]}, "team")


def _unique(constraint: str, what: str, name: str) -> Any:  # noqa: ANN401 - a context manager
    return map_constraint_errors({constraint: Conflict(f"There is a {what} named “{name}” already.", field="name")})


# --- Rules.


async def list_rules(tx: Transaction, space_id: UUID, paging: PageParams) -> tuple[list[Row], int]:
    rows = await tx.fetch_all(QUERIES["list_rules"], space_id=space_id, limit=paging.size, offset=paging.offset)
    total = expect_row(await tx.fetch_one(QUERIES["count_rules"], space_id=space_id))["total"]
    return await _present(tx, space_id, rows), total


async def get_rule(tx: Transaction, space_id: UUID, rule_id: UUID) -> Row:
    row = await tx.fetch_one(QUERIES["get_rule"], space_id=space_id, rule_id=rule_id)
    if row is None:
        raise NotFound("rule")
    return (await _present(tx, space_id, [row]))[0]


async def _present(tx: Transaction, space_id: UUID, rows: Iterable[Row]) -> list[Row]:
    found = await tx.fetch_all(QUERIES["names_of_rules"], space_id=space_id)
    names = {row["id"]: row["name"] for row in found}
    return [
        {
            **{name: value for name, value in row.items() if name != "space_id"},
            **{name: row[name] and clock(row[name]) for name in TIMES},
            "sentence": describe_rule(row, names),
        }
        for row in rows
    ]


async def create_rule(tx: Transaction, space_id: UUID, body: RuleIn) -> Row:
    await check_references(tx, space_id, body.model_dump())
    with _unique("notification_rules_name_unique", "rule", body.name):
        row = await tx.fetch_one(QUERIES["create_rule"], space_id=space_id, maximum=MAX_RULES, **body.model_dump())
    if row is None:
        raise Conflict(f"The space has {MAX_RULES} rules, as many as it may have. Delete one first.")
    return await get_rule(tx, space_id, row["id"])


async def change_rule(tx: Transaction, space_id: UUID, rule_id: UUID, body: RuleUpdate) -> Row:
    """Raises Invalid for quiet hours with one end."""
    old = await tx.fetch_one(QUERIES["lock_rule"], space_id=space_id, rule_id=rule_id)
    if old is None:
        raise NotFound("rule")
    nullable = {"repeat_seconds", *TIMES}
    sent = {
        name: value
        for name, value in body.model_dump(exclude_unset=True).items()
        if value is not None or name in nullable
    }
    rule = {name: old[name] for name in RuleIn.model_fields} | sent
    try:
        check_quiet_hours(rule["quiet_start"], rule["quiet_end"])
    except ValueError as error:
        raise Invalid(f"{error}.", loc=("body", "quiet_end")) from None
    await check_references(tx, space_id, sent)
    with _unique("notification_rules_name_unique", "rule", rule["name"]):
        await tx.execute(QUERIES["update_rule"], space_id=space_id, rule_id=rule_id, **rule)
    return await get_rule(tx, space_id, rule_id)


async def delete_rule(tx: Transaction, space_id: UUID, rule_id: UUID) -> None:
    if not await tx.execute(QUERIES["delete_rule"], space_id=space_id, rule_id=rule_id):
        raise NotFound("rule")


async def check_references(tx: Transaction, space_id: UUID, rule: Mapping[str, Any]) -> None:
    """Raises NotFound for a team, connector or channel that is not of this space."""
    for what in ("team", "connector", "channel"):
        await _require_known(tx, space_id, rule, what)


async def _require_known(tx: Transaction, space_id: UUID, rule: Mapping[str, Any], what: str) -> None:
    ids = set(rule.get(f"{what}_ids") or ())
    if ids:
        rows = await tx.fetch_all(QUERIES[f"known_{what}s"], space_id=space_id, ids=list(ids))
        if len(rows) < len(ids):
            raise NotFound(what)


# --- Messages.


async def list_messages(tx: Transaction, which: Mapping[str, Any], paging: PageParams) -> tuple[list[Row], int]:
    rows = await tx.fetch_json(QUERIES["list_messages"], **which, limit=paging.size, offset=paging.offset)
    total = expect_row(await tx.fetch_one(QUERIES["count_messages"], **which))["total"]
    return rows, total


async def get_message(tx: Transaction, space_id: UUID, message_id: UUID) -> Row:
    rows = await tx.fetch_json(QUERIES["get_message"], space_id=space_id, message_id=message_id)
    if not rows:
        raise NotFound("message")
    return rows[0]


async def resend_message(tx: Transaction, space_id: UUID, message_id: UUID) -> UUID:
    """Queue a copy with another id, so that a receiver takes it as a new one; the id."""
    old = await tx.fetch_one(QUERIES["lock_message"], space_id=space_id, message_id=message_id)
    if old is None:
        raise NotFound("message")
    if old["state"] in {"queued", "sending"}:
        raise Conflict("This message is not finished: it is still being sent. Wait until it is sent or has failed.")
    if old["is_alert_over"]:
        raise Conflict("What it announced is resolved: sent again, it would raise an alert that nothing ends.")
    new_id = uuid7()
    content = None if old["content"] is None else Jsonb({**old["content"], "message_id": str(new_id)})
    await tx.execute(
        QUERIES["copy_message"], space_id=space_id, message_id=message_id, new_id=new_id,
        dedup_key=f"resend/{new_id}", content=content,
    )  # fmt: skip
    return new_id


async def list_decisions(tx: Transaction, space_id: UUID, incident_id: UUID) -> list[Row]:
    """Every decision about an incident, the newest event first; at most 500."""
    return await tx.fetch_all(QUERIES["get_decisions"], space_id=space_id, incident_id=incident_id)


async def get_incident_name(tx: Transaction, space_id: UUID, incident_id: UUID) -> Row:
    row = await tx.fetch_one(QUERIES["get_incident_name"], space_id=space_id, incident_id=incident_id)
    if row is None:
        raise NotFound("incident")
    return row


# --- Personal settings.


async def get_personal_settings(tx: Transaction, user_id: UUID) -> Row:
    row = await tx.fetch_one(QUERIES["get_personal_settings"], user_id=user_id)
    row = row or {
        "email_enabled": True, "email_refused_at": None, "muted_space_ids": [], "quiet_start": None, "quiet_end": None,
        "digest_at": None, "time_zone": "UTC", "critical_passes": True,
    }  # fmt: skip
    return {**row, **{name: _clock(row[name]) for name in TIMES}}


def _clock(at: time | None) -> str | None:
    return None if at is None else clock(at)


async def put_personal_settings(tx: Transaction, user_id: UUID, body: PersonalSettingsIn) -> Row:
    """Saving them tries a mailbox again that refused a message."""
    await tx.execute(QUERIES["put_personal_settings"], user_id=user_id, **body.model_dump())
    return await get_personal_settings(tx, user_id)


async def mute_space(tx: Transaction, user_id: UUID, space_id: UUID) -> None:
    """Unsubscribe a user from the e-mail of a space."""
    await tx.execute(QUERIES["mute_space"], user_id=user_id, muted_space_id=space_id)
