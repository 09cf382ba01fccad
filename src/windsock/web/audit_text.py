"""Audit events in words: who did what to which object, and each field as it was and as it became."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from windsock.db.database import Row

PHRASES: Mapping[tuple[str, str], str] = {
    ("space", "created"): "created the space",
    ("space", "changed"): "changed the space",
    ("member", "created"): "added the member",
    ("member", "changed"): "changed the role of",
    ("member", "deleted"): "removed the member",
    ("team_member", "created"): "added {user} to the team",
    ("team_member", "deleted"): "removed {user} from the team",
    ("pipeline", "changed"): "changed the pipeline",
    ("watch", "created"): "started watching",
    ("watch", "deleted"): "stopped watching",
    ("comment", "created"): "commented on",
    ("comment", "changed"): "edited a comment on",
    ("comment", "deleted"): "deleted a comment on",
    ("sync", "created"): "started a sync of",
    ("sync", "changed"): "changed a sync of",
    ("hold", "changed"): "accepted held changes of",
    ("fingerprint", "created"): "split failures off as",
    ("fingerprint", "changed"): "changed the group of failures",
    ("bulk_clear", "created"): "cleared all failed runs with the error",
    ("trigger", "created"): "triggered a run of",
    ("trigger", "changed"): "got an answer to the trigger of",
    ("action", "created"): "acted in Airflow on",
    ("action", "changed"): "got an answer to an action on",
    ("api_key", "created"): "created the API key",
    ("api_key", "changed"): "revoked the API key",
    ("user", "changed"): "changed the user",
    ("message", "created"): "sent a message:",
    ("login_link", "created"): "created a sign-in link for",
}
"""By target type and action; of other types "created the saved view". {user}: the member of a team."""
TYPES: Mapping[str, str] = {
    "notification_rule": "rule", "api_key": "API key", "login_link": "sign-in link", "hold": "held change",
}  # fmt: skip
"""Words for target types where underscores alone do not make them."""
LABELS: Mapping[str, str] = {
    "is_active": "active", "is_full": "full sync", "is_superadmin": "superadmin", "base_url": "URL",
    "web_url": "web URL", "run_external_id": "run id", "retention_days": "runs are kept", "connector_type": "type",
    "content": "text", "runbook_comment_id": "runbook",
    "cancel_requested_at": "cancellation", "parent_id": "reply to", "source_system_id": "source system",
    "task_run_id": "task", "verify_tls": "verify TLS", "api_version": "API version", "include_dags": "include DAGs",
    "exclude_dags": "exclude DAGs", "timeout_seconds": "timeout in seconds", "history_days": "days of history",
    "channel_ids": "channels", "connector_ids": "connectors", "team_ids": "teams",
    "to_team_channels": "to the channels of the owning team", "min_criticality": "criticality at least",
    "read_logs": "reading logs", "max_per_hour": "groups per hour", "config": "configuration",
    "sync_interval_seconds": "seconds between syncs",
}  # fmt: skip
"""Words for fields where they are not the name without `_id`."""
ID_FIELDS = (
    "user_id", "team_id", "connector_id", "pipeline_id", "run_id", "task_run_id", "parent_id", "merged_into",
    "split_from", "runbook_comment_id", "fingerprint_id", "assignee_user_id", "assignee_team_id", "channel_id",
)  # fmt: skip
"""Fields whose ids the database guarantees to be of this space; names are looked up for no other ids."""
ID_LISTS: Mapping[str, str] = {"channel_ids": "channel", "connector_ids": "connector", "team_ids": "team"}
"""Fields that are lists of ids, with the type of what they name."""
SUBJECT_FIELDS: Mapping[str, tuple[str, ...]] = {
    "comment": ("run_id",),
    "sync": ("connector_id",),
    "trigger": ("pipeline_id",),
    "action": ("pipeline_id",),
    "bulk_clear": ("fingerprint_id",),
    "team_member": ("user_id",),
    "watch": ("user_id",),
    "message": ("channel_id", "user_id"),
}
"""Fields that the phrase says already."""
PAGES: Mapping[str, str] = {
    "team": "/teams/", "connector": "/connectors/", "pipeline": "/pipelines/", "run": "/runs/", "task_run": "/runs/",
    "comment": "/runs/", "sync": "/connectors/", "trigger": "/pipelines/", "action": "/runs/",
    "fingerprint": "/fingerprints/", "bulk_clear": "/fingerprints/",
    "channel": "/notifications/channels/", "notification_rule": "/notifications/rules/",
}  # fmt: skip
MAX_VALUE_CHARACTERS = 500


@dataclass(frozen=True, slots=True)
class Value:
    """A value in words, or a time, which the page shows in the time zone of the reader."""

    text: str = ""
    time: datetime | None = None


NOTHING = Value("none")


@dataclass(frozen=True, slots=True)
class Change:
    """`before` is None where the object was created, `after` where it was deleted."""

    label: str
    before: Value | None
    after: Value | None


@dataclass(frozen=True, slots=True)
class Target:
    """`path` below /spaces/{slug}; None for an object without a page."""

    name: str
    path: str | None


class Names:
    """Names and pages of the objects that events refer to, from the rows of list_target_names."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._rows: dict[UUID, Row] = {}
        for row in rows:
            self._rows.setdefault(row["id"], row)

    def find(self, object_id: object) -> Target | None:
        try:
            row = self._rows.get(UUID(str(object_id)))
        except ValueError:
            return None
        if row is None:
            return None
        path = f"{PAGES[row['kind']]}{row['page_id']}" if row["kind"] in PAGES else None
        return Target(row["name"], f"{path}#comment-{row['id']}" if row["kind"] == "comment" else path)


