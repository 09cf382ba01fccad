"""One summary for the failures that were noticed long after they happened."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from windsock.incidents.transitions import Event, Transition

MAX_SUMMARISED = 100
"""Incidents that a late_summary names."""
FAILURES = frozenset({"opened", "reopened", "failed_again"})


def summarise_late(transitions: Sequence[Transition], events: Sequence[Event]) -> list[Event]:
    """Return the events with a late_summary that stands for the late failures, if there are any.

    It belongs to the last incident among them. That an incident was resolved is no part of it unless it is one of them.
    """
    failures = [event for event in events if event.is_late and event.kind in FAILURES]
    if not failures:
        return list(events)
    opened = {event.incident_id for event in failures if event.kind != "failed_again"}
    late = [transition for transition in transitions if transition.is_late and not transition.is_applied]
    named = dict.fromkeys(event.incident_id for event in failures)
    details: dict[str, Any] = {
        "incident_ids": [str(incident_id) for incident_id in named][:MAX_SUMMARISED],
        "opened": len(opened),
        "failed": sum(transition.to_status == "failed" for transition in late),
        "succeeded": sum(transition.to_status == "success" for transition in late),
        "from": min(transition.happened_at for transition in late).isoformat(),
        "until": max(transition.happened_at for transition in late).isoformat(),
    }
    last = failures[-1]
    summary = Event(last.incident_id, "late_summary", last.happened_at, last.run_id, details)
    return [
        replace(event, is_late=event.is_late and (event.kind in FAILURES or event.incident_id in opened))
        for event in events
    ] + [summary]
