-- Files that Airflow could not import.

CREATE TABLE import_errors (
    space_id     uuid NOT NULL,
    id           uuid NOT NULL DEFAULT uuid7(),
    connector_id uuid NOT NULL,
    bundle_name  text,
    filename     text NOT NULL,
    stack_trace  text NOT NULL,
    since        timestamptz NOT NULL,
    PRIMARY KEY (space_id, id),
    CONSTRAINT import_errors_connector FOREIGN KEY (space_id, connector_id) REFERENCES connectors ON DELETE CASCADE
);
CREATE UNIQUE INDEX import_errors_file ON import_errors (space_id, connector_id, md5(coalesce(bundle_name, '') || '/' || filename));
COMMENT ON TABLE import_errors IS 'Files that the provider cannot import at present, at most 1,000 per connector. Only the sync writes it.';
COMMENT ON COLUMN import_errors.bundle_name IS 'Of Airflow 3; filename is relative to it.';
COMMENT ON COLUMN import_errors.stack_trace IS 'Of a long one the last 16,000 characters.';
COMMENT ON COLUMN import_errors.since IS 'When the provider first told of this file; stays when the error changes.';

CREATE TRIGGER import_errors_version AFTER INSERT OR UPDATE OR DELETE ON import_errors
FOR EACH ROW EXECUTE FUNCTION bump_space_version_after_row();

ALTER TABLE import_errors ENABLE ROW LEVEL SECURITY;
CREATE POLICY within_space ON import_errors USING (space_id = (SELECT current_space()));
