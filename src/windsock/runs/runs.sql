-- fragment: run_columns
r.id, r.effective_start_at, r.external_id, r.status, r.run_type, r.started_at, r.ended_at, r.duration_seconds, r.pipeline_id,
o.pipeline, r.space_id, o.provider, r.queued_at, r.run_after, r.logical_date, r.data_interval_start, r.data_interval_end,
r.conf, r.note, r.triggered_by,
CASE WHEN u.id IS NOT NULL THEN json_build_object('id', u.id, 'name', u.name) END AS triggered_by_user,
r.task_counts,
(SELECT count(*) FROM comments m WHERE m.space_id = %(space_id)s AND m.run_id = r.id AND m.task_run_id IS NULL)
    AS comment_count,
r.removed_at,
r.archived_at IS NOT NULL AS is_archived,
CASE WHEN r.removed_at IS NULL AND r.archived_at IS NULL AND r.missing_since_sync_id IS NULL
     THEN greatest(r.last_synced_at, o.as_of) ELSE r.last_synced_at END AS last_synced_at,
r.created_at, r.updated_at, o.web_url, o.api_version, o.dag_id

-- fragment: join_pipeline_and_connector
-- Each by itself (LIMIT keeps it so), or PostgreSQL looks through all pipelines of a connector for the few of a page.
CROSS JOIN LATERAL (SELECT x.* FROM pipelines x WHERE x.space_id = %(space_id)s AND x.id = r.pipeline_id LIMIT 1) p
CROSS JOIN LATERAL (SELECT x.* FROM connectors x WHERE x.space_id = %(space_id)s AND x.id = p.connector_id LIMIT 1) c
LEFT JOIN sync_states y ON y.space_id = %(space_id)s AND y.connector_id = p.connector_id

-- fragment: run_pipelines_cte
-- What a run has from its pipeline is made once for each of those.
of_pipelines AS MATERIALIZED (
    SELECT p.id, json_build_object('id', p.id, 'name', p.name) AS pipeline, p.provider, p.external_id AS dag_id,
           coalesce(c.config ->> 'web_url', c.config ->> 'base_url') AS web_url, y.api_version,
           CASE WHEN p.removed_at IS NULL AND p.missing_since_sync_id IS NULL AND NOT p.needs_backfill THEN y.last_complete_at END
               AS as_of
    FROM (SELECT DISTINCT pipeline_id FROM chosen) r
    {join_pipeline_and_connector}
)

-- fragment: join_run_pipeline
JOIN of_pipelines o ON o.id = r.pipeline_id
LEFT JOIN users u ON u.id = r.triggered_by_user_id

-- fragment: run_filters
r.space_id = %(space_id)s
  AND r.removed_at IS NULL  -- if leave_out_removed
  AND r.status = ANY (%(status)s::text[])  -- if status
  AND r.run_type = ANY (%(run_type)s::text[])  -- if run_type
  AND r.effective_start_at >= %(started_from)s::timestamptz  -- if started_from
  AND r.effective_start_at < %(started_to)s::timestamptz  -- if started_to

-- fragment: from_pipeline_runs
FROM runs r
WHERE r.pipeline_id = %(pipeline_id)s AND {run_filters}

-- fragment: from_space_runs
FROM runs r
JOIN pipelines p ON p.space_id = %(space_id)s AND p.id = r.pipeline_id
WHERE {run_filters}
  AND {matching_pipelines}

-- fragment: select_runs
{run_pipelines_cte}
SELECT {run_columns}
FROM chosen r
{join_run_pipeline}
ORDER BY r.effective_start_at DESC, r.id DESC

-- fragment: page_runs_cte
-- Each run by itself, as pipelines are.
chosen AS MATERIALIZED (
    SELECT r.*
    FROM page
    CROSS JOIN LATERAL (SELECT x.* FROM runs x WHERE x.space_id = %(space_id)s AND x.id = page.id LIMIT 1) r
), {select_runs}

