-- fragment: matching
WHERE e.space_id = %(space_id)s
  AND (%(actor_id)s::uuid[] IS NULL OR e.actor_id = ANY (%(actor_id)s))
  AND (%(action)s::text[] IS NULL OR e.action = ANY (%(action)s))
  AND (%(target_type)s::text[] IS NULL OR e.target_type = ANY (%(target_type)s))
  AND (%(target_id)s::uuid[] IS NULL OR e.target_id = ANY (%(target_id)s))
  AND (%(created_from)s::timestamptz IS NULL OR e.created_at >= %(created_from)s)
  AND (%(created_to)s::timestamptz IS NULL OR e.created_at < %(created_to)s)

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
