-- fragment: comment_json
jsonb_build_object(
    'id', m.id, 'content', m.content, 'created_at', rfc3339(m.created_at), 'run_id', m.run_id, 'task_run_id', m.task_run_id,
    'author', CASE WHEN u.id IS NOT NULL THEN jsonb_build_object('id', u.id, 'name', u.name) END)

-- fragment: fingerprint
SELECT g.id, g.pipeline_id, json_build_object('id', p.id, 'name', p.name) AS pipeline, g.name, g.title, g.grouped_by,
       g.algorithm_version, g.occurrences, n.total AS count_30_days, g.first_seen_at, g.last_seen_at, b.comment AS runbook

-- fragment: join_details
JOIN pipelines p ON p.space_id = %(space_id)s AND p.id = g.pipeline_id
CROSS JOIN LATERAL (
    SELECT count(DISTINCT f.run_id) AS total FROM task_failures f
    WHERE f.space_id = %(space_id)s AND f.fingerprint_id = g.id AND f.failed_at > now() - interval '30 days'
) n
LEFT JOIN LATERAL (
    SELECT {comment_json} AS comment
    FROM comments m LEFT JOIN users u ON u.id = m.author_id
    WHERE m.space_id = %(space_id)s AND m.id = g.runbook_comment_id
) b ON true

-- fragment: matching_fingerprints
FROM fingerprints g
JOIN pipelines p ON p.space_id = %(space_id)s AND p.id = g.pipeline_id
WHERE g.space_id = %(space_id)s AND g.merged_into IS NULL
  AND g.pipeline_id = ANY (%(pipeline_id)s::uuid[])  -- if pipeline_id
  AND p.team_id = ANY (%(team_id)s::uuid[])  -- if team_id
  AND lower(concat_ws(E'\n', g.name, g.title, p.name)) LIKE ALL (string_to_array(lower(%(words)s), E'\n'))  -- if words

-- name: list_fingerprints
WITH page AS MATERIALIZED (
    SELECT g.*
    {matching_fingerprints}
    ORDER BY g.last_seen_at DESC, g.id DESC
    LIMIT %(limit)s OFFSET %(offset)s
)
{fingerprint}
FROM page g
{join_details}
ORDER BY g.last_seen_at DESC, g.id DESC

-- name: count_fingerprints
SELECT count(*) AS total
{matching_fingerprints}

-- name: find_group
-- Of a group that was merged into another, that one.
SELECT coalesce(g.merged_into, g.id) AS id FROM fingerprints g WHERE g.space_id = %(space_id)s AND g.id = %(fingerprint_id)s

-- name: get_fingerprint
{fingerprint}
FROM fingerprints g
{join_details}
WHERE g.space_id = %(space_id)s AND g.id = %(fingerprint_id)s

-- name: newest_failures
SELECT f.id, f.run_id, r.external_id AS run_external_id, r.status AS run_status, f.task_run_id, t.external_id AS task_id,
       nullif(t.map_index, -1) AS map_index, f.try_number, f.failed_at, f.summary, f.own_frame
FROM task_failures f
JOIN runs r ON r.space_id = %(space_id)s AND r.id = f.run_id
JOIN task_runs t ON t.space_id = %(space_id)s AND t.id = f.task_run_id
WHERE f.space_id = %(space_id)s AND f.fingerprint_id = %(fingerprint_id)s
ORDER BY f.failed_at DESC, f.id DESC
LIMIT %(limit)s

-- name: newest_comments
-- On the newest failures, and on their runs.
WITH failed AS MATERIALIZED (
    SELECT f.run_id, array_agg(f.task_run_id) AS task_run_ids
    FROM (
        SELECT x.run_id, x.task_run_id FROM task_failures x
        WHERE x.space_id = %(space_id)s AND x.fingerprint_id = %(fingerprint_id)s
        ORDER BY x.failed_at DESC, x.id DESC
        LIMIT 200
    ) f
    GROUP BY f.run_id
)
SELECT m.id, m.content, m.created_at, m.run_id, m.task_run_id,
       CASE WHEN u.id IS NOT NULL THEN jsonb_build_object('id', u.id, 'name', u.name) END AS author
FROM failed f
JOIN comments m ON m.space_id = %(space_id)s AND m.run_id = f.run_id
               AND (m.task_run_id IS NULL OR m.task_run_id = ANY (f.task_run_ids))
LEFT JOIN users u ON u.id = m.author_id
ORDER BY m.created_at DESC, m.id DESC
LIMIT %(limit)s

