-- Losses that wait for a person, syncs that are cancelled or handed over, history read in the background, retention.

ALTER TABLE spaces
    ADD COLUMN retention_days integer CONSTRAINT spaces_retention_days_in_range CHECK (retention_days BETWEEN 1 AND 36500);
COMMENT ON COLUMN spaces.retention_days IS 'Runs older than this are deleted here; null keeps them for ever.';

DROP TRIGGER audit ON spaces;
CREATE TRIGGER audit AFTER INSERT OR UPDATE ON spaces
    FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION audit('space', 'id', 'name', 'slug name retention_days');


-- What is gone --------------------------------------------------------------------------------------------------------

ALTER TABLE pipelines ADD COLUMN gone_by uuid;
ALTER TABLE runs ADD COLUMN gone_by uuid, ADD COLUMN archived_at timestamptz;
ALTER TABLE task_runs ADD COLUMN gone_by uuid, ADD COLUMN archived_at timestamptz;
COMMENT ON COLUMN pipelines.gone_by IS 'The sync that found it gone; when that sync ends complete it is removed, unless the loss is held back.';
COMMENT ON COLUMN runs.gone_by IS 'As of pipelines.';
COMMENT ON COLUMN runs.archived_at IS 'Airflow has cleaned it up with all that was older; ours is the only copy, and stays.';
COMMENT ON COLUMN task_runs.gone_by IS 'As of pipelines.';
COMMENT ON COLUMN task_runs.archived_at IS 'As of runs.';
CREATE INDEX pipelines_gone ON pipelines (space_id, connector_id) WHERE gone_by IS NOT NULL;
CREATE INDEX runs_gone ON runs (space_id, pipeline_id) WHERE gone_by IS NOT NULL;
CREATE INDEX task_runs_gone ON task_runs (space_id, run_id) WHERE gone_by IS NOT NULL;
CREATE INDEX runs_by_age ON runs (space_id, run_at);


-- What a sync remembers -----------------------------------------------------------------------------------------------

ALTER TABLE sync_states
    ADD COLUMN mode text NOT NULL DEFAULT 'small' CONSTRAINT sync_states_mode_is_known CHECK (mode IN ('small', 'large')),
    ADD COLUMN poll_seconds double precision,
    ADD COLUMN quick_from timestamptz,
    ADD COLUMN history jsonb,
    ADD COLUMN checked_at timestamptz,
    ADD COLUMN looks_again boolean NOT NULL DEFAULT false,
    ADD COLUMN events jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN witnesses jsonb NOT NULL DEFAULT '[]',
    ADD COLUMN address text,
    ADD COLUMN held jsonb,
    ADD COLUMN accepted jsonb,
    ADD COLUMN accepted_at timestamptz,
    ADD COLUMN partial_since timestamptz,
    ADD COLUMN failing_since timestamptz,
    ADD COLUMN last_error text;
COMMENT ON COLUMN sync_states.mode IS 'small: each poll reads what changed; large: that is too dear, so only the changed runs of the last days, and all of it every few minutes.';
COMMENT ON COLUMN sync_states.poll_seconds IS 'How long Airflow took for the dearest question of a poll.';
COMMENT ON COLUMN sync_states.quick_from IS 'By the provider''s clock: where the next quick poll of the large mode begins.';
COMMENT ON COLUMN sync_states.history IS 'How far back the history has been read, and how far it shall be; null before the first sync.';
COMMENT ON COLUMN sync_states.checked_at IS 'When our number of rows was last compared with the provider''s.';
COMMENT ON COLUMN sync_states.looks_again IS 'Something was missing for the first time: the next pass looks again.';
COMMENT ON COLUMN sync_states.events IS 'Whether the event log may be read, and which of its newest entries were followed.';
COMMENT ON COLUMN sync_states.witnesses IS 'Runs with the moment they began: another Airflow has not the same ones.';
COMMENT ON COLUMN sync_states.address IS 'Where the witnesses were seen.';
COMMENT ON COLUMN sync_states.held IS 'What the sync does not do until a person says so, and why.';
COMMENT ON COLUMN sync_states.accepted IS 'What a person last let go on.';

CREATE TRIGGER audit AFTER UPDATE OF accepted_at ON sync_states
    FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION audit('hold', 'connector_id', '', 'accepted');

-- Those of before have read their history whole.
UPDATE sync_states SET history = '{"end": null, "goal": null, "is_complete": true}' WHERE watermark IS NOT NULL;

ALTER TABLE sync_runs
    DROP CONSTRAINT sync_runs_status_is_known,
    ADD CONSTRAINT sync_runs_status_is_known
        CHECK (status IN ('queued', 'running', 'complete', 'partial', 'failed', 'cancelled')),
    ADD COLUMN cancel_requested_at timestamptz,
    ADD COLUMN hand_overs integer NOT NULL DEFAULT 0;
