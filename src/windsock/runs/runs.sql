-- fragment: run_columns
r.id, r.effective_start_at, r.external_id, r.status, r.run_type, r.started_at, r.ended_at, r.duration_seconds, r.pipeline_id,
o.pipeline, r.space_id, o.provider, r.queued_at, r.run_after, r.logical_date, r.data_interval_start, r.data_interval_end,
r.conf, r.note, r.triggered_by,
CASE WHEN u.id IS NOT NULL THEN json_build_object('id', u.id, 'name', u.name) END AS triggered_by_user,
r.task_counts,
n.comment_count, n.task_comment_count,
CASE WHEN r.status = 'failed' THEN (
    SELECT json_build_object('summary', f.summary) FROM task_failures f
    WHERE f.space_id = %(space_id)s AND f.run_id = r.id AND f.place IS NOT NULL AND f.summary IS NOT NULL
    ORDER BY f.place
    LIMIT 1
) END AS failure,
r.removed_at,
r.archived_at IS NOT NULL AS is_archived,
CASE WHEN r.removed_at IS NULL AND r.archived_at IS NULL AND r.missing_since_sync_id IS NULL
     THEN greatest(r.last_synced_at, o.as_of) ELSE r.last_synced_at END AS last_synced_at,
r.created_at, r.updated_at, o.web_url, o.api_version, o.dag_id

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
CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE m.task_run_id IS NULL) AS comment_count, count(m.task_run_id) AS task_comment_count
    FROM comments m WHERE m.space_id = %(space_id)s AND m.run_id = r.id
) n

-- fragment: run_filters
r.space_id = %(space_id)s
  AND r.removed_at IS NULL  -- if leave_out_removed
  AND r.status = ANY (%(status)s::text[])  -- if status
  AND r.run_type = ANY (%(run_type)s::text[])  -- if run_type
  AND r.effective_start_at >= %(started_from)s::timestamptz  -- if started_from
  AND r.effective_start_at < %(started_to)s::timestamptz  -- if started_to
  AND r.ended_at >= %(ended_from)s::timestamptz  -- if ended_from
  AND r.ended_at < %(ended_to)s::timestamptz  -- if ended_to
  AND r.id = ANY (%(ids)s::uuid[])  -- if ids

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

-- name: get_adjacent_runs
-- The runs of the same pipeline before and after it, in the order of lists.
SELECT a.*
FROM runs r
CROSS JOIN LATERAL (
    (SELECT true AS is_previous, x.id, x.external_id, x.status, x.effective_start_at
     FROM runs x
     WHERE x.space_id = %(space_id)s AND x.pipeline_id = r.pipeline_id AND x.removed_at IS NULL
       AND (x.effective_start_at, x.id) < (r.effective_start_at, r.id)
     ORDER BY x.effective_start_at DESC, x.id DESC
     LIMIT 1)
    UNION ALL
    (SELECT false, x.id, x.external_id, x.status, x.effective_start_at
     FROM runs x
     WHERE x.space_id = %(space_id)s AND x.pipeline_id = r.pipeline_id AND x.removed_at IS NULL
       AND (x.effective_start_at, x.id) > (r.effective_start_at, r.id)
     ORDER BY x.effective_start_at, x.id
     LIMIT 1)
) a
WHERE r.space_id = %(space_id)s AND r.id = %(run_id)s

-- name: task_runs_pending
-- A sync stores runs before their task runs. An hour: where no sync ends complete, nobody waits for ever.
SELECT r.last_synced_at > greatest(
           coalesce(y.last_complete_at, '-infinity'),
           CASE WHEN y.last_sync_status = 'complete' THEN y.last_sync_at END,
           now() - interval '1 hour') AS follow
FROM runs r
{join_pipeline_and_connector}
WHERE r.space_id = %(space_id)s AND r.id = %(run_id)s

-- name: list_timeline_pieces
-- The runs of each pipeline, merged into pieces: runs of one status that began in the same or in neighbouring slots of
-- time. Reads finished runs from runs_ended_of_pipeline alone, newest first, at most %(lane_limit)s of a pipeline; those that
-- ended later than a window's length after it are not seen. A piece of one run has its id.
WITH bars AS (
    SELECT r.*, date_bin(%(slot)s::interval, greatest(r.began, %(begin)s), %(begin)s) AS slot
    FROM unnest(%(pipeline_ids)s::uuid[]) AS p (id)
    CROSS JOIN LATERAL (
        (SELECT x.pipeline_id, x.status, NULL AS run_id,
                x.ended_at - coalesce(x.duration_seconds, 0) * interval '1 second' AS began, x.ended_at
         FROM runs x
         WHERE x.space_id = %(space_id)s AND x.pipeline_id = p.id AND x.removed_at IS NULL
           AND x.ended_at >= %(begin)s AND x.ended_at < %(end)s::timestamptz + (%(end)s::timestamptz - %(begin)s::timestamptz)
         ORDER BY x.ended_at DESC
         LIMIT %(lane_limit)s)
        UNION ALL
        (SELECT x.pipeline_id, x.status, x.id::text, x.effective_start_at, NULL
         FROM runs x
         WHERE x.space_id = %(space_id)s AND x.pipeline_id = p.id AND x.removed_at IS NULL
           AND x.status IN ('queued', 'running') AND x.ended_at IS NULL
         ORDER BY x.effective_start_at DESC, x.id DESC
         LIMIT %(lane_limit)s)
    ) r
    WHERE r.began < %(end)s
), slots AS (
    SELECT pipeline_id, status, slot, count(*) AS total, min(began) AS began, max(began) AS last_began,
           max(ended_at) AS ended_at, min(run_id) AS run_id, bool_or(ended_at IS NULL) AS is_unfinished,
           slot - row_number() OVER (PARTITION BY pipeline_id, status ORDER BY slot) * %(slot)s::interval AS piece
    FROM bars
    GROUP BY pipeline_id, status, slot
), pieces AS (
    SELECT pipeline_id, status, sum(total)::integer AS total, min(began) AS began, max(last_began) AS last_began,
           CASE WHEN NOT bool_or(is_unfinished) THEN max(ended_at) END AS ended_at, min(run_id) AS run_id
    FROM slots
    GROUP BY pipeline_id, status, piece
)
SELECT q.pipeline_id, q.status, q.total, q.began, q.last_began, q.ended_at, coalesce(q.run_id, r.id::text) AS run_id
FROM pieces q
LEFT JOIN LATERAL (
    SELECT x.id FROM runs x
    WHERE x.space_id = %(space_id)s AND x.pipeline_id = q.pipeline_id AND x.ended_at = q.ended_at AND x.status = q.status
      AND x.removed_at IS NULL
    LIMIT 1
) r ON q.total = 1 AND q.run_id IS NULL
ORDER BY q.pipeline_id, q.began, q.status
