-- Incidents as they are listed, and what users do with them. Those of a whole connector come first: they explain others.
-- Of ranks the smaller is more urgent: first by criticality, then those that nobody has acknowledged.

-- fragment: criticality
coalesce(p.criticality, 'critical')

-- fragment: rank
2 * array_position(ARRAY['critical', 'high', 'medium', 'low'], {criticality}) + CASE i.state WHEN 'open' THEN 0 ELSE 1 END

-- fragment: matching_incidents
FROM incidents i
LEFT JOIN pipelines p ON p.space_id = %(space_id)s AND p.id = i.pipeline_id
LEFT JOIN connectors c ON c.space_id = %(space_id)s AND c.id = i.connector_id
LEFT JOIN fingerprints g ON g.space_id = %(space_id)s AND g.id = i.fingerprint_id
WHERE i.space_id = %(space_id)s
  AND i.state = ANY (%(state)s::text[])  -- if state
  AND i.state <> 'resolved'  -- if unresolved
  AND i.kind = ANY (%(kind)s::text[])  -- if kind
  AND p.team_id = ANY (%(team_id)s::uuid[])  -- if team_id
  AND {criticality} = ANY (%(criticality)s::text[])  -- if criticality
  AND i.connector_id = ANY (%(connector_id)s::uuid[])  -- if connector_id
  AND i.pipeline_id = ANY (%(pipeline_id)s::uuid[])  -- if pipeline_id
  AND (i.assignee_user_id = ANY (%(assignee_id)s::uuid[]) OR i.assignee_team_id = ANY (%(assignee_id)s::uuid[]))  -- if assignee_id
  AND (i.assignee_user_id = %(mine)s OR i.assignee_team_id IN (SELECT m.team_id FROM team_members m WHERE m.space_id = %(space_id)s AND m.user_id = %(mine)s))  -- if mine
  AND (i.held_back_by_incident_id IS NOT NULL) = %(is_held_back)s::boolean  -- if is_held_back
  AND i.held_back_by_incident_id = %(held_back_by_id)s  -- if held_back_by_id
  AND lower(concat_ws(E'\n', p.name, p.external_id, c.name, g.name, g.title)) LIKE ALL (string_to_array(lower(%(words)s), E'\n'))  -- if words

-- fragment: incident
SELECT i.id, i.kind, i.state, CASE i.kind
           WHEN 'import_error' THEN 'The DAG file cannot be imported'
           WHEN 'approval' THEN 'A task waits for input'
           WHEN 'sync' THEN coalesce(y.last_error, 'There has been no complete sync for a while')
           ELSE CASE WHEN i.pipeline_id IS NULL THEN i.occurrences || ' pipelines failed within a short time'
                     ELSE coalesce(g.name, g.title, 'The run failed') END
       END AS title,
       json_build_object('id', c.id, 'name', c.name) AS connector, i.pipeline_id,
       CASE WHEN p.id IS NOT NULL THEN json_build_object('id', p.id, 'name', p.name) END AS pipeline,
       {criticality} AS criticality, p.team_id,
       CASE WHEN t.id IS NOT NULL THEN json_build_object('id', t.id, 'name', t.name) END AS team,
       g.id AS fingerprint_id,
       CASE WHEN f.id IS NOT NULL THEN json_build_object('id', f.id, 'external_id', f.external_id, 'status', f.status) END AS first_run,
       CASE WHEN l.id IS NOT NULL THEN json_build_object('id', l.id, 'external_id', l.external_id, 'status', l.status) END AS last_run,
       i.occurrences, i.opened_at, i.last_failed_at,
       CASE WHEN i.acknowledged_at IS NOT NULL AND a.id IS NOT NULL THEN json_build_object('id', a.id, 'name', a.name) END AS acknowledged_by,
       i.acknowledged_at, i.acknowledged_until, i.acknowledged_until_success,
       CASE WHEN i.acknowledged_at IS NOT NULL THEN i.acknowledgement_reason END AS acknowledgement_reason, i.snoozed_until,
       CASE WHEN u.id IS NOT NULL THEN json_build_object('type', 'user', 'id', u.id, 'name', u.name)
            WHEN d.id IS NOT NULL THEN json_build_object('type', 'team', 'id', d.id, 'name', d.name) END AS assignee,
       i.resolved_at, CASE WHEN z.id IS NOT NULL THEN json_build_object('id', z.id, 'name', z.name) END AS resolved_by,
       i.held_back_by_incident_id AS held_back_by_id, h.total AS holds_back, i.reopened_count

