-- fragment: newest_runs
SELECT r.id, r.external_id, r.status, r.run_type, r.effective_start_at, r.duration_seconds, r.task_counts
FROM runs r
WHERE r.space_id = %(space_id)s AND r.pipeline_id = %(pipeline_id)s AND r.removed_at IS NULL
ORDER BY r.effective_start_at DESC, r.id DESC
LIMIT %(runs)s

-- name: list_newest_runs
{newest_runs}

-- name: count_task_states
-- By task, of the newest runs; older runs are left out once %(task_runs)s task runs are counted. The stored counts of a
-- run say how many it has, so that none is read in vain.
WITH newest AS MATERIALIZED (
    SELECT r.id, n.total, sum(n.total) OVER (ORDER BY r.effective_start_at DESC, r.id DESC) - n.total AS before
    FROM (
        {newest_runs}
    ) r
    CROSS JOIN LATERAL (SELECT coalesce(sum(c.value::bigint), 0) AS total FROM jsonb_each_text(r.task_counts) c) n
)
SELECT t.*
FROM newest n
CROSS JOIN LATERAL (
    SELECT x.run_id, x.external_id, x.status, count(*) AS total
    FROM task_runs x
    WHERE x.space_id = %(space_id)s AND x.run_id = n.id AND x.removed_at IS NULL
    GROUP BY x.run_id, x.external_id, x.status
) t
WHERE n.before < %(task_runs)s

-- name: get_task_graph
SELECT p.task_successors, p.task_depths
FROM pipelines p
WHERE p.space_id = %(space_id)s AND p.id = %(pipeline_id)s
