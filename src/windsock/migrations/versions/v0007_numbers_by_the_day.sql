-- What a list says of a pipeline is kept by the day, so that a year costs as much as a week; and each space has a version,
-- by which an answer that somebody has already can be known to be still true.

-- Runs by the day -----------------------------------------------------------------------------------------------------

CREATE FUNCTION duration_code(seconds double precision) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    -- Null of null, where least() would say 2800.
    SELECT CASE WHEN seconds < 0.001 THEN 0
                WHEN seconds >= 0.001 THEN least(2800, ceil(ln(seconds / 0.001) / ln(1.01)))::integer END
$$;
COMMENT ON FUNCTION duration_code(double precision) IS 'The logarithmic bucket of a duration: n holds what is longer than 1.01^(n-1) ms, up to 1.01^n ms, so that its middle is wrong by half a percent at most; 0 what is shorter than 1 ms; 2800 what is longer than 40 years.';

CREATE TABLE pipeline_days (
    space_id    uuid    NOT NULL,
    pipeline_id uuid    NOT NULL,
    day         date    NOT NULL,
    total       integer NOT NULL DEFAULT 0,
    success     integer NOT NULL DEFAULT 0,
    failed      integer NOT NULL DEFAULT 0,
    timed       integer NOT NULL DEFAULT 0,
    seconds     double precision NOT NULL DEFAULT 0,
    durations   bytea   NOT NULL DEFAULT '',
    CONSTRAINT pipeline_days_pkey PRIMARY KEY (space_id, pipeline_id, day),
    CONSTRAINT pipeline_days_pipeline FOREIGN KEY (space_id, pipeline_id) REFERENCES pipelines (space_id, id) ON DELETE CASCADE
);
COMMENT ON TABLE pipeline_days IS 'The runs of a pipeline that ended on a day (UTC), counted. Kept by a trigger on runs, so that it is right whoever writes.';
COMMENT ON COLUMN pipeline_days.timed IS 'Those that have a duration; seconds is the sum.';
COMMENT ON COLUMN pipeline_days.durations IS 'Six bytes per bucket of duration_code that is not empty: its number (2) and how many (4), big-endian.';
ALTER TABLE pipeline_days ENABLE ROW LEVEL SECURITY;
CREATE POLICY within_space ON pipeline_days USING (space_id = (SELECT current_space()));

CREATE FUNCTION utc_day(at timestamptz) RETURNS date
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT (at AT TIME ZONE 'UTC')::date
$$;
COMMENT ON FUNCTION utc_day(timestamptz) IS 'The day of a moment, in UTC.';

CREATE FUNCTION count_days(spaces uuid[], pipelines uuid[], days date[]) RETURNS void
LANGUAGE plpgsql SET search_path = windsock, pg_temp AS $$
-- First the rows are locked, always in the same order, and only then counted: what another transaction counted meanwhile
-- is seen by this one. A pipeline that is being deleted has no days any more.
BEGIN
    INSERT INTO pipeline_days (space_id, pipeline_id, day)
    SELECT t.space_id, t.pipeline_id, t.day
    FROM unnest(spaces, pipelines, days) AS t (space_id, pipeline_id, day)
    JOIN pipelines p ON p.space_id = t.space_id AND p.id = t.pipeline_id
    ORDER BY 1, 2, 3
    ON CONFLICT DO NOTHING;
    PERFORM FROM pipeline_days d
    JOIN unnest(spaces, pipelines, days) AS t (space_id, pipeline_id, day)
      ON d.space_id = t.space_id AND d.pipeline_id = t.pipeline_id AND d.day = t.day
    ORDER BY d.space_id, d.pipeline_id, d.day
    FOR UPDATE OF d;
    UPDATE pipeline_days d
    SET total = c.total, success = c.success, failed = c.failed, timed = c.timed, seconds = c.seconds, durations = c.durations
    FROM unnest(spaces, pipelines, days) AS t (space_id, pipeline_id, day)
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
    WHERE d.space_id = t.space_id AND d.pipeline_id = t.pipeline_id AND d.day = t.day;
    DELETE FROM pipeline_days d
    USING unnest(spaces, pipelines, days) AS t (space_id, pipeline_id, day)
    WHERE d.space_id = t.space_id AND d.pipeline_id = t.pipeline_id AND d.day = t.day AND d.total = 0;
END
$$;
COMMENT ON FUNCTION count_days(uuid[], uuid[], date[]) IS 'Counts these days of these pipelines anew.';

