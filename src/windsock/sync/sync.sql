-- fragment: sync_run
r.id, r.space_id, r.connector_id, r.status, r.trigger, r.is_full, r.queued_at, r.started_at, r.finished_at, r.phase,
r.pipelines, r.runs, r.task_runs, r.provider_requests, r.coverage, r.warnings, r.error

-- fragment: history
FROM sync_runs r
WHERE r.space_id = %(space_id)s
  AND r.connector_id = ANY (%(connector_id)s::uuid[])  -- if connector_id
  AND r.status = ANY (%(status)s::text[])  -- if status

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

-- name: get_active_syncs
-- The one under way, then the full one behind it.
SELECT {sync_run} FROM sync_runs r
WHERE r.space_id = %(space_id)s AND r.connector_id = %(connector_id)s AND r.status IN ('queued', 'running')
ORDER BY r.is_follow_up

-- name: queue_sync
-- Not before a full one that waits for its turn: that is the next one.
INSERT INTO sync_runs (space_id, connector_id, trigger, is_full, requested_by)
SELECT %(space_id)s, %(connector_id)s, %(trigger)s, %(is_full)s, %(requested_by)s
WHERE NOT EXISTS (SELECT FROM sync_runs r
                  WHERE r.space_id = %(space_id)s AND r.connector_id = %(connector_id)s AND r.status = 'queued')
ON CONFLICT (space_id, connector_id) WHERE status IN ('queued', 'running') AND NOT is_follow_up DO NOTHING
RETURNING id

-- name: make_queued_sync_full
-- One that no worker has begun, or the full one that waits behind another.
UPDATE sync_runs r
SET is_full = true, trigger = 'manual', requested_by = coalesce(r.requested_by, %(requested_by)s)
WHERE r.space_id = %(space_id)s AND r.status = 'queued' AND r.started_at IS NULL
  AND r.id = (SELECT q.id FROM sync_runs q
              WHERE q.space_id = %(space_id)s AND q.connector_id = %(connector_id)s AND q.status = 'queued'
                AND q.started_at IS NULL
              ORDER BY q.is_follow_up DESC LIMIT 1)
RETURNING r.id

-- name: queue_follow_up
INSERT INTO sync_runs (space_id, connector_id, trigger, is_full, requested_by, is_follow_up, phase)
VALUES (%(space_id)s, %(connector_id)s, 'manual', true, %(requested_by)s, true,
        'waiting for the sync that is under way')
ON CONFLICT (space_id, connector_id) WHERE status = 'queued' AND is_follow_up DO NOTHING
RETURNING id

-- name: list_syncs_to_start
-- across spaces: the dispatcher asks for ids only, and does the rest within each space
SELECT space_id, connector_id FROM syncs_to_start()

-- name: list_orphaned_syncs
-- across spaces: as list_syncs_to_start
SELECT space_id, sync_id FROM abandoned_syncs()

-- name: next_sync
-- across spaces: ids only; the worker claims it within its space
SELECT space_id, sync_id FROM next_sync(%(slow_queue)s, %(holder)s, %(slots)s)

-- name: syncs_waiting
-- across spaces: a long sync lets the others of its lane have their turn
SELECT syncs_waiting(%(slow_queue)s) AS total

-- name: claim_sync
UPDATE sync_runs r
SET status = 'running', started_at = coalesce(r.started_at, now()), phase = 'connecting', lease_holder = %(holder)s,
    lease_until = now() + %(lease)s::interval, is_follow_up = false
WHERE r.space_id = %(space_id)s AND r.id = %(sync_id)s AND r.status = 'queued' AND NOT waits_for_another(r)
RETURNING r.connector_id, r.trigger, r.is_full, r.started_at, r.pipelines, r.runs, r.task_runs, r.provider_requests,
          r.coverage, r.warnings

-- name: requeue_sync
-- One that is cancelled meanwhile needs no other worker to end.
UPDATE sync_runs
SET status = CASE WHEN cancel_requested_at IS NULL THEN 'queued' ELSE 'cancelled' END,
    phase = CASE WHEN cancel_requested_at IS NULL THEN 'waiting for another worker' ELSE 'cancelled' END,
    error = CASE WHEN cancel_requested_at IS NOT NULL THEN 'Cancelled. What it had stored is kept.' END,
    finished_at = CASE WHEN cancel_requested_at IS NOT NULL THEN now() END,
    queued_at = now(), requeue_count = requeue_count + 1, lease_holder = NULL, lease_until = NULL
WHERE space_id = %(space_id)s AND id = %(sync_id)s AND status = 'running' AND lease_holder = %(holder)s

