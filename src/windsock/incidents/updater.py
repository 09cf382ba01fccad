"""Brings the incidents of one connector up to date, in one transaction at a time."""

import secrets
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb
from pydantic_core import to_jsonable_python

from windsock.db.database import Database, Transaction
from windsock.db.queries import load
from windsock.incidents.outages import OUTAGE_WINDOW, find_outage, hold_back, open_outage
from windsock.incidents.summaries import summarise_late
from windsock.incidents.transitions import Event, Incident, Transition, apply

QUERIES = load(__package__, "updates.sql")
CONDITIONS = load(__package__, "conditions.sql")

BATCH = 1_000
"""Transitions that one transaction applies."""
OPENINGS = frozenset({"opened", "reopened"})
CONDITION_QUERIES = (
    "end_acknowledgements", "end_snoozes", "resolve_conditions", "reopen_conditions", "open_conditions",
    "resolve_outages", "release_incidents",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class IncidentUpdater:
    """Workers of any number of processes may call it for the same connector: all but one of them do nothing."""

    db: Database

    async def apply_transitions(self, space_id: UUID, connector_id: UUID) -> int:
        """Apply what is due; return the number of transitions, 0 where another process is at work."""
        applied = 0
        while True:
            async with self.db.tenant_transaction(space_id) as tx:
                if await tx.fetch_one(QUERIES["lock_connector"], space_id=space_id, connector_id=connector_id) is None:
                    return applied
                count = await _Batch(tx, space_id, connector_id).apply()
            applied += count
            if count < BATCH:
                return applied

    async def follow_conditions(self, space_id: UUID, connector_id: UUID, watching_since: datetime) -> None:
        """Open and resolve what lasts as long as a condition, and end what has expired."""
        names: dict[str, Any] = {"space_id": space_id, "connector_id": connector_id}
        async with self.db.tenant_transaction(space_id) as tx:
            if await tx.fetch_one(QUERIES["lock_connector"], **names) is not None:
                for query in CONDITION_QUERIES:
                    await tx.execute(CONDITIONS[query], **names, watching_since=watching_since)


class _Batch:
    """Transitions of a connector, and the incidents that they change."""

    def __init__(self, tx: Transaction, space_id: UUID, connector_id: UUID) -> None:
        self._tx, self._space = tx, {"space_id": space_id}
        self._names = {"space_id": space_id, "connector_id": connector_id}
        self._changed: dict[UUID, Incident] = {}
        self._events: list[Event] = []

    async def apply(self) -> int:
        rows = await self._tx.fetch_all(QUERIES["claim_transitions"], **self._names, limit=BATCH)
        transitions = [Transition(**row) for row in rows]
        if not transitions:
            return 0
        await self._apply(transitions)
        await self._hold_back()
        self._events = summarise_late(transitions, self._events)
        await self._store()
        await self._tx.execute(QUERIES["mark_applied"], **self._space, ids=[row.id for row in transitions])
        return len(transitions)

    async def _apply(self, transitions: Sequence[Transition]) -> None:
        pipelines = sorted({transition.pipeline_id for transition in transitions})
        newest = {row.pipeline_id: row for row in await self._lock("lock_newest_incidents", pipeline_ids=pipelines)}
        for transition, new_id in zip(transitions, _new_ids(len(transitions)), strict=True):
            incident, events = apply(transition, newest.get(transition.pipeline_id), new_id)
            if incident is not None and events:
                newest[transition.pipeline_id] = self._changed[incident.id] = incident
                self._events += events

    async def _hold_back(self) -> None:
        """While an incident of the whole connector is unresolved, it holds back those that were opened now."""
        ids = {event.incident_id for event in self._events if event.kind in OPENINGS and not event.is_late}
        opened = [incident for incident in self._changed.values() if incident.id in ids and incident.is_unresolved]
        if not opened:
            return
        parents = await self._lock("lock_incidents_of_connector")
        if parents:
            self._hold(parents[0], opened)
            return
        times = [incident.opened_at for incident in opened]
        span = {"since": min(times) - OUTAGE_WINDOW, "until": max(times) + OUTAGE_WINDOW}
        recent = {incident.id: incident for incident in await self._lock("lock_recent_incidents", **span)}
        members = find_outage((recent | {incident.id: incident for incident in opened}).values(), ids)
        if members:
            outage, event = open_outage(_new_ids(1)[0], members)
            self._events.append(event)
            self._hold(outage, members)

    def _hold(self, parent: Incident, members: Sequence[Incident]) -> None:
        self._events += hold_back(parent, members)
        held = [parent] if parent.kind == "failed" else []
        self._changed = {incident.id: incident for incident in held} | self._changed
        self._changed |= {incident.id: incident for incident in members}

    async def _lock(self, query: str, **parameters: object) -> list[Incident]:
        """Lock incidents; those that this batch has changed are returned as changed."""
        rows = await self._tx.fetch_all(QUERIES[query], **self._names, **parameters)
        found = [Incident(**row) for row in rows]
        return [self._changed.get(incident.id, incident) for incident in found]

    async def _store(self) -> None:
        """An outage stands before the incidents that it holds back."""
        incidents = [to_jsonable_python(asdict(incident)) for incident in self._changed.values()]
        if incidents:
            await self._tx.execute(QUERIES["upsert_incidents"], **self._names, rows=Jsonb(incidents))
        events = [
            to_jsonable_python(asdict(event)) | {"id": str(id_)}
            for event, id_ in zip(self._events, _new_ids(len(self._events)), strict=True)
        ]
        if events:
            await self._tx.execute(QUERIES["insert_events"], **self._space, rows=Jsonb(events))


def _new_ids(count: int) -> list[UUID]:
    """UUIDs version 7 in ascending order: after the milliseconds stands a counter (RFC 9562, section 6.2)."""
    now = time.time_ns() // 1_000_000
    return [
        UUID(int=(now + number // 4096) << 80 | 7 << 76 | number % 4096 << 64 | 2 << 62 | secrets.randbits(62))
        for number in range(count)
    ]