CREATE FUNCTION keep_days() RETURNS trigger
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
            SELECT DISTINCT e.space_id, e.pipeline_id, utc_day(e.ended_at) AS day
            FROM was o
            JOIN became n ON n.space_id = o.space_id AND n.id = o.id
            CROSS JOIN LATERAL (VALUES (o.space_id, o.pipeline_id, o.ended_at), (n.space_id, n.pipeline_id, n.ended_at))
                AS e (space_id, pipeline_id, ended_at)
            WHERE e.ended_at IS NOT NULL
              AND (o.pipeline_id, o.status, o.started_at, o.ended_at)
                  IS DISTINCT FROM (n.pipeline_id, n.status, n.started_at, n.ended_at)
        ) t;
    END IF;
    IF days IS NOT NULL THEN
        PERFORM count_days(spaces, pipelines, days);
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION keep_days() IS 'Keeps pipeline_days: counts the days anew on which a run that was written ended, or had ended.';

CREATE TRIGGER days_of_new AFTER INSERT ON runs
    REFERENCING NEW TABLE AS became FOR EACH STATEMENT EXECUTE FUNCTION keep_days();
CREATE TRIGGER days_of_changed AFTER UPDATE ON runs
    REFERENCING OLD TABLE AS was NEW TABLE AS became FOR EACH STATEMENT EXECUTE FUNCTION keep_days();
CREATE TRIGGER days_of_deleted AFTER DELETE ON runs
    REFERENCING OLD TABLE AS was FOR EACH STATEMENT EXECUTE FUNCTION keep_days();

INSERT INTO pipeline_days (space_id, pipeline_id, day, total, success, failed, timed, seconds, durations)
SELECT b.space_id, b.pipeline_id, b.day, sum(b.total), sum(b.success), sum(b.failed), sum(b.timed), coalesce(sum(b.seconds), 0),
       coalesce(string_agg(int2send(b.code::smallint) || int4send(b.timed::integer), '') FILTER (WHERE b.code IS NOT NULL), '')
FROM (
    SELECT space_id, pipeline_id, utc_day(ended_at) AS day, duration_code(duration_seconds) AS code, count(*) AS total,
           count(duration_seconds) AS timed, count(*) FILTER (WHERE status = 'success') AS success,
           count(*) FILTER (WHERE status = 'failed') AS failed, sum(duration_seconds) AS seconds
    FROM runs WHERE ended_at IS NOT NULL
    GROUP BY 1, 2, 3, 4
) b
GROUP BY 1, 2, 3;

-- The day in which a window begins is read from the runs themselves; with these columns the index alone is enough.
DROP INDEX runs_ended_of_pipeline;
CREATE INDEX runs_ended_of_pipeline ON runs (space_id, pipeline_id, ended_at) INCLUDE (status, duration_seconds);


-- Runs by kind --------------------------------------------------------------------------------------------------------

CREATE TABLE run_counts (
    space_id    uuid   NOT NULL,
    pipeline_id uuid   NOT NULL,
    status      text   NOT NULL,
    run_type    text   NOT NULL,
    total       bigint NOT NULL,
    CONSTRAINT run_counts_pkey PRIMARY KEY (space_id, pipeline_id, status, run_type),
    CONSTRAINT run_counts_pipeline FOREIGN KEY (space_id, pipeline_id) REFERENCES pipelines (space_id, id) ON DELETE CASCADE
) WITH (fillfactor = 70);
COMMENT ON TABLE run_counts IS 'How many runs a pipeline has, by status and type: a list says how many there are without counting them. Kept by a trigger on runs.';
ALTER TABLE run_counts ENABLE ROW LEVEL SECURITY;
CREATE POLICY within_space ON run_counts USING (space_id = (SELECT current_space()));

CREATE FUNCTION keep_counts() RETURNS trigger
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
        SELECT e.space_id, e.pipeline_id, e.status, e.run_type, sum(e.more)
        FROM was o
        JOIN became n ON n.space_id = o.space_id AND n.id = o.id
        CROSS JOIN LATERAL (VALUES (o.space_id, o.pipeline_id, o.status, o.run_type, -1),
                                   (n.space_id, n.pipeline_id, n.status, n.run_type, 1))
            AS e (space_id, pipeline_id, status, run_type, more)
        JOIN pipelines p ON p.space_id = e.space_id AND p.id = e.pipeline_id
        WHERE (o.pipeline_id, o.status, o.run_type) IS DISTINCT FROM (n.pipeline_id, n.status, n.run_type)
        GROUP BY 1, 2, 3, 4 HAVING sum(e.more) <> 0 ORDER BY 1, 2, 3, 4
        ON CONFLICT (space_id, pipeline_id, status, run_type) DO UPDATE SET total = k.total + excluded.total;
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION keep_counts() IS 'Keeps run_counts.';

