-- What workers do to incidents: apply transitions, follow conditions, and end what has expired.

-- name: list_connectors_with_transitions
-- across spaces: ids only; the worker locks each connector within its space
SELECT space_id, connector_id FROM connectors_with_transitions()

-- name: list_connectors_with_changes
-- across spaces: as list_connectors_with_transitions
SELECT space_id, connector_id FROM connectors_with_incident_changes(%(watching_since)s)

-- name: lock_connector
-- One process at a time updates the incidents of a connector; the others leave it alone.
SELECT id FROM connectors WHERE space_id = %(space_id)s AND id = %(connector_id)s FOR NO KEY UPDATE SKIP LOCKED

-- name: claim_transitions
-- In the order in which they happened. A row that is locked now gets its fingerprint; it comes the next time.
WITH due AS (
    SELECT t.*
    FROM run_transitions t
    JOIN sync_states s ON s.space_id = %(space_id)s AND s.connector_id = t.connector_id
    WHERE t.space_id = %(space_id)s AND t.connector_id = %(connector_id)s
      AND (t.applied_at IS NULL OR t.is_fingerprint_due) AND is_transition_due(t, s)
    ORDER BY t.happened_at, t.id
    LIMIT %(limit)s
    FOR NO KEY UPDATE OF t SKIP LOCKED
)
SELECT t.id, t.pipeline_id, t.run_id, r.run_at, t.to_status, t.happened_at, t.is_late, t.applied_at IS NOT NULL AS is_applied,
       f.fingerprint_id, k.superseded_at
FROM due t
JOIN runs r ON r.space_id = %(space_id)s AND r.id = t.run_id
LEFT JOIN LATERAL (
    SELECT x.fingerprint_id FROM task_failures x
    WHERE x.space_id = %(space_id)s AND x.run_id = t.run_id AND x.fingerprint_id IS NOT NULL AND t.to_status = 'failed'
    ORDER BY x.place NULLS LAST, x.id DESC
    LIMIT 1
) f ON true
CROSS JOIN LATERAL (
    SELECT max(o.happened_at) AS superseded_at
    FROM run_transitions o
    JOIN runs l ON l.space_id = %(space_id)s AND l.id = o.run_id
    WHERE o.space_id = %(space_id)s AND o.pipeline_id = t.pipeline_id AND o.to_status = 'success' AND t.to_status = 'failed'
      AND o.happened_at > t.happened_at AND o.applied_at IS NOT NULL AND (l.run_at > r.run_at OR l.id = r.id)
) k
ORDER BY t.happened_at, t.id

-- name: mark_applied
UPDATE run_transitions SET applied_at = coalesce(applied_at, now()), is_fingerprint_due = false
WHERE space_id = %(space_id)s AND id = ANY (%(ids)s::uuid[])

-- fragment: incident
SELECT i.id, i.pipeline_id, i.kind, i.state, i.opened_at, i.last_failed_at, i.first_run_id, i.last_run_id, r.run_at AS last_run_at,
       coalesce(g.merged_into, i.fingerprint_id) AS fingerprint_id, i.occurrences, i.occurrences_before, i.acknowledged_at,
       i.acknowledged_until, i.acknowledged_until_success, i.acknowledged_occurrences, i.snoozed_until, i.resolved_at, i.resolved_by_user_id,
       i.held_back_by_incident_id, i.reopened_count
FROM incidents i
LEFT JOIN runs r ON r.space_id = %(space_id)s AND r.id = i.last_run_id
LEFT JOIN fingerprints g ON g.space_id = %(space_id)s AND g.id = i.fingerprint_id

-- name: lock_newest_incidents
-- Of each pipeline the newest of kind failed, in one order, so that concurrent transactions do not deadlock.
{incident}
WHERE i.space_id = %(space_id)s AND i.id IN (
    SELECT n.id
    FROM unnest(%(pipeline_ids)s::uuid[]) AS p (id)
    CROSS JOIN LATERAL (
        SELECT o.id FROM incidents o
        WHERE o.space_id = %(space_id)s AND o.pipeline_id = p.id AND o.kind = 'failed'
        ORDER BY o.resolved_at DESC NULLS FIRST, o.id DESC
        LIMIT 1
    ) n)
