-- Bulk clears: the queue of the workers that clear all failed runs of a fingerprint, and the result of each run.

CREATE TABLE bulk_clears (
    space_id        uuid NOT NULL,
    id              uuid NOT NULL DEFAULT uuid7(),
    fingerprint_id  uuid NOT NULL,
    pipeline_id     uuid NOT NULL,
    connector_id    uuid NOT NULL,
    user_id         uuid REFERENCES users ON DELETE SET NULL,
    idempotency_key text NOT NULL,
    body_hash       bytea NOT NULL,
    reason          text,
    left_out        integer NOT NULL,
    status          text NOT NULL DEFAULT 'queued'
                    CONSTRAINT bulk_clears_status_is_known CHECK (status IN ('queued', 'running', 'done')),
    lease_id        uuid,
    lease_until     timestamptz,
    created_at      timestamptz NOT NULL DEFAULT now(),
    finished_at     timestamptz,
    PRIMARY KEY (space_id, id),
    CONSTRAINT bulk_clears_idempotency_key UNIQUE (space_id, pipeline_id, idempotency_key),
    CONSTRAINT bulk_clears_fingerprint FOREIGN KEY (space_id, fingerprint_id) REFERENCES fingerprints ON DELETE CASCADE,
    CONSTRAINT bulk_clears_pipeline FOREIGN KEY (space_id, pipeline_id) REFERENCES pipelines ON DELETE CASCADE,
    CONSTRAINT bulk_clears_connector FOREIGN KEY (space_id, connector_id) REFERENCES connectors ON DELETE CASCADE
);
CREATE UNIQUE INDEX bulk_clears_one_at_a_time ON bulk_clears (space_id, connector_id) WHERE status = 'running';
CREATE INDEX bulk_clears_unfinished ON bulk_clears (created_at) WHERE status <> 'done';
CREATE INDEX bulk_clears_newest ON bulk_clears (space_id, created_at);
CREATE INDEX bulk_clears_of_fingerprint ON bulk_clears (space_id, fingerprint_id);
CREATE INDEX bulk_clears_of_connector ON bulk_clears (space_id, connector_id);
COMMENT ON TABLE bulk_clears IS 'Requests to clear all failed runs of a fingerprint. Also the queue of the workers that carry them out.';
COMMENT ON COLUMN bulk_clears.body_hash IS 'SHA-256 of fingerprint and request body; the same key with others is refused.';
COMMENT ON COLUMN bulk_clears.left_out IS 'Number of failed runs beyond the limit of one bulk clear.';
COMMENT ON COLUMN bulk_clears.lease_id IS 'Of the worker that carries it out.';
COMMENT ON INDEX bulk_clears_one_at_a_time IS 'One bulk clear at a time per connector, whatever processes there are.';

CREATE TABLE bulk_clear_runs (
    space_id       uuid NOT NULL,
    bulk_clear_id  uuid NOT NULL,
    run_id         uuid NOT NULL,
    place          smallint NOT NULL,
    task_run_count integer NOT NULL,
    task_ids       text[] NOT NULL,
    outcome        text NOT NULL DEFAULT 'pending'
                   CONSTRAINT bulk_clear_runs_outcome_is_known CHECK (outcome IN ('pending', 'cleared', 'failed')),
    error          text,
    PRIMARY KEY (space_id, bulk_clear_id, run_id),
    CONSTRAINT bulk_clear_runs_bulk_clear FOREIGN KEY (space_id, bulk_clear_id) REFERENCES bulk_clears ON DELETE CASCADE,
    CONSTRAINT bulk_clear_runs_run FOREIGN KEY (space_id, run_id) REFERENCES runs ON DELETE CASCADE
);
CREATE INDEX bulk_clear_runs_of_run ON bulk_clear_runs (space_id, run_id);
COMMENT ON TABLE bulk_clear_runs IS 'Runs of a bulk clear. Each clear is an action, too, whose idempotency key names the bulk clear and the run.';
COMMENT ON COLUMN bulk_clear_runs.task_run_count IS 'Task runs that were cleared; while pending, those that would be.';
COMMENT ON COLUMN bulk_clear_runs.task_ids IS 'Their first task ids.';
COMMENT ON COLUMN bulk_clear_runs.error IS 'Why nothing was cleared, or why it is not known.';

CREATE FUNCTION due_bulk_clears()
RETURNS TABLE(space_id uuid, bulk_clear_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = windsock, pg_temp
AS $$
    SELECT DISTINCT ON (b.space_id, b.connector_id) b.space_id, b.id
    FROM bulk_clears b
    WHERE b.status <> 'done' AND (b.status = 'queued' OR b.lease_until < now())
      AND NOT EXISTS (SELECT FROM bulk_clears o
                      WHERE o.space_id = b.space_id AND o.connector_id = b.connector_id AND o.status = 'running' AND o.lease_until >= now())
    ORDER BY b.space_id, b.connector_id, b.status = 'running' DESC, b.created_at, b.id
    LIMIT 100
$$;
COMMENT ON FUNCTION due_bulk_clears IS 'Of each connector the bulk clear to carry out next: first what a killed worker left.';

DO $$
DECLARE
    tenant_table text;
BEGIN
    FOREACH tenant_table IN ARRAY ARRAY['bulk_clears', 'bulk_clear_runs'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', tenant_table);
        EXECUTE format('CREATE POLICY within_space ON %I USING (space_id = (SELECT current_space()))', tenant_table);
    END LOOP;
END
$$;
CREATE TRIGGER audit AFTER INSERT ON bulk_clears FOR EACH ROW
WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION audit('bulk_clear', 'id', '', 'fingerprint_id reason');