CREATE TRIGGER counts_of_new AFTER INSERT ON runs
    REFERENCING NEW TABLE AS became FOR EACH STATEMENT EXECUTE FUNCTION keep_counts();
CREATE TRIGGER counts_of_changed AFTER UPDATE ON runs
    REFERENCING OLD TABLE AS was NEW TABLE AS became FOR EACH STATEMENT EXECUTE FUNCTION keep_counts();
CREATE TRIGGER counts_of_deleted AFTER DELETE ON runs
    REFERENCING OLD TABLE AS was FOR EACH STATEMENT EXECUTE FUNCTION keep_counts();

INSERT INTO run_counts (space_id, pipeline_id, status, run_type, total)
SELECT space_id, pipeline_id, status, run_type, count(*) FROM runs GROUP BY 1, 2, 3, 4;


-- The newest run ------------------------------------------------------------------------------------------------------

ALTER TABLE pipelines ADD COLUMN last_run_at timestamptz;
COMMENT ON COLUMN pipelines.last_run_at IS 'When the newest run began, or was queued, or due; kept by the sync, to sort by.';
UPDATE pipelines p
SET last_run_at = (SELECT coalesce(r.started_at, r.queued_at, r.run_at) FROM runs r
                   WHERE r.space_id = p.space_id AND r.id = (p.last_run ->> 'id')::uuid)
WHERE p.last_run IS NOT NULL;


-- The version of a space ----------------------------------------------------------------------------------------------

CREATE TABLE space_versions (
    space_id uuid   NOT NULL,
    part     uuid   NOT NULL DEFAULT uuid7(),
    version  bigint NOT NULL,
    CONSTRAINT space_versions_pkey PRIMARY KEY (space_id, part),
    CONSTRAINT space_versions_space FOREIGN KEY (space_id) REFERENCES spaces (id) ON DELETE CASCADE
) WITH (fillfactor = 40);
COMMENT ON TABLE space_versions IS 'Their sum is the version of a space: it grows with every transaction that changes what the space shows. Those who write at the same time move different parts, so that none waits for another: there are as many as there ever were at once.';
ALTER TABLE space_versions ENABLE ROW LEVEL SECURITY;
CREATE POLICY within_space ON space_versions USING (space_id = (SELECT current_space()));

