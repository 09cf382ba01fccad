-- fragment: matching
FROM pipelines p
WHERE {matching_pipelines}
  AND p.status = ANY (%(status)s::text[])  -- if status
  AND (p.status IN ('queued', 'running') OR (p.last_run ->> 'ended_at')::timestamptz >= %(since)s)  -- if never_succeeded
  AND NOT (p.status = 'success' AND (p.last_run ->> 'ended_at')::timestamptz >= %(since)s)  -- if never_succeeded
  AND NOT EXISTS (SELECT FROM pipeline_weeks w WHERE w.space_id = %(space_id)s AND w.pipeline_id = p.id AND w.week >= %(monday)s::date AND w.success > 0)  -- if never_succeeded
  AND NOT EXISTS (SELECT FROM pipeline_days d WHERE d.space_id = %(space_id)s AND d.pipeline_id = p.id AND d.day > %(day)s::date AND d.day < %(monday)s::date AND d.success > 0)  -- if never_succeeded
  AND NOT EXISTS (SELECT FROM runs r WHERE r.space_id = %(space_id)s AND r.pipeline_id = p.id AND r.ended_at >= %(since)s AND r.ended_at < %(midnight)s AND r.status = 'success')  -- if never_succeeded

-- fragment: pipeline
-- Text that the answer is put together from: nobody in between looks into it.
p.shown::text AS shown, p.external_id, c.connector, c.web_url, c.api_version, t.team,
p.id IN (SELECT w.pipeline_id FROM watches w WHERE w.space_id = %(space_id)s AND w.user_id = %(user_id)s) AS is_watched,
coalesce(s.recent_runs::text, '[]') AS recent_runs, k.*, f.*,
(SELECT count(*) FROM runs r
 WHERE r.space_id = %(space_id)s AND r.pipeline_id = p.id AND r.removed_at IS NULL
   AND r.status IN ('queued', 'running')) AS running,
CASE WHEN p.removed_at IS NULL AND p.missed_by IS NULL AND NOT p.needs_history
     THEN greatest(p.last_synced_at, c.last_complete_at) ELSE p.last_synced_at END AS last_synced_at

-- fragment: connectors_as_shown
-- Few, and each of them once, not for each row.
connectors_as_shown AS MATERIALIZED (
    SELECT c.id, json_build_object('id', c.id, 'name', c.name)::text AS connector,
           coalesce(c.config ->> 'web_url', c.config ->> 'base_url') AS web_url, y.api_version, y.last_complete_at
    FROM connectors c
    LEFT JOIN sync_states y ON y.space_id = %(space_id)s AND y.connector_id = c.id
    WHERE c.space_id = %(space_id)s
)

-- fragment: around
CROSS JOIN LATERAL (SELECT x.* FROM connectors_as_shown x WHERE x.id = p.connector_id LIMIT 1) c
LEFT JOIN LATERAL (
    SELECT json_build_object('id', x.id, 'name', x.name)::text AS team
    FROM teams x WHERE x.space_id = %(space_id)s AND x.id = p.team_id LIMIT 1
) t ON true
LEFT JOIN LATERAL (
    SELECT x.recent_runs FROM pipeline_strips x WHERE x.space_id = %(space_id)s AND x.pipeline_id = p.id LIMIT 1
) s ON true
LEFT JOIN LATERAL ({window}) k ON true
CROSS JOIN LATERAL ({first_day}) f

-- fragment: of_page
-- Each by itself (LIMIT keeps it so): joined as a table, PostgreSQL may take all pipelines for few before it has counted
-- them, and make the numbers of each for each row of the page.
FROM page
CROSS JOIN LATERAL (SELECT x.* FROM pipelines x WHERE x.space_id = %(space_id)s AND x.id = page.id LIMIT 1) p
{around}

-- fragment: kept
-- Weeks and days as they are kept, of those that began since %(since)s. All of them integers: the sum of what could be
-- a bigint is made of numerics, which takes longer.
SELECT w.total, w.success, w.failed, w.timed, w.seconds, w.durations
FROM pipeline_weeks w
WHERE w.space_id = %(space_id)s AND w.pipeline_id = p.id AND w.week >= %(monday)s::date
UNION ALL
SELECT d.total, d.success, d.failed, d.timed, d.seconds, d.durations
FROM pipeline_days d
WHERE d.space_id = %(space_id)s AND d.pipeline_id = p.id
  AND d.day > %(day)s::date AND d.day < %(monday)s::date

