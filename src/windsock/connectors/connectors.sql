-- fragment: connector
SELECT c.id, c.space_id, c.name, c.connector_type,
       CASE WHEN c.connector_type = 'airflow' THEN c.config ELSE without_secrets(c.config) END AS config, c.is_active, c.source_system_id,
       (SELECT count(*) FROM pipelines p
        WHERE p.space_id = c.space_id AND p.connector_id = c.id AND p.removed_at IS NULL) AS product_count,
       (SELECT count(*) FROM import_errors e WHERE e.space_id = c.space_id AND e.connector_id = c.id) AS import_error_count,
       c.credentials IS NOT NULL AS has_credentials,
       s.api_version, s.provider_version, s.last_sync_at AS last_sync, s.last_sync_status,
       CASE WHEN s.connector_id IS NOT NULL THEN jsonb_build_object(
           'state', f.state,
           'since', rfc3339(CASE f.state
               WHEN 'failing' THEN s.failing_since WHEN 'partial' THEN s.partial_since
               WHEN 'held' THEN (s.quarantine ->> 'since')::timestamptz WHEN 'new' THEN c.created_at
               ELSE s.last_complete_at END),
           'reason', CASE f.state
               WHEN 'new' THEN coalesce(s.last_error, 'It has not been synced yet.')
               WHEN 'off' THEN 'It is switched off (is_active is false).'
               WHEN 'late' THEN CASE WHEN s.is_per_dag AND s.last_sync_status = 'complete'
                   THEN 'The account may not read all DAGs at once: they are read one by one, some in each sync, so that some are older.'
                   ELSE 'No sync has ended complete for three intervals; is a worker running?' END
               WHEN 'held' THEN s.quarantine ->> 'reason'
               WHEN 'fresh' THEN coalesce(s.quarantine ->> 'reason', CASE WHEN s.skipped > 0 THEN
                   s.skipped || CASE s.skipped WHEN 1 THEN ' row' ELSE ' rows' END
                   || ' of Airflow could not be read or stored completely, so that the mirror lacks them or has them as they '
                   || 'were; the warnings of the last sync name them.' END,
                   CASE WHEN s.is_per_dag THEN 'The account may not read all DAGs at once, so they are read one by one.' END)
               ELSE s.last_error END,
           'as_of', rfc3339(s.last_complete_at), 'next_sync_at', rfc3339(s.next_sync_at),
           'mode', s.mode, 'is_per_dag', s.is_per_dag, 'poll_seconds', round(s.poll_seconds::numeric, 3),
           'sees_deletions_at_once', coalesce((s.event_log_cursor ->> 'is_readable')::boolean, false),
           'history', CASE WHEN s.backfill IS NOT NULL THEN jsonb_build_object(
               'is_complete', coalesce((s.backfill ->> 'is_complete')::boolean, false),
               'read_back_to', rfc3339((s.backfill ->> 'end')::timestamptz),
               'goal', rfc3339((s.backfill ->> 'goal')::timestamptz),
               'share', CASE WHEN (s.backfill ->> 'is_complete')::boolean THEN 1
                   ELSE coalesce(round((extract(epoch FROM (s.backfill ->> 'as_of')::timestamptz - (s.backfill ->> 'end')::timestamptz)
                        / nullif(extract(epoch FROM (s.backfill ->> 'as_of')::timestamptz - (s.backfill ->> 'goal')::timestamptz), 0))::numeric, 4), 0) END) END,
           'clocks', CASE WHEN s.clocks IS NOT NULL THEN jsonb_build_object(
               'ahead_of_ours_seconds', s.clocks -> 'ahead_of_ours', 'stamps_behind_seconds', s.clocks -> 'applied',
               'sentence', s.clocks -> 'sentence') END,
           'held', CASE WHEN s.quarantine IS NOT NULL THEN jsonb_build_object(
               'kind', s.quarantine -> 'kind', 'since', s.quarantine -> 'since', 'reason', s.quarantine -> 'reason',
               'missing', s.quarantine -> 'missing', 'examples', coalesce(s.quarantine -> 'examples', '[]')) END) END AS freshness,
       c.created_at, c.updated_at
FROM connectors c
LEFT JOIN sync_states s ON s.space_id = c.space_id AND s.connector_id = c.id
LEFT JOIN LATERAL (SELECT sync_state(c.is_active, s, c.config) AS state) f ON s.connector_id IS NOT NULL

