-- The state of connectors, which their syncs write.

-- name: get_state
SELECT y.api_version, y.failures, y.poll_seconds, y.is_per_dag, s.retention_days, y.skipped, y.watermark,
       y.recent_watermark, y.verified_watermark, y.last_complete_at, y.mode, y.polling,
       y.event_log_cursor, y.checkpoint, y.backfill, y.pipelines_listed_at, y.listing,
       y.excluded_dag_ids, y.reconciled_at, y.fully_reconciled_at,
       y.recheck_due, y.identity_samples, y.identity_base_url,
       y.quarantine, y.miscounts, y.clocks
FROM sync_states y JOIN spaces s ON s.id = y.space_id
WHERE y.space_id = %(space_id)s AND y.connector_id = %(connector_id)s

-- name: mark_stuck
UPDATE sync_states SET is_stuck = true WHERE space_id = %(space_id)s AND connector_id = %(connector_id)s

-- name: save_checkpoint
UPDATE sync_states SET checkpoint = %(checkpoint)s
WHERE space_id = %(space_id)s AND connector_id = %(connector_id)s

-- name: save_backfill
UPDATE sync_states SET backfill = %(backfill)s
WHERE space_id = %(space_id)s AND connector_id = %(connector_id)s

-- name: save_quarantine
UPDATE sync_states
SET quarantine = CASE WHEN %(quarantine)s::jsonb IS NULL THEN NULL
                ELSE %(quarantine)s::jsonb || jsonb_build_object('since', coalesce(quarantine -> 'since', to_jsonb(rfc3339(now())))) END
WHERE space_id = %(space_id)s AND connector_id = %(connector_id)s

-- name: rewind_to_verified_watermark
-- Another Airflow answers, perhaps for some time: one in which nothing changed gave no reason to ask who it is.
UPDATE sync_states
SET watermark = least(watermark, verified_watermark), recent_watermark = least(recent_watermark, verified_watermark),
    last_complete_at = least(last_complete_at, verified_at), event_log_cursor = event_log_cursor - 'processed_ids' - 'recheck_ids',
    checkpoint = CASE WHEN checkpoint ->> 'kind' = 'changes' THEN NULL ELSE checkpoint END
WHERE space_id = %(space_id)s AND connector_id = %(connector_id)s

-- name: release_quarantine
UPDATE sync_states
SET accepted = quarantine, accepted_at = now(), quarantine = NULL, next_sync_at = now(), failures = 0,
    identity_samples = CASE WHEN quarantine ->> 'kind' = 'other_airflow' THEN '[]' ELSE identity_samples END,
    verified_watermark = CASE WHEN quarantine ->> 'kind' = 'other_airflow' THEN NULL ELSE verified_watermark END,
    verified_at = CASE WHEN quarantine ->> 'kind' = 'other_airflow' THEN NULL ELSE verified_at END,
    watermark = CASE WHEN quarantine ->> 'kind' = 'other_airflow' THEN NULL ELSE watermark END,
    backfill = CASE WHEN quarantine ->> 'kind' = 'other_airflow' THEN NULL ELSE backfill END,
    miscounts = CASE WHEN quarantine ->> 'kind' = 'other_airflow' THEN '[]' ELSE miscounts END,
    checkpoint = CASE WHEN quarantine ->> 'kind' = 'other_airflow' THEN NULL ELSE checkpoint END
WHERE space_id = %(space_id)s AND connector_id = %(connector_id)s AND quarantine ->> 'kind' = %(kind)s
RETURNING accepted AS released

-- name: save_clocks
-- A reading of changes that was broken off is of the time before they were known to differ.
UPDATE sync_states
SET clocks = %(clocks)s,
    checkpoint = CASE WHEN watermark > %(watermark)s AND checkpoint ->> 'kind' = 'changes' THEN NULL ELSE checkpoint END,
    watermark = CASE WHEN watermark IS NOT NULL THEN least(watermark, %(watermark)s) END,
    recent_watermark = CASE WHEN recent_watermark IS NOT NULL THEN least(recent_watermark, %(recent_watermark)s) END
WHERE space_id = %(space_id)s AND connector_id = %(connector_id)s

