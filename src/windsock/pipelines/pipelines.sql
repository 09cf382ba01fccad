-- fragment: pipeline_filters
FROM pipelines p
WHERE {matching_pipelines}
  AND p.status = ANY (%(status)s::text[])  -- if status
  AND (p.status IN ('queued', 'running') OR (p.status <> 'success' AND (p.last_run ->> 'ended_at')::timestamptz >= %(since)s))  -- if never_succeeded
  AND NOT EXISTS (SELECT FROM pipeline_daily_stats d WHERE d.space_id = %(space_id)s AND d.pipeline_id = p.id AND d.day > %(first_day)s::date AND d.success > 0)  -- if never_succeeded
  AND NOT EXISTS (SELECT FROM runs r WHERE r.space_id = %(space_id)s AND r.pipeline_id = p.id AND r.removed_at IS NULL AND r.ended_at >= %(since)s AND r.ended_at < %(second_day)s AND r.status = 'success')  -- if never_succeeded

-- fragment: is_overdue
-- As overdue, where the sync state c of the connector is joined. Compared with when the DAGs were last read, so that a
-- connector that is late does not make all its pipelines overdue.
({due} AND coalesce(p.next_run_at < c.pipelines_listed_at - {grace}, false))

-- fragment: attention
-- The higher, the sooner somebody should look; in each class the critical ones first.
(4 * CASE WHEN p.is_active AND p.status = 'failed' THEN 4
          WHEN {is_overdue} THEN 3
          WHEN p.has_import_errors THEN 2
          WHEN NOT p.is_active THEN -1
          WHEN p.status IN ('queued', 'running') THEN 1
          ELSE 0 END
 + array_position(ARRAY['low', 'medium', 'high', 'critical'], p.criticality))

-- fragment: window_stats
-- Statistics of the pipeline p in the window: its whole days, and the runs of its first day, which is not whole. Each
-- pipeline by itself: joined as a table, PostgreSQL may aggregate those of all pipelines for the few of a page.
SELECT sum(d.total) AS total_runs, sum(d.success) AS success_count, sum(d.failed) AS failed_count,
       sum(d.duration_count) AS duration_count, sum(d.duration_sum) AS duration_sum,
       string_agg(d.duration_histogram, '') AS duration_histogram
FROM (
    SELECT d.total, d.success, d.failed, d.duration_count, d.duration_sum, d.duration_histogram
    FROM pipeline_daily_stats d
    WHERE d.space_id = %(space_id)s AND d.pipeline_id = p.id AND d.day > %(first_day)s::date
    UNION ALL
    SELECT * FROM run_stats(%(space_id)s, p.id, %(since)s, %(second_day)s)
) d

-- fragment: pipeline_rows
-- The pipelines of `page` in its order, each with everything that belongs to it. Everything is looked up pipeline by
-- pipeline (LIMIT keeps it so), since PostgreSQL may join whole tables before it has statistics of them.
SELECT p.id, p.space_id, p.provider, p.external_id, p.name, p.description, p.connector_id, c.name AS connector_name, p.owner,
       p.owners, p.tags, p.schedule, p.schedule_description, p.next_run_at,
       coalesce(p.next_run_at <= now(), false) AS is_next_run_due, coalesce({is_overdue}, false) AS is_overdue, p.is_paused, p.is_draining, p.is_active,
       p.has_import_errors, p.status, p.criticality, p.team_id,
       (SELECT t.name FROM teams t WHERE t.space_id = %(space_id)s AND t.id = p.team_id) AS team_name,
       EXISTS (SELECT FROM watches w WHERE w.space_id = %(space_id)s AND w.pipeline_id = p.id AND w.user_id = %(user_id)s)
           AS is_watched,
       p.last_run,
       coalesce((SELECT s.recent_runs FROM pipeline_recent_runs s WHERE s.space_id = %(space_id)s AND s.pipeline_id = p.id), '[]')
           AS recent_runs,
       (SELECT count(*) FROM runs r
        WHERE r.space_id = %(space_id)s AND r.pipeline_id = p.id AND r.removed_at IS NULL AND r.status IN ('queued', 'running'))
           AS running_count,
       stats.*, c.web_url, c.api_version,
       CASE WHEN p.removed_at IS NULL AND p.missing_since_sync_id IS NULL AND NOT p.needs_backfill
            THEN greatest(p.last_synced_at, c.last_complete_at) ELSE p.last_synced_at END AS last_synced_at,
       p.created_at, p.updated_at
