-- name: count_attention
SELECT count(*) AS total, count(*) FILTER (WHERE {overdue}) AS overdue
FROM pipelines p
WHERE p.space_id = %(space_id)s
