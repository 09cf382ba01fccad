-- fragment: pipeline_of_action
p.id AS pipeline_id, p.external_id AS pipeline_external_id, p.connector_id, p.criticality, y.api_version,
(SELECT s.requires_reason FROM spaces s WHERE s.id = %(space_id)s) AS requires_reason

-- fragment: join_sync_state
LEFT JOIN sync_states y ON y.space_id = %(space_id)s AND y.connector_id = p.connector_id

-- name: get_pipeline_to_act_on
SELECT {pipeline_of_action}
FROM pipelines p
{join_sync_state}
WHERE p.space_id = %(space_id)s AND p.id = %(pipeline_id)s

-- name: get_run_to_act_on
SELECT {pipeline_of_action}, r.id AS run_id, r.external_id AS run_external_id,
       coalesce(r.run_after, r.logical_date) AS position
FROM runs r
JOIN pipelines p ON p.space_id = %(space_id)s AND p.id = r.pipeline_id
{join_sync_state}
WHERE r.space_id = %(space_id)s AND r.id = %(run_id)s

-- name: get_task_runs_to_act_on
SELECT t.id, t.run_id, t.external_id, t.map_index, t.region_id, t.region_index
FROM task_runs t
WHERE t.space_id = %(space_id)s AND t.id = ANY (%(ids)s::uuid[])
ORDER BY t.id
LIMIT %(limit)s

-- name: find_task_run_ids
-- The mirrored task runs of a run by their identity in the provider.
SELECT t.id, t.external_id, t.map_index, t.region_id, t.region_index
FROM task_runs t
WHERE t.space_id = %(space_id)s AND t.run_id = %(run_id)s AND t.external_id = ANY (%(external_ids)s::text[])
ORDER BY t.id
LIMIT %(limit)s

-- name: create_action
INSERT INTO actions (space_id, kind, pipeline_id, run_id, task_run_id, user_id, idempotency_key, body_hash, parameters,
                     reason, lease_until)
VALUES (%(space_id)s, %(kind)s, %(pipeline_id)s, %(run_id)s, %(task_run_id)s, %(user_id)s, %(idempotency_key)s,
        %(body_hash)s, %(parameters)s, %(reason)s, now() + %(lease)s::interval)
ON CONFLICT DO NOTHING
RETURNING id, run_external_id

-- name: lock_action
SELECT id, run_external_id, body_hash, outcome, status, detail, expected, lease_until <= now() AS is_free
FROM actions
WHERE space_id = %(space_id)s AND pipeline_id = %(pipeline_id)s AND idempotency_key = %(idempotency_key)s
FOR UPDATE

-- name: lock_action_in_progress
SELECT a.id, a.kind, a.lease_until <= now() AS is_free, u.name AS user_name
FROM actions a
LEFT JOIN users u ON u.id = a.user_id
WHERE a.space_id = %(space_id)s AND a.run_id = %(run_id)s AND a.outcome IS NULL AND a.kind IN ('clear', 'mark')
FOR UPDATE OF a

-- name: lease_action
UPDATE actions
SET lease_until = now() + %(lease)s::interval, outcome = NULL, status = NULL, detail = NULL, updated_at = now()
WHERE space_id = %(space_id)s AND id = %(action_id)s

-- name: save_expected
UPDATE actions SET expected = %(expected)s, updated_at = now()
WHERE space_id = %(space_id)s AND id = %(action_id)s

-- name: finish_action
UPDATE actions
SET outcome = %(outcome)s, status = %(status)s, detail = %(detail)s, lease_until = now(), updated_at = now()
WHERE space_id = %(space_id)s AND id = %(action_id)s

-- name: find_run
SELECT id FROM runs
WHERE space_id = %(space_id)s AND pipeline_id = %(pipeline_id)s AND external_id = %(run_external_id)s AND NOT is_replaced

-- name: expedite_sync
-- A connector in trouble keeps its pauses.
UPDATE sync_states SET next_sync_at = least(next_sync_at, now() + interval '3 seconds')
WHERE space_id = %(space_id)s AND connector_id = %(connector_id)s AND failures = 0

-- fragment: matching_actions
WHERE a.space_id = %(space_id)s
  AND a.kind = ANY (%(kind)s::text[])  -- if kind
  AND coalesce(a.outcome, 'in_progress') = ANY (%(outcome)s::text[])  -- if outcome
  AND a.pipeline_id = ANY (%(pipeline_id)s::uuid[])  -- if pipeline_id
  AND a.run_id = ANY (%(run_id)s::uuid[])  -- if run_id

-- name: list_actions
SELECT a.id, a.kind, a.pipeline_id, jsonb_build_object('id', p.id, 'name', p.name) AS pipeline, a.run_id, a.task_run_id,
       CASE WHEN u.id IS NOT NULL THEN jsonb_build_object('id', u.id, 'name', u.name) END AS user,
       a.parameters, a.reason, coalesce(a.outcome, 'in_progress') AS outcome, a.status, a.detail,
       jsonb_array_length(a.expected) AS task_run_count, a.created_at, a.updated_at
FROM actions a
JOIN pipelines p ON p.space_id = %(space_id)s AND p.id = a.pipeline_id
LEFT JOIN users u ON u.id = a.user_id
{matching_actions}
ORDER BY a.created_at DESC, a.id DESC
LIMIT %(limit)s OFFSET %(offset)s

-- name: count_actions
SELECT count(*) AS total FROM actions a
{matching_actions}

-- name: find_connectors_with_waiting_task_runs
-- Of Airflow 3: since 3.3 such tasks have a state of their own, before that they are deferred.
SELECT c.id AS connector_id, y.api_version
FROM connectors c
JOIN sync_states y ON y.space_id = %(space_id)s AND y.connector_id = c.id
WHERE c.space_id = %(space_id)s AND c.is_active AND y.api_version = 'v2'
  AND EXISTS (
      SELECT FROM pipelines p
      JOIN runs r ON r.space_id = %(space_id)s AND r.pipeline_id = p.id AND r.status IN ('queued', 'running')
                 AND r.removed_at IS NULL
      JOIN task_runs t ON t.space_id = %(space_id)s AND t.run_id = r.id AND t.status IN ('awaiting_input', 'deferred')
      WHERE p.space_id = %(space_id)s AND p.connector_id = c.id)
ORDER BY c.id
LIMIT %(limit)s

-- name: find_waiting_task_runs
SELECT k.place, t.id AS task_run_id, r.id AS run_id, p.id AS pipeline_id,
       jsonb_build_object('id', p.id, 'name', p.name) AS pipeline
FROM jsonb_to_recordset(%(keys)s) AS k (place integer, connector_id uuid, dag_id text, run_external_id text,
    external_id text, map_index integer, region_id text, region_index integer)
JOIN pipelines p ON p.space_id = %(space_id)s AND p.connector_id = k.connector_id AND p.external_id = k.dag_id
JOIN runs r ON r.space_id = %(space_id)s AND r.pipeline_id = p.id AND r.external_id = k.run_external_id AND NOT r.is_replaced
JOIN task_runs t ON t.space_id = %(space_id)s AND t.run_id = r.id AND t.external_id = k.external_id
                AND t.map_index = k.map_index AND t.region_id = k.region_id AND t.region_index = k.region_index
ORDER BY k.place, t.id
LIMIT 10000
