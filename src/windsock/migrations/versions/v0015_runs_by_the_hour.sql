-- How many runs began in a window was counted run by run: half a million of them for a week of a large space.

CREATE FUNCTION hour_of(at timestamptz) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN date_bin('1 hour', at, '1970-01-01 00:00:00+00');
COMMENT ON FUNCTION hour_of(timestamptz) IS 'Its beginning, in UTC.';

CREATE TABLE run_hours (
    space_id uuid        NOT NULL,
    hour     timestamptz NOT NULL,
    part     uuid        NOT NULL,
    status   text        NOT NULL,
    run_type text        NOT NULL,
    total    bigint      NOT NULL,
    CONSTRAINT run_hours_pkey PRIMARY KEY (space_id, hour, part, status, run_type),
    CONSTRAINT run_hours_space FOREIGN KEY (space_id) REFERENCES spaces (id) ON DELETE CASCADE
) WITH (fillfactor = 70);
COMMENT ON TABLE run_hours IS 'How many runs of a space began in an hour, by status and type: the sum of its parts, as in space_counts. Kept by a trigger on runs.';
COMMENT ON COLUMN run_hours.hour IS 'hour_of() the runs'' begun_at.';
ALTER TABLE run_hours ENABLE ROW LEVEL SECURITY;
CREATE POLICY within_space ON run_hours USING (space_id = (SELECT current_space()));

CREATE OR REPLACE FUNCTION keep_counts() RETURNS trigger
LANGUAGE plpgsql SET search_path = windsock, pg_temp AS $$
-- What is changed of a run mostly is nothing that is counted: then nothing is written. What is of a pipeline or space that is
-- being deleted has no counts any more.
DECLARE
    of_spaces uuid[]; of_pipelines uuid[]; in_hours timestamptz[]; statuses text[]; types text[]; mores bigint[];
BEGIN
    IF TG_OP = 'INSERT' THEN
        SELECT array_agg(e.space_id), array_agg(e.pipeline_id), array_agg(e.hour), array_agg(e.status), array_agg(e.run_type), array_agg(e.more)
        INTO of_spaces, of_pipelines, in_hours, statuses, types, mores
        FROM (SELECT space_id, pipeline_id, hour_of(begun_at) AS hour, status, run_type, count(*) AS more
              FROM became GROUP BY 1, 2, 3, 4, 5) e;
    ELSIF TG_OP = 'DELETE' THEN
        SELECT array_agg(e.space_id), array_agg(e.pipeline_id), array_agg(e.hour), array_agg(e.status), array_agg(e.run_type), array_agg(e.more)
        INTO of_spaces, of_pipelines, in_hours, statuses, types, mores
        FROM (SELECT space_id, pipeline_id, hour_of(begun_at) AS hour, status, run_type, -count(*) AS more
              FROM was GROUP BY 1, 2, 3, 4, 5) e;
    ELSE
        SELECT array_agg(e.space_id), array_agg(e.pipeline_id), array_agg(e.hour), array_agg(e.status), array_agg(e.run_type), array_agg(e.more)
        INTO of_spaces, of_pipelines, in_hours, statuses, types, mores
        FROM (SELECT space_id, pipeline_id, hour, status, run_type, sum(more) AS more
              FROM (SELECT space_id, pipeline_id, hour_of(begun_at) AS hour, status, run_type, -1 AS more FROM was
                    UNION ALL
                    SELECT space_id, pipeline_id, hour_of(begun_at), status, run_type, 1 FROM became) b
              GROUP BY 1, 2, 3, 4, 5 HAVING sum(more) <> 0) e;
    END IF;
    IF of_spaces IS NULL THEN
        RETURN NULL;
    END IF;
    -- In one order, so that two that write the same ones wait and do not block each other for good.
    INSERT INTO run_counts AS k (space_id, pipeline_id, status, run_type, total)
    SELECT e.space_id, e.pipeline_id, e.status, e.run_type, sum(e.more)
    FROM unnest(of_spaces, of_pipelines, statuses, types, mores) AS e (space_id, pipeline_id, status, run_type, more)
    JOIN pipelines p ON p.space_id = e.space_id AND p.id = e.pipeline_id
    GROUP BY 1, 2, 3, 4 HAVING sum(e.more) <> 0
    ORDER BY 1, 2, 3, 4
    ON CONFLICT (space_id, pipeline_id, status, run_type) DO UPDATE SET total = k.total + excluded.total;
    PERFORM count_runs(e.space_id, e.status, e.run_type, sum(e.more)::bigint)
    FROM unnest(of_spaces, statuses, types, mores) AS e (space_id, status, run_type, more)
    GROUP BY e.space_id, e.status, e.run_type HAVING sum(e.more) <> 0;
    WITH mine AS MATERIALIZED (
        SELECT s.id, part_of(s.id) AS part FROM spaces s WHERE s.id = ANY (of_spaces)
    )
    INSERT INTO run_hours AS k (space_id, hour, part, status, run_type, total)
    SELECT e.space_id, e.hour, mine.part, e.status, e.run_type, sum(e.more)
    FROM unnest(of_spaces, in_hours, statuses, types, mores) AS e (space_id, hour, status, run_type, more)
    JOIN mine ON mine.id = e.space_id
    GROUP BY 1, 2, 3, 4, 5 HAVING sum(e.more) <> 0
    ON CONFLICT (space_id, hour, part, status, run_type) DO UPDATE SET total = k.total + excluded.total;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION keep_counts() IS 'Keeps run_counts, space_counts and run_hours.';

-- What was there when this table came is a part of its own, which nobody moves.
INSERT INTO run_hours (space_id, hour, part, status, run_type, total)
SELECT space_id, hour_of(begun_at), '00000000-0000-0000-0000-000000000000', status, run_type, count(*) FROM runs GROUP BY 1, 2, 4, 5;
