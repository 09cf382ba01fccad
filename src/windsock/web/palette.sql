-- name: find_pipelines
-- Names that begin with the text first, then shorter names.
SELECT p.id, p.name, p.is_active, c.name AS connector_name
FROM pipelines p
JOIN connectors c ON c.space_id = %(space_id)s AND c.id = p.connector_id
WHERE {matching_pipelines}
ORDER BY p.is_active DESC, lower(p.name) LIKE %(prefix)s DESC, length(p.name), p.name, p.id
LIMIT %(limit)s

-- name: find_runs
-- By Windsock's id, or by Airflow's run id: an index lookup for each pipeline.
SELECT r.id, r.external_id, r.pipeline_name
FROM (
    SELECT r.id, r.external_id, p.name AS pipeline_name, r.effective_start_at
    FROM runs r
    JOIN pipelines p ON p.space_id = %(space_id)s AND p.id = r.pipeline_id
    WHERE r.space_id = %(space_id)s AND r.id = %(run_id)s
    UNION ALL
    SELECT r.id, r.external_id, p.name, r.effective_start_at
    FROM pipelines p
    CROSS JOIN LATERAL (
        SELECT r.id, r.external_id, r.effective_start_at
        FROM runs r
        WHERE r.space_id = %(space_id)s AND r.pipeline_id = p.id AND r.external_id = %(external_id)s AND NOT r.is_replaced
        LIMIT 1
    ) r
    WHERE p.space_id = %(space_id)s
) r
ORDER BY r.effective_start_at DESC, r.id DESC
LIMIT %(limit)s
