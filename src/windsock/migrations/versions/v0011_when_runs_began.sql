-- When a run began, as started_from and started_to mean it: a column, since an index of an expression must look at each row.

ALTER TABLE runs ADD COLUMN begun_at timestamptz NOT NULL
    GENERATED ALWAYS AS (coalesce(started_at, queued_at, run_after, run_at)) STORED;
COMMENT ON COLUMN runs.begun_at IS 'Its start, or when it was to start. By this a time is looked for, and counted from the index alone.';
CREATE INDEX runs_begun ON runs (space_id, begun_at) INCLUDE (pipeline_id, status, run_type);
-- runs_newest serves whoever asks by run_at.
DROP INDEX runs_by_age;