-- fragment: keyset_order
AND (r.effective_start_at, r.id) < (%(after)s::timestamptz, %(after_id)s::uuid)  -- if after
ORDER BY r.effective_start_at DESC, r.id DESC
LIMIT %(limit)s

-- fragment: counter_filters
k.space_id = %(space_id)s
  AND k.status = ANY (%(status)s::text[])  -- if status
  AND k.run_type = ANY (%(run_type)s::text[])  -- if run_type

-- name: list_pipeline_runs
WITH page AS MATERIALIZED (
    SELECT r.id
    {from_pipeline_runs}
    {keyset_order} OFFSET %(offset)s
), {page_runs_cte}

-- name: list_pipeline_runs_sorted_by_index
-- Without an OFFSET the page is what the index gives first.
WITH chosen AS MATERIALIZED (
    SELECT r.*
    {from_pipeline_runs}
    {keyset_order}
), {select_runs}

-- name: count_pipeline_runs
SELECT count(*) AS total
{from_pipeline_runs}

-- name: get_pipeline_run_count
SELECT coalesce(sum(k.total), 0)::bigint AS total
FROM pipeline_run_counters k
WHERE k.pipeline_id = %(pipeline_id)s AND {counter_filters}

-- name: list_space_runs
WITH page AS MATERIALIZED (
    SELECT r.id
    {from_space_runs}
    {keyset_order} OFFSET %(offset)s
), {page_runs_cte}

-- name: list_space_runs_sorted_by_index
WITH chosen AS MATERIALIZED (
    SELECT r.*
    {from_space_runs}
    {keyset_order}
), {select_runs}

-- name: count_space_runs
SELECT count(*) AS total
{from_space_runs}

-- fragment: ceil_hour
trunc_hour_utc(%(started_from)s::timestamptz + interval '1 hour' - interval '1 microsecond')

-- fragment: count_runs_at_edge
SELECT count(*) AS total FROM runs r
WHERE r.space_id = %(space_id)s AND r.removed_at IS NULL
  AND r.status = ANY (%(status)s::text[])  -- if status
  AND r.run_type = ANY (%(run_type)s::text[])  -- if run_type

-- name: count_space_runs_in_window
-- Of every pipeline: the counters of whole hours, and the runs of the hours in which the window begins and ends. Without a
-- begin or end that edge is NULL, and has no runs.
SELECT (a.total + b.total + c.total)::bigint AS total
FROM (
    SELECT coalesce(sum(k.total), 0) AS total FROM space_hourly_run_counters k
    WHERE {counter_filters}
      AND k.hour >= {ceil_hour}  -- if started_from
      AND k.hour < trunc_hour_utc(%(started_to)s::timestamptz)  -- if started_to
) a, (
    {count_runs_at_edge}
      AND r.effective_start_at >= %(started_from)s::timestamptz
      AND r.effective_start_at < least({ceil_hour}, %(started_to)s::timestamptz)
) b, (
    {count_runs_at_edge}
      AND r.effective_start_at >= greatest(trunc_hour_utc(%(started_to)s::timestamptz), {ceil_hour})
      AND r.effective_start_at < %(started_to)s::timestamptz
) c

-- name: get_space_run_count
SELECT coalesce(sum(k.total), 0)::bigint AS total
FROM pipeline_run_counters k
JOIN pipelines p ON p.space_id = %(space_id)s AND p.id = k.pipeline_id
WHERE {counter_filters}
  AND {matching_pipelines}

-- name: pipeline_exists
SELECT id FROM pipelines WHERE space_id = %(space_id)s AND id = %(pipeline_id)s

-- name: get_run
WITH chosen AS MATERIALIZED (
    SELECT r.* FROM runs r WHERE r.space_id = %(space_id)s AND r.id = %(run_id)s
), {run_pipelines_cte}
SELECT {run_columns}, r.provider_metadata
FROM chosen r
{join_run_pipeline}

-- name: task_runs_pending
-- A sync stores runs before their task runs. An hour: where no sync ends complete, nobody waits for ever.
SELECT r.last_synced_at > greatest(
           coalesce(y.last_complete_at, '-infinity'),
           CASE WHEN y.last_sync_status = 'complete' THEN y.last_sync_at END,
           now() - interval '1 hour') AS follow
