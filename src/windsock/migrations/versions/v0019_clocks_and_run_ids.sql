-- The difference of clocks, and run ids that are used again.

-- A run id that Airflow uses again after a deletion is a new run: the old row stays with what was said about it.
ALTER TABLE runs ADD COLUMN is_replaced boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN runs.is_replaced IS 'Airflow uses its id for another run by now; this one was deleted there.';
ALTER TABLE runs DROP CONSTRAINT runs_identity;
CREATE UNIQUE INDEX runs_identity ON runs (space_id, pipeline_id, external_id) WHERE NOT is_replaced;
COMMENT ON INDEX runs_identity IS 'The run that has the id in Airflow, or had it last.';

ALTER TABLE sync_states ADD COLUMN clocks jsonb;
COMMENT ON COLUMN sync_states.clocks IS 'How Airflow''s clock, that of the host that stamps its rows, and ours differ; null before it was measured.';
