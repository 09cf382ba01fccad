-- Statistics of finished runs, by the day and week.

CREATE FUNCTION utc_day(at timestamptz)
RETURNS date
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT (at AT TIME ZONE 'UTC')::date
$$;
COMMENT ON FUNCTION utc_day IS 'The day of a moment, in UTC.';

CREATE FUNCTION week_of(day date)
RETURNS date
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT day - (extract(isodow FROM day)::integer - 1)
$$;
COMMENT ON FUNCTION week_of IS 'The Monday of its week.';

CREATE FUNCTION hour_of(at timestamptz) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN date_bin('1 hour', at, '1970-01-01 00:00:00+00');
COMMENT ON FUNCTION hour_of IS 'Its beginning, in UTC.';

CREATE FUNCTION duration_code(seconds double precision)
RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    -- Null of null, where least() would say 2800.
    SELECT CASE WHEN seconds < 0.001 THEN 0
                WHEN seconds >= 0.001 THEN least(2800, ceil(ln(seconds / 0.001) / ln(1.01)))::integer END
$$;
COMMENT ON FUNCTION duration_code IS 'The logarithmic bucket of a duration: n holds what is longer than 1.01^(n-1) ms, up to 1.01^n ms, so that its middle is wrong by half a percent at most; 0 what is shorter than 1 ms; 2800 what is longer than 40 years.';

CREATE FUNCTION duration_codes(durations bytea) RETURNS bytea
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (
    SELECT coalesce(string_agg(substring(int4send(b.code | (least(b.many - n * 15, 15)::integer << 12)) FROM 3), '' ORDER BY b.code, n), '')
    FROM (
        SELECT (get_byte(durations, o) << 8) | get_byte(durations, o + 1) AS code,
               (get_byte(durations, o + 2)::bigint << 24) | (get_byte(durations, o + 3) << 16)
               | (get_byte(durations, o + 4) << 8) | get_byte(durations, o + 5) AS many
        FROM generate_series(0, length(durations) - 6, 6) o
    ) b
    CROSS JOIN generate_series(0, (b.many - 1) / 15) n
);
COMMENT ON FUNCTION duration_codes IS 'Buckets as in pipeline_days.durations in two bytes each, big-endian: how many (4 bits, at most 15, else the bucket comes again) and its number (12 bits).';

CREATE FUNCTION merged_durations(durations bytea)
RETURNS bytea
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT coalesce(string_agg(int2send(b.code::smallint) || int4send(b.timed::integer), '' ORDER BY b.code), '')
    FROM (
        SELECT (get_byte(durations, o) << 8) | get_byte(durations, o + 1) AS code,
               sum((get_byte(durations, o + 2)::bigint << 24) | (get_byte(durations, o + 3) << 16)
                   | (get_byte(durations, o + 4) << 8) | get_byte(durations, o + 5)) AS timed
        FROM generate_series(0, length(durations) - 6, 6) o
        GROUP BY 1
    ) b
$$;
COMMENT ON FUNCTION merged_durations IS 'Buckets as in pipeline_days.durations, in which one may come several times, each once.';

