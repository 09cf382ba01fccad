-- Statistics of finished runs by the day, kept by a trigger on runs, so that they are right whoever writes.

CREATE FUNCTION utc_day(at timestamptz) RETURNS date
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (at AT TIME ZONE 'UTC')::date;
COMMENT ON FUNCTION utc_day IS 'The day of a moment, in UTC.';

CREATE FUNCTION utc_midnight(day date) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN day::timestamp AT TIME ZONE 'UTC';
COMMENT ON FUNCTION utc_midnight IS 'The moment at which a day begins, in UTC.';

CREATE FUNCTION duration_bucket(seconds double precision) RETURNS smallint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN seconds < 0.001 THEN 0 ELSE ceil(ln(seconds / 0.001) / ln(1.04)) END::smallint;
COMMENT ON FUNCTION duration_bucket IS 'The logarithmic bucket of a duration: n holds durations longer than 1.04^(n-1) ms, up to 1.04^n ms, so that its middle is wrong by 2 % at most; 0 those shorter than 1 ms.';

CREATE TABLE pipeline_daily_stats (
    space_id           uuid NOT NULL,
    pipeline_id        uuid NOT NULL,
    day                date NOT NULL,
    total              integer NOT NULL,
    success            integer NOT NULL,
    failed             integer NOT NULL,
    duration_count     integer NOT NULL,
    duration_sum       double precision NOT NULL,
    duration_histogram bytea NOT NULL,
    PRIMARY KEY (space_id, pipeline_id, day),
    CONSTRAINT pipeline_daily_stats_pipeline FOREIGN KEY (space_id, pipeline_id) REFERENCES pipelines ON DELETE CASCADE
) WITH (fillfactor = 90);
CREATE INDEX pipeline_daily_stats_failed ON pipeline_daily_stats (space_id, day) INCLUDE (pipeline_id, failed) WHERE failed > 0;
COMMENT ON TABLE pipeline_daily_stats IS 'The runs of a pipeline that ended on a day (UTC): see run_stats().';

CREATE FUNCTION run_stats(space uuid, pipeline uuid, since timestamptz, until timestamptz)
RETURNS TABLE (total integer, success integer, failed integer, duration_count integer, duration_sum double precision, duration_histogram bytea)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT coalesce(sum(b.total), 0)::integer, coalesce(sum(b.success), 0)::integer, coalesce(sum(b.failed), 0)::integer,
           coalesce(sum(b.duration_count), 0)::integer, coalesce(sum(b.duration_sum), 0),
           coalesce(string_agg(int2send(b.bucket) || int4send(b.duration_count::integer), '') FILTER (WHERE b.bucket IS NOT NULL), '')
    FROM (
        SELECT duration_bucket(r.duration_seconds) AS bucket, count(*) AS total,
               count(*) FILTER (WHERE r.status = 'success') AS success, count(*) FILTER (WHERE r.status = 'failed') AS failed,
               count(r.duration_seconds) AS duration_count, sum(r.duration_seconds) AS duration_sum
        FROM runs r
        WHERE r.space_id = space AND r.pipeline_id = pipeline AND r.removed_at IS NULL
          AND r.ended_at >= since AND r.ended_at < until
        GROUP BY 1
    ) b
$$;
COMMENT ON FUNCTION run_stats IS 'Of the runs of a pipeline that ended in [since, until): how many, how many of them have a duration, its sum in seconds, and the histogram of durations: for each bucket that is not empty its number (2 bytes, see duration_bucket()) and how many are in it (4 bytes), big-endian.';

