-- fragment: task_run
t.id, t.run_id, t.external_id, t.name, nullif(t.map_index, -1) AS map_index,
t.provider_metadata ->> 'rendered_map_index' AS rendered_map_index,
nullif(t.region_id, '') AS region_id, nullif(t.region_index, -1) AS region_index,
CASE WHEN t.loop_id IS NOT NULL THEN jsonb_build_object('id', t.loop_id, 'iteration', t.loop_iteration) END AS loop,
t.operator, t.status, t.provider_metadata ->> 'state_reason' AS state_reason, t.try_number,
t.max_tries, t.queued_at, t.started_at, t.ended_at, t.duration_seconds, t.pool, t.queue, t.hostname, t.note,
(SELECT count(*) FROM comments m WHERE m.space_id = %(space_id)s AND m.task_run_id = t.id) AS comment_count,
CASE WHEN t.status = 'failed' THEN (
    SELECT json_build_object('summary', f.summary, 'excerpt', f.excerpt, 'own_frame', f.own_frame,
                             'fingerprint_id', f.fingerprint_id, 'log_error', f.log_error)
    FROM task_failures f
    WHERE f.space_id = %(space_id)s AND f.task_run_id = t.id AND f.try_number = t.try_number
) END AS failure,
t.removed_at, t.provider_metadata

-- fragment: matching_task_runs
WHERE t.space_id = %(space_id)s AND t.run_id = %(run_id)s
  AND t.status = ANY (%(status)s::text[])  -- if status
  AND t.external_id = ANY (%(external_id)s::text[])  -- if external_id
  AND t.removed_at IS NULL  -- if leave_out_removed

-- name: list_task_runs
-- The order first, over narrow rows: as the graph goes where it is known, else by the start; the iterations and instances
-- of a task together. No join of tasks with task runs: planned for few rows, it takes seconds for thousands.
WITH depths AS MATERIALIZED (
    SELECT p.task_depths || '{}' AS task_depths  -- decompresses it once
    FROM runs r
    JOIN pipelines p ON p.space_id = %(space_id)s AND p.id = r.pipeline_id
    WHERE r.space_id = %(space_id)s AND r.id = %(run_id)s
), sorted AS MATERIALIZED (
    SELECT t.id, row_number() OVER (ORDER BY t.level NULLS LAST, t.first_started_at NULLS LAST, t.external_id,
                                             t.loop_iteration NULLS FIRST, t.map_index, t.id) AS place
    FROM (
        SELECT x.*, (d.task_depths ->> x.external_id)::integer AS level,
               min(x.started_at) OVER (PARTITION BY x.external_id) AS first_started_at
        FROM task_runs x
        CROSS JOIN depths d
        WHERE x.space_id = %(space_id)s AND x.run_id = %(run_id)s
    ) t
    {matching_task_runs}
    ORDER BY place
    LIMIT %(limit)s OFFSET %(offset)s
)
SELECT {task_run}
FROM sorted s
CROSS JOIN LATERAL (SELECT x.* FROM task_runs x WHERE x.space_id = %(space_id)s AND x.id = s.id LIMIT 1) t
ORDER BY s.place, t.id

-- name: count_task_runs
SELECT count(*) AS total FROM task_runs t
{matching_task_runs}

-- name: get_task_run
SELECT {task_run}, r.external_id AS run_external_id, p.external_id AS dag_id,
       coalesce(c.config ->> 'web_url', c.config ->> 'base_url') AS web_url, y.api_version
FROM task_runs t
JOIN runs r ON r.space_id = %(space_id)s AND r.id = t.run_id
{join_pipeline_and_connector}
WHERE t.space_id = %(space_id)s AND t.id = %(task_run_id)s

-- name: get_run_link_parts
SELECT r.external_id AS run_external_id, p.external_id AS dag_id,
       coalesce(c.config ->> 'web_url', c.config ->> 'base_url') AS web_url, y.api_version
FROM runs r
{join_pipeline_and_connector}
WHERE r.space_id = %(space_id)s AND r.id = %(run_id)s

-- name: first_failed_task_runs
-- Those that failed, that wait for a retry, and that did not run because others failed; of each state those that were
-- first.
SELECT {task_run}
FROM (
    SELECT x.id, x.status, row_number() OVER (
        PARTITION BY x.status ORDER BY x.ended_at NULLS LAST, x.external_id, x.loop_iteration, x.map_index, x.id) AS place
    FROM task_runs x
    WHERE x.space_id = %(space_id)s AND x.run_id = %(run_id)s AND x.removed_at IS NULL
      AND x.status IN ('failed', 'up_for_retry', 'upstream_failed')
) k
CROSS JOIN LATERAL (SELECT x.* FROM task_runs x WHERE x.space_id = %(space_id)s AND x.id = k.id LIMIT 1) t
WHERE k.place <= CASE k.status WHEN 'failed' THEN %(limit)s::bigint ELSE %(other_limit)s::bigint END
ORDER BY k.status, k.place, t.id

-- fragment: is_instance
(t.map_index <> -1 OR t.loop_id IS NOT NULL OR t.region_id <> '')

-- fragment: grid_columns
t.id, t.external_id, nullif(t.map_index, -1) AS map_index,
t.provider_metadata ->> 'rendered_map_index' AS rendered_map_index,
nullif(t.region_id, '') AS region_id, nullif(t.region_index, -1) AS region_index,
CASE WHEN t.loop_id IS NOT NULL THEN jsonb_build_object('id', t.loop_id, 'iteration', t.loop_iteration) END AS loop,
t.operator, t.status, t.provider_metadata ->> 'state_reason' AS state_reason, t.try_number, t.queued_at, t.started_at,
t.ended_at, t.duration_seconds

-- fragment: shown_task_runs
FROM task_runs t
WHERE t.space_id = %(space_id)s AND t.run_id = %(run_id)s AND t.removed_at IS NULL

-- name: list_single_task_runs
-- Those that are the only one of their task.
SELECT {grid_columns}
{shown_task_runs} AND NOT {is_instance}

-- name: list_repeated_tasks
-- Tasks that are mapped or in a loop, each with the number of its instances by state.
SELECT s.external_id, jsonb_object_agg(s.status, s.total) AS counts, min(s.queued_at) AS queued_at,
       min(s.started_at) AS started_at, max(s.ended_at) AS ended_at
FROM (
    SELECT t.external_id, t.status, count(*) AS total, min(t.queued_at) AS queued_at, min(t.started_at) AS started_at,
           max(t.ended_at) AS ended_at
    {shown_task_runs} AND {is_instance}
    GROUP BY t.external_id, t.status
) s
GROUP BY s.external_id

-- name: instances_of_task
-- The iterations and mapped instances of one task.
SELECT {grid_columns}
{shown_task_runs} AND {is_instance} AND t.external_id = %(task_id)s
ORDER BY t.loop_iteration NULLS FIRST, t.map_index, t.id
LIMIT %(limit)s

-- name: count_comments_by_task_run
SELECT m.task_run_id, count(*) AS total
FROM comments m
WHERE m.space_id = %(space_id)s AND m.run_id = %(run_id)s AND m.task_run_id IS NOT NULL
GROUP BY m.task_run_id

-- name: get_task_depths
SELECT p.task_depths
FROM runs r
JOIN pipelines p ON p.space_id = %(space_id)s AND p.id = r.pipeline_id
WHERE r.space_id = %(space_id)s AND r.id = %(run_id)s