CREATE TABLE pipeline_days (
    space_id    uuid NOT NULL,
    pipeline_id uuid NOT NULL,
    day         date NOT NULL,
    total       integer NOT NULL DEFAULT 0,
    success     integer NOT NULL DEFAULT 0,
    failed      integer NOT NULL DEFAULT 0,
    timed       integer NOT NULL DEFAULT 0,
    seconds     double precision NOT NULL DEFAULT 0,
    durations   bytea NOT NULL DEFAULT '\x'::bytea,
    codes       bytea NOT NULL DEFAULT '\x'::bytea,
    packed      bytea NOT NULL GENERATED ALWAYS AS (
        int4send(day - '1970-01-01'::date) || int4send(total) || int4send(success) || int4send(failed) || int4send(timed)
        || float8send(seconds) || int4send(length(codes))
    ) STORED,
    ended       bytea,
    PRIMARY KEY (space_id, pipeline_id, day),
    CONSTRAINT pipeline_days_pipeline FOREIGN KEY (space_id, pipeline_id) REFERENCES pipelines ON DELETE CASCADE
) WITH (fillfactor = 90);
CREATE INDEX pipeline_days_by_day ON pipeline_days (space_id, day, pipeline_id);
CREATE INDEX pipeline_days_not_over ON pipeline_days (space_id, pipeline_id) WHERE ended IS NULL;
COMMENT ON TABLE pipeline_days IS 'The runs of a pipeline that ended on a day (UTC), counted. Kept by a trigger on runs, so that it is right whoever writes.';
COMMENT ON COLUMN pipeline_days.timed IS 'Those that have a duration; seconds is the sum.';
COMMENT ON COLUMN pipeline_days.durations IS 'Six bytes per bucket of duration_code that is not empty: its number (2) and how many (4), big-endian.';
COMMENT ON COLUMN pipeline_days.codes IS 'durations in a third of the bytes, for pipeline_recent_days: see duration_codes().';
COMMENT ON COLUMN pipeline_days.packed IS '32 bytes, big-endian, for pipeline_recent_days: the days since 1970 (4); total, success, failed, timed (4 each); seconds (8); the length of codes (4).';
COMMENT ON COLUMN pipeline_days.ended IS 'Of each run that ended in it ended_run(), in no order; null until the day is over, so that it is not written with each of its runs.';

CREATE TABLE pipeline_weeks (
    space_id    uuid NOT NULL,
    pipeline_id uuid NOT NULL,
    week        date NOT NULL,
    total       integer NOT NULL DEFAULT 0,
    success     integer NOT NULL DEFAULT 0,
    failed      integer NOT NULL DEFAULT 0,
    timed       integer NOT NULL DEFAULT 0,
    seconds     double precision NOT NULL DEFAULT 0,
    durations   bytea NOT NULL DEFAULT '\x'::bytea,
    PRIMARY KEY (space_id, pipeline_id, week),
    CONSTRAINT pipeline_weeks_pipeline FOREIGN KEY (space_id, pipeline_id) REFERENCES pipelines ON DELETE CASCADE
) WITH (fillfactor = 90);
COMMENT ON TABLE pipeline_weeks IS 'The days of pipeline_days, by the week (of its Monday).';

CREATE TABLE pipeline_recent_days (
    space_id    uuid NOT NULL,
    pipeline_id uuid NOT NULL,
    days        bytea NOT NULL DEFAULT '\x'::bytea,
    codes       bytea NOT NULL DEFAULT '\x'::bytea,
    PRIMARY KEY (space_id, pipeline_id),
    CONSTRAINT pipeline_recent_days_pipeline FOREIGN KEY (space_id, pipeline_id) REFERENCES pipelines ON DELETE CASCADE
) WITH (toast_tuple_target = 8160);
COMMENT ON TABLE pipeline_recent_days IS 'The days of pipeline_days, at least the last 40, in one row. Whoever counts a day of a pipeline anew holds its row, which therefore stays, also when nothing is left of it.';
COMMENT ON COLUMN pipeline_recent_days.days IS 'pipeline_days.packed of these days, the newest first.';
COMMENT ON COLUMN pipeline_recent_days.codes IS 'pipeline_days.codes of these days, the newest first.';

CREATE FUNCTION ended_run(day date, ended_at timestamptz, status text, code integer, duration_seconds double precision)
RETURNS bytea
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN int4send(
           (floor(date_part('epoch', ended_at - day::timestamp AT TIME ZONE 'UTC'))::integer << 14)
           | (CASE status WHEN 'success' THEN 1 WHEN 'failed' THEN 2 ELSE 0 END << 12)
           | coalesce(code, 4095))
       || float8send(coalesce(duration_seconds, 0));
COMMENT ON FUNCTION ended_run IS '12 bytes, big-endian, for pipeline_days.ended: the second of the day (18 bits), 1 for success, 2 for failed, else 0 (2 bits), the bucket of its duration as duration_code() has it, or 4095 (12 bits); the duration in seconds or 0 (8 bytes).';

