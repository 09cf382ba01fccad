-- A page of a hundred pipelines is made of what is ready: each pipeline as JSON, and its newest days in one row, where it
-- took thirty columns of each and ten rows of its numbers. And how many pipelines and runs a space has is known.

-- A pipeline as lists show it -----------------------------------------------------------------------------------------

-- In plpgsql, which PostgreSQL does not look into: what it is made of is only STABLE, since there are types and formats
-- of which the text depends on settings. These are none of them.
CREATE FUNCTION shown(
    id uuid, space_id uuid, provider text, external_id text, name text, description text, connector_id uuid, owner text,
    owners text[], tags text[], schedule text, schedule_description text, next_run_at timestamptz, is_paused boolean,
    is_active boolean, has_import_errors boolean, status text, criticality text, team_id uuid, last_run json,
    created_at timestamptz, updated_at timestamptz
) RETURNS json
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    RETURN json_build_object(
        'id', id, 'space_id', space_id, 'provider', provider, 'external_id', external_id, 'name', name,
        'description', description, 'connector_id', connector_id, 'owner', owner, 'owners', owners, 'tags', tags,
        'schedule', schedule, 'schedule_description', schedule_description,
        'next_run_at', windsock.rfc3339(next_run_at), 'is_paused', is_paused, 'is_active', is_active,
        'has_import_errors', has_import_errors, 'status', status, 'criticality', criticality, 'team_id', team_id,
        'last_run', last_run, 'created_at', windsock.rfc3339(created_at), 'updated_at', windsock.rfc3339(updated_at));
END
$$;
COMMENT ON FUNCTION shown IS 'A pipeline as lists show it, without what others say of it: connector, team, watching, its newest runs, its numbers.';

ALTER TABLE pipelines SET (toast_tuple_target = 8160);
ALTER TABLE pipelines ADD COLUMN shown json NOT NULL GENERATED ALWAYS AS (
    shown(id, space_id, provider, external_id, name, description, connector_id, owner, owners, tags, schedule,
          schedule_description, next_run_at, is_paused, is_active, has_import_errors, status, criticality, team_id, last_run,
          created_at, updated_at)
) STORED;
COMMENT ON COLUMN pipelines.shown IS 'As lists show it: see shown(). Not compressed, since to unpack a hundred takes longer than to find them.';


-- In a week a bucket may have more than 65,535 runs: PostgreSQL takes << and | from left to right.
CREATE OR REPLACE FUNCTION merged_durations(durations bytea) RETURNS bytea
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT coalesce(string_agg(int2send(b.code::smallint) || int4send(b.timed::integer), '' ORDER BY b.code), '')
    FROM (
        SELECT (get_byte(durations, o) << 8) | get_byte(durations, o + 1) AS code,
               sum((get_byte(durations, o + 2)::bigint << 24) | (get_byte(durations, o + 3) << 16)
                   | (get_byte(durations, o + 4) << 8) | get_byte(durations, o + 5)) AS timed
        FROM generate_series(0, length(durations) - 6, 6) o
        GROUP BY 1
    ) b
$$;


-- Its newest days -----------------------------------------------------------------------------------------------------

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
COMMENT ON FUNCTION duration_codes(bytea) IS 'Buckets as in pipeline_days.durations in two bytes each, big-endian: how many (4 bits, at most 15, else the bucket comes again) and its number (12 bits).';

ALTER TABLE pipeline_days
    ADD COLUMN codes bytea NOT NULL DEFAULT '',
    ADD COLUMN packed bytea NOT NULL GENERATED ALWAYS AS (
        int4send(day - '1970-01-01'::date) || int4send(total) || int4send(success) || int4send(failed) || int4send(timed)
        || float8send(seconds) || int4send(length(codes))
    ) STORED;
UPDATE pipeline_days SET codes = duration_codes(durations);
COMMENT ON COLUMN pipeline_days.packed IS '32 bytes, big-endian, for pipeline_recent_days: the days since 1970 (4); total, success, failed, timed (4 each); seconds (8); the length of codes (4).';
COMMENT ON COLUMN pipeline_days.codes IS 'durations in a third of the bytes, for pipeline_recent_days: see duration_codes().';

CREATE TABLE pipeline_recent_days (
    space_id    uuid  NOT NULL,
    pipeline_id uuid  NOT NULL,
    days        bytea NOT NULL DEFAULT '',
    codes       bytea NOT NULL DEFAULT '',
    CONSTRAINT pipeline_recent_days_pkey PRIMARY KEY (space_id, pipeline_id),
    CONSTRAINT pipeline_recent_days_pipeline FOREIGN KEY (space_id, pipeline_id) REFERENCES pipelines (space_id, id) ON DELETE CASCADE
) WITH (toast_tuple_target = 8160);
COMMENT ON TABLE pipeline_recent_days IS 'The days of pipeline_days, at least the last 40, in one row. Whoever counts a day of a pipeline anew holds its row, which therefore stays, also when nothing is left of it.';
COMMENT ON COLUMN pipeline_recent_days.days IS 'pipeline_days.packed of these days, the newest first.';
COMMENT ON COLUMN pipeline_recent_days.codes IS 'pipeline_days.codes of these days, the newest first.';
ALTER TABLE pipeline_recent_days ENABLE ROW LEVEL SECURITY;
CREATE POLICY within_space ON pipeline_recent_days USING (space_id = (SELECT current_space()));