ORDER BY i.id
FOR NO KEY UPDATE OF i

-- name: lock_recent_incidents
-- Of the connector, which may be part of an outage together with those that are opened now.
{incident}
WHERE i.space_id = %(space_id)s AND i.connector_id = %(connector_id)s AND i.kind = 'failed' AND i.pipeline_id IS NOT NULL
  AND i.state <> 'resolved' AND i.opened_at BETWEEN %(since)s AND %(until)s
ORDER BY i.id
FOR NO KEY UPDATE OF i

-- name: lock_incidents_of_connector
-- Of the connector as a whole: an outage, and that of its sync.
{incident}
WHERE i.space_id = %(space_id)s AND i.connector_id = %(connector_id)s AND i.pipeline_id IS NULL AND i.state <> 'resolved'
ORDER BY i.kind = 'sync' DESC, i.id
FOR NO KEY UPDATE OF i

-- name: upsert_incidents
INSERT INTO incidents AS i (space_id, id, connector_id, pipeline_id, kind, state, opened_at, last_failed_at, first_run_id,
                            last_run_id, fingerprint_id, occurrences, occurrences_before, acknowledged_at,
                            acknowledged_until, acknowledged_occurrences, snoozed_until, resolved_at, resolved_by_user_id,
                            held_back_by_incident_id, reopened_count)
SELECT %(space_id)s, k.id, %(connector_id)s, k.pipeline_id, 'failed', k.state, k.opened_at, k.last_failed_at, k.first_run_id,
       k.last_run_id, k.fingerprint_id, k.occurrences, k.occurrences_before, k.acknowledged_at, k.acknowledged_until,
       k.acknowledged_occurrences, k.snoozed_until, k.resolved_at, k.resolved_by_user_id, k.held_back_by_incident_id, k.reopened_count
FROM jsonb_to_recordset(%(rows)s) AS k (
    id uuid, pipeline_id uuid, state text, opened_at timestamptz, last_failed_at timestamptz, first_run_id uuid,
    last_run_id uuid, fingerprint_id uuid, occurrences integer, occurrences_before integer, acknowledged_at timestamptz,
    acknowledged_until timestamptz, acknowledged_occurrences integer, snoozed_until timestamptz, resolved_at timestamptz, resolved_by_user_id uuid,
    held_back_by_incident_id uuid, reopened_count integer)
ON CONFLICT (space_id, id) DO UPDATE
SET state = excluded.state, opened_at = excluded.opened_at, last_failed_at = excluded.last_failed_at,
    last_run_id = excluded.last_run_id, fingerprint_id = excluded.fingerprint_id, occurrences = excluded.occurrences,
    occurrences_before = excluded.occurrences_before, acknowledged_at = excluded.acknowledged_at, acknowledged_until = excluded.acknowledged_until,
    acknowledged_occurrences = excluded.acknowledged_occurrences, snoozed_until = excluded.snoozed_until,
    resolved_at = excluded.resolved_at, resolved_by_user_id = excluded.resolved_by_user_id,
    held_back_by_incident_id = excluded.held_back_by_incident_id, reopened_count = excluded.reopened_count, updated_at = now()

-- name: insert_events
INSERT INTO incident_events (space_id, id, incident_id, kind, happened_at, run_id, details, evaluated_at)
SELECT %(space_id)s, k.id, k.incident_id, k.kind, k.happened_at, k.run_id, k.details, CASE WHEN k.is_late THEN now() END
FROM jsonb_to_recordset(%(rows)s) AS k (
    id uuid, incident_id uuid, kind text, happened_at timestamptz, run_id uuid, details jsonb, is_late boolean)

-- name: list_spaces_with_old_transitions
-- across spaces: as list_connectors_with_transitions
SELECT space_id FROM spaces_with_old_transitions() AS s (space_id)

-- name: delete_old_transitions
DELETE FROM run_transitions t
USING (
    SELECT o.id FROM run_transitions o
    WHERE o.space_id = %(space_id)s AND o.applied_at < now() - interval '7 days' AND NOT o.is_fingerprint_due
    LIMIT %(most)s
) k
WHERE t.space_id = %(space_id)s AND t.id = k.id
