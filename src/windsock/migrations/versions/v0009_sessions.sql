-- People sign in to the pages with an API key or a link that works once; the browser then holds a session, which is not an
-- API key and cannot be used as one.

CREATE TABLE sessions (
    id           uuid        NOT NULL DEFAULT uuid7(),
    user_id      uuid        NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    api_key_id   uuid        REFERENCES api_keys (id) ON DELETE CASCADE,
    token_hash   bytea       NOT NULL,
    user_agent   text        NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    last_used_at timestamptz,
    expires_at   timestamptz NOT NULL,
    CONSTRAINT sessions_pkey PRIMARY KEY (id),
    CONSTRAINT sessions_token_hash_unique UNIQUE (token_hash)
);
CREATE INDEX sessions_user ON sessions (user_id);
COMMENT ON TABLE sessions IS 'Signed-in browsers. Signing out deletes the row; what has expired is deleted when somebody signs in.';
CREATE INDEX sessions_key ON sessions (api_key_id) WHERE api_key_id IS NOT NULL;
COMMENT ON COLUMN sessions.api_key_id IS 'The key it began with: the session ends with it. Null: it began with a link.';
COMMENT ON COLUMN sessions.last_used_at IS 'Written at most once a minute.';

CREATE TABLE login_links (
    token_hash bytea       NOT NULL,
    user_id    uuid        NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    CONSTRAINT login_links_pkey PRIMARY KEY (token_hash)
);
CREATE INDEX login_links_user ON login_links (user_id);
COMMENT ON TABLE login_links IS 'Links that sign in once. Using one deletes it.';

CREATE FUNCTION authorize_session(hash bytea, space_slug text) RETURNS TABLE (
    user_id uuid, email text, name text, is_superadmin boolean, session_id uuid, space_id uuid, slug text, role text, version bigint)
LANGUAGE sql SECURITY DEFINER SET search_path = windsock, pg_temp AS $$
    WITH presented AS (
        SELECT k.id, k.last_used_at, u.id AS user_id, u.email, u.name, u.is_superadmin
        FROM sessions k JOIN users u ON u.id = k.user_id LEFT JOIN api_keys a ON a.id = k.api_key_id
        WHERE k.token_hash = hash AND k.expires_at > now() AND u.is_active
          AND (k.api_key_id IS NULL OR (a.revoked_at IS NULL AND (a.expires_at IS NULL OR a.expires_at > now())))
    ), used AS (
        UPDATE sessions k SET last_used_at = now()
        FROM presented p
        WHERE k.id = p.id AND (p.last_used_at IS NULL OR p.last_used_at < now() - interval '1 minute')
    )
    SELECT p.user_id, p.email, p.name, p.is_superadmin, p.id, s.id, s.slug,
           CASE WHEN p.is_superadmin THEN 'admin' ELSE m.role END,
           (SELECT coalesce(sum(v.version), 0)::bigint FROM space_versions v WHERE v.space_id = s.id)
    FROM presented p
    LEFT JOIN spaces s ON s.slug = space_slug
    LEFT JOIN memberships m ON m.space_id = s.id AND m.user_id = p.user_id
$$;
COMMENT ON FUNCTION authorize_session IS 'As authorize, from the hash of a session''s token.';