-- fragment: join_details
-- CASE, not coalesce: PostgreSQL does not know that coalesce leaks nothing, and would not use the index under row-level security.
JOIN connectors c ON c.space_id = %(space_id)s AND c.id = i.connector_id
LEFT JOIN sync_states y ON y.space_id = %(space_id)s AND y.connector_id = i.connector_id
LEFT JOIN pipelines p ON p.space_id = %(space_id)s AND p.id = i.pipeline_id
LEFT JOIN teams t ON t.space_id = %(space_id)s AND t.id = p.team_id
LEFT JOIN fingerprints e ON e.space_id = %(space_id)s AND e.id = i.fingerprint_id
LEFT JOIN fingerprints g ON g.space_id = %(space_id)s AND g.id = CASE WHEN e.merged_into IS NULL THEN e.id ELSE e.merged_into END
LEFT JOIN runs f ON f.space_id = %(space_id)s AND f.id = i.first_run_id
LEFT JOIN runs l ON l.space_id = %(space_id)s AND l.id = i.last_run_id
LEFT JOIN users a ON a.id = i.acknowledged_by_user_id
LEFT JOIN users u ON u.id = i.assignee_user_id
LEFT JOIN teams d ON d.space_id = %(space_id)s AND d.id = i.assignee_team_id
LEFT JOIN users z ON z.id = i.resolved_by_user_id
CROSS JOIN LATERAL (
    SELECT count(*) AS total FROM incidents o
    WHERE o.space_id = %(space_id)s AND o.held_back_by_incident_id = i.id AND o.state <> 'resolved'
) h

-- name: list_incidents_sorted_by_urgency
-- All that match are read to be sorted, and so are counted here too.
WITH matching AS MATERIALIZED (
    SELECT i.id, i.opened_at, {rank} AS rank
    {matching_incidents}
), page AS MATERIALIZED (
    SELECT m.id, m.opened_at, m.rank
    FROM matching m
    WHERE true
      AND (m.rank, m.opened_at, m.id) > (%(after_rank)s::integer, %(after)s::timestamptz, %(after_id)s::uuid)  -- if after
    ORDER BY m.rank, m.opened_at, m.id
    LIMIT %(limit)s OFFSET %(offset)s
)
{incident}, page.rank, (SELECT count(*) FROM matching) AS total
FROM page
JOIN incidents i ON i.space_id = %(space_id)s AND i.id = page.id
{join_details}
ORDER BY page.rank, page.opened_at, page.id

-- name: list_incidents_sorted_by_time
WITH page AS MATERIALIZED (
    SELECT i.id
    {matching_incidents}
      AND (i.opened_at, i.id) < (%(after)s::timestamptz, %(after_id)s::uuid)  -- if after
    ORDER BY i.opened_at DESC, i.id DESC
    LIMIT %(limit)s OFFSET %(offset)s
)
{incident}
FROM page
JOIN incidents i ON i.space_id = %(space_id)s AND i.id = page.id
{join_details}
ORDER BY i.opened_at DESC, i.id DESC

-- name: count_incidents
SELECT count(*) AS total
{matching_incidents}

-- name: count_open_incidents
SELECT count(*) AS total FROM incidents i
WHERE i.space_id = %(space_id)s AND i.state = 'open' AND i.held_back_by_incident_id IS NULL

