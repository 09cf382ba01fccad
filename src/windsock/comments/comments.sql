-- fragment: comment
m.id, m.content, CASE WHEN m.task_run_id IS NULL THEN 'pipeline_run' ELSE 'task_run' END AS resource_type,
coalesce(m.task_run_id, m.run_id) AS resource_id, m.author_id,
CASE WHEN u.id IS NOT NULL THEN json_build_object('id', u.id, 'name', u.name) END AS author,
m.parent_id, m.is_edited, m.created_at, m.updated_at

-- fragment: on_resource
m.space_id = %(space_id)s AND m.run_id = %(run_id)s AND m.task_run_id IS NOT DISTINCT FROM %(task_run_id)s::uuid

-- name: find_run
SELECT r.id AS run_id, NULL::uuid AS task_run_id FROM runs r WHERE r.space_id = %(space_id)s AND r.id = %(id)s

-- name: find_task_run
SELECT t.run_id, t.id AS task_run_id FROM task_runs t WHERE t.space_id = %(space_id)s AND t.id = %(id)s

-- name: list_comments
SELECT {comment}
FROM comments m LEFT JOIN users u ON u.id = m.author_id
WHERE {on_resource}
ORDER BY m.created_at, m.id
LIMIT %(limit)s OFFSET %(offset)s

-- name: count_comments
SELECT count(*) AS total FROM comments m
WHERE {on_resource}

-- name: recent_run_and_task_comments
-- On the run and on its task runs, oldest first, with the task and the number of comments in all.
SELECT c.*,
       CASE WHEN t.id IS NOT NULL THEN jsonb_build_object(
           'id', t.id, 'external_id', t.external_id, 'map_index', nullif(t.map_index, -1),
           'rendered_map_index', t.provider_metadata ->> 'rendered_map_index',
           'loop', CASE WHEN t.loop_id IS NOT NULL THEN jsonb_build_object('iteration', t.loop_iteration) END
       ) END AS task
FROM (
    SELECT {comment}, m.task_run_id, count(*) OVER () AS total
    FROM comments m LEFT JOIN users u ON u.id = m.author_id
    WHERE m.space_id = %(space_id)s AND m.run_id = %(run_id)s
    ORDER BY m.created_at DESC, m.id DESC
    LIMIT %(limit)s
) c
LEFT JOIN task_runs t ON t.space_id = %(space_id)s AND t.id = c.task_run_id
ORDER BY c.created_at, c.id

-- name: find_parent
SELECT m.id FROM comments m
WHERE {on_resource} AND m.id = %(parent_id)s
FOR KEY SHARE

-- name: create_comment
INSERT INTO comments (space_id, run_id, task_run_id, parent_id, author_id, content)
VALUES (%(space_id)s, %(run_id)s, %(task_run_id)s, %(parent_id)s, %(author_id)s, %(content)s)
RETURNING id

-- name: get_comment
SELECT {comment}
FROM comments m LEFT JOIN users u ON u.id = m.author_id
WHERE m.space_id = %(space_id)s AND m.id = %(comment_id)s

-- name: update_comment
UPDATE comments SET content = %(content)s, is_edited = true, updated_at = now()
WHERE space_id = %(space_id)s AND id = %(comment_id)s AND content <> %(content)s

-- name: delete_comment
DELETE FROM comments WHERE space_id = %(space_id)s AND id = %(comment_id)s