-- name: save_version
UPDATE sync_states SET api_version = %(api_version)s, provider_version = %(provider_version)s
WHERE space_id = %(space_id)s AND connector_id = %(connector_id)s

-- name: save_listing
UPDATE sync_states SET pipelines_listed_at = now(), excluded_dag_ids = %(excluded)s::text[], listing = %(listing)s
WHERE space_id = %(space_id)s AND connector_id = %(connector_id)s

-- name: save_pass_result
-- Of a complete pass, in the transaction in which it ends.
UPDATE sync_states
SET mode = %(mode)s, poll_seconds = coalesce(%(poll_seconds)s, poll_seconds), recent_watermark = %(recent_watermark)s,
    polling = %(polling)s,
    reconciled_at = %(reconciled_at)s, fully_reconciled_at = %(fully_reconciled_at)s, recheck_due = %(recheck_due)s, event_log_cursor = %(event_log_cursor)s, identity_samples = %(identity_samples)s,
    identity_base_url = %(base_url)s,
    verified_watermark = CASE WHEN %(source_verified)s THEN %(watermark)s::timestamptz ELSE verified_watermark END,
    verified_at = CASE WHEN %(source_verified)s THEN %(started_at)s::timestamptz ELSE verified_at END
WHERE space_id = %(space_id)s AND connector_id = %(connector_id)s

-- name: save_miscounts
UPDATE sync_states SET miscounts = %(miscounts)s WHERE space_id = %(space_id)s AND connector_id = %(connector_id)s

-- name: update_sync_state
UPDATE sync_states
SET last_sync_at = now(), last_sync_status = %(status)s, last_error = %(error)s, skipped = %(skipped)s, is_stuck = false,
    -- A quick poll of the large mode brings news, but is not the whole truth as of its time.
    last_complete_at = CASE WHEN %(is_complete)s THEN coalesce(%(as_of)s::timestamptz, last_complete_at) ELSE last_complete_at END,
    watermark = CASE WHEN %(is_complete)s THEN %(watermark)s::timestamptz ELSE watermark END,
    -- A full sync that somebody cancelled must not go on in the next one.
    checkpoint = CASE WHEN %(is_complete)s OR (%(status)s = 'cancelled' AND checkpoint ->> 'kind' = 'history') THEN NULL
                      ELSE checkpoint END,
    failures = CASE WHEN %(is_complete)s THEN 0 WHEN %(is_failure)s THEN failures + 1 ELSE failures END,
    failing_since = CASE WHEN %(is_complete)s THEN NULL
                         WHEN %(status)s = 'failed' THEN coalesce(failing_since, now()) ELSE failing_since END,
    partial_since = CASE WHEN %(is_complete)s THEN NULL
                         WHEN %(status)s = 'partial' THEN coalesce(partial_since, now()) ELSE partial_since END,
    next_sync_at = greatest(
        now() + interval '1 second',
        %(started_at)s::timestamptz + CASE WHEN %(goes_on)s THEN interval '0' WHEN %(is_complete)s THEN
            -- Somebody is waiting for what they triggered or cleared: look often, and less so the longer it takes.
            least(%(pause)s::interval,
                  (SELECT min(greatest(interval '3 seconds', (now() - q.created_at) / 10))
                   FROM actions q
                   JOIN pipelines p ON p.space_id = %(space_id)s AND p.id = q.pipeline_id
                   JOIN runs r ON r.space_id = %(space_id)s AND r.pipeline_id = p.id AND NOT r.is_replaced
                              AND (r.external_id = q.run_external_id OR r.id = q.run_id)
                   WHERE q.space_id = %(space_id)s AND q.created_at > now() - interval '1 hour'
                     AND p.connector_id = %(connector_id)s AND r.status IN ('queued', 'running')
                     AND r.removed_at IS NULL))
        ELSE %(pause)s::interval END)
WHERE space_id = %(space_id)s AND connector_id = %(connector_id)s

-- name: begin_per_dag
UPDATE sync_states SET is_per_dag = true WHERE space_id = %(space_id)s AND connector_id = %(connector_id)s

-- name: end_per_dag
UPDATE sync_states SET is_per_dag = false, watermark = least(watermark, coalesce(%(watermark)s, watermark)), recent_watermark = NULL
WHERE space_id = %(space_id)s AND connector_id = %(connector_id)s