CREATE FUNCTION refresh_daily_stats(spaces uuid[], pipelines uuid[], days date[])
RETURNS void
LANGUAGE plpgsql SET search_path = windsock, pg_temp
AS $$
-- Locks the pipelines, always in the same order, before it reads any run: it then sees the runs of other transactions that
-- changed the same days. A pipeline that is being deleted has no statistics any more.
BEGIN
    PERFORM FROM pipelines p
    WHERE (p.space_id, p.id) IN (SELECT t.space_id, t.pipeline_id FROM unnest(spaces, pipelines) AS t (space_id, pipeline_id))
    ORDER BY p.space_id, p.id
    FOR NO KEY UPDATE OF p;
    INSERT INTO pipeline_daily_stats (space_id, pipeline_id, day, total, success, failed, duration_count, duration_sum, duration_histogram)
    SELECT t.space_id, t.pipeline_id, t.day, s.*
    FROM unnest(spaces, pipelines, days) AS t (space_id, pipeline_id, day)
    JOIN pipelines p ON p.space_id = t.space_id AND p.id = t.pipeline_id
    CROSS JOIN LATERAL run_stats(t.space_id, t.pipeline_id, utc_midnight(t.day), utc_midnight(t.day + 1)) s
    ON CONFLICT (space_id, pipeline_id, day) DO UPDATE
    SET total = excluded.total, success = excluded.success, failed = excluded.failed,
        duration_count = excluded.duration_count, duration_sum = excluded.duration_sum,
        duration_histogram = excluded.duration_histogram;
    DELETE FROM pipeline_daily_stats d
    USING unnest(spaces, pipelines, days) AS t (space_id, pipeline_id, day)
    WHERE d.space_id = t.space_id AND d.pipeline_id = t.pipeline_id AND d.day = t.day AND d.total = 0;
END
$$;
COMMENT ON FUNCTION refresh_daily_stats IS 'Recomputes these days of these pipelines from their runs.';

CREATE FUNCTION refresh_daily_stats_of_runs()
RETURNS trigger
LANGUAGE plpgsql SET search_path = windsock, pg_temp
AS $$
DECLARE
    spaces    uuid[];
    pipelines uuid[];
    days      date[];
BEGIN
    IF TG_OP = 'INSERT' THEN
        SELECT array_agg(t.space_id), array_agg(t.pipeline_id), array_agg(t.day) INTO spaces, pipelines, days
        FROM (SELECT DISTINCT space_id, pipeline_id, utc_day(ended_at) AS day
              FROM new_rows WHERE ended_at IS NOT NULL AND removed_at IS NULL) t;
    ELSIF TG_OP = 'DELETE' THEN
        SELECT array_agg(t.space_id), array_agg(t.pipeline_id), array_agg(t.day) INTO spaces, pipelines, days
        FROM (SELECT DISTINCT space_id, pipeline_id, utc_day(ended_at) AS day
              FROM old_rows WHERE ended_at IS NOT NULL AND removed_at IS NULL) t;
    ELSE
        -- A run whose status and times are as before is in both, and changes no day.
        SELECT array_agg(t.space_id), array_agg(t.pipeline_id), array_agg(t.day) INTO spaces, pipelines, days
        FROM (
            SELECT DISTINCT e.space_id, e.pipeline_id, utc_day(e.ended_at) AS day
            FROM (
                SELECT e.space_id, e.pipeline_id, e.ended_at
                FROM (SELECT id, space_id, pipeline_id, status, started_at, ended_at FROM old_rows WHERE removed_at IS NULL
                      UNION ALL
                      SELECT id, space_id, pipeline_id, status, started_at, ended_at FROM new_rows WHERE removed_at IS NULL) e
                GROUP BY e.id, e.space_id, e.pipeline_id, e.status, e.started_at, e.ended_at
                HAVING count(*) = 1 AND e.ended_at IS NOT NULL
            ) e
        ) t;
    END IF;
    IF days IS NOT NULL THEN
        PERFORM refresh_daily_stats(spaces, pipelines, days);
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION refresh_daily_stats_of_runs IS 'Recomputes the days on which a run that was written ended, or had ended.';

CREATE TRIGGER runs_daily_stats_ins AFTER INSERT ON runs REFERENCING NEW TABLE AS new_rows
FOR EACH STATEMENT EXECUTE FUNCTION refresh_daily_stats_of_runs();
CREATE TRIGGER runs_daily_stats_upd AFTER UPDATE ON runs REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
FOR EACH STATEMENT EXECUTE FUNCTION refresh_daily_stats_of_runs();
CREATE TRIGGER runs_daily_stats_del AFTER DELETE ON runs REFERENCING OLD TABLE AS old_rows
FOR EACH STATEMENT EXECUTE FUNCTION refresh_daily_stats_of_runs();
