-- fragment: sync_run
r.id, r.space_id, r.connector_id, r.status, r.trigger, r.is_full, r.queued_at, r.started_at, r.finished_at, r.phase,
r.pipelines, r.runs, r.task_runs, r.provider_requests, r.coverage, r.warnings, r.error

-- fragment: history
FROM sync_runs r
WHERE r.space_id = %(space_id)s
  AND (%(connector_id)s::uuid[] IS NULL OR r.connector_id = ANY (%(connector_id)s))
  AND (%(status)s::text[] IS NULL OR r.status = ANY (%(status)s))

-- name: list_syncs
SELECT {sync_run}
{history}
ORDER BY r.queued_at DESC, r.id DESC
LIMIT %(limit)s OFFSET %(offset)s

-- name: count_syncs
SELECT count(*) AS total
{history}

-- name: get_sync
SELECT {sync_run} FROM sync_runs r WHERE r.space_id = %(space_id)s AND r.id = %(sync_id)s

-- name: unfinished_sync
SELECT {sync_run} FROM sync_runs r
WHERE r.space_id = %(space_id)s AND r.connector_id = %(connector_id)s AND r.status IN ('queued', 'running')

-- name: queue_sync
INSERT INTO sync_runs (space_id, connector_id, trigger, is_full, requested_by)
VALUES (%(space_id)s, %(connector_id)s, %(trigger)s, %(is_full)s, %(requested_by)s)
ON CONFLICT (space_id, connector_id) WHERE status IN ('queued', 'running') DO NOTHING
RETURNING id

-- name: syncs_to_start
-- across spaces: the dispatcher asks for ids only, and does the rest within each space
SELECT space_id, connector_id FROM syncs_to_start()

-- name: syncs_to_look_after
-- across spaces: as syncs_to_start
SELECT space_id, sync_id, status FROM syncs_to_look_after()

-- name: claim_sync
UPDATE sync_runs r
SET status = 'running', started_at = now(), phase = 'connecting', lease_holder = %(holder)s,
    lease_until = now() + %(lease)s::interval
WHERE r.space_id = %(space_id)s AND r.id = %(sync_id)s AND r.status = 'queued'
RETURNING r.connector_id, r.trigger, r.is_full, r.started_at

-- name: get_state
SELECT api_version, provider_version, watermark, pipelines_listed_at, unwanted, checkpoint, failures
FROM sync_states WHERE space_id = %(space_id)s AND connector_id = %(connector_id)s

-- name: renew_lease
UPDATE sync_runs SET lease_until = now() + %(lease)s::interval
WHERE space_id = %(space_id)s AND id = %(sync_id)s AND status = 'running' AND lease_holder = %(holder)s

-- name: save_progress
UPDATE sync_runs
SET phase = %(phase)s, is_full = %(is_full)s, pipelines = %(pipelines)s, runs = %(runs)s, task_runs = %(task_runs)s,
    provider_requests = %(provider_requests)s, coverage = %(coverage)s, warnings = %(warnings)s,
    lease_until = now() + %(lease)s::interval
WHERE space_id = %(space_id)s AND id = %(sync_id)s AND status = 'running' AND lease_holder = %(holder)s

-- name: save_checkpoint
UPDATE sync_states SET checkpoint = %(checkpoint)s
WHERE space_id = %(space_id)s AND connector_id = %(connector_id)s

-- name: save_identity
UPDATE sync_states SET api_version = %(api_version)s, provider_version = %(provider_version)s
WHERE space_id = %(space_id)s AND connector_id = %(connector_id)s

-- name: save_listing
UPDATE sync_states SET pipelines_listed_at = now(), unwanted = %(unwanted)s::text[]
WHERE space_id = %(space_id)s AND connector_id = %(connector_id)s

-- name: finish_sync
UPDATE sync_runs
SET status = %(status)s, error = %(error)s, finished_at = now(), phase = %(status)s, lease_holder = NULL,
    lease_until = NULL
WHERE space_id = %(space_id)s AND id = %(sync_id)s AND status = 'running' AND lease_holder = %(holder)s

-- name: finish_state
UPDATE sync_states
SET last_sync_at = now(), last_sync_status = %(status)s,
    last_complete_at = CASE WHEN %(is_complete)s THEN %(started_at)s::timestamptz ELSE last_complete_at END,
    watermark = CASE WHEN %(is_complete)s THEN %(watermark)s::timestamptz ELSE watermark END,
    checkpoint = CASE WHEN %(is_complete)s THEN NULL ELSE checkpoint END,
    failures = CASE WHEN %(is_complete)s THEN 0 ELSE failures + 1 END,
    next_sync_at = greatest(
        now() + interval '1 second',
        %(started_at)s::timestamptz + CASE WHEN %(is_complete)s THEN
            -- Somebody is waiting for what they triggered: look often, and less so the longer it takes.
            least(%(pause)s::interval,
                  (SELECT min(greatest(interval '3 seconds', (now() - q.created_at) / 10))
                   FROM trigger_requests q
                   JOIN pipelines p ON p.space_id = %(space_id)s AND p.id = q.pipeline_id
                   JOIN runs r ON r.space_id = %(space_id)s AND r.pipeline_id = p.id
                              AND r.external_id = q.run_external_id
                   WHERE q.space_id = %(space_id)s AND q.created_at > now() - interval '1 hour'
                     AND p.connector_id = %(connector_id)s AND r.status IN ('queued', 'running')
                     AND r.removed_at IS NULL))
        ELSE %(pause)s::interval END)
WHERE space_id = %(space_id)s AND connector_id = %(connector_id)s

-- name: forget_old_syncs
-- Bounded: what changed something is kept for 30 days, the idle ones for 2.
DELETE FROM sync_runs
WHERE space_id = %(space_id)s AND connector_id = %(connector_id)s AND status NOT IN ('queued', 'running')
  AND (queued_at < now() - interval '30 days'
       OR (queued_at < now() - interval '2 days' AND status = 'complete' AND trigger = 'schedule'))

-- name: abandon_sync
WITH abandoned AS (
    UPDATE sync_runs
    SET status = CASE WHEN (coverage ->> 'read')::bigint > 0 THEN 'partial' ELSE 'failed' END,
        finished_at = now(), phase = 'abandoned', lease_holder = NULL, lease_until = NULL,
        error = 'The worker of this sync stopped in the middle. What it had stored is kept; the next sync goes on from there.'
    WHERE space_id = %(space_id)s AND id = %(sync_id)s AND status = 'running' AND lease_until < now()
    RETURNING connector_id, status
)
-- At once the first time; what fells its worker again and again must not do so without a pause.
UPDATE sync_states s
SET last_sync_at = now(), last_sync_status = a.status, failures = s.failures + 1,
    next_sync_at = now() + least(interval '15 minutes', interval '5 seconds' * (2 ^ least(s.failures, 8) - 1))
FROM abandoned a
WHERE s.space_id = %(space_id)s AND s.connector_id = a.connector_id
