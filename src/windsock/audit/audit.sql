-- fragment: matching
WHERE e.space_id = %(space_id)s
  AND e.actor_id = ANY (%(actor_id)s::uuid[])  -- if actor_id
  AND e.action = ANY (%(action)s::text[])  -- if action
  AND e.target_type = ANY (%(target_type)s::text[])  -- if target_type
  AND e.target_id = ANY (%(target_id)s::uuid[])  -- if target_id
  AND e.created_at >= %(created_from)s::timestamptz  -- if created_from
  AND e.created_at < %(created_to)s::timestamptz  -- if created_to

-- name: list_audit_events
SELECT e.id, e.created_at, e.action, e.target_type, e.target_id, e.target_name, e.actor_id,
       CASE WHEN e.actor_id IS NOT NULL THEN jsonb_build_object('id', e.actor_id, 'name', e.actor_name) END AS actor,
       e.api_key_id, e.before, e.after, e.request_id
FROM audit_events e
{matching}
ORDER BY e.created_at DESC, e.id DESC
LIMIT %(limit)s OFFSET %(offset)s

-- name: count_audit_events
SELECT count(*) AS total FROM audit_events e
{matching}
