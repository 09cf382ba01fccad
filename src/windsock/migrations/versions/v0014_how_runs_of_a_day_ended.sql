-- A window begins in the middle of a day. How the runs of a day ended is kept in its row once it is over: a page of a
-- hundred pipelines looked for them among all runs that ever ended.

CREATE FUNCTION ended_run(day date, ended_at timestamptz, status text, code integer, duration_seconds double precision) RETURNS bytea
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN int4send(
           (floor(date_part('epoch', ended_at - day::timestamp AT TIME ZONE 'UTC'))::integer << 14)
           | (CASE status WHEN 'success' THEN 1 WHEN 'failed' THEN 2 ELSE 0 END << 12)
           | coalesce(code, 4095))
       || float8send(coalesce(duration_seconds, 0));
COMMENT ON FUNCTION ended_run IS '12 bytes, big-endian, for pipeline_days.ended: the second of the day (18 bits), 1 for success, 2 for failed, else 0 (2 bits), the bucket of its duration as duration_code() has it, or 4095 (12 bits); the duration in seconds or 0 (8 bytes).';

CREATE FUNCTION ended_runs(space uuid, pipeline uuid, of_day date) RETURNS bytea
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT coalesce(string_agg(ended_run(of_day, r.ended_at, r.status, duration_code(r.duration_seconds), r.duration_seconds), ''), '')
    FROM runs r
    WHERE r.space_id = space AND r.pipeline_id = pipeline
      AND r.ended_at >= of_day::timestamp AT TIME ZONE 'UTC' AND r.ended_at < (of_day + 1)::timestamp AT TIME ZONE 'UTC'
$$;
COMMENT ON FUNCTION ended_runs(uuid, uuid, date) IS 'What pipeline_days.ended holds of a day, if it is over.';

ALTER TABLE pipeline_days ADD COLUMN ended bytea;
COMMENT ON COLUMN pipeline_days.ended IS 'Of each run that ended in it ended_run(), in no order; null until the day is over, so that it is not written with each of its runs.';
UPDATE pipeline_days SET ended = ended_runs(space_id, pipeline_id, day) WHERE day < utc_day(now());
-- Those of one day are together, and whoever shows many pipelines looks at one day of each.
CREATE INDEX pipeline_days_by_day ON pipeline_days (space_id, day, pipeline_id);
CREATE INDEX pipeline_days_not_over ON pipeline_days (space_id, pipeline_id) WHERE ended IS NULL;

CREATE OR REPLACE FUNCTION count_days(spaces uuid[], pipelines uuid[], days date[]) RETURNS void
LANGUAGE plpgsql SET search_path = windsock, pg_temp AS $$
-- First the pipelines' rows of recent days are locked, always in the same order, and only then is anything counted: what
-- another transaction counted meanwhile is seen by this one. A pipeline that is being deleted has no days any more.
DECLARE
    today CONSTANT date := utc_day(now());
