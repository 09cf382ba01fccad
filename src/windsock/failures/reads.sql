-- name: list_due_reads
-- across spaces: ids only; the worker claims each within its space
SELECT space_id, run_id AS id FROM due_failure_reads()

-- name: claim_read
UPDATE failure_reads
SET state = 'reading', lease_id = uuid7(), lease_until = now() + %(lease)s
WHERE space_id = %(space_id)s AND run_id = %(run_id)s
  AND (state = 'pending' AND next_attempt_at <= now() OR state = 'reading' AND lease_until < now())
RETURNING connector_id, lease_id, is_requested, requests, noticed_at

-- name: get_run_to_read
SELECT r.external_id, r.pipeline_id, r.status, r.removed_at IS NOT NULL OR r.archived_at IS NOT NULL AS is_gone,
       p.external_id AS dag_id, s.api_version, s.provider_version
FROM runs r
JOIN pipelines p ON p.space_id = %(space_id)s AND p.id = r.pipeline_id
JOIN sync_states s ON s.space_id = %(space_id)s AND s.connector_id = p.connector_id
WHERE r.space_id = %(space_id)s AND r.id = %(run_id)s

-- name: root_failures
-- The tasks that failed by themselves, first those that failed first; `is_read`: this try is read already.
SELECT t.id, t.external_id, t.map_index, t.region_id, t.region_index, t.try_number,
       coalesce(t.ended_at, r.ended_at, now()) AS failed_at, t.provider_metadata ->> 'state_reason' AS state_reason,
       f.summary IS NOT NULL AS is_read
FROM task_runs t
JOIN runs r ON r.space_id = %(space_id)s AND r.id = t.run_id
LEFT JOIN task_failures f ON f.space_id = %(space_id)s AND f.task_run_id = t.id AND f.try_number = t.try_number
WHERE t.space_id = %(space_id)s AND t.run_id = %(run_id)s AND t.status = 'failed' AND t.removed_at IS NULL
ORDER BY t.ended_at NULLS LAST, t.started_at NULLS LAST, t.id
LIMIT %(limit)s

-- name: count_request
-- Before a request is sent: a worker that dies meanwhile has used it up.
UPDATE failure_reads SET requests = requests + 1, lease_until = now() + %(lease)s
WHERE space_id = %(space_id)s AND run_id = %(run_id)s AND lease_id = %(lease_id)s AND requests < %(max_requests)s

-- name: lock_read
SELECT requests, connector_id FROM failure_reads
WHERE space_id = %(space_id)s AND run_id = %(run_id)s AND lease_id = %(lease_id)s
FOR UPDATE

-- name: finish_read
-- The incident of the run gets the fingerprint that is there now.
WITH due AS (
    UPDATE run_transitions SET is_fingerprint_due = true
    WHERE space_id = %(space_id)s AND run_id = %(run_id)s AND to_status = 'failed' AND %(state)s = 'read'
)
UPDATE failure_reads
SET state = %(state)s, next_attempt_at = now() + %(delay)s, lease_id = NULL, lease_until = NULL,
    is_requested = is_requested AND %(state)s = 'pending'
WHERE space_id = %(space_id)s AND run_id = %(run_id)s AND lease_id = %(lease_id)s

-- name: request_read
-- A user opened the run: it is read unless it has been, or is being read.
INSERT INTO failure_reads AS f (space_id, run_id, connector_id, is_requested)
SELECT %(space_id)s, r.id, p.connector_id, true
FROM runs r
JOIN pipelines p ON p.space_id = %(space_id)s AND p.id = r.pipeline_id
WHERE r.space_id = %(space_id)s AND r.id = %(run_id)s AND r.status = 'failed' AND r.removed_at IS NULL AND r.archived_at IS NULL
ON CONFLICT (space_id, run_id) DO UPDATE
SET state = 'pending', is_requested = true, requests = 0, next_attempt_at = now()
WHERE f.state = 'on_demand' OR f.state = 'unreadable' AND f.next_attempt_at < now() - interval '1 minute'

