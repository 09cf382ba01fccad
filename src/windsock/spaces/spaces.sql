-- name: my_spaces
-- across spaces: the caller's own, all of them for a superadmin
SELECT s.id, s.name, s.slug, CASE WHEN %(is_superadmin)s THEN 'admin' ELSE m.role END AS role
FROM spaces s
LEFT JOIN memberships m ON m.space_id = s.id AND m.user_id = %(user_id)s
WHERE m.user_id IS NOT NULL OR %(is_superadmin)s
ORDER BY s.name, s.id
LIMIT 1000

-- fragment: listed_spaces
FROM spaces s
LEFT JOIN memberships m ON m.space_id = s.id AND m.user_id = %(user_id)s
WHERE m.user_id IS NOT NULL OR %(is_superadmin)s

-- name: list_spaces
-- across spaces: the caller's own, all of them for a superadmin
SELECT s.id, s.slug, s.name, s.retention_days, s.requires_reason, s.created_at, s.updated_at
{listed_spaces}
ORDER BY s.name, s.id
LIMIT %(limit)s OFFSET %(offset)s

-- name: count_spaces
-- across spaces: as list_spaces
SELECT count(*) AS total
{listed_spaces}

-- name: create_space
-- across spaces: it is being made
INSERT INTO spaces (slug, name) VALUES (%(slug)s, %(name)s)
RETURNING id, slug, name, retention_days, requires_reason, created_at, updated_at

-- name: find_space
-- across spaces: the commands, which the operator of the machine runs, find a space by its slug
SELECT id, slug, name, retention_days, requires_reason, created_at, updated_at FROM spaces WHERE slug = %(slug)s

-- name: get_space
SELECT id, slug, name, retention_days, requires_reason, created_at, updated_at FROM spaces WHERE id = %(space_id)s

-- name: update_space
UPDATE spaces
SET name = coalesce(%(name)s, name),
    retention_days = CASE WHEN %(sets_retention)s THEN %(retention_days)s::integer ELSE retention_days END,
    requires_reason = coalesce(%(requires_reason)s, requires_reason),
    updated_at = now()
WHERE id = %(space_id)s
RETURNING id, slug, name, retention_days, requires_reason, created_at, updated_at

-- name: delete_space
DELETE FROM spaces WHERE id = %(space_id)s

-- name: list_members
SELECT u.id AS user_id, u.email, u.name, m.role, m.created_at, u.is_active
FROM memberships m JOIN users u ON u.id = m.user_id
WHERE m.space_id = %(space_id)s
ORDER BY u.email, u.id
LIMIT %(limit)s OFFSET %(offset)s

-- name: count_members
SELECT count(*) AS total FROM memberships WHERE space_id = %(space_id)s

-- name: upsert_member
WITH put AS (
    INSERT INTO memberships (space_id, user_id, role) VALUES (%(space_id)s, %(user_id)s, %(role)s)
    ON CONFLICT (space_id, user_id) DO UPDATE SET role = excluded.role
    RETURNING user_id, role, created_at
)
SELECT u.id AS user_id, u.email, u.name, put.role, put.created_at, u.is_active FROM put JOIN users u ON u.id = put.user_id

-- name: insert_member
INSERT INTO memberships (space_id, user_id, role) VALUES (%(space_id)s, %(user_id)s, %(role)s)
ON CONFLICT DO NOTHING

-- name: get_member
SELECT u.id AS user_id, u.email, u.name, m.role, m.created_at, u.is_active
FROM memberships m JOIN users u ON u.id = m.user_id
WHERE m.space_id = %(space_id)s AND m.user_id = %(user_id)s

-- name: lock_admins
-- Locks all active admins, in one order, so that two who leave or remove each other at once are not both let go.
SELECT count(*) AS total, coalesce(bool_or(a.user_id = %(user_id)s), false) AS includes_user
FROM (SELECT m.user_id FROM memberships m JOIN users u ON u.id = m.user_id
      WHERE m.space_id = %(space_id)s AND m.role = 'admin' AND u.is_active
      ORDER BY m.user_id FOR UPDATE OF m) a

-- name: delete_member
DELETE FROM memberships WHERE space_id = %(space_id)s AND user_id = %(user_id)s

-- name: list_users
-- across spaces: users belong to none; superadmins only
SELECT id, email, name, is_superadmin, is_active, created_at FROM users
ORDER BY email, id
LIMIT %(limit)s OFFSET %(offset)s

-- fragment: searched_users
FROM users u
WHERE true
  AND (u.name ILIKE %(pattern)s OR u.email ILIKE %(pattern)s)  -- if pattern