-- name: get_trend
SELECT d.day, count(DISTINCT f.run_id) AS count
FROM generate_series(current_date - 29, current_date, interval '1 day') AS s (start)
CROSS JOIN LATERAL (SELECT s.start::date AS day) d
LEFT JOIN task_failures f ON f.space_id = %(space_id)s AND f.fingerprint_id = %(fingerprint_id)s
                         AND f.failed_at >= s.start AND f.failed_at < s.start + interval '1 day'
GROUP BY d.day
ORDER BY d.day

-- name: merged_fingerprints
SELECT g.id, g.title FROM fingerprints g
WHERE g.space_id = %(space_id)s AND g.merged_into = %(fingerprint_id)s
ORDER BY g.first_seen_at, g.id
LIMIT %(limit)s

-- name: lock_fingerprints
SELECT id, pipeline_id, merged_into, algorithm_version FROM fingerprints
WHERE space_id = %(space_id)s AND id = ANY (%(ids)s::uuid[])
ORDER BY id
FOR UPDATE

-- name: merge_fingerprint
-- With the groups that were merged into it before.
UPDATE fingerprints SET merged_into = %(into)s
WHERE space_id = %(space_id)s AND (id = %(fingerprint_id)s OR merged_into = %(fingerprint_id)s)

-- name: keep_name_and_runbook
-- Of the merged group, where the other one has none.
UPDATE fingerprints g SET name = coalesce(g.name, o.name), runbook_comment_id = coalesce(g.runbook_comment_id, o.runbook_comment_id)
FROM fingerprints o
WHERE g.space_id = %(space_id)s AND g.id = %(into)s AND o.space_id = %(space_id)s AND o.id = %(fingerprint_id)s
  AND (g.name IS NULL AND o.name IS NOT NULL OR g.runbook_comment_id IS NULL AND o.runbook_comment_id IS NOT NULL)

-- name: move_all_failures
UPDATE task_failures SET fingerprint_id = %(into)s WHERE space_id = %(space_id)s AND fingerprint_id = %(fingerprint_id)s

-- name: choose_failures
SELECT f.id, f.run_id, f.computed_fingerprint_id, f.message_hash, f.summary, f.failed_at
FROM task_failures f
WHERE f.space_id = %(space_id)s AND f.fingerprint_id = %(fingerprint_id)s
  AND (f.id = ANY (%(task_failure_ids)s::uuid[]) OR f.run_id = ANY (%(run_ids)s::uuid[]))
ORDER BY f.failed_at, f.id

-- name: rest_of_failures
-- What stays in the group: how many, and how many of them have the hash of the group that would be separate again.
SELECT count(*) AS total, count(*) FILTER (WHERE f.computed_fingerprint_id = %(computed_id)s) AS of_computed
FROM task_failures f
WHERE f.space_id = %(space_id)s AND f.fingerprint_id = %(fingerprint_id)s AND f.id <> ALL (%(ids)s::uuid[])

-- name: separate_fingerprint
UPDATE fingerprints SET merged_into = NULL
WHERE space_id = %(space_id)s AND id = %(computed_id)s AND merged_into = %(fingerprint_id)s
RETURNING id

-- name: create_split
-- Later failures with a message that only the split ones have belong to it.
INSERT INTO fingerprints (space_id, pipeline_id, algorithm_version, message_hashes, split_from, title, grouped_by, first_seen_at, last_seen_at)
SELECT %(space_id)s, g.pipeline_id, g.algorithm_version, coalesce((
           SELECT array_agg(DISTINCT f.message_hash) FROM task_failures f
           WHERE f.space_id = %(space_id)s AND f.id = ANY (%(ids)s::uuid[])
             AND NOT EXISTS (SELECT FROM task_failures o
                             WHERE o.space_id = %(space_id)s AND o.fingerprint_id = g.id AND o.message_hash = f.message_hash
                               AND o.id <> ALL (%(ids)s::uuid[]))
       ), '{}'), g.id, %(title)s, 'split off by a user', %(failed_at)s, %(failed_at)s
FROM fingerprints g
WHERE g.space_id = %(space_id)s AND g.id = %(fingerprint_id)s
RETURNING id

-- name: move_failures
UPDATE task_failures SET fingerprint_id = %(into)s WHERE space_id = %(space_id)s AND id = ANY (%(ids)s::uuid[])

-- name: find_comment
SELECT id FROM comments WHERE space_id = %(space_id)s AND id = %(comment_id)s FOR KEY SHARE

-- name: set_runbook
UPDATE fingerprints SET runbook_comment_id = %(comment_id)s WHERE space_id = %(space_id)s AND id = %(fingerprint_id)s

-- name: rename
UPDATE fingerprints SET name = %(name)s WHERE space_id = %(space_id)s AND id = %(fingerprint_id)s
