-- A window of thirty days is made of eight rows in place of thirty-one, and one of a year of sixty; what keeps them costs
-- in the order of what was written; and what lists show as it stands is text already.

-- Runs by the week ----------------------------------------------------------------------------------------------------

CREATE FUNCTION week_of(day date) RETURNS date
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT day - (extract(isodow FROM day)::integer - 1)
$$;
COMMENT ON FUNCTION week_of(date) IS 'The Monday of its week.';

CREATE FUNCTION merged_durations(durations bytea) RETURNS bytea
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT coalesce(string_agg(int2send(b.code::smallint) || int4send(b.timed::integer), '' ORDER BY b.code), '')
    FROM (
        SELECT get_byte(durations, o) << 8 | get_byte(durations, o + 1) AS code,
               sum(get_byte(durations, o + 2)::bigint << 24 | get_byte(durations, o + 3) << 16
                   | get_byte(durations, o + 4) << 8 | get_byte(durations, o + 5)) AS timed
        FROM generate_series(0, length(durations) - 6, 6) o
        GROUP BY 1
    ) b
$$;
COMMENT ON FUNCTION merged_durations(bytea) IS 'Buckets as in pipeline_days.durations, in which one may come several times, each once.';

CREATE TABLE pipeline_weeks (
    space_id    uuid    NOT NULL,
    pipeline_id uuid    NOT NULL,
    week        date    NOT NULL,
    total       integer NOT NULL DEFAULT 0,
    success     integer NOT NULL DEFAULT 0,
    failed      integer NOT NULL DEFAULT 0,
    timed       integer NOT NULL DEFAULT 0,
    seconds     double precision NOT NULL DEFAULT 0,
    durations   bytea   NOT NULL DEFAULT '',
    CONSTRAINT pipeline_weeks_pkey PRIMARY KEY (space_id, pipeline_id, week),
    CONSTRAINT pipeline_weeks_pipeline FOREIGN KEY (space_id, pipeline_id) REFERENCES pipelines (space_id, id) ON DELETE CASCADE
) WITH (fillfactor = 90);
COMMENT ON TABLE pipeline_weeks IS 'The days of pipeline_days, by the week (of its Monday). Whoever counts a day anew holds the row of its week, which therefore stays, also when nothing is left of it.';
ALTER TABLE pipeline_weeks ENABLE ROW LEVEL SECURITY;
CREATE POLICY within_space ON pipeline_weeks USING (space_id = (SELECT current_space()));

