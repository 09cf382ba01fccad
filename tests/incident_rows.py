"""The incident of a tenant's failed run, and one of a second pipeline that it holds back."""

from typing import Any
from uuid import UUID, uuid4

from windsock.db.database import Transaction

INCIDENT = UUID("01a20000-0000-7000-8000-0000000000f3")
"""Of finance: the body of an operation names it."""


async def add_incidents(tx: Transaction, slug: str, **names: UUID) -> UUID:
    """Return the id of the incident of the run; it is assigned to the user of `names`."""
    incident_id = INCIDENT if slug == "finance" else uuid4()
    await tx.execute(INCIDENTS, id=incident_id, **names)
    return incident_id


INCIDENTS: Any = """
WITH opened AS (
    INSERT INTO incidents (space_id, id, connector_id, pipeline_id, kind, fingerprint_id, first_run_id, last_run_id,
                           assignee_user_id, opened_at, last_failed_at)
    SELECT r.space_id, %(id)s, %(connector_id)s, r.pipeline_id, 'failed', %(fingerprint_id)s, r.id, r.id, %(user_id)s,
           r.ended_at, r.ended_at
    FROM runs r WHERE r.space_id = %(space_id)s AND r.id = %(run_id)s
    RETURNING *
), held_back AS (
    INSERT INTO incidents (space_id, connector_id, pipeline_id, kind, held_back_by_incident_id, opened_at,
                           last_failed_at)
    SELECT space_id, connector_id, %(second_pipeline_id)s, kind, id, opened_at, last_failed_at FROM opened
)
INSERT INTO incident_events (space_id, incident_id, kind, run_id, happened_at, evaluated_at)
SELECT space_id, id, 'opened', last_run_id, opened_at, now() FROM opened
"""
