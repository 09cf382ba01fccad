-- What the choice of the polling mode needs; full syncs that wait behind another one; accounts with rights on single DAGs.

-- A full sync behind the one that is under way -------------------------------------------------------------------------

ALTER TABLE sync_runs ADD COLUMN is_follow_up boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN sync_runs.is_follow_up IS 'A full sync that was requested while another one was under way: it is claimed when that one has ended.';

DROP INDEX sync_runs_one_at_a_time;
CREATE UNIQUE INDEX sync_runs_one_at_a_time ON sync_runs (space_id, connector_id)
    WHERE status IN ('queued', 'running') AND NOT is_follow_up;
COMMENT ON INDEX sync_runs_one_at_a_time IS 'One sync under way per connector, whatever processes there are.';
CREATE UNIQUE INDEX sync_runs_one_follow_up ON sync_runs (space_id, connector_id) WHERE status = 'queued' AND is_follow_up;
COMMENT ON INDEX sync_runs_one_follow_up IS 'And one full sync behind it.';

CREATE FUNCTION waits_for_another(r sync_runs) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT r.is_follow_up
       AND EXISTS (SELECT FROM sync_runs o
                   WHERE o.space_id = r.space_id AND o.connector_id = r.connector_id AND o.status IN ('queued', 'running')
                     AND NOT o.is_follow_up)
$$;
COMMENT ON FUNCTION waits_for_another(sync_runs) IS 'Whether it is not to be started yet, since another sync of its connector is under way.';

CREATE OR REPLACE FUNCTION syncs_to_look_after()
RETURNS TABLE (space_id uuid, sync_id uuid, status text, is_doubtful boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = windsock, pg_temp AS $$
    SELECT r.space_id, r.id, r.status, is_doubtful(s)
    FROM sync_runs r JOIN sync_states s ON s.space_id = r.space_id AND s.connector_id = r.connector_id
    WHERE (r.status = 'running' AND r.lease_until < now())
       OR (r.status = 'queued' AND r.queued_at < now() - interval '2 seconds' AND NOT waits_for_another(r))
    ORDER BY r.queued_at
    LIMIT 1000
$$;

CREATE OR REPLACE FUNCTION syncs_waiting(doubtful boolean) RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = windsock, pg_temp AS $$
    SELECT count(*)
    FROM sync_runs r JOIN sync_states s ON s.space_id = r.space_id AND s.connector_id = r.connector_id
    WHERE r.status = 'queued' AND r.queued_at < now() - interval '3 seconds' AND is_doubtful(s) = doubtful
      AND NOT waits_for_another(r)
$$;

CREATE TRIGGER audit_full AFTER UPDATE OF is_full ON sync_runs FOR EACH ROW
    WHEN (pg_trigger_depth() = 0 AND OLD.status = 'queued' AND NEW.status = 'queued')
    EXECUTE FUNCTION audit('sync', 'id', '', 'is_full');


-- How an Airflow is polled ---------------------------------------------------------------------------------------------

ALTER TABLE sync_states ADD COLUMN polling jsonb NOT NULL DEFAULT '{}';
COMMENT ON COLUMN sync_states.polling IS 'What the mode of the next sync follows from: seconds of the last polls, number of task instances, runs that the large mode has read.';
ALTER TABLE sync_states ADD COLUMN listing jsonb;
COMMENT ON COLUMN sync_states.listing IS 'Of the list of DAGs that was stored last: requests and seconds that it cost, and a digest of its rows.';

ALTER TABLE sync_states ADD COLUMN is_per_dag boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN sync_states.is_per_dag IS 'The account may read single DAGs only: lists over all DAGs answer 403, so each DAG is asked for its runs and task instances.';

CREATE TABLE pipeline_reads (
    space_id    uuid        NOT NULL,
    pipeline_id uuid        NOT NULL,
    watermark   timestamptz,
    read_at     timestamptz,
    refused_at  timestamptz,
    checked_at  timestamptz,
    CONSTRAINT pipeline_reads_pkey PRIMARY KEY (space_id, pipeline_id),
    CONSTRAINT pipeline_reads_pipeline FOREIGN KEY (space_id, pipeline_id) REFERENCES pipelines (space_id, id) ON DELETE CASCADE
);
COMMENT ON TABLE pipeline_reads IS 'How far each pipeline has been read where the account may read single DAGs only. Only the sync writes it.';
COMMENT ON COLUMN pipeline_reads.watermark IS 'By the clock of the provider: everything of this pipeline that changed before it is stored.';
COMMENT ON COLUMN pipeline_reads.read_at IS 'By our clock: when it was last read; null: not yet.';
COMMENT ON COLUMN pipeline_reads.refused_at IS 'When the provider last refused it; null after it was read.';
COMMENT ON COLUMN pipeline_reads.checked_at IS 'When its number of rows was last compared with that of the provider.';
ALTER TABLE pipeline_reads ENABLE ROW LEVEL SECURITY;
CREATE POLICY within_space ON pipeline_reads USING (space_id = (SELECT current_space()));
