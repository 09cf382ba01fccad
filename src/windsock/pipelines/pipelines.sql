-- fragment: matching
FROM pipelines p
WHERE {matching_pipelines}
  AND (%(status)s::text[] IS NULL OR p.status = ANY (%(status)s))

-- fragment: pipeline
p.id, p.space_id, p.provider, p.external_id, p.name, p.description, p.connector_id,
jsonb_build_object('id', c.id, 'name', c.name) AS connector,
p.owner, p.owners, p.tags, p.schedule, p.schedule_description, p.next_run_at, p.is_paused, p.is_active,
p.has_import_errors, p.status, p.criticality, p.team_id,
CASE WHEN t.id IS NOT NULL THEN jsonb_build_object('id', t.id, 'name', t.name) END AS team,
EXISTS (SELECT FROM watches w WHERE w.space_id = %(space_id)s AND w.pipeline_id = p.id AND w.user_id = %(user_id)s)
    AS is_watched,
p.last_run, p.recent_runs, s.summary,
CASE WHEN p.removed_at IS NULL AND p.missed_by IS NULL AND NOT p.needs_history
     THEN greatest(p.last_synced_at, y.last_complete_at) ELSE p.last_synced_at END AS last_synced_at,
p.created_at, p.updated_at,
coalesce(c.config ->> 'web_url', c.config ->> 'base_url') AS web_url, y.api_version

-- fragment: around
JOIN connectors c ON c.space_id = %(space_id)s AND c.id = p.connector_id
LEFT JOIN sync_states y ON y.space_id = %(space_id)s AND y.connector_id = p.connector_id
LEFT JOIN teams t ON t.space_id = %(space_id)s AND t.id = p.team_id
CROSS JOIN LATERAL (
    SELECT jsonb_build_object(
        'days', %(days)s::integer,
        'total_runs', e.total,
        'success_count', e.success,
        'failed_count', e.failed,
        'running_count', (SELECT count(*) FROM runs r
                          WHERE r.space_id = %(space_id)s AND r.pipeline_id = p.id AND r.removed_at IS NULL
                            AND r.status IN ('queued', 'running')),
        'success_rate', e.success::double precision / nullif(e.success + e.failed, 0),
        'avg_duration_seconds', e.average,
        'p50_duration_seconds', e.percentiles[1],
        'p95_duration_seconds', e.percentiles[2]) AS summary
    FROM (
        SELECT count(*) AS total,
               count(*) FILTER (WHERE r.status = 'success') AS success,
               count(*) FILTER (WHERE r.status = 'failed') AS failed,
               avg(r.duration_seconds) AS average,
               percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY r.duration_seconds) AS percentiles
        FROM runs r
        WHERE r.space_id = %(space_id)s AND r.pipeline_id = p.id
          AND r.ended_at >= now() - make_interval(days => %(days)s)
    ) e
) s

-- name: list_pipelines
WITH page AS MATERIALIZED (
    SELECT p.id
    {matching}
    ORDER BY p.name, p.id
    LIMIT %(limit)s OFFSET %(offset)s
)
SELECT {pipeline}
FROM page
JOIN pipelines p ON p.space_id = %(space_id)s AND p.id = page.id
{around}
ORDER BY p.name, p.id

-- name: list_pipelines_sorted
WITH matched AS (
    SELECT p.id, p.name, p.last_run, p.criticality
    {matching}
), keyed AS (
    SELECT m.id, m.name,
           CASE %(by)s::text
               WHEN 'criticality' THEN array_position(ARRAY['low', 'medium', 'high', 'critical'], m.criticality)
               WHEN 'last_run_at' THEN (
                   SELECT extract(epoch FROM coalesce(r.started_at, r.queued_at, r.run_at))
                   FROM runs r
                   WHERE r.space_id = %(space_id)s AND r.id = (m.last_run ->> 'id')::uuid)
               WHEN 'failed_count' THEN e.failed
               WHEN 'success_rate' THEN e.success::double precision / nullif(e.success + e.failed, 0)
               WHEN 'p95_duration_seconds' THEN e.p95
           END AS key
    FROM matched m
    LEFT JOIN LATERAL (
        SELECT count(*) FILTER (WHERE r.status = 'success') AS success,
               count(*) FILTER (WHERE r.status = 'failed') AS failed,
               percentile_cont(0.95) WITHIN GROUP (ORDER BY r.duration_seconds) AS p95
        FROM runs r
        WHERE r.space_id = %(space_id)s AND r.pipeline_id = m.id
          AND r.ended_at >= now() - make_interval(days => %(days)s)
    ) e ON %(by)s::text IN ('failed_count', 'success_rate', 'p95_duration_seconds')
), page AS MATERIALIZED (
    SELECT k.id,
           row_number() OVER (
               ORDER BY CASE WHEN %(descending)s THEN k.key END DESC NULLS LAST,
                        CASE WHEN NOT %(descending)s THEN k.key END NULLS LAST,
                        CASE WHEN %(by)s::text = 'name' AND %(descending)s THEN k.name END DESC,
                        k.name, k.id) AS position
    FROM keyed k
    ORDER BY position
    LIMIT %(limit)s OFFSET %(offset)s
)
SELECT {pipeline}
FROM page
JOIN pipelines p ON p.space_id = %(space_id)s AND p.id = page.id
{around}
ORDER BY page.position, p.id

-- name: count_pipelines
SELECT count(*) AS total
{matching}

-- name: get_pipeline
SELECT {pipeline}, p.provider_metadata
FROM pipelines p
{around}
WHERE p.space_id = %(space_id)s AND p.id = %(pipeline_id)s

-- name: set_team
UPDATE pipelines SET team_id = %(team_id)s, updated_at = now()
WHERE space_id = %(space_id)s AND id = %(pipeline_id)s AND team_id IS DISTINCT FROM %(team_id)s

-- name: set_criticality
UPDATE pipelines SET criticality = %(criticality)s, updated_at = now()
WHERE space_id = %(space_id)s AND id = %(pipeline_id)s AND criticality <> %(criticality)s

-- name: watch
INSERT INTO watches (space_id, pipeline_id, user_id)
SELECT p.space_id, p.id, %(user_id)s FROM pipelines p WHERE p.space_id = %(space_id)s AND p.id = %(pipeline_id)s
ON CONFLICT DO NOTHING

-- name: unwatch
DELETE FROM watches WHERE space_id = %(space_id)s AND pipeline_id = %(pipeline_id)s AND user_id = %(user_id)s

-- name: has_pipeline
SELECT id FROM pipelines WHERE space_id = %(space_id)s AND id = %(pipeline_id)s