-- name: get_read
-- Of a failed run how far its logs are read, and what decides whether they are.
SELECT r.status, r.removed_at IS NOT NULL OR r.archived_at IS NOT NULL AS is_gone, f.state, c.config, s.provider_version
FROM runs r
JOIN pipelines p ON p.space_id = %(space_id)s AND p.id = r.pipeline_id
JOIN connectors c ON c.space_id = %(space_id)s AND c.id = p.connector_id
JOIN sync_states s ON s.space_id = %(space_id)s AND s.connector_id = p.connector_id
LEFT JOIN failure_reads f ON f.space_id = %(space_id)s AND f.run_id = r.id
WHERE r.space_id = %(space_id)s AND r.id = %(run_id)s

-- name: store_fingerprint
-- The group of a hash, and the one to which its failures belong: a user may have merged it, or split some of them off.
WITH computed AS (
    INSERT INTO fingerprints AS g (space_id, pipeline_id, hash, algorithm_version, title, grouped_by, first_seen_at, last_seen_at)
    VALUES (%(space_id)s, %(pipeline_id)s, %(hash)s, %(version)s, %(title)s, %(grouped_by)s, %(failed_at)s, %(failed_at)s)
    ON CONFLICT (space_id, pipeline_id, algorithm_version, hash) DO UPDATE
    SET last_seen_at = greatest(g.last_seen_at, excluded.last_seen_at)
    RETURNING g.id, g.merged_into
)
SELECT c.id, coalesce((
    SELECT coalesce(g.merged_into, g.id) FROM fingerprints g
    WHERE g.space_id = %(space_id)s AND g.pipeline_id = %(pipeline_id)s AND g.split_from IS NOT NULL
      AND %(message_hash)s = ANY (g.message_hashes)
    ORDER BY g.id DESC
    LIMIT 1
), c.merged_into, c.id) AS group_id
FROM computed c

-- name: store_failure
-- A failure that is stored already stays in the group that it has.
INSERT INTO task_failures AS f (space_id, run_id, task_run_id, try_number, place, failed_at, summary, excerpt, exception_type,
                                own_frame, log_error, algorithm_version, fingerprint_id, computed_fingerprint_id, message_hash)
VALUES (%(space_id)s, %(run_id)s, %(task_run_id)s, %(try_number)s, %(place)s, %(failed_at)s, %(summary)s, %(excerpt)s,
        %(exception_type)s, %(own_frame)s, %(log_error)s, %(version)s, %(group_id)s, %(computed_id)s, %(message_hash)s)
ON CONFLICT (space_id, task_run_id, try_number) DO UPDATE
SET summary = excluded.summary, excerpt = excluded.excerpt, exception_type = excluded.exception_type,
    own_frame = excluded.own_frame, log_error = excluded.log_error, algorithm_version = excluded.algorithm_version,
    fingerprint_id = excluded.fingerprint_id, computed_fingerprint_id = excluded.computed_fingerprint_id,
    message_hash = excluded.message_hash
WHERE f.summary IS NULL

-- name: place_failures
-- The current root failures of a run in their order; those that others have replaced have no place.
UPDATE task_failures f SET place = k.place
FROM (
    SELECT x.id, i.place - 1 AS place
    FROM task_failures x
    LEFT JOIN unnest(%(task_run_ids)s::uuid[], %(try_numbers)s::integer[]) WITH ORDINALITY AS i (task_run_id, try_number, place)
           ON i.task_run_id = x.task_run_id AND i.try_number = x.try_number
    WHERE x.space_id = %(space_id)s AND x.run_id = %(run_id)s
) k
WHERE f.space_id = %(space_id)s AND f.id = k.id AND f.place IS DISTINCT FROM k.place

-- name: refresh_fingerprints
{update_fingerprint_counts}
