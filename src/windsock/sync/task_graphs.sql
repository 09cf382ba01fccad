-- name: graphs_to_read
-- Unknown ones first, then those whose newest run has a task that the graph has not, and each once a day.
SELECT p.id, p.external_id
FROM pipelines p
WHERE p.space_id = %(space_id)s AND p.connector_id = %(connector_id)s AND p.removed_at IS NULL AND p.is_active
  AND (p.task_graph_synced_at IS NULL
       OR p.task_graph_synced_at < now() - interval '1 day'
       OR (p.task_graph_synced_at < now() - interval '4 minutes'
           AND EXISTS (SELECT FROM task_runs t
                       WHERE t.space_id = %(space_id)s AND t.run_id = (p.last_run ->> 'id')::uuid
                         AND NOT p.task_depths ? t.external_id)))
ORDER BY p.task_graph_synced_at NULLS FIRST, p.id
LIMIT %(most)s

-- name: save_graph
-- Without a graph, only stores the time of the attempt.
UPDATE pipelines
SET task_successors = coalesce(%(task_successors)s::jsonb, task_successors),
    task_depths = coalesce(%(task_depths)s::jsonb, task_depths), task_graph_synced_at = now()
WHERE space_id = %(space_id)s AND id = %(pipeline_id)s
