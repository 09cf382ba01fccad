-- name: list_previous_histograms
-- In the order of the ids: of the whole days before the window, as many as it has.
SELECT stats.duration_count, stats.duration_histogram
FROM unnest(%(ids)s::uuid[]) WITH ORDINALITY AS p (id, position)
CROSS JOIN LATERAL (
    SELECT coalesce(sum(d.duration_count), 0) AS duration_count, coalesce(string_agg(d.duration_histogram, ''), '') AS duration_histogram
    FROM pipeline_daily_stats d
    WHERE d.space_id = %(space_id)s AND d.pipeline_id = p.id AND d.day >= %(previous_day)s::date AND d.day < %(first_day)s::date
) stats
ORDER BY p.position

-- name: list_last_successes
-- The runs of the newest day with a success, so that a long series of failures is not read run by run.
SELECT p.id, newest.ended_at
FROM unnest(%(ids)s::uuid[]) AS p (id)
CROSS JOIN LATERAL (
    SELECT d.day FROM pipeline_daily_stats d
    WHERE d.space_id = %(space_id)s AND d.pipeline_id = p.id AND d.success > 0
    ORDER BY d.day DESC
    LIMIT 1
) d
CROSS JOIN LATERAL (
    SELECT max(r.ended_at) AS ended_at FROM runs r
    WHERE r.space_id = %(space_id)s AND r.pipeline_id = p.id AND r.removed_at IS NULL AND r.status = 'success'
      AND r.ended_at >= utc_midnight(d.day) AND r.ended_at < utc_midnight(d.day + 1)
) newest

-- name: distinct_owners
SELECT DISTINCT o.owner AS value
FROM pipelines p CROSS JOIN LATERAL unnest(p.owners) o (owner)
WHERE p.space_id = %(space_id)s
ORDER BY 1
LIMIT %(limit)s

-- name: distinct_tags
SELECT DISTINCT t.tag AS value
FROM pipelines p CROSS JOIN LATERAL unnest(p.tags) t (tag)
WHERE p.space_id = %(space_id)s
ORDER BY 1
LIMIT %(limit)s