-- name: list_incidents_of_pipeline
{incident}
FROM incidents i
{join_details}
WHERE i.space_id = %(space_id)s AND i.pipeline_id = %(pipeline_id)s AND i.state <> 'resolved'
ORDER BY i.opened_at, i.id
LIMIT 20

-- name: list_incidents_of_run
{incident}
FROM incidents i
{join_details}
WHERE i.space_id = %(space_id)s AND i.id IN (
    SELECT e.incident_id FROM incident_events e WHERE e.space_id = %(space_id)s AND e.run_id = %(run_id)s)
ORDER BY i.opened_at DESC, i.id DESC
LIMIT 3

-- name: find_incidents_of_runs
SELECT DISTINCT ON (e.run_id) e.run_id, i.id, i.state
FROM incident_events e
JOIN incidents i ON i.space_id = %(space_id)s AND i.id = e.incident_id
WHERE e.space_id = %(space_id)s AND e.run_id = ANY (%(run_ids)s::uuid[])
ORDER BY e.run_id, i.opened_at DESC, i.id DESC
LIMIT 1000

-- name: get_incident
{incident}
FROM incidents i
{join_details}
WHERE i.space_id = %(space_id)s AND i.id = %(incident_id)s

-- name: newest_events
-- The newest, oldest first.
SELECT * FROM (
    SELECT e.id, e.kind, e.happened_at, CASE WHEN u.id IS NOT NULL THEN json_build_object('id', u.id, 'name', u.name) END AS user,
           CASE WHEN r.id IS NOT NULL THEN json_build_object('id', r.id, 'external_id', r.external_id, 'status', r.status) END AS run,
           e.details
    FROM incident_events e
    LEFT JOIN users u ON u.id = e.user_id
    LEFT JOIN runs r ON r.space_id = %(space_id)s AND r.id = e.run_id
    WHERE e.space_id = %(space_id)s AND e.incident_id = %(incident_id)s
    ORDER BY e.id DESC
    LIMIT %(limit)s
) newest
ORDER BY id

-- name: lock_incidents
-- In one order, so that concurrent transactions do not deadlock.
SELECT id, kind, state FROM incidents WHERE space_id = %(space_id)s AND id = ANY (%(ids)s::uuid[]) ORDER BY id FOR NO KEY UPDATE

-- name: acknowledge_incidents
UPDATE incidents
SET state = 'acknowledged', acknowledged_by_user_id = %(user_id)s, acknowledged_at = now(), acknowledged_until = %(until)s,
    acknowledged_until_success = %(until_success)s, acknowledged_occurrences = occurrences, acknowledgement_reason = %(reason)s,
    snoozed_until = NULL, updated_at = now()
WHERE space_id = %(space_id)s AND id = ANY (%(ids)s::uuid[])

-- name: snooze_incident
-- It ends an acknowledgement: nothing else would, and afterwards the incident is open.
UPDATE incidents
SET state = 'snoozed', snoozed_until = %(until)s, acknowledged_at = NULL, acknowledged_until = NULL, acknowledged_occurrences = NULL,
    updated_at = now()
WHERE space_id = %(space_id)s AND id = %(incident_id)s

-- name: assign_incident
UPDATE incidents SET assignee_user_id = %(user_id)s, assignee_team_id = %(team_id)s, updated_at = now()
WHERE space_id = %(space_id)s AND id = %(incident_id)s

-- name: resolve_incident
UPDATE incidents
SET state = 'resolved', resolved_at = now(), resolved_by_user_id = %(user_id)s, snoozed_until = NULL, acknowledged_at = NULL,
    acknowledged_until = NULL, acknowledged_occurrences = NULL, updated_at = now()
WHERE space_id = %(space_id)s AND id = %(incident_id)s

-- name: add_events
INSERT INTO incident_events (space_id, incident_id, kind, user_id, details)
SELECT %(space_id)s, i.id, %(kind)s, %(user_id)s, %(details)s FROM unnest(%(ids)s::uuid[]) AS i (id)
