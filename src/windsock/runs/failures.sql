-- fragment: failed_task
-- The task of the run r that failed first, and how many failed: those behind a failed task are upstream_failed.
SELECT t.external_id AS failed_task, t.map_index AS failed_map_index, count(*) OVER () AS failed_task_count
FROM task_runs t
WHERE t.space_id = %(space_id)s AND t.run_id = r.id AND t.status = 'failed' AND t.removed_at IS NULL
  AND r.status = 'failed' AND r.task_counts ? 'failed'
ORDER BY t.ended_at NULLS LAST, t.started_at NULLS LAST, t.id
LIMIT 1

-- fragment: failure_summary
(SELECT x.summary FROM task_failures x
 WHERE x.space_id = %(space_id)s AND x.run_id = r.id AND x.place IS NOT NULL AND x.summary IS NOT NULL AND r.status = 'failed'
 ORDER BY x.place
 LIMIT 1) AS failure_summary

-- name: count_failed_runs
-- A day on which clocks go back has 25 hours.
SELECT count(*) FILTER (WHERE r.ended_at >= %(since)s) AS since, count(*) FILTER (WHERE r.ended_at >= %(midnight)s) AS since_midnight,
       count(DISTINCT r.pipeline_id) FILTER (WHERE r.ended_at >= %(since)s) AS pipelines
FROM runs r
WHERE r.space_id = %(space_id)s AND r.status = 'failed' AND r.removed_at IS NULL AND r.ended_at >= least(%(since)s, %(midnight)s)

-- name: newest_failures
-- By pipeline, with its newest failed run: first the pipelines whose newest run is not a success.
WITH failed AS (
    SELECT r.pipeline_id, count(*) AS failed_count, max(r.ended_at) AS ended_at,
           (array_agg(r.id ORDER BY r.ended_at DESC, r.id DESC))[1] AS run_id
    FROM runs r
    WHERE r.space_id = %(space_id)s AND r.status = 'failed' AND r.removed_at IS NULL AND r.ended_at >= %(since)s
    GROUP BY r.pipeline_id
)
SELECT f.pipeline_id, p.name, p.owner, p.criticality, p.status = 'success' AS is_recovered, f.failed_count, f.ended_at, f.run_id
FROM failed f
JOIN pipelines p ON p.space_id = %(space_id)s AND p.id = f.pipeline_id
ORDER BY p.status = 'success', f.ended_at DESC, f.pipeline_id
LIMIT %(limit)s

-- name: describe_failures
-- The failed task of each run, and the team and the last comment of its pipeline, which is searched on the newest
-- %(commented_runs)s runs of the pipeline.
SELECT r.id AS run_id, r.external_id,
       (SELECT t.name FROM teams t WHERE t.space_id = %(space_id)s AND t.id = p.team_id) AS team,
       k.failed_task, k.failed_map_index, k.failed_task_count, {failure_summary},
       m.run_id AS commented_run_id, m.id AS comment_id, m.content AS comment, m.created_at AS commented_at, m.author
FROM unnest(%(run_ids)s::uuid[]) AS i (id)
CROSS JOIN LATERAL (SELECT x.* FROM runs x WHERE x.space_id = %(space_id)s AND x.id = i.id LIMIT 1) r
CROSS JOIN LATERAL (SELECT x.team_id FROM pipelines x WHERE x.space_id = %(space_id)s AND x.id = r.pipeline_id LIMIT 1) p
LEFT JOIN LATERAL (
    {failed_task}
) k ON true
LEFT JOIN LATERAL (
    SELECT c.run_id, c.id, left(c.content, 300) AS content, c.created_at, u.name AS author
    FROM (
        SELECT x.id FROM runs x
        WHERE x.space_id = %(space_id)s AND x.pipeline_id = r.pipeline_id
        ORDER BY x.effective_start_at DESC, x.id DESC
        LIMIT %(commented_runs)s
    ) x
    JOIN comments c ON c.space_id = %(space_id)s AND c.run_id = x.id
    LEFT JOIN users u ON u.id = c.author_id
    ORDER BY c.created_at DESC, c.id DESC
    LIMIT 1
) m ON true

-- name: list_run_context
-- What a line of the list of runs shows beside the run.
SELECT r.id, p.owner, p.criticality,
       (SELECT t.name FROM teams t WHERE t.space_id = %(space_id)s AND t.id = p.team_id) AS team,
       (SELECT count(*) FROM comments c WHERE c.space_id = %(space_id)s AND c.run_id = r.id) AS comment_count,
       k.failed_task, k.failed_map_index, k.failed_task_count, {failure_summary}
FROM unnest(%(run_ids)s::uuid[]) AS i (id)
CROSS JOIN LATERAL (SELECT x.* FROM runs x WHERE x.space_id = %(space_id)s AND x.id = i.id LIMIT 1) r
CROSS JOIN LATERAL (SELECT x.* FROM pipelines x WHERE x.space_id = %(space_id)s AND x.id = r.pipeline_id LIMIT 1) p
LEFT JOIN LATERAL (
    {failed_task}
) k ON true

-- name: list_running_with_statistics
-- Running runs with the whole days of their pipeline's statistics that begin in the window.
SELECT r.id, r.external_id, r.pipeline_id, p.name, p.owner, p.criticality, r.started_at,
       (SELECT t.name FROM teams t WHERE t.space_id = %(space_id)s AND t.id = p.team_id) AS team,
       extract(epoch FROM now() - r.started_at)::float8 AS elapsed_seconds, d.run_count, d.duration_histogram
FROM runs r
CROSS JOIN LATERAL (SELECT x.* FROM pipelines x WHERE x.space_id = %(space_id)s AND x.id = r.pipeline_id LIMIT 1) p
CROSS JOIN LATERAL (
    SELECT sum(x.duration_count) AS run_count, string_agg(x.duration_histogram, '') AS duration_histogram
    FROM pipeline_daily_stats x
    WHERE x.space_id = %(space_id)s AND x.pipeline_id = r.pipeline_id AND x.day > %(first_day)s::date
) d
WHERE r.space_id = %(space_id)s AND r.status = 'running' AND r.removed_at IS NULL
  AND r.started_at < now() - make_interval(secs => %(min_elapsed_seconds)s) AND d.run_count >= %(min_runs)s
ORDER BY r.started_at, r.id