CREATE FUNCTION bump(space uuid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = windsock, pg_temp AS $$
DECLARE
    -- By the clock, so that no version comes twice when a backup was put back.
    at CONSTANT bigint := extract(epoch FROM clock_timestamp()) * 1000000;
BEGIN
    -- A part that nobody else is moving; the one that this transaction has moved already is one of those.
    UPDATE space_versions v SET version = greatest(v.version + 1, at)
    WHERE v.space_id = space AND v.part = (
        SELECT f.part FROM space_versions f WHERE f.space_id = space ORDER BY f.part LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED);
    IF NOT FOUND THEN  -- not of a space that is being deleted
        INSERT INTO space_versions (space_id, version) SELECT s.id, at FROM spaces s WHERE s.id = space;
    END IF;
END
$$;
COMMENT ON FUNCTION bump(uuid) IS 'Moves the version of a space, and waits for nobody.';

CREATE FUNCTION bump_after_rows() RETURNS trigger
LANGUAGE plpgsql SET search_path = windsock, pg_temp AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        PERFORM bump(space_id) FROM (SELECT DISTINCT space_id FROM was ORDER BY 1) s;
    ELSE
        PERFORM bump(space_id) FROM (SELECT DISTINCT space_id FROM became ORDER BY 1) s;
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION bump_after_rows() IS 'Moves the version of the spaces in which a statement has written; one that found nothing to write moves none.';

CREATE FUNCTION bump_after_row() RETURNS trigger
LANGUAGE plpgsql SET search_path = windsock, pg_temp AS $$
BEGIN
    PERFORM bump(CASE WHEN TG_OP = 'DELETE' THEN OLD.space_id ELSE NEW.space_id END);
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION bump_after_row() IS 'As bump_after_rows, for tables in which a statement writes few rows.';

CREATE FUNCTION bump_after_renaming() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = windsock, pg_temp AS $$
BEGIN
    PERFORM bump(s.id) FROM (SELECT id FROM spaces ORDER BY id) s;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION bump_after_renaming() IS 'A user may have commented or triggered in any space.';

CREATE TRIGGER version_of_new AFTER INSERT ON pipelines
    REFERENCING NEW TABLE AS became FOR EACH STATEMENT EXECUTE FUNCTION bump_after_rows();
CREATE TRIGGER version_of_changed AFTER UPDATE ON pipelines
    REFERENCING NEW TABLE AS became FOR EACH STATEMENT EXECUTE FUNCTION bump_after_rows();
CREATE TRIGGER version_of_deleted AFTER DELETE ON pipelines
    REFERENCING OLD TABLE AS was FOR EACH STATEMENT EXECUTE FUNCTION bump_after_rows();
CREATE TRIGGER version_of_new AFTER INSERT ON runs
    REFERENCING NEW TABLE AS became FOR EACH STATEMENT EXECUTE FUNCTION bump_after_rows();
CREATE TRIGGER version_of_changed AFTER UPDATE ON runs
    REFERENCING NEW TABLE AS became FOR EACH STATEMENT EXECUTE FUNCTION bump_after_rows();
CREATE TRIGGER version_of_deleted AFTER DELETE ON runs
    REFERENCING OLD TABLE AS was FOR EACH STATEMENT EXECUTE FUNCTION bump_after_rows();
CREATE TRIGGER version_of_new AFTER INSERT ON task_runs
    REFERENCING NEW TABLE AS became FOR EACH STATEMENT EXECUTE FUNCTION bump_after_rows();
CREATE TRIGGER version_of_changed AFTER UPDATE ON task_runs
    REFERENCING NEW TABLE AS became FOR EACH STATEMENT EXECUTE FUNCTION bump_after_rows();
CREATE TRIGGER version_of_deleted AFTER DELETE ON task_runs
    REFERENCING OLD TABLE AS was FOR EACH STATEMENT EXECUTE FUNCTION bump_after_rows();
CREATE TRIGGER version AFTER INSERT OR UPDATE OR DELETE ON comments FOR EACH ROW EXECUTE FUNCTION bump_after_row();
CREATE TRIGGER version AFTER INSERT OR UPDATE OR DELETE ON watches FOR EACH ROW EXECUTE FUNCTION bump_after_row();
CREATE TRIGGER version AFTER INSERT OR UPDATE OR DELETE ON teams FOR EACH ROW EXECUTE FUNCTION bump_after_row();
CREATE TRIGGER version AFTER INSERT OR UPDATE OR DELETE ON connectors FOR EACH ROW EXECUTE FUNCTION bump_after_row();
-- What lists show of it: until when their rows are true, and which Airflow their links lead to.
CREATE TRIGGER version AFTER UPDATE ON sync_states
    FOR EACH ROW WHEN ((OLD.last_complete_at, OLD.api_version) IS DISTINCT FROM (NEW.last_complete_at, NEW.api_version))
    EXECUTE FUNCTION bump_after_row();
CREATE TRIGGER version AFTER UPDATE OF name ON users
    FOR EACH ROW WHEN (OLD.name IS DISTINCT FROM NEW.name) EXECUTE FUNCTION bump_after_renaming();

DROP FUNCTION authorize(bytea, text);
CREATE FUNCTION authorize(hash bytea, space_slug text) RETURNS TABLE (
    user_id uuid, email text, name text, is_superadmin boolean, key_id uuid, space_id uuid, slug text, role text, version bigint)
LANGUAGE sql SECURITY DEFINER SET search_path = windsock, pg_temp AS $$
    WITH presented AS (
        SELECT k.id, k.last_used_at, u.id AS user_id, u.email, u.name, u.is_superadmin
        FROM api_keys k JOIN users u ON u.id = k.user_id
        WHERE k.key_hash = hash AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now()) AND u.is_active
    ), used AS (
        UPDATE api_keys k SET last_used_at = now()
        FROM presented p
        WHERE k.id = p.id AND (p.last_used_at IS NULL OR p.last_used_at < now() - interval '1 minute')
    )
    SELECT p.user_id, p.email, p.name, p.is_superadmin, p.id, s.id, s.slug,
           CASE WHEN p.is_superadmin THEN 'admin' ELSE m.role END,
           (SELECT coalesce(sum(v.version), 0)::bigint FROM space_versions v WHERE v.space_id = s.id)
    FROM presented p
    LEFT JOIN spaces s ON s.slug = space_slug
    LEFT JOIN memberships m ON m.space_id = s.id AND m.user_id = p.user_id
$$;
COMMENT ON FUNCTION authorize IS 'From the hash of a key and a slug to the caller, the space, the role in it (null: none) and its version.';


-- Who answered --------------------------------------------------------------------------------------------------------

ALTER TABLE sync_states ADD COLUMN vouched_until timestamptz, ADD COLUMN vouched_at timestamptz;
COMMENT ON COLUMN sync_states.vouched_until IS 'The watermark of the last sync that made sure who answered: when another Airflow is found out, what was read since is read again.';
COMMENT ON COLUMN sync_states.vouched_at IS 'When that sync began, by our clock.';
