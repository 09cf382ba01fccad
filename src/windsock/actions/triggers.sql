-- name: get_pipeline_to_trigger
SELECT p.id, p.external_id, p.connector_id, y.api_version
FROM pipelines p
LEFT JOIN sync_states y ON y.space_id = %(space_id)s AND y.connector_id = p.connector_id
WHERE p.space_id = %(space_id)s AND p.id = %(pipeline_id)s

-- name: create_request
INSERT INTO trigger_requests (space_id, pipeline_id, user_id, idempotency_key, body_hash, lease_until)
VALUES (%(space_id)s, %(pipeline_id)s, %(user_id)s, %(idempotency_key)s, %(body_hash)s, now() + %(lease)s::interval)
ON CONFLICT (space_id, pipeline_id, idempotency_key) DO NOTHING
RETURNING id, run_external_id

-- name: lock_request
SELECT id, run_external_id, body_hash, outcome, status, detail, lease_until <= now() AS is_free
FROM trigger_requests
WHERE space_id = %(space_id)s AND pipeline_id = %(pipeline_id)s AND idempotency_key = %(idempotency_key)s
FOR UPDATE

-- name: lease_request
UPDATE trigger_requests
SET lease_until = now() + %(lease)s::interval, outcome = NULL, status = NULL, detail = NULL, updated_at = now()
WHERE space_id = %(space_id)s AND id = %(request_id)s

-- name: finish_request
UPDATE trigger_requests
SET outcome = %(outcome)s, status = %(status)s, detail = %(detail)s, lease_until = now(), updated_at = now()
WHERE space_id = %(space_id)s AND id = %(request_id)s

-- name: find_run
SELECT id FROM runs
WHERE space_id = %(space_id)s AND pipeline_id = %(pipeline_id)s AND external_id = %(run_external_id)s AND NOT is_replaced

-- name: expedite_sync
-- A connector in trouble keeps its pauses.
UPDATE sync_states SET next_sync_at = least(next_sync_at, now() + interval '3 seconds')
WHERE space_id = %(space_id)s AND connector_id = %(connector_id)s AND failures = 0