COMMENT ON TABLE pipeline_weeks IS 'The days of pipeline_days, by the week (of its Monday).';

CREATE FUNCTION recent_days(space uuid, pipeline uuid) RETURNS TABLE (days bytea, codes bytea)
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT coalesce(string_agg(d.packed, '' ORDER BY d.day DESC), ''), coalesce(string_agg(d.codes, '' ORDER BY d.day DESC), '')
    FROM pipeline_days d
    WHERE d.space_id = space AND d.pipeline_id = pipeline AND d.day >= utc_day(now()) - 40
$$;
COMMENT ON FUNCTION recent_days(uuid, uuid) IS 'What pipeline_recent_days holds of a pipeline, if it is written now. Windows of 35 days are read from it, whatever the clocks of servers say.';

CREATE OR REPLACE FUNCTION count_days(spaces uuid[], pipelines uuid[], days date[]) RETURNS void
LANGUAGE plpgsql SET search_path = windsock, pg_temp AS $$
-- First the pipelines' rows of recent days are locked, always in the same order, and only then is anything counted: what
-- another transaction counted meanwhile is seen by this one. A pipeline that is being deleted has no days any more.
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
    INSERT INTO pipeline_days AS d (space_id, pipeline_id, day, total, success, failed, timed, seconds, durations, codes)
    SELECT t.space_id, t.pipeline_id, t.day, c.total, c.success, c.failed, c.timed, c.seconds, c.durations, c.codes
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
                            FILTER (WHERE b.code IS NOT NULL), '') AS codes
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
        seconds = excluded.seconds, durations = excluded.durations, codes = excluded.codes;
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
          WHERE t.day >= utc_day(now()) - 40) t
    CROSS JOIN LATERAL recent_days(t.space_id, t.pipeline_id) c
    WHERE x.space_id = t.space_id AND x.pipeline_id = t.pipeline_id;
END
$$;
COMMENT ON FUNCTION count_days(uuid[], uuid[], date[]) IS 'Counts these days of these pipelines anew, the weeks they are in, and the recent days of each pipeline.';

INSERT INTO pipeline_recent_days (space_id, pipeline_id, days, codes)
SELECT t.space_id, t.pipeline_id, c.days, c.codes
FROM (SELECT DISTINCT space_id, pipeline_id FROM pipeline_days) t
CROSS JOIN LATERAL recent_days(t.space_id, t.pipeline_id) c;
DELETE FROM pipeline_weeks WHERE total = 0;

-- Pipelines of a space ------------------------------------------------------------------------------------------------

ALTER TABLE space_versions ADD COLUMN pipelines bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN space_versions.pipelines IS 'Their sum is the number of the space''s pipelines.';

CREATE FUNCTION part_of(space uuid) RETURNS uuid
LANGUAGE plpgsql SET search_path = windsock, pg_temp AS $$
DECLARE
    mine uuid;
BEGIN
    SELECT v.part INTO mine FROM space_versions v WHERE v.space_id = space ORDER BY v.part LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        INSERT INTO space_versions (space_id, version) SELECT s.id, 0 FROM spaces s WHERE s.id = space RETURNING part INTO mine;
    END IF;
    RETURN mine;
END
$$;
COMMENT ON FUNCTION part_of(uuid) IS 'A part of space_versions that nobody else moves until this transaction ends, its own if it has one; null of a space that is being deleted.';

