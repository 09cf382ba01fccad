-- fragment: comment_json
jsonb_build_object(
    'id', m.id, 'content', m.content, 'created_at', rfc3339(m.created_at), 'run_id', m.run_id, 'task_run_id', m.task_run_id,
    'author', CASE WHEN u.id IS NOT NULL THEN jsonb_build_object('id', u.id, 'name', u.name) END)

-- name: list_run_failures
-- The root failures of a failed run that is still as it was when they were read, each with what is known of earlier ones of
-- its fingerprint: how many runs in 30 days, and the last comment on the %(commented)s failures before it.
SELECT f.task_run_id, t.external_id AS task_id, nullif(t.map_index, -1) AS map_index, f.try_number, f.failed_at, f.summary,
       f.excerpt, f.own_frame, f.exception_type, f.fingerprint_id, f.log_error,
       CASE WHEN g.id IS NOT NULL THEN jsonb_build_object(
           'name', g.name, 'count_30_days', n.total, 'first_seen_at', rfc3339(g.first_seen_at),
           'last_comment', e.comment, 'runbook', b.comment) END AS recurrence
FROM runs r
JOIN task_failures f ON f.space_id = %(space_id)s AND f.run_id = r.id AND f.place IS NOT NULL
JOIN task_runs t ON t.space_id = %(space_id)s AND t.id = f.task_run_id AND t.status = 'failed' AND t.try_number = f.try_number
LEFT JOIN fingerprints g ON g.space_id = %(space_id)s AND g.id = f.fingerprint_id
LEFT JOIN LATERAL (
    SELECT count(DISTINCT x.run_id) AS total
    FROM task_failures x
    WHERE x.space_id = %(space_id)s AND x.fingerprint_id = f.fingerprint_id
      AND x.failed_at > f.failed_at - interval '30 days' AND x.failed_at <= f.failed_at
) n ON true
LEFT JOIN LATERAL (
    SELECT {comment_json} AS comment
    FROM (
        SELECT x.run_id, x.task_run_id FROM task_failures x
        WHERE x.space_id = %(space_id)s AND x.fingerprint_id = f.fingerprint_id AND x.run_id <> f.run_id
          AND x.failed_at <= f.failed_at
        ORDER BY x.failed_at DESC, x.id DESC
        LIMIT %(commented)s
    ) x
    JOIN comments m ON m.space_id = %(space_id)s AND m.run_id = x.run_id AND (m.task_run_id IS NULL OR m.task_run_id = x.task_run_id)
    LEFT JOIN users u ON u.id = m.author_id
    ORDER BY m.created_at DESC, m.id DESC
    LIMIT 1
) e ON true
LEFT JOIN LATERAL (
    SELECT {comment_json} AS comment
    FROM comments m LEFT JOIN users u ON u.id = m.author_id
    WHERE m.space_id = %(space_id)s AND m.id = g.runbook_comment_id
) b ON true
WHERE r.space_id = %(space_id)s AND r.id = %(run_id)s AND r.status = 'failed'
ORDER BY f.place
LIMIT 3
