-- Numbers of rows, for the totals of lists.

CREATE TABLE run_counts (
    space_id    uuid NOT NULL,
    pipeline_id uuid NOT NULL,
    status      text NOT NULL,
    run_type    text NOT NULL,
    total       bigint NOT NULL,
    PRIMARY KEY (space_id, pipeline_id, status, run_type),
    CONSTRAINT run_counts_pipeline FOREIGN KEY (space_id, pipeline_id) REFERENCES pipelines ON DELETE CASCADE
) WITH (fillfactor = 70);
COMMENT ON TABLE run_counts IS 'How many runs a pipeline has, by status and type: a list says how many there are without counting them. Kept by a trigger on runs.';

CREATE TABLE space_counts (
    space_id uuid NOT NULL,
    part     uuid NOT NULL,
    status   text NOT NULL,
    run_type text NOT NULL,
    total    bigint NOT NULL,
    PRIMARY KEY (space_id, part, status, run_type),
    CONSTRAINT space_counts_space FOREIGN KEY (space_id) REFERENCES spaces(id) ON DELETE CASCADE
) WITH (fillfactor = 70);
COMMENT ON TABLE space_counts IS 'How many runs a space has, by status and type: the sum of its parts, which are those of space_versions, so that those who write at the same time do not wait for each other. Kept by a trigger on runs.';

CREATE TABLE run_hours (
    space_id uuid NOT NULL,
    hour     timestamptz NOT NULL,
    part     uuid NOT NULL,
    status   text NOT NULL,
    run_type text NOT NULL,
    total    bigint NOT NULL,
    PRIMARY KEY (space_id, hour, part, status, run_type),
    CONSTRAINT run_hours_space FOREIGN KEY (space_id) REFERENCES spaces(id) ON DELETE CASCADE
) WITH (fillfactor = 70);
COMMENT ON TABLE run_hours IS 'How many runs of a space began in an hour, by status and type: the sum of its parts, as in space_counts. Kept by a trigger on runs.';
COMMENT ON COLUMN run_hours.hour IS 'hour_of() the runs'' begun_at.';

CREATE FUNCTION count_pipelines(space uuid, more bigint)
RETURNS void
LANGUAGE plpgsql SET search_path = windsock, pg_temp
AS $$
DECLARE
    mine CONSTANT uuid := part_of(space);
BEGIN
    UPDATE space_versions v SET pipelines = v.pipelines + more WHERE v.space_id = space AND v.part = mine;
END
$$;
COMMENT ON FUNCTION count_pipelines IS 'Adds to the number of a space''s pipelines, and waits for nobody.';

CREATE FUNCTION keep_number_of_pipelines()
RETURNS trigger
LANGUAGE plpgsql SET search_path = windsock, pg_temp
AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        PERFORM count_pipelines(space_id, count(*)) FROM became GROUP BY space_id;
    ELSE
        PERFORM count_pipelines(space_id, -count(*)) FROM was GROUP BY space_id;
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION keep_number_of_pipelines IS 'Keeps space_versions.pipelines.';

CREATE FUNCTION count_runs(space uuid, of_status text, of_type text, more bigint)
RETURNS void
LANGUAGE plpgsql SET search_path = windsock, pg_temp
AS $$
BEGIN
    INSERT INTO space_counts AS k (space_id, part, status, run_type, total)
    SELECT s.id, part_of(s.id), of_status, of_type, more FROM spaces s WHERE s.id = space  -- not of one that is being deleted
    ON CONFLICT (space_id, part, status, run_type) DO UPDATE SET total = k.total + excluded.total;
END
$$;
COMMENT ON FUNCTION count_runs IS 'Adds to the number of a space''s runs of a kind, and waits for nobody.';

CREATE FUNCTION keep_counts()
RETURNS trigger
LANGUAGE plpgsql SET search_path = windsock, pg_temp
AS $$
-- What is changed of a run mostly is nothing that is counted: then nothing is written. What is of a pipeline or space that is
-- being deleted has no counts any more.
DECLARE
    of_spaces uuid[]; of_pipelines uuid[]; in_hours timestamptz[]; statuses text[]; types text[]; mores bigint[];
BEGIN
    IF TG_OP = 'INSERT' THEN
        SELECT array_agg(e.space_id), array_agg(e.pipeline_id), array_agg(e.hour), array_agg(e.status), array_agg(e.run_type), array_agg(e.more)
        INTO of_spaces, of_pipelines, in_hours, statuses, types, mores
        FROM (SELECT space_id, pipeline_id, hour_of(begun_at) AS hour, status, run_type, count(*) AS more
              FROM became WHERE removed_at IS NULL GROUP BY 1, 2, 3, 4, 5) e;
    ELSIF TG_OP = 'DELETE' THEN
        SELECT array_agg(e.space_id), array_agg(e.pipeline_id), array_agg(e.hour), array_agg(e.status), array_agg(e.run_type), array_agg(e.more)
        INTO of_spaces, of_pipelines, in_hours, statuses, types, mores
        FROM (SELECT space_id, pipeline_id, hour_of(begun_at) AS hour, status, run_type, -count(*) AS more
              FROM was WHERE removed_at IS NULL GROUP BY 1, 2, 3, 4, 5) e;
    ELSE
        SELECT array_agg(e.space_id), array_agg(e.pipeline_id), array_agg(e.hour), array_agg(e.status), array_agg(e.run_type), array_agg(e.more)
        INTO of_spaces, of_pipelines, in_hours, statuses, types, mores
        FROM (SELECT space_id, pipeline_id, hour, status, run_type, sum(more) AS more
              FROM (SELECT space_id, pipeline_id, hour_of(begun_at) AS hour, status, run_type, -1 AS more FROM was WHERE removed_at IS NULL
                    UNION ALL
                    SELECT space_id, pipeline_id, hour_of(begun_at), status, run_type, 1 FROM became WHERE removed_at IS NULL) b
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
COMMENT ON FUNCTION keep_counts IS 'Keeps run_counts, space_counts and run_hours.';

CREATE TRIGGER number_of_deleted AFTER DELETE ON pipelines
REFERENCING OLD TABLE AS was FOR EACH STATEMENT EXECUTE FUNCTION keep_number_of_pipelines();
CREATE TRIGGER number_of_new AFTER INSERT ON pipelines
REFERENCING NEW TABLE AS became FOR EACH STATEMENT EXECUTE FUNCTION keep_number_of_pipelines();
CREATE TRIGGER counts_of_changed AFTER UPDATE ON runs
REFERENCING OLD TABLE AS was NEW TABLE AS became FOR EACH STATEMENT EXECUTE FUNCTION keep_counts();
CREATE TRIGGER counts_of_deleted AFTER DELETE ON runs
REFERENCING OLD TABLE AS was FOR EACH STATEMENT EXECUTE FUNCTION keep_counts();
CREATE TRIGGER counts_of_new AFTER INSERT ON runs
REFERENCING NEW TABLE AS became FOR EACH STATEMENT EXECUTE FUNCTION keep_counts();
