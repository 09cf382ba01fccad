-- name: get_group_to_clear
-- Of a group that was merged into another, that one.
SELECT g.id, g.pipeline_id, p.connector_id
FROM fingerprints f
JOIN fingerprints g ON g.space_id = %(space_id)s AND g.id = coalesce(f.merged_into, f.id)
JOIN pipelines p ON p.space_id = %(space_id)s AND p.id = g.pipeline_id
WHERE f.space_id = %(space_id)s AND f.id = %(fingerprint_id)s

-- name: find_runs_to_clear
-- Failed runs of which a root failure of now has the fingerprint, the oldest first: later runs may depend on them. A
-- clear takes their tasks that failed, or did not run because of those.
WITH page AS MATERIALIZED (
    SELECT r.id, r.external_id, r.status, coalesce(r.run_after, r.logical_date) AS position, count(*) OVER () AS total
    FROM (
        SELECT DISTINCT f.run_id
        FROM task_failures f
        JOIN task_runs t ON t.space_id = %(space_id)s AND t.id = f.task_run_id AND t.status = 'failed'
                        AND t.try_number = f.try_number AND t.removed_at IS NULL
        WHERE f.space_id = %(space_id)s AND f.fingerprint_id = %(fingerprint_id)s AND f.place IS NOT NULL
    ) k
    JOIN runs r ON r.space_id = %(space_id)s AND r.id = k.run_id
    WHERE r.status = 'failed' AND NOT r.is_replaced AND r.removed_at IS NULL AND r.archived_at IS NULL
    ORDER BY coalesce(r.run_after, r.logical_date), r.id
    LIMIT %(limit)s
)
SELECT r.id AS run_id, r.external_id AS run_external_id, r.status AS run_status, n.task_run_count, n.task_ids,
       'pending' AS outcome, NULL::text AS error, r.total
FROM page r
CROSS JOIN LATERAL (
    SELECT count(*)::integer AS task_run_count,
           (array_agg(DISTINCT t.external_id ORDER BY t.external_id))[:%(max_task_ids)s::integer] AS task_ids
    FROM task_runs t
    WHERE t.space_id = %(space_id)s AND t.run_id = r.id AND t.status IN ('failed', 'upstream_failed') AND t.removed_at IS NULL
) n
ORDER BY r.position, r.id

-- name: create_bulk_clear
INSERT INTO bulk_clears (space_id, fingerprint_id, pipeline_id, connector_id, user_id, idempotency_key, body_hash, reason, left_out)
VALUES (%(space_id)s, %(fingerprint_id)s, %(pipeline_id)s, %(connector_id)s, %(user_id)s, %(idempotency_key)s,
        %(body_hash)s, %(reason)s, %(left_out)s)
ON CONFLICT (space_id, pipeline_id, idempotency_key) DO NOTHING
RETURNING id

-- name: create_bulk_clear_runs
INSERT INTO bulk_clear_runs (space_id, bulk_clear_id, run_id, place, task_run_count, task_ids)
SELECT %(space_id)s, %(bulk_clear_id)s, k.run_id, k.place, k.task_run_count, k.task_ids
FROM jsonb_to_recordset(%(runs)s) AS k (run_id uuid, place smallint, task_run_count integer, task_ids text[])

-- name: find_bulk_clear
SELECT id, body_hash FROM bulk_clears
WHERE space_id = %(space_id)s AND pipeline_id = %(pipeline_id)s AND idempotency_key = %(idempotency_key)s

-- name: get_bulk_clear
-- By its fingerprint, also after that was merged.
SELECT b.id, b.fingerprint_id, b.status, b.reason, b.left_out, b.created_at, b.finished_at,
       CASE WHEN u.id IS NOT NULL THEN jsonb_build_object('id', u.id, 'name', u.name) END AS user
FROM bulk_clears b
LEFT JOIN users u ON u.id = b.user_id
WHERE b.space_id = %(space_id)s AND b.id = %(bulk_clear_id)s
  AND (b.fingerprint_id = %(fingerprint_id)s
       OR b.fingerprint_id = (SELECT g.merged_into FROM fingerprints g WHERE g.space_id = %(space_id)s AND g.id = %(fingerprint_id)s))

-- name: find_bulk_clear_runs
SELECT k.run_id, r.external_id AS run_external_id, r.status AS run_status, k.task_run_count, k.task_ids, k.outcome, k.error
FROM bulk_clear_runs k
JOIN runs r ON r.space_id = %(space_id)s AND r.id = k.run_id
WHERE k.space_id = %(space_id)s AND k.bulk_clear_id = %(bulk_clear_id)s
ORDER BY k.place, k.run_id
LIMIT %(limit)s

-- name: list_due_bulk_clears
-- across spaces: ids only; the worker claims each within its space
SELECT space_id, bulk_clear_id AS id FROM due_bulk_clears()

-- name: claim_bulk_clear
UPDATE bulk_clears
SET status = 'running', lease_id = uuid7(), lease_until = now() + %(lease)s
WHERE space_id = %(space_id)s AND id = %(bulk_clear_id)s AND (status = 'queued' OR status = 'running' AND lease_until < now())
RETURNING lease_id, user_id, reason

-- name: renew_bulk_clear
UPDATE bulk_clears SET lease_until = now() + %(lease)s
WHERE space_id = %(space_id)s AND id = %(bulk_clear_id)s AND lease_id = %(lease_id)s AND status = 'running'

-- name: list_pending_runs
SELECT run_id FROM bulk_clear_runs
WHERE space_id = %(space_id)s AND bulk_clear_id = %(bulk_clear_id)s AND outcome = 'pending'
ORDER BY place, run_id

-- name: save_bulk_clear_run
UPDATE bulk_clear_runs
SET outcome = %(outcome)s, error = %(error)s, task_run_count = %(task_run_count)s, task_ids = %(task_ids)s
WHERE space_id = %(space_id)s AND bulk_clear_id = %(bulk_clear_id)s AND run_id = %(run_id)s AND outcome = 'pending'

-- name: refuse_pending_runs
UPDATE bulk_clear_runs SET outcome = 'failed', error = %(error)s, task_run_count = 0, task_ids = '{}'
WHERE space_id = %(space_id)s AND bulk_clear_id = %(bulk_clear_id)s AND outcome = 'pending'

-- name: finish_bulk_clear
UPDATE bulk_clears SET status = 'done', finished_at = now(), lease_id = NULL, lease_until = NULL
WHERE space_id = %(space_id)s AND id = %(bulk_clear_id)s AND lease_id = %(lease_id)s
