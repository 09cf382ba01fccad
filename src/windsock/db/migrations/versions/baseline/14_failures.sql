-- Failures of tasks: which runs are to be read, what their logs said, and the fingerprints that group them.

CREATE TABLE fingerprints (
    space_id           uuid NOT NULL,
    id                 uuid NOT NULL DEFAULT uuid7(),
    pipeline_id        uuid NOT NULL,
    hash               bytea,
    algorithm_version  smallint NOT NULL,
    message_hashes     bytea[] NOT NULL DEFAULT '{}',
    split_from         uuid,
    merged_into        uuid,
    title              text NOT NULL,
    grouped_by         text NOT NULL,
    name               text,
    runbook_comment_id uuid,
    occurrences        integer NOT NULL DEFAULT 0,
    first_seen_at      timestamptz NOT NULL,
    last_seen_at       timestamptz NOT NULL,
    created_at         timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (space_id, id),
    CONSTRAINT fingerprints_identity UNIQUE (space_id, pipeline_id, algorithm_version, hash),
    CONSTRAINT fingerprints_name_length CHECK (length(name) BETWEEN 1 AND 200),
    CONSTRAINT fingerprints_pipeline FOREIGN KEY (space_id, pipeline_id) REFERENCES pipelines ON DELETE CASCADE,
    CONSTRAINT fingerprints_merged_into FOREIGN KEY (space_id, merged_into) REFERENCES fingerprints ON DELETE SET NULL (merged_into),
    CONSTRAINT fingerprints_split_from FOREIGN KEY (space_id, split_from) REFERENCES fingerprints ON DELETE SET NULL (split_from),
    CONSTRAINT fingerprints_runbook FOREIGN KEY (space_id, runbook_comment_id) REFERENCES comments ON DELETE SET NULL (runbook_comment_id)
);
CREATE INDEX fingerprints_newest ON fingerprints (space_id, last_seen_at DESC, id DESC) WHERE merged_into IS NULL;
CREATE INDEX fingerprints_merged ON fingerprints (space_id, merged_into) WHERE merged_into IS NOT NULL;
CREATE INDEX fingerprints_split ON fingerprints (space_id, split_from) WHERE split_from IS NOT NULL;
CREATE INDEX fingerprints_runbook ON fingerprints (space_id, runbook_comment_id) WHERE runbook_comment_id IS NOT NULL;
CREATE INDEX fingerprints_unnamed ON fingerprints (space_id, last_seen_at, id)
WHERE name IS NULL AND runbook_comment_id IS NULL AND merged_into IS NULL AND split_from IS NULL;
COMMENT ON TABLE fingerprints IS 'Groups of failures of a pipeline with the same fault. Users merge, split and name them; the algorithm never undoes that.';
COMMENT ON COLUMN fingerprints.hash IS 'SHA-256 by the algorithm of algorithm_version; null for a group that a user split off.';
COMMENT ON COLUMN fingerprints.message_hashes IS 'Of a group that was split off: later failures with one of these finer hashes belong to it.';
COMMENT ON COLUMN fingerprints.merged_into IS 'The group to which its failures belong since a user merged it; that one is not merged itself.';
COMMENT ON COLUMN fingerprints.title IS 'The summary of its first failure.';
COMMENT ON COLUMN fingerprints.grouped_by IS 'Which facts of a failure were compared, in words.';
COMMENT ON COLUMN fingerprints.runbook_comment_id IS 'The comment that says what to do about it.';
COMMENT ON COLUMN fingerprints.occurrences IS 'Number of runs with a failure of this group, of those that the space keeps.';
COMMENT ON INDEX fingerprints_unnamed IS 'Those that are deleted with their last failure.';