CREATE OR REPLACE FUNCTION count_days(spaces uuid[], pipelines uuid[], days date[]) RETURNS void
LANGUAGE plpgsql SET search_path = windsock, pg_temp AS $$
-- First the weeks are locked, always in the same order, and only then counted: what another transaction counted meanwhile
-- is seen by this one. A pipeline that is being deleted has no days any more.
BEGIN
    INSERT INTO pipeline_weeks (space_id, pipeline_id, week)
    SELECT DISTINCT t.space_id, t.pipeline_id, week_of(t.day)
    FROM unnest(spaces, pipelines, days) AS t (space_id, pipeline_id, day)
    JOIN pipelines p ON p.space_id = t.space_id AND p.id = t.pipeline_id
    ORDER BY 1, 2, 3
    ON CONFLICT DO NOTHING;
    PERFORM FROM pipeline_weeks w
    JOIN unnest(spaces, pipelines, days) AS t (space_id, pipeline_id, day)
      ON w.space_id = t.space_id AND w.pipeline_id = t.pipeline_id AND w.week = week_of(t.day)
    ORDER BY w.space_id, w.pipeline_id, w.week
    FOR UPDATE OF w;
    INSERT INTO pipeline_days AS d (space_id, pipeline_id, day, total, success, failed, timed, seconds, durations)
    SELECT t.space_id, t.pipeline_id, t.day, c.total, c.success, c.failed, c.timed, c.seconds, c.durations
    FROM unnest(spaces, pipelines, days) AS t (space_id, pipeline_id, day)
    JOIN pipelines p ON p.space_id = t.space_id AND p.id = t.pipeline_id
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(b.total), 0) AS total, coalesce(sum(b.success), 0) AS success,
               coalesce(sum(b.failed), 0) AS failed, coalesce(sum(b.timed), 0) AS timed,
               coalesce(sum(b.seconds), 0) AS seconds,
               coalesce(string_agg(int2send(b.code::smallint) || int4send(b.timed::integer), '') FILTER (WHERE b.code IS NOT NULL),
                        '') AS durations
        FROM (
            SELECT duration_code(r.duration_seconds) AS code, count(*) AS total, count(r.duration_seconds) AS timed,
                   count(*) FILTER (WHERE r.status = 'success') AS success,
                   count(*) FILTER (WHERE r.status = 'failed') AS failed, sum(r.duration_seconds) AS seconds
            FROM runs r
            WHERE r.space_id = t.space_id AND r.pipeline_id = t.pipeline_id
              AND r.ended_at >= t.day::timestamp AT TIME ZONE 'UTC'
              AND r.ended_at < (t.day + 1)::timestamp AT TIME ZONE 'UTC'
            GROUP BY 1
        ) b
    ) c
    ON CONFLICT (space_id, pipeline_id, day) DO UPDATE
    SET total = excluded.total, success = excluded.success, failed = excluded.failed, timed = excluded.timed,
        seconds = excluded.seconds, durations = excluded.durations;
    DELETE FROM pipeline_days d
    USING unnest(spaces, pipelines, days) AS t (space_id, pipeline_id, day)
    WHERE d.space_id = t.space_id AND d.pipeline_id = t.pipeline_id AND d.day = t.day AND d.total = 0;
    UPDATE pipeline_weeks w
    SET total = c.total, success = c.success, failed = c.failed, timed = c.timed, seconds = c.seconds,
        durations = merged_durations(c.durations)
    FROM (SELECT DISTINCT t.space_id, t.pipeline_id, week_of(t.day) AS week
          FROM unnest(spaces, pipelines, days) AS t (space_id, pipeline_id, day)) t
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(d.total), 0) AS total, coalesce(sum(d.success), 0) AS success,
               coalesce(sum(d.failed), 0) AS failed, coalesce(sum(d.timed), 0) AS timed,
               coalesce(sum(d.seconds), 0) AS seconds, coalesce(string_agg(d.durations, ''), '') AS durations
        FROM pipeline_days d
        WHERE d.space_id = t.space_id AND d.pipeline_id = t.pipeline_id AND d.day >= t.week AND d.day < t.week + 7
    ) c
    WHERE w.space_id = t.space_id AND w.pipeline_id = t.pipeline_id AND w.week = t.week;
END
$$;
COMMENT ON FUNCTION count_days(uuid[], uuid[], date[]) IS 'Counts these days of these pipelines anew, and the weeks they are in.';

INSERT INTO pipeline_weeks (space_id, pipeline_id, week, total, success, failed, timed, seconds, durations)
SELECT space_id, pipeline_id, week_of(day), sum(total), sum(success), sum(failed), sum(timed), sum(seconds),
       merged_durations(string_agg(durations, ''))
FROM pipeline_days
GROUP BY 1, 2, 3;


-- What a statement changed --------------------------------------------------------------------------------------------

-- What was and what became are not joined: the plan of a trigger is kept from a statement that changed few rows, and to
-- look for each of ten thousand among ten thousand takes seconds. What is in both cancels out.

CREATE OR REPLACE FUNCTION keep_days() RETURNS trigger
LANGUAGE plpgsql SET search_path = windsock, pg_temp AS $$
DECLARE
    spaces    uuid[];
    pipelines uuid[];
    days      date[];
