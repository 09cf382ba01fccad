-- Totals that count rows which an account may not see, and skipped iterations of a loop.

ALTER TABLE sync_states ADD COLUMN miscounts jsonb NOT NULL DEFAULT '[]';
COMMENT ON COLUMN sync_states.miscounts IS
    'Lists that gave fewer rows than their totals count: for each its name, how many fewer, and in how many syncs in a row.';

ALTER TABLE skipped_rows ADD COLUMN region_id text;
ALTER TABLE skipped_rows ADD COLUMN region_index bigint;
ALTER TABLE skipped_rows ADD COLUMN unlisted integer NOT NULL DEFAULT 0;
COMMENT ON COLUMN skipped_rows.region_id IS 'Of a task run in a loop or in an expansion, as in task_runs.';
COMMENT ON COLUMN skipped_rows.unlisted IS 'How many rows Airflow counts in the window and never lists; 0: this is one row.';