-- fragment: window
-- Of the whole days of a window what is kept: of a short one a row, which may begin before it.
SELECT x.days, x.codes, NULL::bytea AS durations
FROM pipeline_recent_days x
WHERE %(is_recent)s AND x.space_id = %(space_id)s AND x.pipeline_id = p.id
UNION ALL
SELECT int4send(%(day)s::date + 1 - '1970-01-01'::date) || int4send(sum(e.total)::integer)
       || int4send(sum(e.success)::integer) || int4send(sum(e.failed)::integer) || int4send(sum(e.timed)::integer)
       || float8send(sum(e.seconds)) || int4send(0), NULL, string_agg(e.durations, '')
FROM ({kept}) e
WHERE NOT %(is_recent)s
HAVING NOT %(is_recent)s
LIMIT 1

-- fragment: first_day
-- Of the day in which a window begins the runs that ended in it; buckets as in pipeline_days.codes.
SELECT count(*) AS total, count(*) FILTER (WHERE r.status = 'success') AS success,
       count(*) FILTER (WHERE r.status = 'failed') AS failed, count(r.duration_seconds) AS timed,
       coalesce(sum(r.duration_seconds), 0) AS seconds,
       coalesce(string_agg(int2send((duration_code(r.duration_seconds) | (1 << 12))::smallint), ''), '') AS more_codes
FROM runs r
WHERE r.space_id = %(space_id)s AND r.pipeline_id = p.id
  AND r.ended_at >= %(since)s AND r.ended_at < %(midnight)s

-- name: list_pipelines
WITH {connectors_as_shown}, page AS MATERIALIZED (
    SELECT p.id
    {matching}
    ORDER BY p.name, p.id
    LIMIT %(limit)s OFFSET %(offset)s
)
SELECT {pipeline}
{of_page}
ORDER BY p.name, p.id

-- fragment: page_by_key
page AS MATERIALIZED (
    SELECT id, position
    FROM unnest(ARRAY(
        SELECT k.id
        FROM keyed k
        ORDER BY CASE WHEN %(descending)s THEN k.key END DESC NULLS LAST,
                 CASE WHEN NOT %(descending)s THEN k.key END NULLS LAST,
                 CASE WHEN %(by)s::text = 'name' AND %(descending)s THEN k.name END DESC,
                 k.name, k.id
        LIMIT %(limit)s OFFSET %(offset)s
    )) WITH ORDINALITY AS given (id, position)
)

-- name: list_pipelines_sorted_by_column
WITH {connectors_as_shown}, keyed AS (
    SELECT p.id, p.name,
           CASE %(by)s::text
               WHEN 'criticality' THEN array_position(ARRAY['low', 'medium', 'high', 'critical'], p.criticality)
               WHEN 'last_run_at' THEN extract(epoch FROM p.last_run_at)
           END AS key
    {matching}
), {page_by_key}
SELECT {pipeline}
{of_page}
ORDER BY page.position, p.id

-- name: list_pipelines_sorted_by_numbers
WITH {connectors_as_shown}, matched AS (
    SELECT p.id, p.name
    {matching}
), keyed AS (
    SELECT p.id, p.name,
           CASE %(by)s::text
               WHEN 'failed_count' THEN k.failed + f.failed
               WHEN 'success_rate' THEN (k.success + f.success)::double precision
                                        / nullif(k.success + f.success + k.failed + f.failed, 0)
           END AS key
    FROM matched p
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(e.success), 0) AS success, coalesce(sum(e.failed), 0) AS failed FROM ({kept}) e
    ) k
    CROSS JOIN LATERAL ({first_day}) f
), {page_by_key}
SELECT {pipeline}
{of_page}
ORDER BY page.position, p.id