COMMENT ON COLUMN sync_runs.hand_overs IS 'How often a worker passed it on before its end, to stop or to let others have their turn.';
CREATE TRIGGER audit_cancel AFTER UPDATE OF cancel_requested_at ON sync_runs
    FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION audit('sync', 'id', '', 'cancel_requested_at');


-- Across spaces -------------------------------------------------------------------------------------------------------

DROP FUNCTION syncs_to_start();
CREATE FUNCTION syncs_to_start() RETURNS TABLE (space_id uuid, connector_id uuid, failures integer)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = windsock, pg_temp AS $$
    SELECT s.space_id, s.connector_id, s.failures
    FROM sync_states s JOIN connectors c ON c.space_id = s.space_id AND c.id = s.connector_id
    WHERE s.next_sync_at <= now() AND c.is_active AND c.connector_type = 'airflow'
      AND NOT EXISTS (SELECT FROM sync_runs r
                      WHERE r.space_id = s.space_id AND r.connector_id = s.connector_id AND r.status IN ('queued', 'running'))
    ORDER BY s.next_sync_at
    LIMIT 1000
$$;
COMMENT ON FUNCTION syncs_to_start() IS 'Connectors whose next sync is due and that have none unfinished.';

DROP FUNCTION syncs_to_look_after();
CREATE FUNCTION syncs_to_look_after() RETURNS TABLE (space_id uuid, sync_id uuid, status text, failures integer)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = windsock, pg_temp AS $$
    SELECT r.space_id, r.id, r.status, s.failures
    FROM sync_runs r JOIN sync_states s ON s.space_id = r.space_id AND s.connector_id = r.connector_id
    WHERE (r.status = 'running' AND r.lease_until < now())
       OR (r.status = 'queued' AND r.queued_at < now() - interval '2 seconds')
    ORDER BY r.queued_at
    LIMIT 1000
$$;
COMMENT ON FUNCTION syncs_to_look_after() IS 'Queued syncs that may have lost their job, and running ones whose worker is gone.';

CREATE FUNCTION syncs_waiting() RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = windsock, pg_temp AS $$
    SELECT count(*) FROM sync_runs r WHERE r.status = 'queued' AND r.queued_at < now() - interval '3 seconds'
$$;
COMMENT ON FUNCTION syncs_waiting() IS 'Syncs that have waited for a worker longer than it takes to start one.';

CREATE FUNCTION spaces_to_tidy() RETURNS TABLE (space_id uuid, retention_days integer)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = windsock, pg_temp AS $$
    SELECT s.id, s.retention_days FROM spaces s
    WHERE s.retention_days IS NOT NULL
       OR EXISTS (SELECT FROM trigger_requests q WHERE q.space_id = s.id AND q.created_at < now() - interval '90 days')
    ORDER BY s.id
$$;
COMMENT ON FUNCTION spaces_to_tidy() IS 'Spaces in which something may be too old to be kept.';

CREATE FUNCTION sync_state(is_active boolean, s sync_states, config jsonb) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN NOT is_active THEN 'off'
        WHEN s.held ->> 'kind' = 'other_airflow' THEN 'held'
        WHEN s.failing_since IS NOT NULL THEN 'failing'
        WHEN s.partial_since IS NOT NULL THEN 'partial'
        WHEN s.last_complete_at IS NULL THEN 'new'
        WHEN now() - s.last_complete_at
             > 3 * interval '1 second' * coalesce((config ->> 'sync_interval_seconds')::float8, 60) + interval '30 seconds'
               + CASE s.mode WHEN 'large' THEN interval '10 minutes' ELSE interval '0' END
            THEN 'late'
        ELSE 'fresh'
    END
$$;
COMMENT ON FUNCTION sync_state(boolean, sync_states, jsonb) IS 'In a word, how far what a connector shows can be believed. late: no complete sync for three intervals and half a minute; in the large mode ten minutes more.';

CREATE FUNCTION sync_freshness() RETURNS TABLE (state text, connectors bigint, lag_seconds double precision)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = windsock, pg_temp AS $$
    SELECT sync_state(c.is_active, s, c.config), count(*), max(extract(epoch FROM now() - s.last_complete_at))::float8
    FROM sync_states s JOIN connectors c ON c.space_id = s.space_id AND c.id = s.connector_id
    GROUP BY 1
$$;
COMMENT ON FUNCTION sync_freshness() IS 'How many connectors are in which state, of all spaces together, and the greatest age of what they show.';
