-- Rows of the provider that could not be listed, parsed or stored, and an index that takes every name.

CREATE TABLE skipped_rows (
    space_id             uuid        NOT NULL,
    connector_id         uuid        NOT NULL,
    identity             uuid        NOT NULL,
    kind                 text        NOT NULL,
    pipeline_external_id text,
    run_external_id      text,
    task_external_id     text,
    map_index            bigint,
    fields               text[]      NOT NULL DEFAULT '{}',
    reason               text        NOT NULL,
    is_mirrored          boolean     NOT NULL DEFAULT false,
    task_runs            integer     NOT NULL DEFAULT 0,
    window_start         timestamptz,
    window_end           timestamptz,
    sync_id              uuid        NOT NULL,
    first_seen_at        timestamptz NOT NULL DEFAULT now(),
    last_seen_at         timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT skipped_rows_pkey PRIMARY KEY (space_id, connector_id, identity),
    CONSTRAINT skipped_rows_kind_is_known CHECK (kind IN ('pipelines', 'runs', 'task_runs')),
    CONSTRAINT skipped_rows_connector FOREIGN KEY (space_id, connector_id) REFERENCES connectors (space_id, id) ON DELETE CASCADE
);
COMMENT ON TABLE skipped_rows IS 'Rows that the provider has and the mirror lacks, wholly or some fields of them. At most 1,000 per connector; only the sync writes it.';
COMMENT ON COLUMN skipped_rows.identity IS 'A digest of the ids below; of a row without ids, of its place in the reading that met it.';
COMMENT ON COLUMN skipped_rows.fields IS 'Stored without these; empty: not stored.';
COMMENT ON COLUMN skipped_rows.is_mirrored IS 'An earlier state of the row is in the mirror.';
COMMENT ON COLUMN skipped_rows.task_runs IS 'Of a run that is not in the mirror: how many task runs of it the provider lists.';
COMMENT ON COLUMN skipped_rows.window_start IS 'The window of runs in which it was met, as narrow as it is known; both ends are included. Null: met among changes.';
COMMENT ON COLUMN skipped_rows.last_seen_at IS 'When a sync last met it, or looked for it.';
ALTER TABLE skipped_rows ENABLE ROW LEVEL SECURITY;
CREATE POLICY within_space ON skipped_rows USING (space_id = (SELECT current_space()));

ALTER TABLE sync_states ADD COLUMN skipped integer NOT NULL DEFAULT 0;
COMMENT ON COLUMN sync_states.skipped IS 'How many rows skipped_rows has of the connector.';
CREATE TRIGGER version_of_skipped AFTER UPDATE ON sync_states
    FOR EACH ROW WHEN (OLD.skipped IS DISTINCT FROM NEW.skipped) EXECUTE FUNCTION bump_after_row();

ALTER TABLE sync_runs ALTER COLUMN coverage SET DEFAULT '{"read": 0, "expected": 0, "skipped": 0}';
UPDATE sync_runs SET coverage = coverage || '{"skipped": 0}';

-- A name has up to 2,000 characters of 4 bytes; a row of a B-tree has at most 2,704 bytes.
DROP INDEX pipelines_by_name;
CREATE INDEX pipelines_by_name ON pipelines (space_id, left(name, 600), id);
