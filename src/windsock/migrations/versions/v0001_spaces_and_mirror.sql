-- The whole spine: who may do what in which space, the mirror of what Airflow knows, and what people add to it.
-- Every tenant table starts its keys with space_id and is walled in by row-level security: a transaction that has not
-- named its space (setting windsock.space_id) sees and changes nothing.

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
COMMENT ON FUNCTION current_space IS 'The space this transaction works in; null when it has named none.';

CREATE FUNCTION current_caller() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE
RETURN nullif(current_setting('windsock.user_id', true), '')::uuid;
COMMENT ON FUNCTION current_caller IS 'The user this transaction works for; null when it has named none.';

CREATE FUNCTION rfc3339(at timestamptz) RETURNS text LANGUAGE sql STABLE PARALLEL SAFE
RETURN replace(to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), '.000000Z', 'Z');
COMMENT ON FUNCTION rfc3339 IS 'A time inside a jsonb column, written as everywhere else in the API.';

CREATE FUNCTION search_text(VARIADIC parts text[]) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN lower(array_to_string(parts, E'\n'));
COMMENT ON FUNCTION search_text IS 'What q looks through: the parts in lower case, a line each.';


-- Who is calling ------------------------------------------------------------------------------------------------------

CREATE TABLE users (
    id            uuid PRIMARY KEY DEFAULT uuid7(),
    email         text NOT NULL CONSTRAINT users_email_unique UNIQUE CONSTRAINT users_email_is_lower_case CHECK (email = lower(email)),
    name          text NOT NULL,
    is_superadmin boolean NOT NULL DEFAULT false,
    is_active     boolean NOT NULL DEFAULT true,
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE users IS 'People. A superadmin is admin in every space.';

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
COMMENT ON TABLE api_keys IS 'Keys act as the user who made them. Only the SHA-256 of the 32 random bytes is kept.';
COMMENT ON COLUMN api_keys.last_used_at IS 'Written at most once a minute.';

CREATE TABLE spaces (
    id         uuid PRIMARY KEY DEFAULT uuid7(),
    slug       text NOT NULL CONSTRAINT spaces_slug_unique UNIQUE,
    name       text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE spaces IS 'Tenants. Everything below belongs to exactly one.';

CREATE TABLE memberships (
    space_id   uuid NOT NULL REFERENCES spaces ON DELETE CASCADE,
    user_id    uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    role       text NOT NULL CONSTRAINT memberships_role_is_known CHECK (role IN ('viewer', 'editor', 'admin')),
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (space_id, user_id)
);
CREATE INDEX memberships_user ON memberships (user_id);
COMMENT ON TABLE memberships IS 'Who may do what in a space. Its row-level security also shows people their own.';

CREATE TABLE teams (
    space_id   uuid NOT NULL REFERENCES spaces ON DELETE CASCADE,
    id         uuid NOT NULL DEFAULT uuid7(),
    name       text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (space_id, id),
    CONSTRAINT teams_name_unique UNIQUE (space_id, name)
);
COMMENT ON TABLE teams IS 'Groups of people who own pipelines.';

CREATE TABLE team_members (
    space_id uuid NOT NULL,
    team_id  uuid NOT NULL,
    user_id  uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    PRIMARY KEY (space_id, team_id, user_id),
    CONSTRAINT team_members_team FOREIGN KEY (space_id, team_id) REFERENCES teams ON DELETE CASCADE
);


-- Where the mirror comes from -----------------------------------------------------------------------------------------

CREATE TABLE connectors (
    space_id         uuid NOT NULL REFERENCES spaces ON DELETE CASCADE,
    id               uuid NOT NULL DEFAULT uuid7(),
    name             text NOT NULL,
    connector_type   text NOT NULL,
    config           jsonb NOT NULL DEFAULT '{}',
    credentials      bytea,
    is_active        boolean NOT NULL DEFAULT true,
    source_system_id uuid,
    created_at       timestamptz NOT NULL DEFAULT now(),
    updated_at       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (space_id, id),
    CONSTRAINT connectors_name_unique UNIQUE (space_id, name)
);
COMMENT ON TABLE connectors IS 'Other systems of a space; those of type airflow are mirrored.';
COMMENT ON COLUMN connectors.credentials IS 'Encrypted (Fernet) with keys that are not in this database.';

CREATE TABLE sync_states (
    space_id             uuid NOT NULL,
    connector_id         uuid NOT NULL,
    api_version          text,
    provider_version     text,
    watermark            timestamptz,
    pipelines_listed_at  timestamptz,
    unwanted             text[] NOT NULL DEFAULT '{}',
    checkpoint           jsonb,
    next_sync_at         timestamptz NOT NULL DEFAULT now(),
    failures             integer NOT NULL DEFAULT 0,
    last_sync_at         timestamptz,
    last_sync_status     text,
    last_complete_at     timestamptz,
    PRIMARY KEY (space_id, connector_id),
    CONSTRAINT sync_states_connector FOREIGN KEY (space_id, connector_id) REFERENCES connectors ON DELETE CASCADE
);
CREATE INDEX sync_states_next_sync_at ON sync_states (next_sync_at);
COMMENT ON TABLE sync_states IS 'What a connector''s sync remembers from one pass to the next. Only the sync writes it.';
COMMENT ON COLUMN sync_states.watermark IS 'By the provider''s clock: everything changed before it is stored.';
COMMENT ON COLUMN sync_states.pipelines_listed_at IS 'By our clock: when the pipeline list was last read whole.';
COMMENT ON COLUMN sync_states.unwanted IS 'DAGs of that list that the connector''s include and exclude leave out.';
COMMENT ON COLUMN sync_states.checkpoint IS 'Where an unfinished pass goes on; null after a complete one.';
COMMENT ON COLUMN sync_states.failures IS 'Passes in a row that did not end complete; they stretch next_sync_at.';

CREATE TABLE sync_runs (
    space_id          uuid NOT NULL,
    id                uuid NOT NULL DEFAULT uuid7(),
    connector_id      uuid NOT NULL,
    status            text NOT NULL DEFAULT 'queued' CONSTRAINT sync_runs_status_is_known
                      CHECK (status IN ('queued', 'running', 'complete', 'partial', 'failed')),
    trigger           text NOT NULL CONSTRAINT sync_runs_trigger_is_known CHECK (trigger IN ('manual', 'schedule')),
    is_full           boolean NOT NULL DEFAULT false,
    requested_by      uuid REFERENCES users ON DELETE SET NULL,
    queued_at         timestamptz NOT NULL DEFAULT now(),
    started_at        timestamptz,
    finished_at       timestamptz,
    phase             text NOT NULL DEFAULT 'waiting for a worker',
    pipelines         jsonb NOT NULL DEFAULT '{"created": 0, "updated": 0, "unchanged": 0, "removed": 0}',
    runs              jsonb NOT NULL DEFAULT '{"created": 0, "updated": 0, "unchanged": 0, "removed": 0}',
    task_runs         jsonb NOT NULL DEFAULT '{"created": 0, "updated": 0, "unchanged": 0, "removed": 0}',
    provider_requests integer NOT NULL DEFAULT 0,
    coverage          jsonb NOT NULL DEFAULT '{"expected": 0, "read": 0}',
    warnings          jsonb NOT NULL DEFAULT '[]',
    error             text,
    lease_holder      text,
    lease_until       timestamptz,
    PRIMARY KEY (space_id, id),
    CONSTRAINT sync_runs_connector FOREIGN KEY (space_id, connector_id) REFERENCES connectors ON DELETE CASCADE
);
CREATE UNIQUE INDEX sync_runs_one_at_a_time ON sync_runs (space_id, connector_id) WHERE status IN ('queued', 'running');
CREATE INDEX sync_runs_newest ON sync_runs (space_id, queued_at DESC, id DESC);
CREATE INDEX sync_runs_unfinished ON sync_runs (status) WHERE status IN ('queued', 'running');
COMMENT ON TABLE sync_runs IS 'Each sync: what it counted, what it covered, and in words what went wrong.';
COMMENT ON INDEX sync_runs_one_at_a_time IS 'One unfinished sync per connector, whatever processes there are.';
COMMENT ON COLUMN sync_runs.lease_until IS 'The worker renews it; past it the worker counts as dead, and cannot write.';


-- The mirror ----------------------------------------------------------------------------------------------------------

CREATE TABLE pipelines (
    space_id             uuid NOT NULL,
    id                   uuid NOT NULL DEFAULT uuid7(),
    connector_id         uuid NOT NULL,
    provider             text NOT NULL DEFAULT 'airflow',
    external_id          text NOT NULL,
    name                 text NOT NULL,
    description          text,
    owner                text,
    owners               text[] NOT NULL DEFAULT '{}',
    tags                 text[] NOT NULL DEFAULT '{}',
    schedule             text,
    schedule_description text,
    next_run_at          timestamptz,
    is_paused            boolean NOT NULL,
    is_active            boolean NOT NULL,
    has_import_errors    boolean NOT NULL,
    provider_metadata    jsonb NOT NULL DEFAULT '{}',
    status               text NOT NULL DEFAULT 'unknown',
    last_run             jsonb,
    recent_runs          jsonb NOT NULL DEFAULT '[]',
    criticality          text NOT NULL DEFAULT 'medium' CONSTRAINT pipelines_criticality_is_known
                         CHECK (criticality IN ('low', 'medium', 'high', 'critical')),
    team_id              uuid,
    missed_by            uuid,
    removed_at           timestamptz,
    search               text NOT NULL GENERATED ALWAYS AS
                         (search_text(name, external_id, description, search_text(VARIADIC owners), search_text(VARIADIC tags))) STORED,
    last_synced_at       timestamptz NOT NULL DEFAULT now(),
    created_at           timestamptz NOT NULL DEFAULT now(),
    updated_at           timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (space_id, id),
    CONSTRAINT pipelines_identity UNIQUE (space_id, connector_id, external_id),
    CONSTRAINT pipelines_connector FOREIGN KEY (space_id, connector_id) REFERENCES connectors ON DELETE CASCADE,
    CONSTRAINT pipelines_team FOREIGN KEY (space_id, team_id) REFERENCES teams ON DELETE SET NULL (team_id)
);
CREATE INDEX pipelines_by_name ON pipelines (space_id, name, id);
CREATE INDEX pipelines_team ON pipelines (space_id, team_id) WHERE team_id IS NOT NULL;
COMMENT ON TABLE pipelines IS 'DAGs. criticality and team_id are people''s; a sync never writes them.';
COMMENT ON COLUMN pipelines.status IS 'That of the newest run (by run_at); kept by the sync, as are last_run and recent_runs.';
COMMENT ON COLUMN pipelines.missed_by IS 'The complete sync that first did not see it; a second one in a row removes it.';
COMMENT ON COLUMN pipelines.last_synced_at IS 'When a sync last wrote the row; what people read is the later complete pass.';

CREATE TABLE runs (
    space_id            uuid NOT NULL,
    id                  uuid NOT NULL DEFAULT uuid7(),
    pipeline_id         uuid NOT NULL,
    external_id         text NOT NULL,
    status              text NOT NULL,
    run_type            text NOT NULL,
    run_at              timestamptz NOT NULL,
    queued_at           timestamptz,
    started_at          timestamptz,
    ended_at            timestamptz,
    duration_seconds    double precision GENERATED ALWAYS AS (extract(epoch FROM ended_at - started_at)::double precision) STORED,
    run_after           timestamptz,
    logical_date        timestamptz,
    data_interval_start timestamptz,
    data_interval_end   timestamptz,
    conf                jsonb NOT NULL DEFAULT '{}',
    note                text,
    triggered_by        text,
    provider_metadata   jsonb NOT NULL DEFAULT '{}',
    task_counts         jsonb NOT NULL DEFAULT '{}',
    triggered_by_user_id uuid REFERENCES users ON DELETE SET NULL,
    missed_by           uuid,
    removed_at          timestamptz,
    last_synced_at      timestamptz NOT NULL DEFAULT now(),
    created_at          timestamptz NOT NULL DEFAULT now(),
    updated_at          timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (space_id, id),
    CONSTRAINT runs_identity UNIQUE (space_id, pipeline_id, external_id),
    CONSTRAINT runs_pipeline FOREIGN KEY (space_id, pipeline_id) REFERENCES pipelines ON DELETE CASCADE
);
CREATE INDEX runs_newest_of_pipeline ON runs (space_id, pipeline_id, run_at DESC, id DESC);
CREATE INDEX runs_ended_of_pipeline ON runs (space_id, pipeline_id, ended_at);
CREATE INDEX runs_unfinished_of_pipeline ON runs (space_id, pipeline_id) WHERE status IN ('queued', 'running');
CREATE INDEX runs_newest ON runs (space_id, run_at DESC, id DESC);
CREATE INDEX runs_window ON runs (space_id, (coalesce(run_after, logical_date)));
COMMENT ON TABLE runs IS 'DAG runs. removed_at: two complete passes did not find it in Airflow any more; we keep it.';
COMMENT ON COLUMN runs.run_at IS 'Orders the runs of a pipeline; never null, never changes: run_after, else see the provider.';
COMMENT ON COLUMN runs.task_counts IS 'Task runs by status; kept by the sync in the transaction that stores the task runs.';
COMMENT ON INDEX runs_window IS 'The position in time by which the provider can list runs again.';

CREATE TABLE task_runs (
    space_id          uuid NOT NULL,
    id                uuid NOT NULL DEFAULT uuid7(),
    run_id            uuid NOT NULL,
    external_id       text NOT NULL,
    map_index         integer NOT NULL DEFAULT -1,
    name              text NOT NULL,
    operator          text,
    status            text NOT NULL,
    try_number        integer NOT NULL,
    max_tries         integer NOT NULL,
    queued_at         timestamptz,
    started_at        timestamptz,
    ended_at          timestamptz,
    duration_seconds  double precision GENERATED ALWAYS AS (extract(epoch FROM ended_at - started_at)::double precision) STORED,
    pool              text,
    queue             text,
    hostname          text,
    note              text,
    provider_metadata jsonb NOT NULL DEFAULT '{}',
    missed_by         uuid,
    removed_at        timestamptz,
    last_synced_at    timestamptz NOT NULL DEFAULT now(),
    created_at        timestamptz NOT NULL DEFAULT now(),
    updated_at        timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (space_id, id),
    CONSTRAINT task_runs_identity UNIQUE (space_id, run_id, external_id, map_index),
    CONSTRAINT task_runs_run FOREIGN KEY (space_id, run_id) REFERENCES runs ON DELETE CASCADE
);
COMMENT ON TABLE task_runs IS 'Task instances. Never known by Airflow''s own id, which changes with every try.';
COMMENT ON COLUMN task_runs.map_index IS '-1: not an instance of a mapped task (answered as null).';


-- What people add -----------------------------------------------------------------------------------------------------

CREATE TABLE watches (
    space_id    uuid NOT NULL,
    pipeline_id uuid NOT NULL,
    user_id     uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (space_id, pipeline_id, user_id),
    CONSTRAINT watches_pipeline FOREIGN KEY (space_id, pipeline_id) REFERENCES pipelines ON DELETE CASCADE
);

CREATE TABLE comments (
    space_id    uuid NOT NULL,
    id          uuid NOT NULL DEFAULT uuid7(),
    run_id      uuid NOT NULL,
    task_run_id uuid,
    parent_id   uuid,
    author_id   uuid REFERENCES users ON DELETE SET NULL,
    content     text NOT NULL CONSTRAINT comments_content_length CHECK (length(content) BETWEEN 1 AND 10000),
    is_edited   boolean NOT NULL DEFAULT false,
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (space_id, id),
    CONSTRAINT comments_run FOREIGN KEY (space_id, run_id) REFERENCES runs ON DELETE CASCADE,
    CONSTRAINT comments_task_run FOREIGN KEY (space_id, task_run_id) REFERENCES task_runs ON DELETE CASCADE,
    CONSTRAINT comments_parent FOREIGN KEY (space_id, parent_id) REFERENCES comments ON DELETE CASCADE
);
CREATE INDEX comments_run ON comments (space_id, run_id, created_at, id);
CREATE INDEX comments_task_run ON comments (space_id, task_run_id, created_at, id) WHERE task_run_id IS NOT NULL;
COMMENT ON TABLE comments IS 'On a run, or on one task run of it (then both are named).';


-- The wall ------------------------------------------------------------------------------------------------------------

DO $$
DECLARE
    tenant_table text;
BEGIN
    FOREACH tenant_table IN ARRAY ARRAY['memberships', 'teams', 'team_members', 'connectors', 'sync_states', 'sync_runs',
                                        'pipelines', 'runs', 'task_runs', 'watches', 'comments'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', tenant_table);
        EXECUTE format('CREATE POLICY within_space ON %I USING (space_id = (SELECT current_space()))', tenant_table);
    END LOOP;
END
$$;
CREATE POLICY own_memberships ON memberships FOR SELECT USING (user_id = (SELECT current_caller()));

-- Three things are asked before a space is known. Each is one function that runs as the owner and answers just that.

CREATE FUNCTION authorize(hash bytea, space_slug text)
RETURNS TABLE (user_id uuid, email text, name text, is_superadmin boolean, key_id uuid, space_id uuid, slug text, role text)
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = windsock, pg_temp
AS $$
    WITH presented AS (
        SELECT k.id, k.last_used_at, u.id AS user_id, u.email, u.name, u.is_superadmin
        FROM api_keys k JOIN users u ON u.id = k.user_id
        WHERE k.key_hash = hash AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now()) AND u.is_active
    ), used AS (
        UPDATE api_keys k SET last_used_at = now()
        FROM presented p
        WHERE k.id = p.id AND (p.last_used_at IS NULL OR p.last_used_at < now() - interval '1 minute')
    )
    SELECT p.user_id, p.email, p.name, p.is_superadmin, p.id, s.id, s.slug,
           CASE WHEN p.is_superadmin THEN 'admin' ELSE m.role END
    FROM presented p
    LEFT JOIN spaces s ON s.slug = space_slug
    LEFT JOIN memberships m ON m.space_id = s.id AND m.user_id = p.user_id
$$;
COMMENT ON FUNCTION authorize IS 'From the hash of a key and a slug to the caller, the space and the role in it (null: none).';

CREATE FUNCTION syncs_to_start()
RETURNS TABLE (space_id uuid, connector_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = windsock, pg_temp
AS $$
    SELECT s.space_id, s.connector_id
    FROM sync_states s JOIN connectors c ON c.space_id = s.space_id AND c.id = s.connector_id
    WHERE s.next_sync_at <= now() AND c.is_active AND c.connector_type = 'airflow'
      AND NOT EXISTS (SELECT FROM sync_runs r
                      WHERE r.space_id = s.space_id AND r.connector_id = s.connector_id AND r.status IN ('queued', 'running'))
    ORDER BY s.next_sync_at
    LIMIT 1000
$$;
COMMENT ON FUNCTION syncs_to_start IS 'Connectors whose next sync is due and that have none unfinished.';

CREATE FUNCTION syncs_to_look_after()
RETURNS TABLE (space_id uuid, sync_id uuid, status text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = windsock, pg_temp
AS $$
    SELECT r.space_id, r.id, r.status
    FROM sync_runs r
    WHERE (r.status = 'running' AND r.lease_until < now())
       OR (r.status = 'queued' AND r.queued_at < now() - interval '2 seconds')
    ORDER BY r.queued_at
    LIMIT 1000
$$;
COMMENT ON FUNCTION syncs_to_look_after IS 'Queued syncs that may have lost their job, and running ones whose worker is gone.';
