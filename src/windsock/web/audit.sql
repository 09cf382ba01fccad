-- name: list_target_names
-- What the ids of audit events refer to, with the id of its page; last, the names that deleted objects had. Users belong
-- to no space; only those whom an event of this space names are read.
SELECT id, 'user' AS kind, name, NULL::uuid AS page_id FROM users WHERE id = ANY (%(ids)s::uuid[])
UNION ALL
SELECT id, 'team', name, id FROM teams WHERE space_id = %(space_id)s AND id = ANY (%(ids)s::uuid[])
UNION ALL
SELECT id, 'connector', name, id FROM connectors WHERE space_id = %(space_id)s AND id = ANY (%(ids)s::uuid[])
UNION ALL
SELECT id, 'pipeline', name, id FROM pipelines WHERE space_id = %(space_id)s AND id = ANY (%(ids)s::uuid[])
UNION ALL
SELECT r.id, 'run', p.name || ' · ' || r.external_id, r.id
FROM runs r JOIN pipelines p ON p.space_id = r.space_id AND p.id = r.pipeline_id
WHERE r.space_id = %(space_id)s AND r.id = ANY (%(ids)s::uuid[])
UNION ALL
SELECT id, 'task_run', external_id, run_id FROM task_runs
WHERE space_id = %(space_id)s AND id = ANY (%(ids)s::uuid[])
UNION ALL
SELECT c.id, 'comment', p.name || ' · ' || r.external_id, r.id
FROM comments c
JOIN runs r ON r.space_id = c.space_id AND r.id = c.run_id
JOIN pipelines p ON p.space_id = r.space_id AND p.id = r.pipeline_id
WHERE c.space_id = %(space_id)s AND c.id = ANY (%(ids)s::uuid[])
UNION ALL
SELECT s.id, 'sync', c.name, c.id
FROM sync_runs s JOIN connectors c ON c.space_id = s.space_id AND c.id = s.connector_id
WHERE s.space_id = %(space_id)s AND s.id = ANY (%(ids)s::uuid[])
UNION ALL
SELECT t.id, CASE WHEN t.run_id IS NULL THEN 'trigger' ELSE 'action' END, p.name, coalesce(t.run_id, p.id)
FROM actions t JOIN pipelines p ON p.space_id = t.space_id AND p.id = t.pipeline_id
WHERE t.space_id = %(space_id)s AND t.id = ANY (%(ids)s::uuid[])
UNION ALL
SELECT id, 'fingerprint', coalesce(name, title), id FROM fingerprints WHERE space_id = %(space_id)s AND id = ANY (%(ids)s::uuid[])
UNION ALL
SELECT b.id, 'bulk_clear', coalesce(g.name, g.title), g.id
FROM bulk_clears b JOIN fingerprints g ON g.space_id = b.space_id AND g.id = b.fingerprint_id
WHERE b.space_id = %(space_id)s AND b.id = ANY (%(ids)s::uuid[])
UNION ALL
SELECT id, 'channel', name, id FROM channels WHERE space_id = %(space_id)s AND id = ANY (%(ids)s::uuid[])
UNION ALL
SELECT id, 'notification_rule', name, id FROM notification_rules WHERE space_id = %(space_id)s AND id = ANY (%(ids)s::uuid[])
UNION ALL
SELECT * FROM (
    SELECT DISTINCT ON (target_id) target_id, 'deleted', target_name, NULL::uuid FROM audit_events
    WHERE space_id = %(space_id)s AND target_id = ANY (%(ids)s::uuid[]) AND target_name IS NOT NULL
    ORDER BY target_id, created_at DESC, id DESC
) deleted