FROM page
CROSS JOIN LATERAL (SELECT x.* FROM pipelines x WHERE x.space_id = %(space_id)s AND x.id = page.id LIMIT 1) p
CROSS JOIN LATERAL (
    SELECT x.name, y.last_complete_at, y.pipelines_listed_at, y.api_version, coalesce(x.config ->> 'web_url', x.config ->> 'base_url') AS web_url
    FROM connectors x LEFT JOIN sync_states y ON y.space_id = %(space_id)s AND y.connector_id = x.id
    WHERE x.space_id = %(space_id)s AND x.id = p.connector_id LIMIT 1
) c
CROSS JOIN LATERAL (
    {window_stats}
) stats
ORDER BY page.position, p.id

-- fragment: name_key
-- As in the index pipelines_by_name, which cannot hold a name of 2,000 characters.
left(p.name, 600)

-- name: list_pipelines
WITH page AS MATERIALIZED (
    SELECT id, row_number() OVER () AS position FROM (
        SELECT p.id
        {pipeline_filters}
        ORDER BY {name_key}, p.id
        LIMIT %(limit)s OFFSET %(offset)s
    ) p
)
{pipeline_rows}

-- fragment: page_by_key
SELECT id, row_number() OVER () AS position FROM (
    SELECT k.id
    FROM keyed k
    ORDER BY CASE WHEN %(descending)s THEN k.key END DESC NULLS LAST,
             CASE WHEN NOT %(descending)s THEN k.key END NULLS LAST,
             CASE WHEN %(by)s::text = 'name' AND %(descending)s THEN k.name END DESC,
             k.name, k.id
    LIMIT %(limit)s OFFSET %(offset)s
) k

-- name: list_pipelines_sorted_by_column
WITH keyed AS (
    SELECT p.id, p.name,
           CASE %(by)s::text
               WHEN 'criticality' THEN array_position(ARRAY['low', 'medium', 'high', 'critical'], p.criticality)
               WHEN 'last_run_at' THEN extract(epoch FROM p.last_run_at)
           END AS key
    {pipeline_filters}
), page AS MATERIALIZED (
    {page_by_key}
)
{pipeline_rows}

-- name: list_pipelines_sorted_by_attention
WITH page AS MATERIALIZED (
    SELECT id, row_number() OVER () AS position FROM (
        SELECT p.id
        FROM (
            SELECT p.*
            {pipeline_filters}
        ) p
        LEFT JOIN sync_states c ON c.space_id = %(space_id)s AND c.connector_id = p.connector_id
        ORDER BY {attention} DESC, {name_key}, p.id
        LIMIT %(limit)s OFFSET %(offset)s
    ) p
)
{pipeline_rows}

-- name: list_pipelines_sorted_by_count
-- Aggregates the space once: its whole days, and the runs of the first. Two partial indexes hold what failed.
WITH matching AS MATERIALIZED (
    SELECT p.id, p.name
    {pipeline_filters}
), counts AS (
    SELECT d.pipeline_id, sum(d.success) AS success, sum(d.failed) AS failed
    FROM (
        SELECT d.pipeline_id, d.success, d.failed
        FROM pipeline_daily_stats d
        WHERE d.space_id = %(space_id)s AND d.day > %(first_day)s::date
          AND d.failed > 0  -- if failed_only
        UNION ALL
        SELECT r.pipeline_id, (r.status = 'success')::integer, (r.status = 'failed')::integer
        FROM matching m
        JOIN runs r ON r.space_id = %(space_id)s AND r.pipeline_id = m.id
        WHERE r.removed_at IS NULL AND r.ended_at >= %(since)s AND r.ended_at < %(second_day)s
          AND r.status = 'failed'  -- if failed_only
    ) d
    GROUP BY d.pipeline_id
), keyed AS (
    SELECT m.id, m.name,
           CASE %(by)s::text
               WHEN 'failed_count' THEN coalesce(c.failed, 0)::float8
               WHEN 'success_rate' THEN c.success / nullif(c.success + c.failed, 0)::float8
           END AS key
    FROM matching m
    LEFT JOIN counts c ON c.pipeline_id = m.id
), page AS MATERIALIZED (
    {page_by_key}
)
{pipeline_rows}

