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
SELECT s.id, s.slug, s.name, s.retention_days, s.created_at, s.updated_at
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
RETURNING id, slug, name, retention_days, created_at, updated_at

-- name: find_space
-- across spaces: the commands, which the operator of the machine runs, find a space by its slug
SELECT id, slug, name, retention_days, created_at, updated_at FROM spaces WHERE slug = %(slug)s

-- name: get_space
SELECT id, slug, name, retention_days, created_at, updated_at FROM spaces WHERE id = %(space_id)s

-- name: update_space
UPDATE spaces
SET name = coalesce(%(name)s, name),
    retention_days = CASE WHEN %(sets_retention)s THEN %(retention_days)s::integer ELSE retention_days END,
    updated_at = now()
WHERE id = %(space_id)s
RETURNING id, slug, name, retention_days, created_at, updated_at

-- name: delete_space
DELETE FROM spaces WHERE id = %(space_id)s

-- name: list_members
SELECT u.id AS user_id, u.email, u.name, m.role, m.created_at
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
SELECT u.id AS user_id, u.email, u.name, put.role, put.created_at FROM put JOIN users u ON u.id = put.user_id

-- name: count_other_admins
-- Locks all admins, in one order, so that two who leave or remove each other at once are not both let go.
SELECT count(*) FILTER (WHERE a.user_id <> %(user_id)s) AS total
FROM (SELECT user_id FROM memberships WHERE space_id = %(space_id)s AND role = 'admin' ORDER BY user_id FOR UPDATE) a

-- name: delete_member
DELETE FROM memberships WHERE space_id = %(space_id)s AND user_id = %(user_id)s

-- name: list_users
-- across spaces: users belong to none; superadmins only
SELECT id, email, name, is_superadmin, is_active, created_at FROM users
ORDER BY email, id
LIMIT %(limit)s OFFSET %(offset)s

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
