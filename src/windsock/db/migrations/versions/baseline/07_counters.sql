-- Numbers of runs, for the totals of lists, kept by a trigger on runs.

CREATE FUNCTION trunc_hour_utc(at timestamptz) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN date_bin('1 hour', at, '1970-01-01 00:00:00+00');
COMMENT ON FUNCTION trunc_hour_utc IS 'The moment at which the hour of a moment begins, in UTC.';

CREATE TABLE pipeline_run_counters (
    space_id    uuid NOT NULL,
    pipeline_id uuid NOT NULL,
    status      text NOT NULL,
    run_type    text NOT NULL,
    total       bigint NOT NULL,
    PRIMARY KEY (space_id, pipeline_id, status, run_type),
    CONSTRAINT pipeline_run_counters_pipeline FOREIGN KEY (space_id, pipeline_id) REFERENCES pipelines ON DELETE CASCADE
) WITH (fillfactor = 70);
COMMENT ON TABLE pipeline_run_counters IS 'The number of runs of a pipeline, by status and type.';

CREATE TABLE space_hourly_run_counters (
    space_id uuid NOT NULL,
    hour     timestamptz NOT NULL,
    slot     uuid NOT NULL,
    status   text NOT NULL,
    run_type text NOT NULL,
    total    bigint NOT NULL,
    PRIMARY KEY (space_id, hour, slot, status, run_type),
    CONSTRAINT space_hourly_run_counters_space FOREIGN KEY (space_id) REFERENCES spaces ON DELETE CASCADE
) WITH (fillfactor = 70);
COMMENT ON TABLE space_hourly_run_counters IS 'The number of runs of a space that began in an hour, by status and type: the sum of the slots, which are those of space_versions.';
COMMENT ON COLUMN space_hourly_run_counters.hour IS 'trunc_hour_utc() of the effective_start_at of the runs.';

CREATE FUNCTION update_run_counters()
RETURNS trigger
LANGUAGE plpgsql SET search_path = windsock, pg_temp
AS $$
-- Most updates of a run change nothing that is counted: then nothing is written. Runs of a pipeline or space that is being
-- deleted have no counters any more.
DECLARE
    spaces uuid[]; pipelines uuid[]; hours timestamptz[]; statuses text[]; types text[]; deltas bigint[];
BEGIN
    IF TG_OP = 'INSERT' THEN
        SELECT array_agg(d.space_id), array_agg(d.pipeline_id), array_agg(d.hour), array_agg(d.status), array_agg(d.run_type), array_agg(d.delta)
        INTO spaces, pipelines, hours, statuses, types, deltas
        FROM (SELECT space_id, pipeline_id, trunc_hour_utc(effective_start_at) AS hour, status, run_type, count(*) AS delta
              FROM new_rows WHERE removed_at IS NULL GROUP BY 1, 2, 3, 4, 5) d;
    ELSIF TG_OP = 'DELETE' THEN
        SELECT array_agg(d.space_id), array_agg(d.pipeline_id), array_agg(d.hour), array_agg(d.status), array_agg(d.run_type), array_agg(d.delta)
        INTO spaces, pipelines, hours, statuses, types, deltas
        FROM (SELECT space_id, pipeline_id, trunc_hour_utc(effective_start_at) AS hour, status, run_type, -count(*) AS delta
              FROM old_rows WHERE removed_at IS NULL GROUP BY 1, 2, 3, 4, 5) d;
    ELSE
        SELECT array_agg(d.space_id), array_agg(d.pipeline_id), array_agg(d.hour), array_agg(d.status), array_agg(d.run_type), array_agg(d.delta)
        INTO spaces, pipelines, hours, statuses, types, deltas
        FROM (SELECT space_id, pipeline_id, hour, status, run_type, sum(delta) AS delta
              FROM (SELECT space_id, pipeline_id, trunc_hour_utc(effective_start_at) AS hour, status, run_type, -1 AS delta FROM old_rows WHERE removed_at IS NULL
                    UNION ALL
                    SELECT space_id, pipeline_id, trunc_hour_utc(effective_start_at), status, run_type, 1 FROM new_rows WHERE removed_at IS NULL) d
              GROUP BY 1, 2, 3, 4, 5 HAVING sum(delta) <> 0) d;
    END IF;
    IF spaces IS NULL THEN
        RETURN NULL;
    END IF;
    -- In one order, so that concurrent transactions do not deadlock.
    INSERT INTO pipeline_run_counters AS k (space_id, pipeline_id, status, run_type, total)
    SELECT d.space_id, d.pipeline_id, d.status, d.run_type, sum(d.delta)
    FROM unnest(spaces, pipelines, statuses, types, deltas) AS d (space_id, pipeline_id, status, run_type, delta)
    JOIN pipelines p ON p.space_id = d.space_id AND p.id = d.pipeline_id
    GROUP BY 1, 2, 3, 4 HAVING sum(d.delta) <> 0
    ORDER BY 1, 2, 3, 4
    ON CONFLICT (space_id, pipeline_id, status, run_type) DO UPDATE SET total = k.total + excluded.total;
    WITH slots AS MATERIALIZED (
        SELECT s.id AS space_id, acquire_counter_slot(s.id) AS slot FROM spaces s WHERE s.id = ANY (spaces)
    )
    INSERT INTO space_hourly_run_counters AS k (space_id, hour, slot, status, run_type, total)
    SELECT d.space_id, d.hour, slots.slot, d.status, d.run_type, sum(d.delta)
    FROM unnest(spaces, hours, statuses, types, deltas) AS d (space_id, hour, status, run_type, delta)
    JOIN slots ON slots.space_id = d.space_id
    GROUP BY 1, 2, 3, 4, 5 HAVING sum(d.delta) <> 0
    ON CONFLICT (space_id, hour, slot, status, run_type) DO UPDATE SET total = k.total + excluded.total;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION update_run_counters IS 'Maintains pipeline_run_counters and space_hourly_run_counters.';

CREATE TRIGGER runs_counters_ins AFTER INSERT ON runs REFERENCING NEW TABLE AS new_rows
FOR EACH STATEMENT EXECUTE FUNCTION update_run_counters();
CREATE TRIGGER runs_counters_upd AFTER UPDATE ON runs REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
FOR EACH STATEMENT EXECUTE FUNCTION update_run_counters();
CREATE TRIGGER runs_counters_del AFTER DELETE ON runs REFERENCING OLD TABLE AS old_rows
FOR EACH STATEMENT EXECUTE FUNCTION update_run_counters();