BEGIN
    INSERT INTO pipeline_recent_days (space_id, pipeline_id)
    SELECT DISTINCT t.space_id, t.pipeline_id
    FROM unnest(spaces, pipelines) AS t (space_id, pipeline_id)
    JOIN pipelines p ON p.space_id = t.space_id AND p.id = t.pipeline_id
    ORDER BY 1, 2
    ON CONFLICT DO NOTHING;
    PERFORM FROM pipeline_recent_days x
    JOIN (SELECT DISTINCT t.space_id, t.pipeline_id FROM unnest(spaces, pipelines) AS t (space_id, pipeline_id)) t
      ON x.space_id = t.space_id AND x.pipeline_id = t.pipeline_id
    ORDER BY x.space_id, x.pipeline_id
    FOR UPDATE OF x;
    SELECT array_agg(t.space_id), array_agg(t.pipeline_id), array_agg(t.day) INTO spaces, pipelines, days
    FROM (
        SELECT * FROM unnest(spaces, pipelines, days) AS t (space_id, pipeline_id, day)
        UNION
        SELECT d.space_id, d.pipeline_id, d.day
        FROM (SELECT DISTINCT t.space_id, t.pipeline_id FROM unnest(spaces, pipelines) AS t (space_id, pipeline_id)) t
        JOIN pipeline_days d ON d.space_id = t.space_id AND d.pipeline_id = t.pipeline_id AND d.ended IS NULL AND d.day < today
    ) t;
    INSERT INTO pipeline_days AS d (space_id, pipeline_id, day, total, success, failed, timed, seconds, durations, codes, ended)
    SELECT t.space_id, t.pipeline_id, t.day, c.total, c.success, c.failed, c.timed, c.seconds, c.durations, c.codes, c.ended
    FROM unnest(spaces, pipelines, days) AS t (space_id, pipeline_id, day)
    JOIN pipelines p ON p.space_id = t.space_id AND p.id = t.pipeline_id
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(b.total), 0) AS total, coalesce(sum(b.success), 0) AS success,
               coalesce(sum(b.failed), 0) AS failed, coalesce(sum(b.timed), 0) AS timed,
               coalesce(sum(b.seconds), 0) AS seconds,
               coalesce(string_agg(int2send(b.code::smallint) || int4send(b.timed::integer), '') FILTER (WHERE b.code IS NOT NULL),
                        '') AS durations,
               coalesce(string_agg(CASE WHEN b.timed <= 15 THEN substring(int4send(b.code | (b.timed::integer << 12)) FROM 3)
                                        ELSE duration_codes(int2send(b.code::smallint) || int4send(b.timed::integer)) END, '')
                            FILTER (WHERE b.code IS NOT NULL), '') AS codes,
               CASE WHEN t.day < today THEN coalesce(string_agg(b.ended, ''), '') END AS ended
        FROM (
            SELECT r.code, count(*) AS total, count(r.duration_seconds) AS timed,
                   count(*) FILTER (WHERE r.status = 'success') AS success,
                   count(*) FILTER (WHERE r.status = 'failed') AS failed, sum(r.duration_seconds) AS seconds,
                   string_agg(CASE WHEN t.day < today THEN ended_run(t.day, r.ended_at, r.status, r.code, r.duration_seconds) END,
                              '') AS ended
            FROM (
                SELECT r.status, r.ended_at, r.duration_seconds, duration_code(r.duration_seconds) AS code
                FROM runs r
                WHERE r.space_id = t.space_id AND r.pipeline_id = t.pipeline_id
                  AND r.ended_at >= t.day::timestamp AT TIME ZONE 'UTC'
                  AND r.ended_at < (t.day + 1)::timestamp AT TIME ZONE 'UTC'
            ) r
            GROUP BY 1
        ) b
    ) c
    ON CONFLICT (space_id, pipeline_id, day) DO UPDATE
    SET total = excluded.total, success = excluded.success, failed = excluded.failed, timed = excluded.timed,
        seconds = excluded.seconds, durations = excluded.durations, codes = excluded.codes, ended = excluded.ended;
    DELETE FROM pipeline_days d
    USING unnest(spaces, pipelines, days) AS t (space_id, pipeline_id, day)
    WHERE d.space_id = t.space_id AND d.pipeline_id = t.pipeline_id AND d.day = t.day AND d.total = 0;
    INSERT INTO pipeline_weeks AS w (space_id, pipeline_id, week, total, success, failed, timed, seconds, durations)
    SELECT t.space_id, t.pipeline_id, t.week, c.total, c.success, c.failed, c.timed, c.seconds, merged_durations(c.durations)
    FROM (SELECT DISTINCT t.space_id, t.pipeline_id, week_of(t.day) AS week
          FROM unnest(spaces, pipelines, days) AS t (space_id, pipeline_id, day)) t
    JOIN pipelines p ON p.space_id = t.space_id AND p.id = t.pipeline_id
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(d.total), 0) AS total, coalesce(sum(d.success), 0) AS success,
               coalesce(sum(d.failed), 0) AS failed, coalesce(sum(d.timed), 0) AS timed,
               coalesce(sum(d.seconds), 0) AS seconds, coalesce(string_agg(d.durations, ''), '') AS durations
        FROM pipeline_days d
        WHERE d.space_id = t.space_id AND d.pipeline_id = t.pipeline_id AND d.day >= t.week AND d.day < t.week + 7
    ) c
    ON CONFLICT (space_id, pipeline_id, week) DO UPDATE
    SET total = excluded.total, success = excluded.success, failed = excluded.failed, timed = excluded.timed,
        seconds = excluded.seconds, durations = excluded.durations;
    DELETE FROM pipeline_weeks w
    USING unnest(spaces, pipelines, days) AS t (space_id, pipeline_id, day)
    WHERE w.space_id = t.space_id AND w.pipeline_id = t.pipeline_id AND w.week = week_of(t.day) AND w.total = 0;
    UPDATE pipeline_recent_days x
    SET days = c.days, codes = c.codes
    FROM (SELECT DISTINCT t.space_id, t.pipeline_id
          FROM unnest(spaces, pipelines, days) AS t (space_id, pipeline_id, day)
          WHERE t.day >= today - 40) t
    CROSS JOIN LATERAL recent_days(t.space_id, t.pipeline_id) c
    WHERE x.space_id = t.space_id AND x.pipeline_id = t.pipeline_id;
END
$$;
COMMENT ON FUNCTION count_days(uuid[], uuid[], date[]) IS 'Counts these days of these pipelines anew, the weeks they are in, and the recent days of each pipeline; and those of its days that are over since they were counted.';
