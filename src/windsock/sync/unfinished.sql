-- name: unfinished_runs
-- What the mirror takes for queued or running.
SELECT p.external_id AS dag_id, r.external_id AS run_id, r.status, r.started_at
FROM pipelines p
JOIN runs r ON r.space_id = %(space_id)s AND r.pipeline_id = p.id
WHERE p.space_id = %(space_id)s AND p.connector_id = %(connector_id)s AND p.removed_at IS NULL AND p.missing_since_sync_id IS NULL
  AND r.status IN ('queued', 'running') AND r.removed_at IS NULL AND r.archived_at IS NULL AND NOT r.is_replaced
  -- Not what is held back as gone.
  AND (r.deleted_by_sync_id IS NULL OR EXISTS (SELECT FROM sync_runs s
                                    WHERE s.space_id = %(space_id)s AND s.id = r.deleted_by_sync_id AND s.status <> 'complete'))
ORDER BY r.run_at, r.id
LIMIT %(most)s