def referenced_ids(events: Iterable[Row]) -> list[UUID]:
    """The ids whose names `describe` needs."""
    found: dict[UUID, None] = {}
    for event in events:
        if event["target_id"] is not None:
            found[event["target_id"]] = None
        for values in (event["before"] or {}, event["after"] or {}):
            found.update({UUID(values[name]): None for name in ID_FIELDS if values.get(name)})
            found.update({UUID(id_): None for name in ID_LISTS for id_ in values.get(name) or ()})
    return list(found)


def type_in_words(target_type: str) -> str:
    return TYPES.get(target_type, target_type.replace("_", " "))


def describe(event: Row, names: Names) -> dict[str, Any]:
    """Return `phrase`, `target` and `changes` of an event."""
    before, after, kind = _fields(event["before"]), _fields(event["after"]), event["target_type"]
    fields = after or before
    user = names.find(fields.get("user_id"))
    phrase = PHRASES.get((kind, event["action"]), f"{event['action']} the {type_in_words(kind)}")
    hidden = SUBJECT_FIELDS.get(kind, ())
    target = _target(event, fields, names)
    changed = [name for name in dict.fromkeys((*before, *after)) if before.get(name) != after.get(name)]
    if event["action"] != "changed":  # of an object as a whole, what is not set and its name say nothing
        changed = [name for name in changed if fields[name] not in (None, "", [], {})]
        changed = [name for name in changed if name != "name" or target is None or fields[name] != target.name]
    return {
        "phrase": phrase.replace("{user}", user.name if user else "a former member"),
        "target": target,
        "changes": [
            Change(
                LABELS.get(name, name.removesuffix("_id").replace("_", " ")),
                _value(name, before.get(name), names) if event["before"] is not None else None,
                _value(name, after.get(name), names) if event["after"] is not None else None,
            )
            for name in changed
            if name not in hidden
        ],
    }


def _fields(values: Mapping[str, Any] | None) -> dict[str, Any]:
    """With the fields of the configuration of a connector, and of an accepted hold, one by one."""
    fields = dict(values or {})
    for name in ("config", "accepted"):
        inner = fields.pop(name, None)
        if isinstance(inner, dict):
            fields |= {key: value for key, value in inner.items() if key not in fields}
    return fields


def _target(event: Row, fields: Mapping[str, Any], names: Names) -> Target | None:
    if event["target_type"] == "space":
        return Target(event["target_name"] or "", "/settings")
    if event["target_type"] in {"member", "user", "login_link"}:
        found = names.find(event["target_id"])
        return Target(found.name if found else event["target_name"] or "a deleted user", "/members")
    if event["target_type"] == "api_key":
        return Target(f"{event['target_name']}…", None)
    subjects = SUBJECT_FIELDS.get(event["target_type"], ())
    found = names.find(event["target_id"]) or next(
        filter(None, (names.find(fields.get(name)) for name in subjects)), None
    )
    if found is not None:
        return found
    return Target(event["target_name"], None) if event["target_name"] else None


def _value(name: str, value: object, names: Names) -> Value:
    if name == "retention_days":
        return Value("for ever" if value is None else f"{value} days")
    if value is None or value in ("", [], {}):
        return NOTHING
    if isinstance(value, bool):
        return Value("yes" if value else "no")
    if name in ID_FIELDS or name in ID_LISTS:
        found = [names.find(id_) for id_ in (value if isinstance(value, list) else [value])]
        unknown = f"a deleted {ID_LISTS[name]}" if name in ID_LISTS else "deleted"
        return Value(_text([target.name if target else unknown for target in found]))
    if name.endswith(("_at", "since")) and isinstance(value, str) and (time := _time(value)):
        return Value(time=time)
    return Value(_text(value))


def _time(text: str) -> datetime | None:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return time if time.tzinfo else None


def _text(value: object) -> str:
    """A value of JSON without its notation: lists with commas, objects as `name: value`."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        text = ", ".join(f"{str(name).replace('_', ' ')}: {_text(inner)}" for name, inner in value.items())
    elif isinstance(value, list):
        text = ", ".join(_text(inner) for inner in value)
    else:
        text = "none" if value is None else str(value)
    return text if len(text) <= MAX_VALUE_CHARACTERS else f"{text[:MAX_VALUE_CHARACTERS]}…"
