-- What a list shows of the newest runs of a pipeline is several times as large as all else that is known of it.

CREATE TABLE pipeline_strips (
    space_id    uuid NOT NULL,
    pipeline_id uuid NOT NULL,
    recent_runs json NOT NULL,
    CONSTRAINT pipeline_strips_pkey PRIMARY KEY (space_id, pipeline_id),
    CONSTRAINT pipeline_strips_pipeline FOREIGN KEY (space_id, pipeline_id) REFERENCES pipelines (space_id, id) ON DELETE CASCADE
) WITH (toast_tuple_target = 8160);
COMMENT ON TABLE pipeline_strips IS 'The newest runs of a pipeline, oldest first, as lists send them; none where it has no run. Apart, so that whoever looks through pipelines does not read them; not compressed, since to unpack a hundred takes longer than to find them.';
ALTER TABLE pipeline_strips ENABLE ROW LEVEL SECURITY;
CREATE POLICY within_space ON pipeline_strips USING (space_id = (SELECT current_space()));

-- Made anew, since what is compressed already would stay so.
INSERT INTO pipeline_strips (space_id, pipeline_id, recent_runs)
SELECT space_id, id, (recent_runs::text || '')::json FROM pipelines WHERE recent_runs::text <> '[]';
ALTER TABLE pipelines DROP COLUMN recent_runs;