-- name: cancel_sync
-- A queued one has ended with this; a running one ends at its next page, or within seconds.
UPDATE sync_runs
SET cancel_requested_at = coalesce(cancel_requested_at, now()),
    status = CASE WHEN status = 'queued' THEN 'cancelled' ELSE status END,
    phase = CASE WHEN status = 'queued' THEN 'cancelled' ELSE phase END,
    finished_at = CASE WHEN status = 'queued' THEN now() END,
    error = CASE WHEN status = 'queued' THEN 'Cancelled before it began.' END
WHERE space_id = %(space_id)s AND id = %(sync_id)s AND status IN ('queued', 'running')
RETURNING connector_id, status

-- name: postpone_next_sync
-- Whoever cancels does not want the next one to begin in the same second.
UPDATE sync_states s
SET next_sync_at = now() + interval '1 second' * coalesce((c.config ->> 'sync_interval_seconds')::float8, 60)
FROM connectors c
WHERE s.space_id = %(space_id)s AND s.connector_id = %(connector_id)s AND c.space_id = s.space_id AND c.id = s.connector_id

-- name: renew_lease
UPDATE sync_runs SET lease_until = now() + %(lease)s::interval
WHERE space_id = %(space_id)s AND id = %(sync_id)s AND status = 'running' AND lease_holder = %(holder)s
RETURNING cancel_requested_at IS NOT NULL AS is_cancelled

-- name: save_progress
UPDATE sync_runs
SET phase = %(phase)s, is_full = %(is_full)s, pipelines = %(pipelines)s, runs = %(runs)s, task_runs = %(task_runs)s,
    provider_requests = %(provider_requests)s, coverage = %(coverage)s, warnings = %(warnings)s,
    lease_until = now() + %(lease)s::interval
WHERE space_id = %(space_id)s AND id = %(sync_id)s AND status = 'running' AND lease_holder = %(holder)s
RETURNING cancel_requested_at IS NOT NULL AS is_cancelled

-- name: finish_sync
UPDATE sync_runs
SET status = %(status)s, error = %(error)s, finished_at = now(), phase = %(status)s, lease_holder = NULL,
    lease_until = NULL
WHERE space_id = %(space_id)s AND id = %(sync_id)s AND status = 'running' AND lease_holder = %(holder)s

-- name: delete_old_syncs
-- Bounded: what changed something is kept for 30 days, the idle ones for 2.
DELETE FROM sync_runs
WHERE space_id = %(space_id)s AND connector_id = %(connector_id)s AND status NOT IN ('queued', 'running')
  AND (queued_at < now() - interval '30 days'
       OR (queued_at < now() - interval '2 days' AND status = 'complete' AND trigger = 'schedule'))

-- name: expire_sync
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
    last_error = 'The worker of the last sync stopped in the middle.',
    failing_since = CASE WHEN a.status = 'failed' THEN coalesce(s.failing_since, now()) ELSE s.failing_since END,
    partial_since = CASE WHEN a.status = 'partial' THEN coalesce(s.partial_since, now()) ELSE s.partial_since END,
    next_sync_at = now() + least(interval '15 minutes', interval '5 seconds' * (2 ^ least(s.failures, 8) - 1))
FROM abandoned a
WHERE s.space_id = %(space_id)s AND s.connector_id = a.connector_id

-- name: sync_freshness
-- across spaces: numbers only, for /metrics
SELECT state, connectors, lag_seconds FROM sync_freshness()

-- name: has_pending_deletions
SELECT EXISTS (SELECT FROM pipelines WHERE space_id = %(space_id)s AND deleted_by_sync_id IS NOT NULL)
    OR EXISTS (SELECT FROM runs WHERE space_id = %(space_id)s AND deleted_by_sync_id IS NOT NULL)
    OR EXISTS (SELECT FROM task_runs WHERE space_id = %(space_id)s AND deleted_by_sync_id IS NOT NULL) AS found

-- name: list_import_errors
SELECT e.id, e.connector_id, json_build_object('id', c.id, 'name', c.name) AS connector, e.bundle_name, e.filename,
       e.stack_trace, e.since
FROM import_errors e
JOIN connectors c ON c.space_id = e.space_id AND c.id = e.connector_id
WHERE e.space_id = %(space_id)s AND (%(connector_id)s::uuid[] IS NULL OR e.connector_id = ANY (%(connector_id)s))
ORDER BY e.since DESC, e.id
LIMIT %(limit)s OFFSET %(offset)s

-- name: count_import_errors
SELECT count(*) AS total FROM import_errors
WHERE space_id = %(space_id)s AND (%(connector_id)s::uuid[] IS NULL OR connector_id = ANY (%(connector_id)s))
