-- name: authorize
-- across spaces: this is where the space is found out; the function answers for one key and one slug only
SELECT user_id, email, name, is_superadmin, key_id, space_id, slug, role, version, is_use_due
FROM authorize(%(key_hash)s, %(slug)s)

-- name: save_key_uses
-- across spaces: keys belong to a user; a locked one is passed over
UPDATE api_keys SET last_used_at = now()
WHERE id IN (SELECT id FROM api_keys
             WHERE id = ANY (%(ids)s::uuid[]) AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')
             FOR UPDATE SKIP LOCKED)

-- name: authorize_session
-- across spaces: as authorize, for the browser of somebody who has signed in
SELECT user_id, email, name, is_superadmin, session_id, space_id, slug, role, version, is_use_due
FROM authorize_session(%(key_hash)s, %(slug)s)

-- name: save_session_uses
-- across spaces: as save_key_uses
UPDATE sessions SET last_used_at = now()
WHERE id IN (SELECT id FROM sessions
             WHERE id = ANY (%(ids)s::uuid[]) AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')
             FOR UPDATE SKIP LOCKED)

-- name: authorize_job
SELECT u.id AS user_id, u.email, u.name, u.is_superadmin, s.id AS space_id, s.slug,
       CASE WHEN u.is_superadmin THEN 'admin' ELSE m.role END AS role, 0 AS version
FROM users u
JOIN spaces s ON s.id = %(space_id)s
LEFT JOIN memberships m ON m.space_id = %(space_id)s AND m.user_id = u.id
WHERE u.id = %(user_id)s AND u.is_active