CREATE OR REPLACE FUNCTION bump(space uuid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = windsock, pg_temp AS $$
DECLARE
    -- By the clock, so that no version comes twice when a backup was put back.
    at CONSTANT bigint := extract(epoch FROM clock_timestamp()) * 1000000;
    mine CONSTANT uuid := part_of(space);
BEGIN
    UPDATE space_versions v SET version = greatest(v.version + 1, at) WHERE v.space_id = space AND v.part = mine;
END
$$;

CREATE FUNCTION count_pipelines(space uuid, more bigint) RETURNS void
LANGUAGE plpgsql SET search_path = windsock, pg_temp AS $$
DECLARE
    mine CONSTANT uuid := part_of(space);
BEGIN
    UPDATE space_versions v SET pipelines = v.pipelines + more WHERE v.space_id = space AND v.part = mine;
END
$$;
COMMENT ON FUNCTION count_pipelines(uuid, bigint) IS 'Adds to the number of a space''s pipelines, and waits for nobody.';

CREATE FUNCTION keep_number_of_pipelines() RETURNS trigger
LANGUAGE plpgsql SET search_path = windsock, pg_temp AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        PERFORM count_pipelines(space_id, count(*)) FROM became GROUP BY space_id;
    ELSE
        PERFORM count_pipelines(space_id, -count(*)) FROM was GROUP BY space_id;
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION keep_number_of_pipelines() IS 'Keeps space_versions.pipelines.';

CREATE TRIGGER number_of_new AFTER INSERT ON pipelines
    REFERENCING NEW TABLE AS became FOR EACH STATEMENT EXECUTE FUNCTION keep_number_of_pipelines();
CREATE TRIGGER number_of_deleted AFTER DELETE ON pipelines
    REFERENCING OLD TABLE AS was FOR EACH STATEMENT EXECUTE FUNCTION keep_number_of_pipelines();

-- A part of its own, with which the version stays what it is.
INSERT INTO space_versions (space_id, version, pipelines) SELECT space_id, 0, count(*) FROM pipelines GROUP BY 1;


-- Runs of a space -----------------------------------------------------------------------------------------------------

CREATE TABLE space_counts (
    space_id uuid   NOT NULL,
    part     uuid   NOT NULL,
    status   text   NOT NULL,
    run_type text   NOT NULL,
    total    bigint NOT NULL,
    CONSTRAINT space_counts_pkey PRIMARY KEY (space_id, part, status, run_type),
    CONSTRAINT space_counts_space FOREIGN KEY (space_id) REFERENCES spaces (id) ON DELETE CASCADE
) WITH (fillfactor = 70);
COMMENT ON TABLE space_counts IS 'How many runs a space has, by status and type: the sum of its parts, which are those of space_versions, so that those who write at the same time do not wait for each other. Kept by a trigger on runs.';
ALTER TABLE space_counts ENABLE ROW LEVEL SECURITY;
CREATE POLICY within_space ON space_counts USING (space_id = (SELECT current_space()));

CREATE FUNCTION count_runs(space uuid, of_status text, of_type text, more bigint) RETURNS void
LANGUAGE plpgsql SET search_path = windsock, pg_temp AS $$
BEGIN
    INSERT INTO space_counts AS k (space_id, part, status, run_type, total)
    SELECT s.id, part_of(s.id), of_status, of_type, more FROM spaces s WHERE s.id = space  -- not of one that is being deleted
    ON CONFLICT (space_id, part, status, run_type) DO UPDATE SET total = k.total + excluded.total;
END
$$;
COMMENT ON FUNCTION count_runs(uuid, text, text, bigint) IS 'Adds to the number of a space''s runs of a kind, and waits for nobody.';

CREATE OR REPLACE FUNCTION keep_counts() RETURNS trigger
LANGUAGE plpgsql SET search_path = windsock, pg_temp AS $$
-- In one order, so that two that write the same ones wait and do not block each other for good. A pipeline that is being
-- deleted has no counts any more; its space has.
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO run_counts AS k (space_id, pipeline_id, status, run_type, total)
        SELECT n.space_id, n.pipeline_id, n.status, n.run_type, count(*)
        FROM became n JOIN pipelines p ON p.space_id = n.space_id AND p.id = n.pipeline_id
        GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
        ON CONFLICT (space_id, pipeline_id, status, run_type) DO UPDATE SET total = k.total + excluded.total;
        PERFORM count_runs(space_id, status, run_type, count(*)) FROM became GROUP BY space_id, status, run_type;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO run_counts AS k (space_id, pipeline_id, status, run_type, total)
        SELECT o.space_id, o.pipeline_id, o.status, o.run_type, -count(*)
        FROM was o JOIN pipelines p ON p.space_id = o.space_id AND p.id = o.pipeline_id
        GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
        ON CONFLICT (space_id, pipeline_id, status, run_type) DO UPDATE SET total = k.total + excluded.total;
        PERFORM count_runs(space_id, status, run_type, -count(*)) FROM was GROUP BY space_id, status, run_type;
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
        PERFORM count_runs(space_id, status, run_type, sum(more))
        FROM (SELECT space_id, status, run_type, -1 AS more FROM was
              UNION ALL
              SELECT space_id, status, run_type, 1 FROM became) b
        GROUP BY space_id, status, run_type HAVING sum(more) <> 0;
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION keep_counts() IS 'Keeps run_counts and space_counts.';

-- What was there when this table came is a part of its own, which nobody moves.
INSERT INTO space_counts (space_id, part, status, run_type, total)
SELECT space_id, '00000000-0000-0000-0000-000000000000', status, run_type, sum(total) FROM run_counts GROUP BY 1, 3, 4;