-- name: search_users
-- across spaces: users belong to none; superadmins only
SELECT u.id, u.email, u.name, u.is_superadmin, u.is_active, u.created_at, k.key_count,
       greatest(k.last_used_at, s.last_used_at) AS last_used_at
FROM (
    SELECT u.*
{searched_users}
) u
CROSS JOIN LATERAL (SELECT count(*) FILTER (WHERE a.revoked_at IS NULL) AS key_count,
                           max(a.last_used_at) AS last_used_at
                    FROM api_keys a WHERE a.user_id = u.id) k
CROSS JOIN LATERAL (SELECT max(coalesce(b.last_used_at, b.created_at)) AS last_used_at
                    FROM sessions b WHERE b.user_id = u.id) s
ORDER BY u.is_active DESC, u.email, u.id
LIMIT %(limit)s OFFSET %(offset)s

-- name: count_searched_users
-- across spaces: as search_users
SELECT count(*) AS total
{searched_users}

-- name: get_user
-- across spaces: users belong to none; superadmins only
SELECT id, email, name, is_superadmin, is_active, created_at FROM users WHERE id = %(user_id)s

-- name: lock_superadmins
-- across spaces: locks all active superadmins, in one order, so that two changes at once do not leave none
SELECT count(*) AS total, coalesce(bool_or(a.id = %(user_id)s), false) AS includes_user
FROM (SELECT id FROM users WHERE is_superadmin AND is_active ORDER BY id FOR UPDATE) a

-- name: update_user
-- across spaces: users belong to none; superadmins only
UPDATE users
SET name = coalesce(%(name)s, name), is_superadmin = coalesce(%(is_superadmin)s, is_superadmin),
    is_active = coalesce(%(is_active)s, is_active), updated_at = now()
WHERE id = %(user_id)s
RETURNING id, email, name, is_superadmin, is_active, created_at

-- name: end_user_access
-- across spaces: sessions, links and keys belong to a user
WITH deleted_sessions AS (DELETE FROM sessions WHERE user_id = %(user_id)s),
     deleted_links AS (DELETE FROM login_links WHERE user_id = %(user_id)s)
UPDATE api_keys SET revoked_at = now() WHERE user_id = %(user_id)s AND revoked_at IS NULL

-- name: count_users
-- across spaces: as list_users
SELECT count(*) AS total FROM users

-- name: create_user
-- across spaces: users belong to none
INSERT INTO users (email, name, is_superadmin) VALUES (lower(%(email)s), %(name)s, %(is_superadmin)s)
RETURNING id, email, name, is_superadmin, is_active, created_at

-- name: find_user
-- across spaces: users belong to none
SELECT id, email, name, is_superadmin, is_active, created_at FROM users WHERE email = lower(%(email)s)

-- name: is_there_a_user
-- across spaces: users belong to none
SELECT EXISTS (SELECT FROM users) AS is_there

-- name: list_keys
-- across spaces: keys belong to a user
SELECT id, name, key_prefix, expires_at, last_used_at, created_at FROM api_keys
WHERE user_id = %(user_id)s AND revoked_at IS NULL
ORDER BY created_at DESC, id DESC
LIMIT %(limit)s OFFSET %(offset)s

-- name: count_keys
-- across spaces: as list_keys
SELECT count(*) AS total FROM api_keys WHERE user_id = %(user_id)s AND revoked_at IS NULL

-- name: all_keys
-- across spaces: `windsock key list`, which the operator of the machine runs
SELECT k.id, u.email, k.name, k.key_prefix, k.expires_at, k.revoked_at, k.last_used_at, k.created_at
FROM api_keys k JOIN users u ON u.id = k.user_id
WHERE %(email)s::text IS NULL OR u.email = lower(%(email)s)
ORDER BY k.created_at DESC, k.id DESC
LIMIT 1000

-- name: create_key
-- across spaces: keys belong to a user
INSERT INTO api_keys (user_id, name, key_prefix, key_hash, expires_at)
VALUES (%(user_id)s, %(name)s, %(key_prefix)s, %(key_hash)s,
        now() + make_interval(days => %(expires_in_days)s::integer))
RETURNING id, name, key_prefix, expires_at, last_used_at, created_at

-- name: revoke_key
-- across spaces: keys belong to a user
UPDATE api_keys SET revoked_at = now()
WHERE id = %(key_id)s AND user_id = %(user_id)s AND revoked_at IS NULL

-- name: revoke_any_key
-- across spaces: `windsock key revoke`, which the operator of the machine runs
UPDATE api_keys SET revoked_at = now()
WHERE (id::text = %(key)s OR key_prefix = %(key)s) AND revoked_at IS NULL
