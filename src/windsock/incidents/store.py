"""Incidents as they are listed and read, and what users do with them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID

from psycopg.types.json import Jsonb

from windsock.auth.authenticator import Space
from windsock.db.database import Reader, Row, Statement, Transaction, map_constraint_errors
from windsock.db.queries import load
from windsock.errors import Conflict, Invalid, NotFound
from windsock.http.pagination import Cursor, CursorPageParams
from windsock.incidents.models import AcknowledgeInput, AssignInput, ResolveInput, SnoozeInput
from windsock.pipelines.filters import escape_like

QUERIES = load(__package__, "incidents.sql")

Sort = Literal["urgency", "newest"]
MAX_EVENTS = 200
UNRESOLVED = ("open", "acknowledged", "snoozed")
KIND = "incident"


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentFilter:
    """Each condition given must hold; of the values of one, any may. Without states: those that are not resolved."""

    state: Sequence[str] | None = None
    kind: Sequence[str] | None = None
    team_id: Sequence[UUID] | None = None
    criticality: Sequence[str] | None = None
    connector_id: Sequence[UUID] | None = None
    pipeline_id: Sequence[UUID] | None = None
    assignee_id: Sequence[UUID] | None = None
    mine: bool = False
    is_held_back: bool | None = None
    held_back_by_id: UUID | None = None
    q: str | None = None

    def parameters(self, space: Space) -> dict[str, Any]:
        words = (self.q or "").split()
        return {
            "space_id": space.id,
            "state": self.state,
            "unresolved": not self.state,
            "kind": self.kind,
            "team_id": self.team_id,
            "criticality": self.criticality,
            "connector_id": self.connector_id,
            "pipeline_id": self.pipeline_id,
            "assignee_id": self.assignee_id,
            "mine": space.caller.id if self.mine else None,
            "is_held_back": None if self.is_held_back is None else str(self.is_held_back).lower(),
            "held_back_by_id": self.held_back_by_id,
            "words": "\n".join(f"%{escape_like(word)}%" for word in words) or None,
        }


async def list_incidents(
    reader: Reader, space: Space, paging: CursorPageParams, which: IncidentFilter, sort: Sort
) -> tuple[list[Row], int, Cursor | None]:
    """A page, how many there are in all, and where the next page begins."""
    matching, after = which.parameters(space), paging.after
    where = {
        "after": after and after.at, "after_id": after and after.id, "after_rank": after and after.rank,
        "limit": paging.size, "offset": paging.offset,
    }  # fmt: skip
    counted = Statement(QUERIES["count_incidents"], matching, prepare=False)
    if sort == "urgency":
        listed = Statement(QUERIES["list_incidents_sorted_by_urgency"], matching | where, prepare=False)
        (rows,) = await reader.fetch_batch(listed)
        totals = [row.pop("total") for row in rows]
        is_behind_the_end = not rows and (paging.offset > 0 or after is not None)
        if is_behind_the_end:
            totals = [row["total"] for row in (await reader.fetch_batch(counted))[0]]
    else:
        listed = Statement(QUERIES["list_incidents_sorted_by_time"], matching | where, prepare=False)
        rows, counts = await reader.fetch_batch(listed, counted)
        totals = [row["total"] for row in counts]
    ranks = [row.pop("rank", 0) for row in rows]
    behind = None
    if len(rows) == paging.size:
        behind = Cursor(paging.page + 1, rows[-1]["opened_at"], rows[-1]["id"], ranks[-1])
    return rows, totals[0] if totals else 0, behind


async def count_open_incidents(reader: Reader, space_id: UUID) -> int:
    """Count incidents in state open that are not held back."""
    (rows,) = await reader.fetch_batch(Statement(QUERIES["count_open_incidents"], {"space_id": space_id}))
    total: int = rows[0]["total"]
    return total


async def list_incidents_of_run(reader: Reader, space_id: UUID, run_id: UUID) -> list[Row]:
    """Incidents in which the run plays a part, the newest first."""
    which = {"space_id": space_id, "run_id": run_id}
    return (await reader.fetch_batch(Statement(QUERIES["list_incidents_of_run"], which)))[0]


async def list_incidents_of_pipeline(reader: Reader, space_id: UUID, pipeline_id: UUID) -> list[Row]:
    """Unresolved incidents: at most one of each kind."""
    which = {"space_id": space_id, "pipeline_id": pipeline_id}
    return (await reader.fetch_batch(Statement(QUERIES["list_incidents_of_pipeline"], which)))[0]


async def find_incidents_of_runs(reader: Reader, space_id: UUID, run_ids: Sequence[UUID]) -> dict[UUID, Row]:
    """Of each run that opened or continued an incident, the newest one."""
    which = {"space_id": space_id, "run_ids": list(run_ids)}
    (rows,) = await reader.fetch_batch(Statement(QUERIES["find_incidents_of_runs"], which))
    return {row["run_id"]: row for row in rows}


async def get_incident(reader: Reader, space_id: UUID, incident_id: UUID) -> Row:
    """With its timeline. Raises NotFound."""
    which = {"space_id": space_id, "incident_id": incident_id}
    found, events = await reader.fetch_batch(
        Statement(QUERIES["get_incident"], which), Statement(QUERIES["newest_events"], which | {"limit": MAX_EVENTS})
    )
    if not found:
        raise NotFound(KIND)
    return found[0] | {"timeline": events}


async def acknowledge_incidents(tx: Transaction, space: Space, ids: Sequence[UUID], body: AcknowledgeInput) -> int:
    """Return how many were acknowledged; those that are resolved stay so. Raises NotFound where one is not here."""
    if body.until is not None:
        _check_future(body.until)
    locked = await _lock(tx, space, ids)
    unresolved = [row["id"] for row in locked if row["state"] != "resolved"]
    values = {"until": body.until, "until_success": body.until_success, "reason": body.reason}
    await tx.execute(
        QUERIES["acknowledge_incidents"], space_id=space.id, user_id=space.caller.id, ids=unresolved, **values
    )
    details = values | {"until": body.until and body.until.isoformat()}
    await _add_events(tx, space, unresolved, "acknowledged", details)
    return len(unresolved)


async def acknowledge_incident(tx: Transaction, space: Space, incident_id: UUID, body: AcknowledgeInput) -> None:
    """Raises Conflict for one that is resolved."""
    if not await acknowledge_incidents(tx, space, [incident_id], body):
        raise Conflict("This incident is resolved already.")


async def snooze_incident(tx: Transaction, space: Space, incident_id: UUID, body: SnoozeInput) -> None:
    """Raises Conflict for one that is resolved."""
    _check_future(body.until)
    await _lock_unresolved(tx, space, incident_id)
    await tx.execute(QUERIES["snooze_incident"], space_id=space.id, incident_id=incident_id, until=body.until)
    await _add_events(tx, space, [incident_id], "snoozed", {"until": body.until.isoformat()})


async def assign_incident(tx: Transaction, space: Space, incident_id: UUID, body: AssignInput) -> None:
    """Raises NotFound for who is no member, or a team that is not of this space."""
    await _lock(tx, space, [incident_id])
    assignee = {"user_id": body.user_id, "team_id": body.team_id}
    refusals = {"incidents_assignee_user": NotFound("member"), "incidents_assignee_team": NotFound("team")}
    with map_constraint_errors(refusals):
        await tx.execute(QUERIES["assign_incident"], space_id=space.id, incident_id=incident_id, **assignee)
    details = {name: str(id_) for name, id_ in assignee.items() if id_ is not None}
    await _add_events(tx, space, [incident_id], "assigned", details)


async def resolve_incident(tx: Transaction, space: Space, incident_id: UUID, body: ResolveInput) -> None:
    """Raises Conflict for one that is resolved, and for one that lasts as long as its cause."""
    row = await _lock_unresolved(tx, space, incident_id)
    if row["kind"] != "failed":
        raise Conflict("This incident is resolved when its cause has ended. Acknowledge or snooze it until then.")
    names = {"incident_id": incident_id, "user_id": space.caller.id}
    await tx.execute(QUERIES["resolve_incident"], space_id=space.id, **names)
    await _add_events(tx, space, [incident_id], "resolved", {"reason": body.reason} if body.reason else {})


async def _lock(tx: Transaction, space: Space, ids: Sequence[UUID]) -> list[Row]:
    rows = await tx.fetch_all(QUERIES["lock_incidents"], space_id=space.id, ids=list(ids))
    if len(rows) < len(set(ids)):
        raise NotFound(KIND)
    return rows


async def _lock_unresolved(tx: Transaction, space: Space, incident_id: UUID) -> Row:
    (row,) = await _lock(tx, space, [incident_id])
    if row["state"] == "resolved":
        raise Conflict("This incident is resolved already.")
    return row


async def _add_events(
    tx: Transaction, space: Space, ids: Sequence[UUID], kind: str, details: Mapping[str, object]
) -> None:
    names = {"space_id": space.id, "user_id": space.caller.id, "ids": list(ids)}
    await tx.execute(QUERIES["add_events"], **names, kind=kind, details=Jsonb(dict(details)))


def _check_future(until: datetime) -> None:
    try:
        is_past = until.astimezone(UTC) <= datetime.now(UTC)
    except OverflowError:  # PostgreSQL would store it, and nobody could read the incident any more
        is_past = True
    if is_past:
        raise Invalid("This must be a time in the future, before the year 10000.", loc=("body", "until"))