FROM runs r
{join_pipeline_and_connector}
WHERE r.space_id = %(space_id)s AND r.id = %(run_id)s

-- fragment: task_run
t.id, t.run_id, t.external_id, t.name, nullif(t.map_index, -1) AS map_index,
t.provider_metadata ->> 'rendered_map_index' AS rendered_map_index,
nullif(t.region_id, '') AS region_id, nullif(t.region_index, -1) AS region_index,
CASE WHEN t.loop_id IS NOT NULL THEN jsonb_build_object('id', t.loop_id, 'iteration', t.loop_iteration) END AS loop,
t.operator, t.status, t.provider_metadata ->> 'state_reason' AS state_reason, t.try_number,
t.max_tries, t.queued_at, t.started_at, t.ended_at, t.duration_seconds, t.pool, t.queue, t.hostname, t.note,
(SELECT count(*) FROM comments m WHERE m.space_id = %(space_id)s AND m.task_run_id = t.id) AS comment_count,
t.removed_at, t.provider_metadata

-- fragment: matching_task_runs
WHERE t.space_id = %(space_id)s AND t.run_id = %(run_id)s
  AND t.status = ANY (%(status)s::text[])  -- if status
  AND t.external_id = ANY (%(external_id)s::text[])  -- if external_id

-- name: list_task_runs
-- Materialized: of a run with thousands of mapped instances it must not be made anew for each of them.
WITH starts AS MATERIALIZED (
    SELECT x.external_id, min(x.started_at) AS first_started_at
    FROM task_runs x
    WHERE x.space_id = %(space_id)s AND x.run_id = %(run_id)s
    GROUP BY x.external_id
), tasks AS MATERIALIZED (
    SELECT s.external_id, s.first_started_at, (p.task_depths ->> s.external_id)::integer AS level
    FROM starts s
    JOIN runs r ON r.space_id = %(space_id)s AND r.id = %(run_id)s
    JOIN pipelines p ON p.space_id = %(space_id)s AND p.id = r.pipeline_id
)
SELECT {task_run}
FROM task_runs t
JOIN tasks k ON k.external_id = t.external_id
{matching_task_runs}
-- As the graph goes where it is known, else by the start; the iterations and instances of a task together.
ORDER BY k.level NULLS LAST, k.first_started_at NULLS LAST, t.external_id, t.loop_iteration NULLS FIRST, t.map_index, t.id
LIMIT %(limit)s OFFSET %(offset)s

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

-- name: list_timeline_runs
-- Of each pipeline by itself, at most %(most)s that ended in the window or soon after it, and those that have not ended.
SELECT r.pipeline_id, r.id, r.external_id, r.status, r.began, r.ended_at
FROM unnest(%(pipeline_ids)s::uuid[]) AS p (id)
CROSS JOIN LATERAL (
    (SELECT x.pipeline_id, x.id, x.external_id, x.status, x.effective_start_at AS began, x.ended_at
     FROM runs x
     WHERE x.space_id = %(space_id)s AND x.pipeline_id = p.id AND x.removed_at IS NULL
       AND x.ended_at >= %(begin)s AND x.ended_at < %(end)s::timestamptz + (%(end)s::timestamptz - %(begin)s::timestamptz)
     ORDER BY x.ended_at, x.id
     LIMIT %(most)s)
    UNION ALL
    (SELECT x.pipeline_id, x.id, x.external_id, x.status, x.effective_start_at, x.ended_at
     FROM runs x
     WHERE x.space_id = %(space_id)s AND x.pipeline_id = p.id AND x.removed_at IS NULL
       AND x.status IN ('queued', 'running') AND x.ended_at IS NULL
     ORDER BY x.effective_start_at DESC, x.id DESC
     LIMIT %(most)s)
) r
WHERE r.began < %(end)s
ORDER BY r.pipeline_id, r.began, r.id