-- name: list_pipelines_by_id
WITH page AS MATERIALIZED (
    SELECT id, position FROM unnest(%(ids)s::uuid[]) WITH ORDINALITY AS given (id, position)
)
{pipeline_rows}

-- name: list_pipeline_ids
-- Bounded by the number of pipelines: all of them, by name.
SELECT p.id
{pipeline_filters}
ORDER BY {name_key}, p.id

-- name: list_window_histograms
-- In the order of the ids.
SELECT stats.duration_histogram
FROM unnest(%(ids)s::uuid[]) WITH ORDINALITY AS p (id, position)
CROSS JOIN LATERAL (
    {window_stats}
) stats
ORDER BY p.position

-- name: count_pipelines
SELECT count(*) AS total
{pipeline_filters}

-- name: count_pipelines_by_status
SELECT p.status, count(*) AS total, count(*) FILTER (WHERE p.is_paused) AS paused
FROM pipelines p
WHERE {matching_pipelines}
GROUP BY p.status

-- name: get_pipeline
WITH page AS (
    SELECT %(pipeline_id)s::uuid AS id, 1 AS position
)
{pipeline_rows}

-- name: get_pipeline_metadata
SELECT p.provider_metadata::json, (
    SELECT json_build_object('name', r.team_name, 'id', t.id)
    FROM (SELECT x.provider_metadata ->> 'team_name' AS team_name
          FROM runs x
          WHERE x.space_id = %(space_id)s AND x.pipeline_id = p.id AND x.removed_at IS NULL
          ORDER BY x.run_at DESC, x.id DESC
          LIMIT 1) r
    LEFT JOIN teams t ON t.space_id = %(space_id)s AND lower(t.name) = lower(r.team_name)
    WHERE r.team_name IS NOT NULL
    ORDER BY t.name = r.team_name DESC NULLS LAST, t.id
    LIMIT 1
) AS suggested_team
FROM pipelines p
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

-- name: pipeline_exists
SELECT id FROM pipelines WHERE space_id = %(space_id)s AND id = %(pipeline_id)s

-- name: list_daily_stats
-- Bounded by the days of the window; the day in which it begins is whole.
SELECT d.day, d.total, d.success, d.failed
FROM pipeline_daily_stats d
WHERE d.space_id = %(space_id)s AND d.pipeline_id = %(pipeline_id)s AND d.day >= %(day)s
ORDER BY d.day

-- name: finished_runs
-- The newest that ended in the window, oldest first.
SELECT e.* FROM (
    SELECT r.id, r.external_id, r.status, r.ended_at, r.duration_seconds
    FROM runs r
    WHERE r.space_id = %(space_id)s AND r.pipeline_id = %(pipeline_id)s
      AND r.removed_at IS NULL AND r.ended_at >= %(since)s AND r.duration_seconds IS NOT NULL
    ORDER BY r.ended_at DESC, r.id DESC
    LIMIT %(limit)s
) e
ORDER BY e.ended_at, e.id

-- name: recent_comments
-- Of its newest runs alone, newest first, so that it costs the same however long its history is.
SELECT m.id, m.run_id, r.external_id, m.content, m.created_at, m.is_edited, m.parent_id,
       CASE WHEN u.id IS NOT NULL THEN jsonb_build_object('id', u.id, 'name', u.name) END AS author
FROM (
    SELECT x.id, x.external_id FROM runs x
    WHERE x.space_id = %(space_id)s AND x.pipeline_id = %(pipeline_id)s
    ORDER BY x.effective_start_at DESC, x.id DESC
    LIMIT %(runs)s
) r
JOIN comments m ON m.space_id = %(space_id)s AND m.run_id = r.id
LEFT JOIN users u ON u.id = m.author_id
ORDER BY m.created_at DESC, m.id DESC
LIMIT %(limit)s
