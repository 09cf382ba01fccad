-- Users with their keys and sessions; spaces with their members and teams.

CREATE FUNCTION uuid7() RETURNS uuid LANGUAGE sql VOLATILE PARALLEL SAFE
RETURN encode(
    set_bit(set_bit(
        overlay(uuid_send(gen_random_uuid())
                PLACING substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3)
                FROM 1 FOR 6),
        52, 1), 53, 1),
    'hex')::uuid;
COMMENT ON FUNCTION uuid7 IS 'A UUID version 7 (RFC 9562): 48 bits of milliseconds, then random bits.';

CREATE FUNCTION current_space() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE
RETURN nullif(current_setting('windsock.space_id', true), '')::uuid;
COMMENT ON FUNCTION current_space IS 'The space of this transaction (setting windsock.space_id); null when it is not set.';

CREATE FUNCTION current_caller() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE
RETURN nullif(current_setting('windsock.user_id', true), '')::uuid;
COMMENT ON FUNCTION current_caller IS 'The user of this transaction (setting windsock.user_id); null when it is not set.';

CREATE FUNCTION rfc3339(at timestamptz) RETURNS text LANGUAGE sql STABLE PARALLEL SAFE
RETURN replace(to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), '.000000Z', 'Z');
COMMENT ON FUNCTION rfc3339 IS 'A time in a JSON column, in the format of the API.';

CREATE TABLE users (
    id            uuid PRIMARY KEY DEFAULT uuid7(),
    email         text NOT NULL CONSTRAINT users_email_unique UNIQUE,
    name          text NOT NULL,
    is_superadmin boolean NOT NULL DEFAULT false,
    is_active     boolean NOT NULL DEFAULT true,
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT users_email_is_lower_case CHECK (email = lower(email))
);
COMMENT ON TABLE users IS 'A superadmin is admin in every space.';

CREATE TABLE api_keys (
    id           uuid PRIMARY KEY DEFAULT uuid7(),
    user_id      uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    name         text NOT NULL,
    key_prefix   text NOT NULL,
    key_hash     bytea NOT NULL CONSTRAINT api_keys_key_hash_unique UNIQUE,
    expires_at   timestamptz,
    revoked_at   timestamptz,
    last_used_at timestamptz,
    created_at   timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX api_keys_user ON api_keys (user_id);
COMMENT ON TABLE api_keys IS 'A key acts as the user who created it. Only the SHA-256 of its 32 random bytes is stored.';
COMMENT ON COLUMN api_keys.last_used_at IS 'Written at most once a minute.';

CREATE TABLE sessions (
    id           uuid PRIMARY KEY DEFAULT uuid7(),
    user_id      uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    api_key_id   uuid REFERENCES api_keys ON DELETE CASCADE,
    token_hash   bytea NOT NULL CONSTRAINT sessions_token_hash_unique UNIQUE,
    user_agent   text NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    last_used_at timestamptz,
    expires_at   timestamptz NOT NULL
);
CREATE INDEX sessions_key ON sessions (api_key_id) WHERE api_key_id IS NOT NULL;
CREATE INDEX sessions_user ON sessions (user_id);
COMMENT ON TABLE sessions IS 'Signed-in browsers. Signing out deletes the row; a later sign-in deletes expired rows.';
COMMENT ON COLUMN sessions.api_key_id IS 'The key used to sign in: the session ends with it. Null: signed in with a link.';
COMMENT ON COLUMN sessions.last_used_at IS 'Written at most once a minute.';

CREATE TABLE login_links (
    token_hash bytea PRIMARY KEY,
    user_id    uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL
);
CREATE INDEX login_links_user ON login_links (user_id);
COMMENT ON TABLE login_links IS 'Links that sign in once. Using one deletes it.';

CREATE TABLE spaces (
    id             uuid PRIMARY KEY DEFAULT uuid7(),
    slug           text NOT NULL CONSTRAINT spaces_slug_unique UNIQUE,
    name           text NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT now(),
    updated_at     timestamptz NOT NULL DEFAULT now(),
    retention_days integer,
    requires_reason boolean NOT NULL DEFAULT false,
    CONSTRAINT spaces_retention_days_in_range CHECK (retention_days BETWEEN 1 AND 36500)
);
COMMENT ON TABLE spaces IS 'Tenants. Each row of every table with a space_id belongs to exactly one.';
COMMENT ON COLUMN spaces.requires_reason IS 'Actions on pipelines of high or critical criticality need a reason.';
COMMENT ON COLUMN spaces.retention_days IS 'Older runs are deleted from Windsock; null: never.';

CREATE TABLE memberships (
    space_id   uuid NOT NULL REFERENCES spaces ON DELETE CASCADE,
    user_id    uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    role       text NOT NULL
               CONSTRAINT memberships_role_is_known CHECK (role IN ('viewer', 'editor', 'admin')),
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (space_id, user_id)
);
CREATE INDEX memberships_user ON memberships (user_id);
COMMENT ON TABLE memberships IS 'The role of a user in a space. Row-level security also shows users their own memberships.';

CREATE TABLE teams (
    space_id   uuid NOT NULL REFERENCES spaces ON DELETE CASCADE,
    id         uuid NOT NULL DEFAULT uuid7(),
    name       text NOT NULL,
    contact    text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (space_id, id),
    CONSTRAINT teams_name_unique UNIQUE (space_id, name),
    CONSTRAINT teams_contact_length CHECK (char_length(contact) BETWEEN 1 AND 300)
);
COMMENT ON TABLE teams IS 'Groups of users that own pipelines.';
COMMENT ON COLUMN teams.contact IS 'How to reach the team: an e-mail address, a URL or free text.';

CREATE TABLE team_members (
    space_id uuid NOT NULL,
    team_id  uuid NOT NULL,
    user_id  uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    PRIMARY KEY (space_id, team_id, user_id),
    CONSTRAINT team_members_membership FOREIGN KEY (space_id, user_id) REFERENCES memberships ON DELETE CASCADE,
    CONSTRAINT team_members_team FOREIGN KEY (space_id, team_id) REFERENCES teams ON DELETE CASCADE
);