BEGIN
    IF TG_OP = 'INSERT' THEN
        SELECT array_agg(t.space_id), array_agg(t.pipeline_id), array_agg(t.day) INTO spaces, pipelines, days
        FROM (SELECT DISTINCT space_id, pipeline_id, utc_day(ended_at) AS day FROM became WHERE ended_at IS NOT NULL) t;
    ELSIF TG_OP = 'DELETE' THEN
        SELECT array_agg(t.space_id), array_agg(t.pipeline_id), array_agg(t.day) INTO spaces, pipelines, days
        FROM (SELECT DISTINCT space_id, pipeline_id, utc_day(ended_at) AS day FROM was WHERE ended_at IS NOT NULL) t;
    ELSE
        SELECT array_agg(t.space_id), array_agg(t.pipeline_id), array_agg(t.day) INTO spaces, pipelines, days
        FROM (
            SELECT DISTINCT c.space_id, c.pipeline_id, utc_day(c.ended_at) AS day
            FROM (
                SELECT e.space_id, e.pipeline_id, e.ended_at
                FROM (SELECT id, space_id, pipeline_id, status, started_at, ended_at FROM was
                      UNION ALL
                      SELECT id, space_id, pipeline_id, status, started_at, ended_at FROM became) e
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

CREATE OR REPLACE FUNCTION keep_counts() RETURNS trigger
LANGUAGE plpgsql SET search_path = windsock, pg_temp AS $$
-- In one order, so that two that write the same ones wait and do not block each other for good. A pipeline that is being
-- deleted has no counts any more.
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO run_counts AS k (space_id, pipeline_id, status, run_type, total)
        SELECT n.space_id, n.pipeline_id, n.status, n.run_type, count(*)
        FROM became n JOIN pipelines p ON p.space_id = n.space_id AND p.id = n.pipeline_id
        GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
        ON CONFLICT (space_id, pipeline_id, status, run_type) DO UPDATE SET total = k.total + excluded.total;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO run_counts AS k (space_id, pipeline_id, status, run_type, total)
        SELECT o.space_id, o.pipeline_id, o.status, o.run_type, -count(*)
        FROM was o JOIN pipelines p ON p.space_id = o.space_id AND p.id = o.pipeline_id
        GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
        ON CONFLICT (space_id, pipeline_id, status, run_type) DO UPDATE SET total = k.total + excluded.total;
    ELSE
        INSERT INTO run_counts AS k (space_id, pipeline_id, status, run_type, total)
        SELECT e.space_id, e.pipeline_id, e.status, e.run_type, e.more
        FROM (
            SELECT space_id, pipeline_id, status, run_type, sum(more) AS more
            FROM (SELECT space_id, pipeline_id, status, run_type, -1 AS more FROM was
                  UNION ALL
                  SELECT space_id, pipeline_id, status, run_type, 1 FROM became) b
            GROUP BY 1, 2, 3, 4 HAVING sum(more) <> 0
        ) e
        JOIN pipelines p ON p.space_id = e.space_id AND p.id = e.pipeline_id
        ORDER BY 1, 2, 3, 4
        ON CONFLICT (space_id, pipeline_id, status, run_type) DO UPDATE SET total = k.total + excluded.total;
    END IF;
    RETURN NULL;
END
$$;


-- Strips as text ------------------------------------------------------------------------------------------------------

-- Lists send them as they stand. From jsonb, PostgreSQL writes the text anew for each row that is sent: a third of the
-- time of a page of pipelines.
-- Rows that are written again and again have room beside them, so that no index has to learn of it (ADR 0026).
ALTER TABLE pipeline_days SET (fillfactor = 90);
ALTER TABLE pipelines SET (fillfactor = 85);
ALTER TABLE pipelines
    ALTER COLUMN recent_runs DROP DEFAULT,
    ALTER COLUMN last_run TYPE json USING last_run::json,
    ALTER COLUMN recent_runs TYPE json USING recent_runs::json,
    ALTER COLUMN recent_runs SET DEFAULT '[]';
