-- From a key or session to its user and role, before a space is known. Each function runs as the owner.

CREATE FUNCTION authorize(hash bytea, space_slug text)
RETURNS TABLE(user_id uuid, email text, name text, is_superadmin boolean, key_id uuid, space_id uuid, slug text, role text, version bigint, is_use_due boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = windsock, pg_temp
AS $$
    SELECT u.id, u.email, u.name, u.is_superadmin, k.id, s.id, s.slug,
           CASE WHEN u.is_superadmin THEN 'admin' ELSE m.role END,
           (SELECT coalesce(sum(v.version), 0)::bigint FROM space_versions v WHERE v.space_id = s.id),
           k.last_used_at IS NULL OR k.last_used_at < now() - interval '1 minute'
    FROM api_keys k
    JOIN users u ON u.id = k.user_id
    LEFT JOIN spaces s ON s.slug = space_slug
    LEFT JOIN memberships m ON m.space_id = s.id AND m.user_id = u.id
    WHERE k.key_hash = hash AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now()) AND u.is_active
$$;
COMMENT ON FUNCTION authorize IS 'From the hash of a key and a slug to the caller, the space, the role in it (null: none), its version, and whether last_used_at of the key is due for an update. Takes no lock.';

CREATE FUNCTION authorize_session(hash bytea, space_slug text)
RETURNS TABLE(user_id uuid, email text, name text, is_superadmin boolean, session_id uuid, space_id uuid, slug text, role text, version bigint, is_use_due boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = windsock, pg_temp
AS $$
    SELECT u.id, u.email, u.name, u.is_superadmin, k.id, s.id, s.slug,
           CASE WHEN u.is_superadmin THEN 'admin' ELSE m.role END,
           (SELECT coalesce(sum(v.version), 0)::bigint FROM space_versions v WHERE v.space_id = s.id),
           k.last_used_at IS NULL OR k.last_used_at < now() - interval '1 minute'
    FROM sessions k
    JOIN users u ON u.id = k.user_id
    LEFT JOIN api_keys a ON a.id = k.api_key_id
    LEFT JOIN spaces s ON s.slug = space_slug
    LEFT JOIN memberships m ON m.space_id = s.id AND m.user_id = u.id
    WHERE k.token_hash = hash AND k.expires_at > now() AND u.is_active
      AND (k.api_key_id IS NULL OR (a.revoked_at IS NULL AND (a.expires_at IS NULL OR a.expires_at > now())))
$$;
COMMENT ON FUNCTION authorize_session IS 'As authorize, from the hash of a session''s token.';