CREATE FUNCTION ended_runs(space uuid, pipeline uuid, of_day date)
RETURNS bytea
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT coalesce(string_agg(ended_run(of_day, r.ended_at, r.status, duration_code(r.duration_seconds), r.duration_seconds), ''), '')
    FROM runs r
    WHERE r.space_id = space AND r.pipeline_id = pipeline AND r.removed_at IS NULL
      AND r.ended_at >= of_day::timestamp AT TIME ZONE 'UTC' AND r.ended_at < (of_day + 1)::timestamp AT TIME ZONE 'UTC'
$$;
COMMENT ON FUNCTION ended_runs IS 'What pipeline_days.ended holds of a day, if it is over.';

CREATE FUNCTION recent_days(space uuid, pipeline uuid)
RETURNS TABLE(days bytea, codes bytea)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT coalesce(string_agg(d.packed, '' ORDER BY d.day DESC), ''), coalesce(string_agg(d.codes, '' ORDER BY d.day DESC), '')
    FROM pipeline_days d
    WHERE d.space_id = space AND d.pipeline_id = pipeline AND d.day >= utc_day(now()) - 40
$$;
COMMENT ON FUNCTION recent_days IS 'What pipeline_recent_days holds of a pipeline, if it is written now. Windows of 35 days are read from it, whatever the clocks of servers say.';

CREATE FUNCTION count_days(spaces uuid[], pipelines uuid[], days date[])
RETURNS void
LANGUAGE plpgsql SET search_path = windsock, pg_temp
AS $$
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
                WHERE r.space_id = t.space_id AND r.pipeline_id = t.pipeline_id AND r.removed_at IS NULL
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
COMMENT ON FUNCTION count_days IS 'Counts these days of these pipelines anew, the weeks they are in, and the recent days of each pipeline; and those of its days that are over since they were counted.';

CREATE FUNCTION keep_days()
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
        FROM (SELECT DISTINCT space_id, pipeline_id, utc_day(ended_at) AS day FROM became WHERE ended_at IS NOT NULL AND removed_at IS NULL) t;
    ELSIF TG_OP = 'DELETE' THEN
        SELECT array_agg(t.space_id), array_agg(t.pipeline_id), array_agg(t.day) INTO spaces, pipelines, days
        FROM (SELECT DISTINCT space_id, pipeline_id, utc_day(ended_at) AS day FROM was WHERE ended_at IS NOT NULL AND removed_at IS NULL) t;
    ELSE
        SELECT array_agg(t.space_id), array_agg(t.pipeline_id), array_agg(t.day) INTO spaces, pipelines, days
        FROM (
            SELECT DISTINCT c.space_id, c.pipeline_id, utc_day(c.ended_at) AS day
            FROM (
                SELECT e.space_id, e.pipeline_id, e.ended_at
                FROM (SELECT id, space_id, pipeline_id, status, started_at, ended_at FROM was WHERE removed_at IS NULL
                      UNION ALL
                      SELECT id, space_id, pipeline_id, status, started_at, ended_at FROM became WHERE removed_at IS NULL) e
                GROUP BY e.id, e.space_id, e.pipeline_id, e.status, e.started_at, e.ended_at
                HAVING count(*) = 1 AND e.ended_at IS NOT NULL
            ) c
        ) t;
    END IF;
    IF days IS NOT NULL THEN
        PERFORM count_days(spaces, pipelines, days);
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION keep_days IS 'Keeps pipeline_days: counts the days anew on which a run that was written ended, or had ended.';

CREATE TRIGGER days_of_changed AFTER UPDATE ON runs
REFERENCING OLD TABLE AS was NEW TABLE AS became FOR EACH STATEMENT EXECUTE FUNCTION keep_days();
CREATE TRIGGER days_of_deleted AFTER DELETE ON runs
REFERENCING OLD TABLE AS was FOR EACH STATEMENT EXECUTE FUNCTION keep_days();
CREATE TRIGGER days_of_new AFTER INSERT ON runs
REFERENCING NEW TABLE AS became FOR EACH STATEMENT EXECUTE FUNCTION keep_days();
