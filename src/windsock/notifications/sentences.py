"""Rules and decisions in words."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from windsock.notifications.evaluation_types import Incident, Recipient, Rule

KINDS = {
    "failed": "failing pipelines",
    "import_error": "pipelines that cannot be imported",
    "sync": "connectors that are not synced",
    "approval": "tasks that wait for input",
}
OUTCOMES = {
    "sent": "A message was written for it.",
    "grouped": "It is part of a message about several incidents.",
    "quiet": "Quiet hours: collected for their end.",
    "digest": "Collected for the daily digest.",
    "late": "Noticed more than an hour late: summarised with others.",
    "rate_limited": "The channel had as many messages in this hour as it may have: collected into one.",
    "reminded": "Nobody has acknowledged it: announced again.",
    "acknowledged": "Somebody has acknowledged the incident.",
    "snoozed": "The incident is snoozed.",
    "held_back": "An incident of the whole connector explains it and is announced instead.",
    "below_criticality": "The pipeline is less critical than the rule requires.",
    "not_matching": "The rule is about other kinds, teams, connectors or tags.",
    "too_few_failures": "It has not failed as often as the rule asks.",
    "flapping": "Too few runs had succeeded before it failed.",
    "not_announced": "The rule does not announce this kind of event.",
    "already_sent": "It was announced before.",
    "never_announced": "The opening was not announced, so neither is this.",
    "resolved_before": "It was resolved before the message was due.",
    "no_recipient": "The rule matches, but has no recipient: no channel, team channel or watcher.",
    "no_rule": "No rule matches.",
    "muted": "The channel is switched off or disabled, or the user wants or gets no e-mail.",
}


def describe_rule(rule: Mapping[str, Any], names: Mapping[UUID, str]) -> str:
    """The rule as one paragraph; `names`: of teams, connectors and channels."""

    def listed(ids: Sequence[UUID], otherwise: str) -> str:
        found = [names[id_] for id_ in ids if id_ in names]
        return " or ".join(found) if found else otherwise

    what = " and ".join(KINDS[kind] for kind in rule["kinds"]) or "every incident"
    parts = [f"Announce {what}"]
    if rule["min_criticality"] != "low":
        parts.append(f"of criticality {rule['min_criticality']} or above")
    if rule["team_ids"]:
        parts.append(f"of {listed(rule['team_ids'], 'a deleted team')}")
    if rule["connector_ids"]:
        parts.append(f"in {listed(rule['connector_ids'], 'a deleted connector')}")
    if rule["tags"]:
        parts.append(f"with the tag {' or '.join(rule['tags'])}")
    to = [listed([id_], "a deleted channel") for id_ in rule["channel_ids"]]
    to += ["the channels of the owning team"] if rule["to_team_channels"] else []
    to += ["those who watch the pipeline, by e-mail"] if rule["to_watchers"] else []
    parts.append(f"to {', '.join(to)}" if to else "to nobody yet")
    sentences = [" ".join(parts) + ".", *_timing(rule)]
    return " ".join(sentences)


def _timing(rule: Mapping[str, Any]) -> list[str]:
    found = []
    if rule["min_failures"] > 1:
        found.append(f"Only after {rule['min_failures']} failures in a row.")
    if rule["after_successes"]:
        found.append(f"Only if {rule['after_successes']} runs had succeeded before.")
    if rule["hold_seconds"]:
        found.append(f"Wait {rule['hold_seconds']} seconds for more of the same group.")
    if rule["repeat_seconds"]:
        found.append(f"Repeat every {rule['repeat_seconds'] // 60} minutes until somebody acknowledges it.")
    passing = ", except of critical pipelines" if rule["critical_passes"] else ""
    if rule["quiet_start"]:
        span = f"{clock(rule['quiet_start'])} to {clock(rule['quiet_end'])}"
        found.append(f"Quiet from {span} ({rule['time_zone']}){passing}.")
    if rule["digest_at"]:
        found.append(f"Once a day, at {clock(rule['digest_at'])} ({rule['time_zone']}){passing}.")
    return found


def explain(rule: Rule | None, recipient: Recipient, incident: Incident) -> str:
    """Why a recipient gets a message, as a sentence of it."""
    if rule is None:
        return "You were told of this before, by a rule that does not exist any more."
    if recipient.is_user:
        what = "this pipeline" if incident.pipeline_id else "a pipeline of this connector"
        return f"You get this because you watch {what} (rule “{rule.name}”)."
    if recipient.id in rule.channel_ids:
        return f"This channel gets this because it is in the rule “{rule.name}”."
    return f"This channel gets this because it is that of the owning team (rule “{rule.name}”)."


def clock(at: object) -> str:
    return str(at)[:5]
