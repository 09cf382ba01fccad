"""One summary for the failures that were noticed long after they happened."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from windsock.incidents.transitions import Event, Transition

MAX_SUMMARISED = 100
"""Incidents that one late_summary names; more are several events with the same time, which are announced together."""
FAILURES = frozenset({"opened", "reopened", "failed_again"})


def summarise_late(transitions: Sequence[Transition], events: Sequence[Event]) -> list[Event]:
    """Return the events with a late_summary that stands for the late failures, if there are any.

    It belongs to the last of the incidents that it names. That an incident was resolved is no part of it unless it is
    one of them.
    """
    failures = [event for event in events if event.is_late and event.kind in FAILURES]
    if not failures:
        return list(events)
    opened = {event.incident_id for event in failures if event.kind != "failed_again"}
    late = [transition for transition in transitions if transition.is_late and not transition.is_applied]
    last_failures: dict[UUID, Event] = {}
    for event in failures:
        last_failures.pop(event.incident_id, None)
        last_failures[event.incident_id] = event
    details: dict[str, Any] = {
        "opened": len(opened),
        "failed": sum(transition.to_status == "failed" for transition in late),
        "succeeded": sum(transition.to_status == "success" for transition in late),
        "from": min(transition.happened_at for transition in late).isoformat(),
        "until": max(transition.happened_at for transition in late).isoformat(),
    }
    named = list(last_failures.values())
    summaries = []
    for begin in range(0, len(named), MAX_SUMMARISED):
        part = named[begin : begin + MAX_SUMMARISED]
        ids = {"incident_ids": [str(event.incident_id) for event in part]}
        last = part[-1]
        summaries.append(Event(last.incident_id, "late_summary", failures[-1].happened_at, last.run_id, ids | details))
    return [
        replace(event, is_late=event.is_late and (event.kind in FAILURES or event.incident_id in opened))
        for event in events
    ] + summaries
