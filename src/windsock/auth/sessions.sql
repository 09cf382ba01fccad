-- name: create_session
-- across spaces: sessions belong to a user
INSERT INTO sessions (user_id, api_key_id, token_hash, user_agent, expires_at)
VALUES (%(user_id)s, %(api_key_id)s, %(token_hash)s, %(user_agent)s, now() + make_interval(days => %(days)s))

-- name: delete_expired_sessions
-- across spaces: sessions and links belong to a user; a few at a time
WITH gone AS (DELETE FROM login_links WHERE expires_at < now())
DELETE FROM sessions WHERE id IN (SELECT id FROM sessions WHERE expires_at < now() ORDER BY expires_at LIMIT 1000)

-- name: revoke_session
-- across spaces: sessions belong to a user
DELETE FROM sessions WHERE id = %(session_id)s AND user_id = %(user_id)s

-- name: revoke_other_sessions
-- across spaces: sessions belong to a user
DELETE FROM sessions WHERE user_id = %(user_id)s AND id <> %(session_id)s

-- name: list_sessions
-- across spaces: sessions belong to a user
SELECT id, user_agent, created_at, last_used_at, expires_at FROM sessions
WHERE user_id = %(user_id)s AND expires_at > now()
ORDER BY coalesce(last_used_at, created_at) DESC, id DESC
LIMIT %(limit)s OFFSET %(offset)s

-- name: count_sessions
-- across spaces: as list_sessions
SELECT count(*) AS total FROM sessions WHERE user_id = %(user_id)s AND expires_at > now()

-- name: create_login_link
-- across spaces: links belong to a user
INSERT INTO login_links (user_id, token_hash, expires_at)
VALUES (%(user_id)s, %(token_hash)s, now() + make_interval(mins => %(minutes)s))

-- name: find_login_link
-- across spaces: links belong to a user
SELECT u.email, u.name FROM login_links k JOIN users u ON u.id = k.user_id
WHERE k.token_hash = %(token_hash)s AND k.expires_at > now() AND u.is_active

-- name: consume_login_link
-- across spaces: links belong to a user
DELETE FROM login_links k USING users u
WHERE k.token_hash = %(token_hash)s AND k.expires_at > now() AND u.id = k.user_id AND u.is_active
RETURNING k.user_id
