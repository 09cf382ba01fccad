-- Pipelines that were out of sight have their runs read again; connectors that answer slowly wait for each other only.

ALTER TABLE pipelines ADD COLUMN needs_history boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN pipelines.needs_history IS 'It has come, or come back, after the history was begun: what happened to its runs meanwhile is to be read.';
CREATE INDEX pipelines_need_history ON pipelines (space_id, connector_id) WHERE needs_history;

ALTER TABLE sync_states ADD COLUMN checked_whole_at timestamptz;
COMMENT ON COLUMN sync_states.checked_whole_at IS 'As checked_at, of all that the history holds; in between only the last days are compared.';


-- Lanes ---------------------------------------------------------------------------------------------------------------

CREATE FUNCTION is_doubtful(s sync_states) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT s.failures > 0 OR coalesce(s.poll_seconds, 0) > 10
$$;
COMMENT ON FUNCTION is_doubtful(sync_states) IS 'Whether the last sync failed, or Airflow takes more than ten seconds for one answer: such ones have a lane of their own.';

DROP FUNCTION syncs_to_start();
CREATE FUNCTION syncs_to_start() RETURNS TABLE (space_id uuid, connector_id uuid, is_doubtful boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = windsock, pg_temp AS $$
    SELECT s.space_id, s.connector_id, is_doubtful(s)
    FROM sync_states s JOIN connectors c ON c.space_id = s.space_id AND c.id = s.connector_id
    WHERE s.next_sync_at <= now() AND c.is_active AND c.connector_type = 'airflow'
      AND NOT EXISTS (SELECT FROM sync_runs r
                      WHERE r.space_id = s.space_id AND r.connector_id = s.connector_id AND r.status IN ('queued', 'running'))
    ORDER BY s.next_sync_at
    LIMIT 1000
$$;
COMMENT ON FUNCTION syncs_to_start() IS 'Connectors whose next sync is due and that have none unfinished.';

DROP FUNCTION syncs_to_look_after();
CREATE FUNCTION syncs_to_look_after() RETURNS TABLE (space_id uuid, sync_id uuid, status text, is_doubtful boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = windsock, pg_temp AS $$
    SELECT r.space_id, r.id, r.status, is_doubtful(s)
    FROM sync_runs r JOIN sync_states s ON s.space_id = r.space_id AND s.connector_id = r.connector_id
    WHERE (r.status = 'running' AND r.lease_until < now())
       OR (r.status = 'queued' AND r.queued_at < now() - interval '2 seconds')
    ORDER BY r.queued_at
    LIMIT 1000
$$;
COMMENT ON FUNCTION syncs_to_look_after() IS 'Queued syncs that may have lost their job, and running ones whose worker is gone.';

DROP FUNCTION syncs_waiting();
CREATE FUNCTION syncs_waiting(doubtful boolean) RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = windsock, pg_temp AS $$
    SELECT count(*)
    FROM sync_runs r JOIN sync_states s ON s.space_id = r.space_id AND s.connector_id = r.connector_id
    WHERE r.status = 'queued' AND r.queued_at < now() - interval '3 seconds' AND is_doubtful(s) = doubtful
$$;
COMMENT ON FUNCTION syncs_waiting(boolean) IS 'Syncs of one lane that have waited for a worker longer than it takes to start one.';
