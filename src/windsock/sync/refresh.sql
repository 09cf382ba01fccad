-- What is derived from the runs of pipelines, and from the task runs of runs.

-- name: refresh_pipelines
-- status, last_run and recent_runs of the pipelines whose runs were touched, all of them in one statement
WITH newest AS MATERIALIZED (
    SELECT t.pipeline_id, (array_agg(r.effective_start_at ORDER BY r.effective_start_at DESC, r.id DESC) FILTER (WHERE r.id IS NOT NULL))[1] AS last_run_at,
           (array_agg(r.brief ORDER BY r.effective_start_at DESC, r.id DESC) FILTER (WHERE r.id IS NOT NULL))[1] AS last_run,
           '[' || coalesce(string_agg(r.brief::text, ',' ORDER BY r.effective_start_at, r.id) FILTER (WHERE r.id IS NOT NULL), '') || ']'
               AS recent_runs
    FROM unnest(%(pipeline_ids)s::uuid[]) AS t (pipeline_id)
    LEFT JOIN LATERAL (
        SELECT r.id, r.effective_start_at, row_to_json(b) AS brief
        FROM runs r
        CROSS JOIN LATERAL (
            SELECT r.id, r.external_id, r.status, r.run_type, rfc3339(r.started_at) AS started_at,
                   rfc3339(r.ended_at) AS ended_at, r.duration_seconds
        ) b
        WHERE r.space_id = %(space_id)s AND r.pipeline_id = t.pipeline_id AND r.removed_at IS NULL
        ORDER BY r.effective_start_at DESC, r.id DESC
        LIMIT 14
    ) r ON true
    GROUP BY t.pipeline_id
), changed AS (
    UPDATE pipelines p
    SET status = coalesce(newest.last_run ->> 'status', 'unknown'), last_run = newest.last_run,
        last_run_at = newest.last_run_at, last_synced_at = now(), updated_at = now()
    FROM newest
    WHERE p.space_id = %(space_id)s AND p.id = newest.pipeline_id
      AND ((p.status, p.last_run::text, p.last_run_at)
           IS DISTINCT FROM (coalesce(newest.last_run ->> 'status', 'unknown'), newest.last_run::text, newest.last_run_at)
           OR newest.recent_runs <> coalesce((
               SELECT s.recent_runs::text FROM pipeline_recent_runs s
               WHERE s.space_id = %(space_id)s AND s.pipeline_id = p.id), '[]'))
    RETURNING p.id, newest.recent_runs
)
INSERT INTO pipeline_recent_runs AS s (space_id, pipeline_id, recent_runs)
SELECT %(space_id)s, id, recent_runs::json FROM changed
ON CONFLICT (space_id, pipeline_id) DO UPDATE SET recent_runs = excluded.recent_runs
WHERE s.recent_runs::text <> excluded.recent_runs::text

-- name: refresh_task_counts
UPDATE runs r
SET task_counts = c.task_counts, last_synced_at = now(), updated_at = now()
FROM (
    SELECT t.run_id, coalesce(jsonb_object_agg(n.status, n.total) FILTER (WHERE n.status IS NOT NULL), '{}') AS task_counts
    FROM unnest(%(run_ids)s::uuid[]) AS t (run_id)
    LEFT JOIN LATERAL (
        SELECT k.status, count(*) AS total
        FROM task_runs k
        WHERE k.space_id = %(space_id)s AND k.run_id = t.run_id AND k.removed_at IS NULL
        GROUP BY k.status
    ) n ON true
    GROUP BY t.run_id
) c
WHERE r.space_id = %(space_id)s AND r.id = c.run_id AND r.task_counts IS DISTINCT FROM c.task_counts
