-- A run that ends before it starts (two machines' clocks) has no known duration. Runs deleted in Airflow leave lists, counts
-- and roll-ups. The newest run is the one queued or started last, whatever date it is for.

-- Days whose roll-up is computed again at the end.
CREATE TEMPORARY TABLE days_to_count ON COMMIT DROP AS
SELECT DISTINCT space_id, pipeline_id, utc_day(ended_at) AS day FROM runs
WHERE ended_at IS NOT NULL AND (removed_at IS NOT NULL OR ended_at < started_at);

DROP INDEX runs_ended_of_pipeline;
ALTER TABLE runs DROP COLUMN duration_seconds;
ALTER TABLE runs ADD COLUMN duration_seconds double precision
    GENERATED ALWAYS AS (CASE WHEN ended_at >= started_at THEN extract(epoch FROM ended_at - started_at)::double precision END) STORED;
CREATE INDEX runs_ended_of_pipeline ON runs (space_id, pipeline_id, ended_at) INCLUDE (status, duration_seconds, removed_at);
COMMENT ON COLUMN runs.duration_seconds IS 'Null when unknown: not ended, or ended before it started.';
ALTER TABLE task_runs DROP COLUMN duration_seconds;
ALTER TABLE task_runs ADD COLUMN duration_seconds double precision
    GENERATED ALWAYS AS (CASE WHEN ended_at >= started_at THEN extract(epoch FROM ended_at - started_at)::double precision END) STORED;
COMMENT ON COLUMN task_runs.duration_seconds IS 'As in runs.';

-- Airflow 2 does not say when a run was queued: an unfinished run without a start counts as queued when it was first seen.
DROP INDEX runs_begun;
DROP INDEX runs_newest;
DROP INDEX runs_newest_of_pipeline;
ALTER TABLE runs DROP COLUMN begun_at;
ALTER TABLE runs ADD COLUMN begun_at timestamptz NOT NULL
    GENERATED ALWAYS AS (coalesce(
        started_at, queued_at, run_after, CASE WHEN status IN ('queued', 'running') THEN created_at END, ended_at, run_at
    )) STORED;
COMMENT ON COLUMN runs.begun_at IS 'When it was started, or queued. Lists are ordered, and time ranges found and counted, by it.';
COMMENT ON COLUMN runs.run_at IS 'Its position in the history of the provider; never null, never changes: run_after, else see the provider.';
CREATE INDEX runs_newest ON runs (space_id, begun_at DESC, id DESC) INCLUDE (pipeline_id, status, run_type, removed_at);
CREATE INDEX runs_newest_of_pipeline ON runs (space_id, pipeline_id, begun_at DESC, id DESC) INCLUDE (removed_at);

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

CREATE OR REPLACE FUNCTION ended_runs(space uuid, pipeline uuid, of_day date) RETURNS bytea
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT coalesce(string_agg(ended_run(of_day, r.ended_at, r.status, duration_code(r.duration_seconds), r.duration_seconds), ''), '')
    FROM runs r
    WHERE r.space_id = space AND r.pipeline_id = pipeline AND r.removed_at IS NULL
      AND r.ended_at >= of_day::timestamp AT TIME ZONE 'UTC' AND r.ended_at < (of_day + 1)::timestamp AT TIME ZONE 'UTC'
$$;

CREATE OR REPLACE FUNCTION keep_days() RETURNS trigger
LANGUAGE plpgsql SET search_path = windsock, pg_temp AS $$
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

DELETE FROM run_counts;
INSERT INTO run_counts (space_id, pipeline_id, status, run_type, total)
SELECT space_id, pipeline_id, status, run_type, count(*) FROM runs WHERE removed_at IS NULL GROUP BY 1, 2, 3, 4;
-- What is there now is a part of its own, which nobody moves.
DELETE FROM space_counts;
INSERT INTO space_counts (space_id, part, status, run_type, total)
SELECT space_id, '00000000-0000-0000-0000-000000000000', status, run_type, count(*) FROM runs WHERE removed_at IS NULL GROUP BY 1, 3, 4;
DELETE FROM run_hours;
INSERT INTO run_hours (space_id, hour, part, status, run_type, total)
SELECT space_id, hour_of(begun_at), '00000000-0000-0000-0000-000000000000', status, run_type, count(*)
FROM runs WHERE removed_at IS NULL GROUP BY 1, 2, 4, 5;

SELECT count_days(array_agg(space_id), array_agg(pipeline_id), array_agg(day)) FROM days_to_count HAVING count(*) > 0;

-- As refresh_pipelines of the sync, for all pipelines.
CREATE TEMPORARY TABLE newest_runs ON COMMIT DROP AS
SELECT p.space_id, p.id AS pipeline_id, n.*
FROM pipelines p
CROSS JOIN LATERAL (
    SELECT (array_agg(r.begun_at ORDER BY r.begun_at DESC, r.id DESC))[1] AS last_run_at,
           (array_agg(r.brief ORDER BY r.begun_at DESC, r.id DESC))[1] AS last_run,
           '[' || coalesce(string_agg(r.brief::text, ',' ORDER BY r.begun_at, r.id), '') || ']' AS recent_runs
    FROM (
        SELECT r.id, r.begun_at, row_to_json(b) AS brief
        FROM runs r
        CROSS JOIN LATERAL (
            SELECT r.id, r.external_id, r.status, r.run_type, rfc3339(r.started_at) AS started_at,
                   rfc3339(r.ended_at) AS ended_at, r.duration_seconds
        ) b
        WHERE r.space_id = p.space_id AND r.pipeline_id = p.id AND r.removed_at IS NULL
        ORDER BY r.begun_at DESC, r.id DESC
        LIMIT 14
    ) r
) n;
UPDATE pipelines p
SET status = coalesce(n.last_run ->> 'status', 'unknown'), last_run = n.last_run, last_run_at = n.last_run_at
FROM newest_runs n
WHERE p.space_id = n.space_id AND p.id = n.pipeline_id
  AND (p.last_run::text, p.last_run_at) IS DISTINCT FROM (n.last_run::text, n.last_run_at);
INSERT INTO pipeline_strips AS s (space_id, pipeline_id, recent_runs)
SELECT space_id, pipeline_id, recent_runs::json FROM newest_runs WHERE last_run IS NOT NULL
ON CONFLICT (space_id, pipeline_id) DO UPDATE SET recent_runs = excluded.recent_runs
WHERE s.recent_runs::text <> excluded.recent_runs::text;
UPDATE space_versions SET version = version + 1;
