-- name: get_task_run_to_read
SELECT t.external_id, t.map_index, t.region_id, t.region_index, t.status, t.try_number, t.ended_at,
       r.external_id AS run_external_id, p.external_id AS pipeline_external_id, p.connector_id,
       y.api_version, y.provider_version
FROM task_runs t
JOIN runs r ON r.space_id = %(space_id)s AND r.id = t.run_id
JOIN pipelines p ON p.space_id = %(space_id)s AND p.id = r.pipeline_id
LEFT JOIN sync_states y ON y.space_id = %(space_id)s AND y.connector_id = p.connector_id
WHERE t.space_id = %(space_id)s AND t.id = %(task_run_id)s