-- name: durations_of_pipelines
-- Bounded by the number of pipelines: what a percentile of each is made of, by name.
WITH matched AS (
    SELECT p.id, p.name
    {matching}
)
SELECT p.id, k.*, f.more_codes
FROM matched p
LEFT JOIN LATERAL ({window}) k ON true
CROSS JOIN LATERAL ({first_day}) f
ORDER BY p.name, p.id

-- name: list_these_pipelines
WITH {connectors_as_shown}, page AS MATERIALIZED (
    SELECT id, position FROM unnest(%(ids)s::uuid[]) WITH ORDINALITY AS given (id, position)
)
SELECT {pipeline}
{of_page}
ORDER BY page.position, p.id

-- name: count_pipelines
SELECT count(*) AS total
{matching}

-- name: known_number_of_pipelines
-- All of them, as a trigger has counted them.
SELECT coalesce(sum(v.pipelines), 0)::bigint AS total FROM space_versions v WHERE v.space_id = %(space_id)s

-- name: states_of_pipelines
SELECT p.status, count(*) AS total, count(*) FILTER (WHERE p.is_paused) AS paused
FROM pipelines p
WHERE {matching_pipelines}
GROUP BY p.status

-- name: get_pipeline
WITH {connectors_as_shown}
SELECT {pipeline}, p.provider_metadata::text AS provider_metadata
FROM pipelines p
{around}
WHERE p.space_id = %(space_id)s AND p.id = %(pipeline_id)s

-- name: set_team
UPDATE pipelines SET team_id = %(team_id)s, updated_at = now()
WHERE space_id = %(space_id)s AND id = ANY (%(pipeline_ids)s::uuid[]) AND team_id IS DISTINCT FROM %(team_id)s

-- name: set_criticality
UPDATE pipelines SET criticality = %(criticality)s, updated_at = now()
WHERE space_id = %(space_id)s AND id = ANY (%(pipeline_ids)s::uuid[]) AND criticality <> %(criticality)s

-- name: watch
INSERT INTO watches (space_id, pipeline_id, user_id)
SELECT p.space_id, p.id, %(user_id)s FROM pipelines p WHERE p.space_id = %(space_id)s AND p.id = %(pipeline_id)s
ON CONFLICT DO NOTHING

-- name: unwatch
DELETE FROM watches WHERE space_id = %(space_id)s AND pipeline_id = %(pipeline_id)s AND user_id = %(user_id)s

-- name: has_pipeline
SELECT id FROM pipelines WHERE space_id = %(space_id)s AND id = %(pipeline_id)s

-- name: days_of_pipeline
-- Bounded by the days of the window; the day in which it begins is whole.
SELECT d.day, d.total, d.success, d.failed
FROM pipeline_days d
WHERE d.space_id = %(space_id)s AND d.pipeline_id = %(pipeline_id)s AND d.day >= %(day)s AND d.total > 0
ORDER BY d.day

-- name: ended_runs_of_pipeline
-- The newest that ended in the window, oldest first.
SELECT e.* FROM (
    SELECT r.id, r.external_id, r.status, r.ended_at, r.duration_seconds
    FROM runs r
    WHERE r.space_id = %(space_id)s AND r.pipeline_id = %(pipeline_id)s
      AND r.ended_at >= %(since)s AND r.duration_seconds IS NOT NULL
    ORDER BY r.ended_at DESC, r.id DESC
    LIMIT %(limit)s
) e
ORDER BY e.ended_at, e.id

-- name: said_about_pipeline
-- Of its newest runs alone, newest first, so that it costs the same however long its history is.
SELECT m.id, m.run_id, r.external_id, m.content, m.created_at, m.is_edited, m.parent_id,
       CASE WHEN u.id IS NOT NULL THEN jsonb_build_object('id', u.id, 'name', u.name) END AS author
FROM (
    SELECT x.id, x.external_id FROM runs x
    WHERE x.space_id = %(space_id)s AND x.pipeline_id = %(pipeline_id)s
    ORDER BY x.run_at DESC, x.id DESC
    LIMIT %(runs)s
) r
JOIN comments m ON m.space_id = %(space_id)s AND m.run_id = r.id
LEFT JOIN users u ON u.id = m.author_id
ORDER BY m.created_at DESC, m.id DESC
LIMIT %(limit)s
