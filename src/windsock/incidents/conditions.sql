-- Incidents that last as long as a condition, and what happens to incidents because a time has come.

-- name: reopen_conditions
-- Those that were resolved in the last 24 hours.
WITH due AS (
    SELECT n.id, c.run_id
    FROM incident_conditions(%(watching_since)s) c
    CROSS JOIN LATERAL (
        SELECT i.id, i.resolved_at FROM incidents i
        WHERE i.space_id = %(space_id)s AND i.connector_id = c.connector_id AND i.pipeline_id IS NOT DISTINCT FROM c.pipeline_id
          AND i.kind = c.kind
        ORDER BY i.resolved_at DESC NULLS FIRST, i.id DESC
        LIMIT 1
    ) n
    WHERE c.space_id = %(space_id)s AND c.connector_id = %(connector_id)s AND c.is_due AND n.resolved_at > now() - interval '24 hours'
), reopened AS (
    UPDATE incidents i
    SET state = CASE WHEN i.acknowledged_at IS NOT NULL AND i.acknowledged_until > now() THEN 'acknowledged' ELSE 'open' END,
        resolved_at = NULL, resolved_by_user_id = NULL, held_back_by_incident_id = NULL, opened_at = now(), last_failed_at = now(),
        occurrences = i.occurrences + 1, occurrences_before = i.occurrences, reopened_count = i.reopened_count + 1,
        last_run_id = coalesce(due.run_id, i.last_run_id), updated_at = now()
    FROM due WHERE i.space_id = %(space_id)s AND i.id = due.id
    RETURNING i.id, i.last_run_id, i.state
)
INSERT INTO incident_events (space_id, incident_id, kind, run_id, details)
SELECT %(space_id)s, id, 'reopened', last_run_id, jsonb_build_object('acknowledged', state = 'acknowledged') FROM reopened

-- name: open_conditions
WITH opened AS (
    INSERT INTO incidents (space_id, connector_id, pipeline_id, kind, opened_at, last_failed_at, first_run_id, last_run_id)
    SELECT %(space_id)s, c.connector_id, c.pipeline_id, c.kind, now(), now(), c.run_id, c.run_id
    FROM incident_conditions(%(watching_since)s) c
    WHERE c.space_id = %(space_id)s AND c.connector_id = %(connector_id)s AND c.is_due
    ON CONFLICT DO NOTHING
    RETURNING id, last_run_id
)
INSERT INTO incident_events (space_id, incident_id, kind, run_id)
SELECT %(space_id)s, id, 'opened', last_run_id FROM opened

-- fragment: resolve
UPDATE incidents i
SET state = 'resolved', resolved_at = now(), snoozed_until = NULL, updated_at = now(),
    acknowledged_at = CASE WHEN i.acknowledged_until IS NOT NULL AND NOT i.acknowledged_until_success THEN i.acknowledged_at END,
    acknowledged_until = CASE WHEN NOT i.acknowledged_until_success THEN i.acknowledged_until END
WHERE i.space_id = %(space_id)s AND i.connector_id = %(connector_id)s AND i.state <> 'resolved'

-- name: resolve_conditions
WITH resolved AS (
    {resolve}
      AND i.kind IN ('import_error', 'sync', 'approval')
      AND NOT EXISTS (
          SELECT FROM incident_conditions(%(watching_since)s) c
          WHERE c.space_id = %(space_id)s AND c.connector_id = %(connector_id)s AND c.pipeline_id IS NOT DISTINCT FROM i.pipeline_id
            AND c.kind = i.kind)
    RETURNING i.id
)
INSERT INTO incident_events (space_id, incident_id, kind) SELECT %(space_id)s, id, 'resolved' FROM resolved

-- name: resolve_outages
WITH resolved AS (
    {resolve}
      AND i.kind = 'failed' AND i.pipeline_id IS NULL AND is_outage_over(i)
    RETURNING i.id
)
INSERT INTO incident_events (space_id, incident_id, kind) SELECT %(space_id)s, id, 'resolved' FROM resolved

-- name: release_incidents
-- What an incident held back that is resolved now.
WITH released AS (
    UPDATE incidents i SET held_back_by_incident_id = NULL, updated_at = now()
    FROM incidents o
    WHERE i.space_id = %(space_id)s AND i.connector_id = %(connector_id)s AND i.state <> 'resolved'
      AND o.space_id = %(space_id)s AND o.id = i.held_back_by_incident_id AND o.state = 'resolved'
    RETURNING i.id, i.last_run_id, o.id AS parent_id
)
INSERT INTO incident_events (space_id, incident_id, kind, run_id, details)
SELECT %(space_id)s, id, 'released', last_run_id, jsonb_build_object('incident_id', parent_id) FROM released

-- name: end_acknowledgements
WITH ended AS (
    UPDATE incidents
    SET state = 'open', acknowledged_at = NULL, acknowledged_until = NULL, acknowledged_occurrences = NULL, updated_at = now()
    WHERE space_id = %(space_id)s AND connector_id = %(connector_id)s AND state = 'acknowledged' AND acknowledged_until <= now()
    RETURNING id
)
INSERT INTO incident_events (space_id, incident_id, kind, details)
SELECT %(space_id)s, id, 'acknowledgement_ended', '{"reason": "time"}' FROM ended

-- name: end_snoozes
WITH ended AS (
    UPDATE incidents SET state = 'open', snoozed_until = NULL, updated_at = now()
    WHERE space_id = %(space_id)s AND connector_id = %(connector_id)s AND state = 'snoozed' AND snoozed_until <= now()
    RETURNING id
)
INSERT INTO incident_events (space_id, incident_id, kind) SELECT %(space_id)s, id, 'snooze_ended' FROM ended