CREATE TABLE failure_reads (
    space_id        uuid NOT NULL,
    run_id          uuid NOT NULL,
    connector_id    uuid NOT NULL,
    state           text NOT NULL DEFAULT 'pending'
                    CONSTRAINT failure_reads_state_is_known CHECK (state IN ('pending', 'reading', 'read', 'unreadable', 'on_demand')),
    is_requested    boolean NOT NULL DEFAULT false,
    requests        smallint NOT NULL DEFAULT 0,
    noticed_at      timestamptz NOT NULL DEFAULT now(),
    next_attempt_at timestamptz NOT NULL DEFAULT now(),
    lease_id        uuid,
    lease_until     timestamptz,
    PRIMARY KEY (space_id, run_id),
    CONSTRAINT failure_reads_run FOREIGN KEY (space_id, run_id) REFERENCES runs ON DELETE CASCADE,
    CONSTRAINT failure_reads_connector FOREIGN KEY (space_id, connector_id) REFERENCES connectors ON DELETE CASCADE
);
CREATE UNIQUE INDEX failure_reads_one_at_a_time ON failure_reads (space_id, connector_id) WHERE state = 'reading';
CREATE INDEX failure_reads_due ON failure_reads (next_attempt_at) WHERE state IN ('pending', 'reading');
CREATE INDEX failure_reads_connector ON failure_reads (space_id, connector_id);
COMMENT ON TABLE failure_reads IS 'Failed runs whose logs are to be read, written in the transaction that stores the failure. Also the queue of what reads them.';
COMMENT ON COLUMN failure_reads.state IS 'on_demand: the connector does not read logs by itself, a user may ask for it; unreadable: no log could be read.';
COMMENT ON COLUMN failure_reads.is_requested IS 'A user asked for it.';
COMMENT ON COLUMN failure_reads.requests IS 'Logs requested for this failure, counted before each request, so that a killed worker does not request more.';
COMMENT ON COLUMN failure_reads.lease_id IS 'Of the worker that reads it; what it stores must have this id.';
COMMENT ON INDEX failure_reads_one_at_a_time IS 'One log at a time per connector, whatever processes there are.';

CREATE TABLE task_failures (
    space_id                uuid NOT NULL,
    id                      uuid NOT NULL DEFAULT uuid7(),
    run_id                  uuid NOT NULL,
    task_run_id             uuid NOT NULL,
    try_number              integer NOT NULL,
    place                   smallint,
    failed_at               timestamptz NOT NULL,
    summary                 text,
    excerpt                 text,
    exception_type          text,
    own_frame               text,
    log_error               text,
    algorithm_version       smallint,
    fingerprint_id          uuid,
    computed_fingerprint_id uuid,
    message_hash            bytea,
    created_at              timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (space_id, id),
    CONSTRAINT task_failures_try UNIQUE (space_id, task_run_id, try_number),
    CONSTRAINT task_failures_excerpt_size CHECK (octet_length(excerpt) <= 4096),
    CONSTRAINT task_failures_summary_length CHECK (length(summary) <= 300),
    CONSTRAINT task_failures_is_grouped CHECK ((summary IS NULL) = (fingerprint_id IS NULL)),
    CONSTRAINT task_failures_run FOREIGN KEY (space_id, run_id) REFERENCES runs ON DELETE CASCADE,
    CONSTRAINT task_failures_task_run FOREIGN KEY (space_id, task_run_id) REFERENCES task_runs ON DELETE CASCADE,
    CONSTRAINT task_failures_fingerprint FOREIGN KEY (space_id, fingerprint_id) REFERENCES fingerprints ON DELETE CASCADE,
    CONSTRAINT task_failures_computed FOREIGN KEY (space_id, computed_fingerprint_id) REFERENCES fingerprints ON DELETE CASCADE
);
CREATE INDEX task_failures_of_run ON task_failures (space_id, run_id, place);
CREATE INDEX task_failures_of_fingerprint ON task_failures (space_id, fingerprint_id, failed_at DESC, id DESC) INCLUDE (run_id);
CREATE INDEX task_failures_computed ON task_failures (space_id, computed_fingerprint_id);
COMMENT ON TABLE task_failures IS 'Root failures of runs: tries of tasks that failed by themselves, at most three of a run, with an excerpt of the log.';
COMMENT ON COLUMN task_failures.place IS 'From 0 on, in the order in which they failed; null for a failure that a later one of the run has replaced.';
COMMENT ON COLUMN task_failures.log_error IS 'Why the log could not be read; then there is no summary.';
COMMENT ON COLUMN task_failures.fingerprint_id IS 'The group it belongs to.';
COMMENT ON COLUMN task_failures.computed_fingerprint_id IS 'The group of its hash, which users may have merged or split.';
COMMENT ON COLUMN task_failures.message_hash IS 'Finer than the hash of its group: with the normalised messages.';