-- name: list_connectors
{connector}
WHERE c.space_id = %(space_id)s
ORDER BY c.name, c.id
LIMIT %(limit)s OFFSET %(offset)s

-- name: count_connectors
SELECT count(*) AS total FROM connectors WHERE space_id = %(space_id)s

-- name: get_connector
{connector}
WHERE c.space_id = %(space_id)s AND c.id = %(connector_id)s

-- name: find_connectors
SELECT id, name FROM connectors
WHERE space_id = %(space_id)s AND (id = %(connector_id)s OR name = %(name)s)
ORDER BY (id = %(connector_id)s) IS TRUE DESC

-- name: get_connector_to_use
SELECT id, name, connector_type, config, credentials, is_active FROM connectors
WHERE space_id = %(space_id)s AND id = %(connector_id)s

-- name: lock_connector
SELECT id, name, connector_type, config, credentials, is_active FROM connectors
WHERE space_id = %(space_id)s AND id = %(connector_id)s
FOR UPDATE

-- name: lock_space
SELECT FROM spaces WHERE id = %(space_id)s FOR NO KEY UPDATE

-- name: create_connector
INSERT INTO connectors (space_id, name, connector_type, config, credentials, source_system_id)
VALUES (%(space_id)s, %(name)s, %(connector_type)s, %(config)s, %(credentials)s, %(source_system_id)s)
RETURNING id

-- name: create_sync_state
INSERT INTO sync_states (space_id, connector_id) VALUES (%(space_id)s, %(connector_id)s)

-- name: update_connector
UPDATE connectors
SET name = coalesce(%(name)s, name),
    config = %(config)s,
    credentials = coalesce(%(credentials)s, credentials),
    credentials_lost_at = CASE WHEN %(credentials)s::bytea IS NULL THEN credentials_lost_at END,
    is_active = coalesce(%(is_active)s, is_active),
    source_system_id = CASE WHEN %(sets_source_system)s THEN %(source_system_id)s::uuid ELSE source_system_id END,
    updated_at = now()
WHERE space_id = %(space_id)s AND id = %(connector_id)s

-- name: expedite_sync
UPDATE sync_states SET next_sync_at = now(), failures = 0
WHERE space_id = %(space_id)s AND connector_id = %(connector_id)s

-- name: reset_sync_state
UPDATE sync_states
SET api_version = NULL, provider_version = NULL, watermark = NULL, pipelines_listed_at = NULL, checkpoint = NULL,
    backfill = NULL, mode = 'small', poll_seconds = NULL, recent_watermark = NULL, reconciled_at = NULL,
    fully_reconciled_at = NULL, polling = DEFAULT, listing = NULL, is_per_dag = DEFAULT, clocks = NULL
WHERE space_id = %(space_id)s AND connector_id = %(connector_id)s

-- name: end_unfinished_sync
-- A sync of what the connector was before must not leave its watermark behind; without its lease it can write no more.
UPDATE sync_runs
SET status = CASE WHEN (coverage ->> 'read')::bigint > 0 THEN 'partial' ELSE 'failed' END,
    finished_at = now(), phase = 'ended', lease_holder = NULL, lease_until = NULL,
    error = 'The connector was changed while this sync was under way; the next one reads anew.'
WHERE space_id = %(space_id)s AND connector_id = %(connector_id)s AND status IN ('queued', 'running')

-- name: delete_connector
DELETE FROM connectors WHERE space_id = %(space_id)s AND id = %(connector_id)s

-- name: list_space_ids
-- across spaces: `windsock rotate-secrets` goes through all of them, each in its own transaction
SELECT id FROM spaces ORDER BY id

-- name: lock_credentials
SELECT id, credentials FROM connectors
WHERE space_id = %(space_id)s AND credentials IS NOT NULL AND credentials_lost_at IS NULL
FOR UPDATE

-- name: list_credentials
SELECT id, name, credentials FROM connectors
WHERE space_id = %(space_id)s AND credentials IS NOT NULL AND credentials_lost_at IS NULL
ORDER BY name, id

-- name: clear_credentials
UPDATE connectors SET credentials_lost_at = now() WHERE space_id = %(space_id)s AND id = %(connector_id)s

-- name: redact_config
-- across spaces: it reads no table
SELECT without_secrets(%(config)s::jsonb) AS config

-- name: replace_credentials
UPDATE connectors SET credentials = %(credentials)s WHERE space_id = %(space_id)s AND id = %(connector_id)s