CREATE FUNCTION due_failure_reads()
RETURNS TABLE(space_id uuid, run_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = windsock, pg_temp
AS $$
    SELECT DISTINCT ON (f.space_id, f.connector_id) f.space_id, f.run_id
    FROM failure_reads f
    JOIN connectors c ON c.space_id = f.space_id AND c.id = f.connector_id
    JOIN sync_states s ON s.space_id = f.space_id AND s.connector_id = f.connector_id
    WHERE f.state IN ('pending', 'reading') AND f.next_attempt_at <= now() AND c.is_active
      AND (f.state = 'pending' OR f.lease_until < now())
      AND (f.is_requested OR s.last_sync_at >= f.noticed_at OR f.noticed_at < now() - interval '10 minutes')
      AND NOT EXISTS (SELECT FROM failure_reads o
                      WHERE o.space_id = f.space_id AND o.connector_id = f.connector_id AND o.state = 'reading' AND o.lease_until >= now())
    ORDER BY f.space_id, f.connector_id, f.state = 'reading' DESC, f.is_requested DESC, f.noticed_at DESC, f.run_id
    LIMIT 100
$$;
COMMENT ON FUNCTION due_failure_reads IS 'Of each connector the failed run to read next, once the sync that stored it has ended: its task runs are there then. First what a killed worker left, then what users asked for.';

DO $$
DECLARE
    tenant_table text;
BEGIN
    FOREACH tenant_table IN ARRAY ARRAY['fingerprints', 'failure_reads', 'task_failures'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', tenant_table);
        EXECUTE format('CREATE POLICY within_space ON %I USING (space_id = (SELECT current_space()))', tenant_table);
    END LOOP;
    FOREACH tenant_table IN ARRAY ARRAY['fingerprints', 'task_failures'] LOOP
        EXECUTE format('CREATE TRIGGER %I AFTER INSERT ON %I REFERENCING NEW TABLE AS new_rows
                        FOR EACH STATEMENT EXECUTE FUNCTION bump_space_version_after_statement()', tenant_table || '_version_ins', tenant_table);
        EXECUTE format('CREATE TRIGGER %I AFTER UPDATE ON %I REFERENCING NEW TABLE AS new_rows
                        FOR EACH STATEMENT EXECUTE FUNCTION bump_space_version_after_statement()', tenant_table || '_version_upd', tenant_table);
        EXECUTE format('CREATE TRIGGER %I AFTER DELETE ON %I REFERENCING OLD TABLE AS old_rows
                        FOR EACH STATEMENT EXECUTE FUNCTION bump_space_version_after_statement()', tenant_table || '_version_del', tenant_table);
    END LOOP;
END
$$;
CREATE TRIGGER audit_split AFTER INSERT ON fingerprints FOR EACH ROW
WHEN (pg_trigger_depth() = 0 AND NEW.split_from IS NOT NULL) EXECUTE FUNCTION audit('fingerprint', 'id', 'title', 'split_from title');
CREATE TRIGGER audit AFTER UPDATE OF name, merged_into, runbook_comment_id ON fingerprints FOR EACH ROW
WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION audit('fingerprint', 'id', 'title', 'name merged_into runbook_comment_id');
