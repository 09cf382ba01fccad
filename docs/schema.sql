-- The tables of Windsock, as the migrations make them. Written by `make schema`; editing it changes nothing.

-- A UUID version 7 (RFC 9562): 48 bits of milliseconds, then random bits.
CREATE FUNCTION uuid7()
 RETURNS uuid
 LANGUAGE sql
 PARALLEL SAFE
RETURN (encode(set_bit(set_bit(OVERLAY(uuid_send(gen_random_uuid()) PLACING SUBSTRING(int8send(((EXTRACT(epoch FROM clock_timestamp()) * (1000)::numeric))::bigint) FROM 3) FROM 1 FOR 6), (52)::bigint, 1), (53)::bigint, 1), 'hex'::text))::uuid;

-- The space this transaction works in; null when it has named none.
CREATE FUNCTION current_space()
 RETURNS uuid
 LANGUAGE sql
 STABLE PARALLEL SAFE
RETURN (NULLIF(current_setting('windsock.space_id'::text, true), ''::text))::uuid;

-- The user this transaction works for; null when it has named none.
CREATE FUNCTION current_caller()
 RETURNS uuid
 LANGUAGE sql
 STABLE PARALLEL SAFE
RETURN (NULLIF(current_setting('windsock.user_id'::text, true), ''::text))::uuid;

-- A time inside a jsonb column, written as everywhere else in the API.
CREATE FUNCTION rfc3339(at timestamp with time zone)
 RETURNS text
 LANGUAGE sql
 STABLE PARALLEL SAFE
RETURN replace(to_char((at AT TIME ZONE 'UTC'::text), 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'::text), '.000000Z'::text, 'Z'::text);

-- A pipeline as lists show it, without what others say of it: connector, team, watching, its newest runs, its numbers.
CREATE FUNCTION shown(id uuid, space_id uuid, provider text, external_id text, name text, description text, connector_id uuid, owner text, owners text[], tags text[], schedule text, schedule_description text, next_run_at timestamp with time zone, is_paused boolean, is_draining boolean, is_active boolean, has_import_errors boolean, status text, criticality text, team_id uuid, last_run json, created_at timestamp with time zone, updated_at timestamp with time zone)
 RETURNS json
 LANGUAGE plpgsql
 IMMUTABLE PARALLEL SAFE
AS $function$
BEGIN
    RETURN json_build_object(
        'id', id, 'space_id', space_id, 'provider', provider, 'external_id', external_id, 'name', name,
        'description', description, 'connector_id', connector_id, 'owner', owner, 'owners', owners, 'tags', tags,
        'schedule', schedule, 'schedule_description', schedule_description,
        'next_run_at', windsock.rfc3339(next_run_at), 'is_paused', is_paused, 'is_draining', is_draining,
        'is_active', is_active, 'has_import_errors', has_import_errors, 'status', status, 'criticality', criticality,
        'team_id', team_id, 'last_run', last_run, 'created_at', windsock.rfc3339(created_at),
        'updated_at', windsock.rfc3339(updated_at));
END
$function$;

-- People. A superadmin is admin in every space.
CREATE TABLE users (
    id            uuid        NOT NULL DEFAULT uuid7(),
    email         text        NOT NULL,
    name          text        NOT NULL,
    is_superadmin boolean     NOT NULL DEFAULT false,
    is_active     boolean     NOT NULL DEFAULT true,
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT users_pkey PRIMARY KEY (id),
    CONSTRAINT users_email_unique UNIQUE (email),
    CONSTRAINT users_email_is_lower_case CHECK (email = lower(email))
);

-- Keys act as the user who made them. Only the SHA-256 of the 32 random bytes is kept.
CREATE TABLE api_keys (
    id           uuid        NOT NULL DEFAULT uuid7(),
    user_id      uuid        NOT NULL,
    name         text        NOT NULL,
    key_prefix   text        NOT NULL,
    key_hash     bytea       NOT NULL,
    expires_at   timestamptz,
    revoked_at   timestamptz,
    last_used_at timestamptz,  -- Written at most once a minute.
    created_at   timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT api_keys_pkey PRIMARY KEY (id),
    CONSTRAINT api_keys_key_hash_unique UNIQUE (key_hash),
    CONSTRAINT api_keys_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE
);
CREATE INDEX api_keys_user ON api_keys (user_id);

-- Signed-in browsers. Signing out deletes the row; what has expired is deleted when somebody signs in.
CREATE TABLE sessions (
    id           uuid        NOT NULL DEFAULT uuid7(),
    user_id      uuid        NOT NULL,
    api_key_id   uuid,  -- The key it began with: the session ends with it. Null: it began with a link.
    token_hash   bytea       NOT NULL,
    user_agent   text        NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    last_used_at timestamptz,  -- Written at most once a minute.
    expires_at   timestamptz NOT NULL,
    CONSTRAINT sessions_pkey PRIMARY KEY (id),
    CONSTRAINT sessions_token_hash_unique UNIQUE (token_hash),
    CONSTRAINT sessions_api_key_id_fkey FOREIGN KEY (api_key_id) REFERENCES api_keys(id) ON DELETE CASCADE,
    CONSTRAINT sessions_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE
);
CREATE INDEX sessions_key ON sessions (api_key_id) WHERE api_key_id IS NOT NULL;
CREATE INDEX sessions_user ON sessions (user_id);

-- Links that sign in once. Using one deletes it.
CREATE TABLE login_links (
    token_hash bytea       NOT NULL,
    user_id    uuid        NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    CONSTRAINT login_links_pkey PRIMARY KEY (token_hash),
    CONSTRAINT login_links_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE
);
CREATE INDEX login_links_user ON login_links (user_id);

-- Tenants. Everything below belongs to exactly one.
CREATE TABLE spaces (
    id             uuid        NOT NULL DEFAULT uuid7(),
    slug           text        NOT NULL,
    name           text        NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT now(),
    updated_at     timestamptz NOT NULL DEFAULT now(),
    retention_days integer,  -- Runs older than this are deleted here; null keeps them for ever.
    CONSTRAINT spaces_pkey PRIMARY KEY (id),
    CONSTRAINT spaces_slug_unique UNIQUE (slug),
    CONSTRAINT spaces_retention_days_in_range CHECK (retention_days >= 1 AND retention_days <= 36500)
);

-- Who may do what in a space. Its row-level security also shows people their own.
CREATE TABLE memberships (
    space_id   uuid        NOT NULL,
    user_id    uuid        NOT NULL,
    role       text        NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT memberships_pkey PRIMARY KEY (space_id, user_id),
    CONSTRAINT memberships_role_is_known CHECK (role = ANY (ARRAY['viewer', 'editor', 'admin'])),
    CONSTRAINT memberships_space_id_fkey FOREIGN KEY (space_id) REFERENCES spaces(id) ON DELETE CASCADE,
    CONSTRAINT memberships_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE
);
CREATE INDEX memberships_user ON memberships (user_id);
ALTER TABLE memberships ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_memberships ON memberships FOR SELECT USING (user_id = (SELECT current_caller()));
CREATE POLICY within_space ON memberships USING (space_id = (SELECT current_space()));

-- Groups of people who own pipelines.
CREATE TABLE teams (
    space_id   uuid        NOT NULL,
    id         uuid        NOT NULL DEFAULT uuid7(),
    name       text        NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT teams_pkey PRIMARY KEY (space_id, id),
    CONSTRAINT teams_name_unique UNIQUE (space_id, name),
    CONSTRAINT teams_space_id_fkey FOREIGN KEY (space_id) REFERENCES spaces(id) ON DELETE CASCADE
);
ALTER TABLE teams ENABLE ROW LEVEL SECURITY;
CREATE POLICY within_space ON teams USING (space_id = (SELECT current_space()));

CREATE TABLE team_members (
    space_id uuid NOT NULL,
    team_id  uuid NOT NULL,
    user_id  uuid NOT NULL,
    CONSTRAINT team_members_pkey PRIMARY KEY (space_id, team_id, user_id),
    CONSTRAINT team_members_membership FOREIGN KEY (space_id, user_id) REFERENCES memberships(space_id, user_id) ON DELETE CASCADE,
    CONSTRAINT team_members_team FOREIGN KEY (space_id, team_id) REFERENCES teams(space_id, id) ON DELETE CASCADE,
    CONSTRAINT team_members_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE
);
ALTER TABLE team_members ENABLE ROW LEVEL SECURITY;
CREATE POLICY within_space ON team_members USING (space_id = (SELECT current_space()));

-- Other systems of a space; those of type airflow are mirrored.
CREATE TABLE connectors (
    space_id            uuid        NOT NULL,
    id                  uuid        NOT NULL DEFAULT uuid7(),
    name                text        NOT NULL,
    connector_type      text        NOT NULL,
    config              jsonb       NOT NULL DEFAULT '{}',
    credentials         bytea,  -- Encrypted (Fernet) with keys that are not in this database.
    is_active           boolean     NOT NULL DEFAULT true,
    source_system_id    uuid,
    created_at          timestamptz NOT NULL DEFAULT now(),
    updated_at          timestamptz NOT NULL DEFAULT now(),
    -- When an operator accepted that no key decrypts these credentials; null again when others are entered.
    credentials_lost_at timestamptz,
    CONSTRAINT connectors_pkey PRIMARY KEY (space_id, id),
    CONSTRAINT connectors_name_unique UNIQUE (space_id, name),
    CONSTRAINT connectors_space_id_fkey FOREIGN KEY (space_id) REFERENCES spaces(id) ON DELETE CASCADE
);
ALTER TABLE connectors ENABLE ROW LEVEL SECURITY;
CREATE POLICY within_space ON connectors USING (space_id = (SELECT current_space()));

-- What a connector's sync remembers from one pass to the next. Only the sync writes it.
CREATE TABLE sync_states (
    space_id            uuid             NOT NULL,
    connector_id        uuid             NOT NULL,
    api_version         text,
    provider_version    text,
    watermark           timestamptz,  -- By the provider's clock: everything changed before it is stored.
    pipelines_listed_at timestamptz,  -- By our clock: when the pipeline list was last read whole.
    -- DAGs of that list that the connector's include and exclude leave out.
    unwanted            text[]           NOT NULL DEFAULT '{}',
    checkpoint          jsonb,  -- Where an unfinished pass goes on; null after a complete one.
    next_sync_at        timestamptz      NOT NULL DEFAULT now(),
    -- Passes in a row that did not end complete; they stretch next_sync_at.
    failures            integer          NOT NULL DEFAULT 0,
    last_sync_at        timestamptz,
    last_sync_status    text,
    last_complete_at    timestamptz,
    -- small: each poll reads what changed; large: that is too dear, so only the changed runs of the last days, and all of it every few minutes.
    mode                text             NOT NULL DEFAULT 'small',
    poll_seconds        double precision,  -- How long Airflow took for the dearest question of a poll.
    quick_from          timestamptz,  -- By the provider's clock: where the next quick poll of the large mode begins.
    -- How far back the history has been read, and how far it shall be; null before the first sync.
    history             jsonb,
    checked_at          timestamptz,  -- When our number of rows was last compared with the provider's.
    -- Something was missing for the first time: the next pass looks again.
    looks_again         boolean          NOT NULL DEFAULT false,
    -- Whether the event log may be read, and which of its newest entries were followed.
    events              jsonb            NOT NULL DEFAULT '{}',
    -- Runs with the moment they began: another Airflow has not the same ones.
    witnesses           jsonb            NOT NULL DEFAULT '[]',
    address             text,  -- Where the witnesses were seen.
    held                jsonb,  -- What the sync does not do until a person says so, and why.
    accepted            jsonb,  -- What a person last let go on.
    accepted_at         timestamptz,
    partial_since       timestamptz,
    failing_since       timestamptz,
    last_error          text,
    -- As checked_at, of all that the history holds; in between only the last days are compared.
    checked_whole_at    timestamptz,
    -- The watermark of the last sync that made sure who answered: when another Airflow is found out, what was read since is read again.
    vouched_until       timestamptz,
    vouched_at          timestamptz,  -- When that sync began, by our clock.
    skipped             integer          NOT NULL DEFAULT 0,  -- How many rows skipped_rows has of the connector.
    -- How Airflow's clock, that of the host that stamps its rows, and ours differ; null before it was measured.
    clocks              jsonb,
    -- What the mode of the next sync follows from: seconds of the last polls, number of task instances, runs that the large mode has read.
    polling             jsonb            NOT NULL DEFAULT '{}',
    -- Of the list of DAGs that was stored last: requests and seconds that it cost, and a digest of its rows.
    listing             jsonb,
    -- The account may read single DAGs only: lists over all DAGs answer 403, so each DAG is asked for its runs and task instances.
    is_per_dag          boolean          NOT NULL DEFAULT false,
    -- The running sync waited long for one answer while others waited for a worker: it goes on in the queue of slow connectors.
    is_stuck            boolean          NOT NULL DEFAULT false,
    -- Lists that gave fewer rows than their totals count: for each its name, how many fewer, and in how many syncs in a row.
    miscounts           jsonb            NOT NULL DEFAULT '[]',
    CONSTRAINT sync_states_pkey PRIMARY KEY (space_id, connector_id),
    CONSTRAINT sync_states_mode_is_known CHECK (mode = ANY (ARRAY['small', 'large'])),
    CONSTRAINT sync_states_connector FOREIGN KEY (space_id, connector_id) REFERENCES connectors(space_id, id) ON DELETE CASCADE
);
CREATE INDEX sync_states_next_sync_at ON sync_states (next_sync_at);
ALTER TABLE sync_states ENABLE ROW LEVEL SECURITY;
CREATE POLICY within_space ON sync_states USING (space_id = (SELECT current_space()));

-- Each sync: what it counted, what it covered, and in words what went wrong.
CREATE TABLE sync_runs (
    space_id            uuid        NOT NULL,
    id                  uuid        NOT NULL DEFAULT uuid7(),
    connector_id        uuid        NOT NULL,
    status              text        NOT NULL DEFAULT 'queued',
    trigger             text        NOT NULL,
    is_full             boolean     NOT NULL DEFAULT false,
    requested_by        uuid,
    queued_at           timestamptz NOT NULL DEFAULT now(),
    started_at          timestamptz,
    finished_at         timestamptz,
    phase               text        NOT NULL DEFAULT 'waiting for a worker',
    pipelines           jsonb       NOT NULL DEFAULT '{"created": 0, "removed": 0, "updated": 0, "unchanged": 0}',
    runs                jsonb       NOT NULL DEFAULT '{"created": 0, "removed": 0, "updated": 0, "unchanged": 0}',
    task_runs           jsonb       NOT NULL DEFAULT '{"created": 0, "removed": 0, "updated": 0, "unchanged": 0}',
    provider_requests   integer     NOT NULL DEFAULT 0,
    coverage            jsonb       NOT NULL DEFAULT '{"read": 0, "skipped": 0, "expected": 0}',
    warnings            jsonb       NOT NULL DEFAULT '[]',
    error               text,
    lease_holder        text,
    lease_until         timestamptz,  -- The worker renews it; past it the worker counts as dead, and cannot write.
    cancel_requested_at timestamptz,
    -- How often a worker passed it on before its end, to stop or to let others have their turn.
    hand_overs          integer     NOT NULL DEFAULT 0,
    -- A full sync that was requested while another one was under way: it is claimed when that one has ended.
    is_follow_up        boolean     NOT NULL DEFAULT false,
    CONSTRAINT sync_runs_pkey PRIMARY KEY (space_id, id),
    CONSTRAINT sync_runs_status_is_known CHECK (status = ANY (ARRAY['queued', 'running', 'complete', 'partial', 'failed', 'cancelled'])),
    CONSTRAINT sync_runs_trigger_is_known CHECK (trigger = ANY (ARRAY['manual', 'schedule'])),
    CONSTRAINT sync_runs_connector FOREIGN KEY (space_id, connector_id) REFERENCES connectors(space_id, id) ON DELETE CASCADE,
    CONSTRAINT sync_runs_requested_by_fkey FOREIGN KEY (requested_by) REFERENCES users(id) ON DELETE SET NULL
);
CREATE INDEX sync_runs_newest ON sync_runs (space_id, queued_at DESC, id DESC);
-- One sync under way per connector, whatever processes there are.
CREATE UNIQUE INDEX sync_runs_one_at_a_time ON sync_runs (space_id, connector_id) WHERE (status = ANY (ARRAY['queued', 'running'])) AND NOT is_follow_up;
-- And one full sync behind it.
CREATE UNIQUE INDEX sync_runs_one_follow_up ON sync_runs (space_id, connector_id) WHERE status = 'queued' AND is_follow_up;
CREATE INDEX sync_runs_unfinished ON sync_runs (status) WHERE status = ANY (ARRAY['queued', 'running']);
ALTER TABLE sync_runs ENABLE ROW LEVEL SECURITY;
CREATE POLICY within_space ON sync_runs USING (space_id = (SELECT current_space()));

-- Rows that the provider has and the mirror lacks, wholly or some fields of them. At most 1,000 per connector; only the sync writes it.
CREATE TABLE skipped_rows (
    space_id             uuid        NOT NULL,
    connector_id         uuid        NOT NULL,
    -- A digest of the ids below; of a row without ids, of its place in the reading that met it.
    identity             uuid        NOT NULL,
    kind                 text        NOT NULL,
    pipeline_external_id text,
    run_external_id      text,
    task_external_id     text,
    map_index            bigint,
    fields               text[]      NOT NULL DEFAULT '{}',  -- Stored without these; empty: not stored.
    reason               text        NOT NULL,
    is_mirrored          boolean     NOT NULL DEFAULT false,  -- An earlier state of the row is in the mirror.
    -- Of a run that is not in the mirror: how many task runs of it the provider lists.
    task_runs            integer     NOT NULL DEFAULT 0,
    -- The window of runs in which it was met, as narrow as it is known; both ends are included. Null: met among changes.
    window_start         timestamptz,
    window_end           timestamptz,
    sync_id              uuid        NOT NULL,
    first_seen_at        timestamptz NOT NULL DEFAULT now(),
    last_seen_at         timestamptz NOT NULL DEFAULT now(),  -- When a sync last met it, or looked for it.
    region_id            text,  -- Of a task run in a loop or in an expansion, as in task_runs.
    region_index         bigint,
    -- How many rows Airflow counts in the window and never lists; 0: this is one row.
    unlisted             integer     NOT NULL DEFAULT 0,
    CONSTRAINT skipped_rows_pkey PRIMARY KEY (space_id, connector_id, identity),
    CONSTRAINT skipped_rows_kind_is_known CHECK (kind = ANY (ARRAY['pipelines', 'runs', 'task_runs'])),
    CONSTRAINT skipped_rows_connector FOREIGN KEY (space_id, connector_id) REFERENCES connectors(space_id, id) ON DELETE CASCADE
);
ALTER TABLE skipped_rows ENABLE ROW LEVEL SECURITY;
CREATE POLICY within_space ON skipped_rows USING (space_id = (SELECT current_space()));

-- DAGs. criticality and team_id are people's; a sync never writes them.
CREATE TABLE pipelines (
    space_id             uuid        NOT NULL,
    id                   uuid        NOT NULL DEFAULT uuid7(),
    connector_id         uuid        NOT NULL,
    provider             text        NOT NULL DEFAULT 'airflow',
    external_id          text        NOT NULL,
    name                 text        NOT NULL,
    description          text,
    owner                text,
    owners               text[]      NOT NULL DEFAULT '{}',
    tags                 text[]      NOT NULL DEFAULT '{}',
    schedule             text,
    schedule_description text,
    next_run_at          timestamptz,
    is_paused            boolean     NOT NULL,
    is_active            boolean     NOT NULL,
    has_import_errors    boolean     NOT NULL,
    provider_metadata    jsonb       NOT NULL DEFAULT '{}',
    -- That of the newest run (by run_at); kept by the sync, as are last_run and recent_runs.
    status               text        NOT NULL DEFAULT 'unknown',
    last_run             json,
    criticality          text        NOT NULL DEFAULT 'medium',
    team_id              uuid,
    missed_by            uuid,  -- The complete sync that first did not see it; a second one in a row removes it.
    removed_at           timestamptz,
    -- When a sync last wrote the row; what people read is the later complete pass.
    last_synced_at       timestamptz NOT NULL DEFAULT now(),
    created_at           timestamptz NOT NULL DEFAULT now(),
    updated_at           timestamptz NOT NULL DEFAULT now(),
    -- task_id to its distance from the start of the DAG; {} until the sync has read the graph.
    task_levels          jsonb       NOT NULL DEFAULT '{}',
    tasks_listed_at      timestamptz,
    -- The sync that found it gone; when that sync ends complete it is removed, unless the loss is held back.
    gone_by              uuid,
    -- It has come, or come back, after the history was begun: what happened to its runs meanwhile is to be read.
    needs_history        boolean     NOT NULL DEFAULT false,
    -- When the newest run began, or was queued, or due; kept by the sync, to sort by.
    last_run_at          timestamptz,
    -- No new runs start; those that there are go on to their end.
    is_draining          boolean     NOT NULL DEFAULT false,
    -- As lists show it: see shown(). Not compressed, since to unpack a hundred takes longer than to find them.
    shown                json        NOT NULL GENERATED ALWAYS AS (shown(id, space_id, provider, external_id, name, description, connector_id, owner, owners, tags, schedule, schedule_description, next_run_at, is_paused, is_draining, is_active, has_import_errors, status, criticality, team_id, last_run, created_at, updated_at)) STORED,
    CONSTRAINT pipelines_pkey PRIMARY KEY (space_id, id),
    CONSTRAINT pipelines_identity UNIQUE (space_id, connector_id, external_id),
    CONSTRAINT pipelines_criticality_is_known CHECK (criticality = ANY (ARRAY['low', 'medium', 'high', 'critical'])),
    CONSTRAINT pipelines_connector FOREIGN KEY (space_id, connector_id) REFERENCES connectors(space_id, id) ON DELETE CASCADE,
    CONSTRAINT pipelines_team FOREIGN KEY (space_id, team_id) REFERENCES teams(space_id, id) ON DELETE SET NULL (team_id)
);
CREATE INDEX pipelines_by_name ON pipelines (space_id, "left"(name, 600), id);
CREATE INDEX pipelines_gone ON pipelines (space_id, connector_id) WHERE gone_by IS NOT NULL;
CREATE INDEX pipelines_need_history ON pipelines (space_id, connector_id) WHERE needs_history;
CREATE INDEX pipelines_team ON pipelines (space_id, team_id) WHERE team_id IS NOT NULL;
ALTER TABLE pipelines ENABLE ROW LEVEL SECURITY;
CREATE POLICY within_space ON pipelines USING (space_id = (SELECT current_space()));

-- What q looks through. Kept by a trigger of pipelines, in a table of its own because their rows are wide.
CREATE TABLE pipeline_search (
    space_id    uuid NOT NULL,
    pipeline_id uuid NOT NULL,
    search      text NOT NULL,  -- Name, id, description, owners and tags, in lower case.
    CONSTRAINT pipeline_search_pkey PRIMARY KEY (space_id, pipeline_id),
    CONSTRAINT pipeline_search_pipeline FOREIGN KEY (space_id, pipeline_id) REFERENCES pipelines(space_id, id) ON DELETE CASCADE
);
ALTER TABLE pipeline_search ENABLE ROW LEVEL SECURITY;
CREATE POLICY within_space ON pipeline_search USING (space_id = (SELECT current_space()));

-- The newest runs of a pipeline, oldest first, as lists send them; none where it has no run. Apart, so that whoever looks through pipelines does not read them; not compressed, since to unpack a hundred takes longer than to find them.
CREATE TABLE pipeline_strips (
    space_id    uuid NOT NULL,
    pipeline_id uuid NOT NULL,
    recent_runs json NOT NULL,
    CONSTRAINT pipeline_strips_pkey PRIMARY KEY (space_id, pipeline_id),
    CONSTRAINT pipeline_strips_pipeline FOREIGN KEY (space_id, pipeline_id) REFERENCES pipelines(space_id, id) ON DELETE CASCADE
);
ALTER TABLE pipeline_strips ENABLE ROW LEVEL SECURITY;
CREATE POLICY within_space ON pipeline_strips USING (space_id = (SELECT current_space()));

-- How far each pipeline has been read where the account may read single DAGs only. Only the sync writes it.
CREATE TABLE pipeline_reads (
    space_id    uuid        NOT NULL,
    pipeline_id uuid        NOT NULL,
    -- By the clock of the provider: everything of this pipeline that changed before it is stored.
    watermark   timestamptz,
    read_at     timestamptz,  -- By our clock: when it was last read; null: not yet.
    refused_at  timestamptz,  -- When the provider last refused it; null after it was read.
    checked_at  timestamptz,  -- When its number of rows was last compared with that of the provider.
    CONSTRAINT pipeline_reads_pkey PRIMARY KEY (space_id, pipeline_id),
    CONSTRAINT pipeline_reads_pipeline FOREIGN KEY (space_id, pipeline_id) REFERENCES pipelines(space_id, id) ON DELETE CASCADE
);
ALTER TABLE pipeline_reads ENABLE ROW LEVEL SECURITY;
CREATE POLICY within_space ON pipeline_reads USING (space_id = (SELECT current_space()));

-- DAG runs. removed_at: two complete passes did not find it in Airflow any more; we keep it.
CREATE TABLE runs (
    space_id             uuid             NOT NULL,
    id                   uuid             NOT NULL DEFAULT uuid7(),
    pipeline_id          uuid             NOT NULL,
    external_id          text             NOT NULL,
    status               text             NOT NULL,
    run_type             text             NOT NULL,
    -- Its position in the history of the provider; never null, never changes: run_after, else see the provider.
    run_at               timestamptz      NOT NULL,
    queued_at            timestamptz,
    started_at           timestamptz,
    ended_at             timestamptz,
    run_after            timestamptz,
    logical_date         timestamptz,
    data_interval_start  timestamptz,
    data_interval_end    timestamptz,
    conf                 jsonb            NOT NULL DEFAULT '{}',
    note                 text,
    triggered_by         text,
    provider_metadata    jsonb            NOT NULL DEFAULT '{}',
    -- Task runs by status; kept by the sync in the transaction that stores the task runs.
    task_counts          jsonb            NOT NULL DEFAULT '{}',
    triggered_by_user_id uuid,
    missed_by            uuid,
    removed_at           timestamptz,
    last_synced_at       timestamptz      NOT NULL DEFAULT now(),
    created_at           timestamptz      NOT NULL DEFAULT now(),
    updated_at           timestamptz      NOT NULL DEFAULT now(),
    gone_by              uuid,  -- As of pipelines.
    -- Airflow has cleaned it up with all that was older; ours is the only copy, and stays.
    archived_at          timestamptz,
    -- Null when unknown: not ended, or ended before it started.
    duration_seconds     double precision GENERATED ALWAYS AS (
CASE
    WHEN ended_at >= started_at THEN EXTRACT(epoch FROM ended_at - started_at)::double precision
    ELSE NULL::double precision
END) STORED,
    -- When it was started, or queued. Lists are ordered, and time ranges found and counted, by it.
    begun_at             timestamptz      NOT NULL GENERATED ALWAYS AS (COALESCE(started_at, queued_at, run_after,
CASE
    WHEN status = ANY (ARRAY['queued', 'running']) THEN created_at
    ELSE NULL::timestamp with time zone
END, ended_at, run_at)) STORED,
    -- Airflow uses its id for another run by now; this one was deleted there.
    is_replaced          boolean          NOT NULL DEFAULT false,
    CONSTRAINT runs_pkey PRIMARY KEY (space_id, id),
    CONSTRAINT runs_pipeline FOREIGN KEY (space_id, pipeline_id) REFERENCES pipelines(space_id, id) ON DELETE CASCADE,
    CONSTRAINT runs_triggered_by_user_id_fkey FOREIGN KEY (triggered_by_user_id) REFERENCES users(id) ON DELETE SET NULL
);
CREATE INDEX runs_ended_of_pipeline ON runs (space_id, pipeline_id, ended_at) INCLUDE (status, duration_seconds, removed_at);
CREATE INDEX runs_gone ON runs (space_id, pipeline_id) WHERE gone_by IS NOT NULL;
-- The run that has the id in Airflow, or had it last.
CREATE UNIQUE INDEX runs_identity ON runs (space_id, pipeline_id, external_id) WHERE NOT is_replaced;
CREATE INDEX runs_newest ON runs (space_id, begun_at DESC, id DESC) INCLUDE (pipeline_id, status, run_type, removed_at);
CREATE INDEX runs_newest_of_pipeline ON runs (space_id, pipeline_id, begun_at DESC, id DESC) INCLUDE (removed_at);
CREATE INDEX runs_unfinished_of_pipeline ON runs (space_id, pipeline_id) WHERE status = ANY (ARRAY['queued', 'running']);
-- The position in time by which the provider can list runs again.
CREATE INDEX runs_window ON runs (space_id, COALESCE(run_after, logical_date));
ALTER TABLE runs ENABLE ROW LEVEL SECURITY;
CREATE POLICY within_space ON runs USING (space_id = (SELECT current_space()));

-- Task instances. Never known by Airflow's own id, which changes with every try.
CREATE TABLE task_runs (
    space_id          uuid             NOT NULL,
    id                uuid             NOT NULL DEFAULT uuid7(),
    run_id            uuid             NOT NULL,
    external_id       text             NOT NULL,
    -- -1: not an instance of a mapped task (answered as null).
    map_index         integer          NOT NULL DEFAULT '-1',
    name              text             NOT NULL,
    operator          text,
    status            text             NOT NULL,
    try_number        integer          NOT NULL,
    max_tries         integer          NOT NULL,
    queued_at         timestamptz,
    started_at        timestamptz,
    ended_at          timestamptz,
    pool              text,
    queue             text,
    hostname          text,
    note              text,
    provider_metadata jsonb            NOT NULL DEFAULT '{}',
    missed_by         uuid,
    removed_at        timestamptz,
    last_synced_at    timestamptz      NOT NULL DEFAULT now(),
    created_at        timestamptz      NOT NULL DEFAULT now(),
    updated_at        timestamptz      NOT NULL DEFAULT now(),
    gone_by           uuid,  -- As of pipelines.
    archived_at       timestamptz,  -- As of runs.
    -- As in runs.
    duration_seconds  double precision GENERATED ALWAYS AS (
CASE
    WHEN ended_at >= started_at THEN EXTRACT(epoch FROM ended_at - started_at)::double precision
    ELSE NULL::double precision
END) STORED,
    -- A UUID, of one execution of a loop or of one expansion of a mapped task; empty: in no region (answered as null).
    region_id         text             NOT NULL DEFAULT '',
    -- In the region of a loop the iteration, in that of an expansion the map index; -1: none (answered as null).
    region_index      integer          NOT NULL DEFAULT '-1',
    -- The innermost loop around the task, also of a mapped task in it, whose region is another.
    loop_id           text,
    loop_iteration    integer,
    CONSTRAINT task_runs_pkey PRIMARY KEY (space_id, id),
    CONSTRAINT task_runs_identity UNIQUE (space_id, run_id, external_id, region_id, region_index, map_index),
    CONSTRAINT task_runs_run FOREIGN KEY (space_id, run_id) REFERENCES runs(space_id, id) ON DELETE CASCADE
);
CREATE INDEX task_runs_gone ON task_runs (space_id, run_id) WHERE gone_by IS NOT NULL;
ALTER TABLE task_runs ENABLE ROW LEVEL SECURITY;
CREATE POLICY within_space ON task_runs USING (space_id = (SELECT current_space()));

CREATE TABLE watches (
    space_id    uuid        NOT NULL,
    pipeline_id uuid        NOT NULL,
    user_id     uuid        NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT watches_pkey PRIMARY KEY (space_id, pipeline_id, user_id),
    CONSTRAINT watches_pipeline FOREIGN KEY (space_id, pipeline_id) REFERENCES pipelines(space_id, id) ON DELETE CASCADE,
    CONSTRAINT watches_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE
);
ALTER TABLE watches ENABLE ROW LEVEL SECURITY;
CREATE POLICY within_space ON watches USING (space_id = (SELECT current_space()));

-- On a run, or on one task run of it (then both are named).
CREATE TABLE comments (
    space_id    uuid        NOT NULL,
    id          uuid        NOT NULL DEFAULT uuid7(),
    run_id      uuid        NOT NULL,
    task_run_id uuid,
    parent_id   uuid,
    author_id   uuid,
    content     text        NOT NULL,
    is_edited   boolean     NOT NULL DEFAULT false,
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT comments_pkey PRIMARY KEY (space_id, id),
    CONSTRAINT comments_content_length CHECK (length(content) >= 1 AND length(content) <= 10000),
    CONSTRAINT comments_author_id_fkey FOREIGN KEY (author_id) REFERENCES users(id) ON DELETE SET NULL,
    CONSTRAINT comments_parent FOREIGN KEY (space_id, parent_id) REFERENCES comments(space_id, id) ON DELETE SET NULL (parent_id),
    CONSTRAINT comments_run FOREIGN KEY (space_id, run_id) REFERENCES runs(space_id, id) ON DELETE CASCADE,
    CONSTRAINT comments_task_run FOREIGN KEY (space_id, task_run_id) REFERENCES task_runs(space_id, id) ON DELETE CASCADE
);
CREATE INDEX comments_replies ON comments (space_id, parent_id) WHERE parent_id IS NOT NULL;
CREATE INDEX comments_run ON comments (space_id, run_id, created_at, id);
CREATE INDEX comments_task_run ON comments (space_id, task_run_id, created_at, id) WHERE task_run_id IS NOT NULL;
ALTER TABLE comments ENABLE ROW LEVEL SECURITY;
CREATE POLICY within_space ON comments USING (space_id = (SELECT current_space()));

-- Written before Airflow is asked: the run id is ours, so that a run whose answer was lost is found again.
CREATE TABLE trigger_requests (
    space_id        uuid        NOT NULL,
    id              uuid        NOT NULL DEFAULT uuid7(),
    pipeline_id     uuid        NOT NULL,
    user_id         uuid,
    run_external_id text        NOT NULL GENERATED ALWAYS AS ('windsock__' || id::text) STORED,
    idempotency_key text,
    body_hash       bytea       NOT NULL,  -- SHA-256 of what was sent; the same key with another body is refused.
    lease_until     timestamptz NOT NULL,  -- Until then one process is sending it, and the others wait.
    -- created: answered again; refused: Airflow said no; unknown: looked up before it is sent again.
    outcome         text,
    status          integer,  -- What the caller was answered, where it was no run.
    detail          text,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT trigger_requests_pkey PRIMARY KEY (space_id, id),
    CONSTRAINT trigger_requests_idempotency_key UNIQUE (space_id, pipeline_id, idempotency_key),
    CONSTRAINT trigger_requests_run UNIQUE (space_id, pipeline_id, run_external_id),
    CONSTRAINT trigger_requests_outcome_is_known CHECK (outcome = ANY (ARRAY['created', 'refused', 'unknown'])),
    CONSTRAINT trigger_requests_pipeline FOREIGN KEY (space_id, pipeline_id) REFERENCES pipelines(space_id, id) ON DELETE CASCADE,
    CONSTRAINT trigger_requests_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE SET NULL
);
CREATE INDEX trigger_requests_newest ON trigger_requests (space_id, created_at);
ALTER TABLE trigger_requests ENABLE ROW LEVEL SECURITY;
CREATE POLICY within_space ON trigger_requests USING (space_id = (SELECT current_space()));

-- The runs of a pipeline that ended on a day (UTC), counted. Kept by a trigger on runs, so that it is right whoever writes.
CREATE TABLE pipeline_days (
    space_id    uuid             NOT NULL,
    pipeline_id uuid             NOT NULL,
    day         date             NOT NULL,
    total       integer          NOT NULL DEFAULT 0,
    success     integer          NOT NULL DEFAULT 0,
    failed      integer          NOT NULL DEFAULT 0,
    timed       integer          NOT NULL DEFAULT 0,  -- Those that have a duration; seconds is the sum.
    seconds     double precision NOT NULL DEFAULT 0,
    -- Six bytes per bucket of duration_code that is not empty: its number (2) and how many (4), big-endian.
    durations   bytea            NOT NULL DEFAULT '\x'::bytea,
    -- durations in a third of the bytes, for pipeline_recent_days: see duration_codes().
    codes       bytea            NOT NULL DEFAULT '\x'::bytea,
    -- 32 bytes, big-endian, for pipeline_recent_days: the days since 1970 (4); total, success, failed, timed (4 each); seconds (8); the length of codes (4).
    packed      bytea            NOT NULL GENERATED ALWAYS AS ((((((int4send(day - '1970-01-01'::date) || int4send(total)) || int4send(success)) || int4send(failed)) || int4send(timed)) || float8send(seconds)) || int4send(length(codes))) STORED,
    -- Of each run that ended in it ended_run(), in no order; null until the day is over, so that it is not written with each of its runs.
    ended       bytea,
    CONSTRAINT pipeline_days_pkey PRIMARY KEY (space_id, pipeline_id, day),
    CONSTRAINT pipeline_days_pipeline FOREIGN KEY (space_id, pipeline_id) REFERENCES pipelines(space_id, id) ON DELETE CASCADE
);
CREATE INDEX pipeline_days_by_day ON pipeline_days (space_id, day, pipeline_id);
CREATE INDEX pipeline_days_not_over ON pipeline_days (space_id, pipeline_id) WHERE ended IS NULL;
ALTER TABLE pipeline_days ENABLE ROW LEVEL SECURITY;
CREATE POLICY within_space ON pipeline_days USING (space_id = (SELECT current_space()));

-- The days of pipeline_days, by the week (of its Monday).
CREATE TABLE pipeline_weeks (
    space_id    uuid             NOT NULL,
    pipeline_id uuid             NOT NULL,
    week        date             NOT NULL,
    total       integer          NOT NULL DEFAULT 0,
    success     integer          NOT NULL DEFAULT 0,
    failed      integer          NOT NULL DEFAULT 0,
    timed       integer          NOT NULL DEFAULT 0,
    seconds     double precision NOT NULL DEFAULT 0,
    durations   bytea            NOT NULL DEFAULT '\x'::bytea,
    CONSTRAINT pipeline_weeks_pkey PRIMARY KEY (space_id, pipeline_id, week),
    CONSTRAINT pipeline_weeks_pipeline FOREIGN KEY (space_id, pipeline_id) REFERENCES pipelines(space_id, id) ON DELETE CASCADE
);
ALTER TABLE pipeline_weeks ENABLE ROW LEVEL SECURITY;
CREATE POLICY within_space ON pipeline_weeks USING (space_id = (SELECT current_space()));

-- The days of pipeline_days, at least the last 40, in one row. Whoever counts a day of a pipeline anew holds its row, which therefore stays, also when nothing is left of it.
CREATE TABLE pipeline_recent_days (
    space_id    uuid  NOT NULL,
    pipeline_id uuid  NOT NULL,
    days        bytea NOT NULL DEFAULT '\x'::bytea,  -- pipeline_days.packed of these days, the newest first.
    codes       bytea NOT NULL DEFAULT '\x'::bytea,  -- pipeline_days.codes of these days, the newest first.
    CONSTRAINT pipeline_recent_days_pkey PRIMARY KEY (space_id, pipeline_id),
    CONSTRAINT pipeline_recent_days_pipeline FOREIGN KEY (space_id, pipeline_id) REFERENCES pipelines(space_id, id) ON DELETE CASCADE
);
ALTER TABLE pipeline_recent_days ENABLE ROW LEVEL SECURITY;
CREATE POLICY within_space ON pipeline_recent_days USING (space_id = (SELECT current_space()));

-- Their sum is the version of a space: it grows with every transaction that changes what the space shows. Those who write at the same time move different parts, so that none waits for another: there are as many as there ever were at once.
CREATE TABLE space_versions (
    space_id  uuid   NOT NULL,
    part      uuid   NOT NULL DEFAULT uuid7(),
    version   bigint NOT NULL,
    pipelines bigint NOT NULL DEFAULT 0,  -- Their sum is the number of the space's pipelines.
    CONSTRAINT space_versions_pkey PRIMARY KEY (space_id, part),
    CONSTRAINT space_versions_space FOREIGN KEY (space_id) REFERENCES spaces(id) ON DELETE CASCADE
);
ALTER TABLE space_versions ENABLE ROW LEVEL SECURITY;
CREATE POLICY within_space ON space_versions USING (space_id = (SELECT current_space()));

-- How many runs a pipeline has, by status and type: a list says how many there are without counting them. Kept by a trigger on runs.
CREATE TABLE run_counts (
    space_id    uuid   NOT NULL,
    pipeline_id uuid   NOT NULL,
    status      text   NOT NULL,
    run_type    text   NOT NULL,
    total       bigint NOT NULL,
    CONSTRAINT run_counts_pkey PRIMARY KEY (space_id, pipeline_id, status, run_type),
    CONSTRAINT run_counts_pipeline FOREIGN KEY (space_id, pipeline_id) REFERENCES pipelines(space_id, id) ON DELETE CASCADE
);
ALTER TABLE run_counts ENABLE ROW LEVEL SECURITY;
CREATE POLICY within_space ON run_counts USING (space_id = (SELECT current_space()));

-- How many runs a space has, by status and type: the sum of its parts, which are those of space_versions, so that those who write at the same time do not wait for each other. Kept by a trigger on runs.
CREATE TABLE space_counts (
    space_id uuid   NOT NULL,
    part     uuid   NOT NULL,
    status   text   NOT NULL,
    run_type text   NOT NULL,
    total    bigint NOT NULL,
    CONSTRAINT space_counts_pkey PRIMARY KEY (space_id, part, status, run_type),
    CONSTRAINT space_counts_space FOREIGN KEY (space_id) REFERENCES spaces(id) ON DELETE CASCADE
);
ALTER TABLE space_counts ENABLE ROW LEVEL SECURITY;
CREATE POLICY within_space ON space_counts USING (space_id = (SELECT current_space()));

-- How many runs of a space began in an hour, by status and type: the sum of its parts, as in space_counts. Kept by a trigger on runs.
CREATE TABLE run_hours (
    space_id uuid        NOT NULL,
    hour     timestamptz NOT NULL,  -- hour_of() the runs' begun_at.
    part     uuid        NOT NULL,
    status   text        NOT NULL,
    run_type text        NOT NULL,
    total    bigint      NOT NULL,
    CONSTRAINT run_hours_pkey PRIMARY KEY (space_id, hour, part, status, run_type),
    CONSTRAINT run_hours_space FOREIGN KEY (space_id) REFERENCES spaces(id) ON DELETE CASCADE
);
ALTER TABLE run_hours ENABLE ROW LEVEL SECURITY;
CREATE POLICY within_space ON run_hours USING (space_id = (SELECT current_space()));

-- What people changed. Only the triggers below write it; the application cannot change or delete a row.
CREATE TABLE audit_events (
    space_id    uuid        NOT NULL,
    id          uuid        NOT NULL DEFAULT uuid7(),
    created_at  timestamptz NOT NULL DEFAULT now(),
    action      text        NOT NULL,
    target_type text        NOT NULL,
    target_id   uuid,
    target_name text,
    actor_id    uuid,  -- Null: a command run on the machine itself, or a person who is gone (actor_name stays).
    actor_name  text,
    api_key_id  uuid,
    before      jsonb,
    after       jsonb,
    request_id  text,
    CONSTRAINT audit_events_pkey PRIMARY KEY (space_id, id),
    CONSTRAINT audit_events_actor_id_fkey FOREIGN KEY (actor_id) REFERENCES users(id) ON DELETE SET NULL,
    CONSTRAINT audit_events_space_id_fkey FOREIGN KEY (space_id) REFERENCES spaces(id) ON DELETE CASCADE
);
CREATE INDEX audit_events_newest ON audit_events (space_id, created_at DESC, id DESC);
CREATE INDEX audit_events_of_target ON audit_events (space_id, target_id, created_at DESC, id DESC);
ALTER TABLE audit_events ENABLE ROW LEVEL SECURITY;
CREATE POLICY within_space ON audit_events USING (space_id = (SELECT current_space()));

-- In a word, how far what a connector shows can be believed. late: no complete sync for three intervals and half a minute; in the large mode ten minutes more.
CREATE FUNCTION sync_state(is_active boolean, s sync_states, config jsonb)
 RETURNS text
 LANGUAGE sql
 STABLE PARALLEL SAFE
AS $function$
    SELECT CASE
        WHEN NOT is_active THEN 'off'
        WHEN s.held ->> 'kind' = 'other_airflow' THEN 'held'
        WHEN s.failing_since IS NOT NULL THEN 'failing'
        WHEN s.partial_since IS NOT NULL THEN 'partial'
        WHEN s.last_complete_at IS NULL THEN 'new'
        WHEN now() - s.last_complete_at
             > 3 * interval '1 second' * coalesce((config ->> 'sync_interval_seconds')::float8, 60) + interval '30 seconds'
               + CASE s.mode WHEN 'large' THEN interval '10 minutes' ELSE interval '0' END
            THEN 'late'
        ELSE 'fresh'
    END
$function$;

-- Whether the last sync failed, or Airflow takes more than ten seconds for one answer: such ones have a queue of their own.
CREATE FUNCTION is_doubtful(s sync_states)
 RETURNS boolean
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS $function$
    SELECT s.failures > 0 OR s.is_stuck OR coalesce(s.poll_seconds, 0) > 10
$function$;

-- What q looks through: the parts in lower case, a line each.
CREATE FUNCTION search_text(VARIADIC parts text[])
 RETURNS text
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN lower(array_to_string(parts, '
'::text));

CREATE FUNCTION keep_search()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'windsock', 'pg_temp'
AS $function$
BEGIN
    INSERT INTO pipeline_search AS s (space_id, pipeline_id, search)
    VALUES (NEW.space_id, NEW.id, search_text(
        NEW.name, NEW.external_id, NEW.description, search_text(VARIADIC NEW.owners), search_text(VARIADIC NEW.tags)))
    ON CONFLICT (space_id, pipeline_id) DO UPDATE SET search = excluded.search WHERE s.search <> excluded.search;
    RETURN NULL;
END
$function$;

-- The day of a moment, in UTC.
CREATE FUNCTION utc_day(at timestamp with time zone)
 RETURNS date
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS $function$
    SELECT (at AT TIME ZONE 'UTC')::date
$function$;

-- The Monday of its week.
CREATE FUNCTION week_of(day date)
 RETURNS date
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS $function$
    SELECT day - (extract(isodow FROM day)::integer - 1)
$function$;

-- Its beginning, in UTC.
CREATE FUNCTION hour_of(at timestamp with time zone)
 RETURNS timestamp with time zone
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN date_bin('01:00:00'::interval, at, '1970-01-01 00:00:00+00'::timestamp with time zone);

-- The logarithmic bucket of a duration: n holds what is longer than 1.01^(n-1) ms, up to 1.01^n ms, so that its middle is wrong by half a percent at most; 0 what is shorter than 1 ms; 2800 what is longer than 40 years.
CREATE FUNCTION duration_code(seconds double precision)
 RETURNS integer
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS $function$
    -- Null of null, where least() would say 2800.
    SELECT CASE WHEN seconds < 0.001 THEN 0
                WHEN seconds >= 0.001 THEN least(2800, ceil(ln(seconds / 0.001) / ln(1.01)))::integer END
$function$;

-- Buckets as in pipeline_days.durations in two bytes each, big-endian: how many (4 bits, at most 15, else the bucket comes again) and its number (12 bits).
CREATE FUNCTION duration_codes(durations bytea)
 RETURNS bytea
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN (SELECT COALESCE(string_agg(SUBSTRING(int4send((b.code | ((LEAST((b.many - (n.n * 15)), (15)::bigint))::integer << 12))) FROM 3), '\x'::bytea ORDER BY b.code, n.n), '\x'::bytea) AS "coalesce" FROM ((SELECT ((get_byte(duration_codes.durations, o.o) << 8) | get_byte(duration_codes.durations, (o.o + 1))) AS code, (((((get_byte(duration_codes.durations, (o.o + 2)))::bigint << 24) | ((get_byte(duration_codes.durations, (o.o + 3)) << 16))::bigint) | ((get_byte(duration_codes.durations, (o.o + 4)) << 8))::bigint) | (get_byte(duration_codes.durations, (o.o + 5)))::bigint) AS many FROM generate_series(0, (length(duration_codes.durations) - 6), 6) o(o)) b CROSS JOIN LATERAL generate_series((0)::bigint, ((b.many - 1) / 15)) n(n)));

-- Buckets as in pipeline_days.durations, in which one may come several times, each once.
CREATE FUNCTION merged_durations(durations bytea)
 RETURNS bytea
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS $function$
    SELECT coalesce(string_agg(int2send(b.code::smallint) || int4send(b.timed::integer), '' ORDER BY b.code), '')
    FROM (
        SELECT (get_byte(durations, o) << 8) | get_byte(durations, o + 1) AS code,
               sum((get_byte(durations, o + 2)::bigint << 24) | (get_byte(durations, o + 3) << 16)
                   | (get_byte(durations, o + 4) << 8) | get_byte(durations, o + 5)) AS timed
        FROM generate_series(0, length(durations) - 6, 6) o
        GROUP BY 1
    ) b
$function$;

-- 12 bytes, big-endian, for pipeline_days.ended: the second of the day (18 bits), 1 for success, 2 for failed, else 0 (2 bits), the bucket of its duration as duration_code() has it, or 4095 (12 bits); the duration in seconds or 0 (8 bytes).
CREATE FUNCTION ended_run(day date, ended_at timestamp with time zone, status text, code integer, duration_seconds double precision)
 RETURNS bytea
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN (int4send(((((floor(date_part('epoch'::text, (ended_at - ((day)::timestamp without time zone AT TIME ZONE 'UTC'::text)))))::integer << 14) | (CASE status WHEN 'success'::text THEN 1 WHEN 'failed'::text THEN 2 ELSE 0 END << 12)) | COALESCE(code, 4095))) || float8send(COALESCE(duration_seconds, (0)::double precision)));

-- What pipeline_days.ended holds of a day, if it is over.
CREATE FUNCTION ended_runs(space uuid, pipeline uuid, of_day date)
 RETURNS bytea
 LANGUAGE sql
 STABLE PARALLEL SAFE
AS $function$
    SELECT coalesce(string_agg(ended_run(of_day, r.ended_at, r.status, duration_code(r.duration_seconds), r.duration_seconds), ''), '')
    FROM runs r
    WHERE r.space_id = space AND r.pipeline_id = pipeline AND r.removed_at IS NULL
      AND r.ended_at >= of_day::timestamp AT TIME ZONE 'UTC' AND r.ended_at < (of_day + 1)::timestamp AT TIME ZONE 'UTC'
$function$;

-- What pipeline_recent_days holds of a pipeline, if it is written now. Windows of 35 days are read from it, whatever the clocks of servers say.
CREATE FUNCTION recent_days(space uuid, pipeline uuid)
 RETURNS TABLE(days bytea, codes bytea)
 LANGUAGE sql
 STABLE PARALLEL SAFE
AS $function$
    SELECT coalesce(string_agg(d.packed, '' ORDER BY d.day DESC), ''), coalesce(string_agg(d.codes, '' ORDER BY d.day DESC), '')
    FROM pipeline_days d
    WHERE d.space_id = space AND d.pipeline_id = pipeline AND d.day >= utc_day(now()) - 40
$function$;

-- Counts these days of these pipelines anew, the weeks they are in, and the recent days of each pipeline; and those of its days that are over since they were counted.
CREATE FUNCTION count_days(spaces uuid[], pipelines uuid[], days date[])
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'windsock', 'pg_temp'
AS $function$
-- First the pipelines' rows of recent days are locked, always in the same order, and only then is anything counted: what
-- another transaction counted meanwhile is seen by this one. A pipeline that is being deleted has no days any more.
DECLARE
    today CONSTANT date := utc_day(now());
BEGIN
    INSERT INTO pipeline_recent_days (space_id, pipeline_id)
    SELECT DISTINCT t.space_id, t.pipeline_id
    FROM unnest(spaces, pipelines) AS t (space_id, pipeline_id)
    JOIN pipelines p ON p.space_id = t.space_id AND p.id = t.pipeline_id
    ORDER BY 1, 2
    ON CONFLICT DO NOTHING;
    PERFORM FROM pipeline_recent_days x
    JOIN (SELECT DISTINCT t.space_id, t.pipeline_id FROM unnest(spaces, pipelines) AS t (space_id, pipeline_id)) t
      ON x.space_id = t.space_id AND x.pipeline_id = t.pipeline_id
    ORDER BY x.space_id, x.pipeline_id
    FOR UPDATE OF x;
    SELECT array_agg(t.space_id), array_agg(t.pipeline_id), array_agg(t.day) INTO spaces, pipelines, days
    FROM (
        SELECT * FROM unnest(spaces, pipelines, days) AS t (space_id, pipeline_id, day)
        UNION
        SELECT d.space_id, d.pipeline_id, d.day
        FROM (SELECT DISTINCT t.space_id, t.pipeline_id FROM unnest(spaces, pipelines) AS t (space_id, pipeline_id)) t
        JOIN pipeline_days d ON d.space_id = t.space_id AND d.pipeline_id = t.pipeline_id AND d.ended IS NULL AND d.day < today
    ) t;
    INSERT INTO pipeline_days AS d (space_id, pipeline_id, day, total, success, failed, timed, seconds, durations, codes, ended)
    SELECT t.space_id, t.pipeline_id, t.day, c.total, c.success, c.failed, c.timed, c.seconds, c.durations, c.codes, c.ended
    FROM unnest(spaces, pipelines, days) AS t (space_id, pipeline_id, day)
    JOIN pipelines p ON p.space_id = t.space_id AND p.id = t.pipeline_id
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(b.total), 0) AS total, coalesce(sum(b.success), 0) AS success,
               coalesce(sum(b.failed), 0) AS failed, coalesce(sum(b.timed), 0) AS timed,
               coalesce(sum(b.seconds), 0) AS seconds,
               coalesce(string_agg(int2send(b.code::smallint) || int4send(b.timed::integer), '') FILTER (WHERE b.code IS NOT NULL),
                        '') AS durations,
               coalesce(string_agg(CASE WHEN b.timed <= 15 THEN substring(int4send(b.code | (b.timed::integer << 12)) FROM 3)
                                        ELSE duration_codes(int2send(b.code::smallint) || int4send(b.timed::integer)) END, '')
                            FILTER (WHERE b.code IS NOT NULL), '') AS codes,
               CASE WHEN t.day < today THEN coalesce(string_agg(b.ended, ''), '') END AS ended
        FROM (
            SELECT r.code, count(*) AS total, count(r.duration_seconds) AS timed,
                   count(*) FILTER (WHERE r.status = 'success') AS success,
                   count(*) FILTER (WHERE r.status = 'failed') AS failed, sum(r.duration_seconds) AS seconds,
                   string_agg(CASE WHEN t.day < today THEN ended_run(t.day, r.ended_at, r.status, r.code, r.duration_seconds) END,
                              '') AS ended
            FROM (
                SELECT r.status, r.ended_at, r.duration_seconds, duration_code(r.duration_seconds) AS code
                FROM runs r
                WHERE r.space_id = t.space_id AND r.pipeline_id = t.pipeline_id AND r.removed_at IS NULL
                  AND r.ended_at >= t.day::timestamp AT TIME ZONE 'UTC'
                  AND r.ended_at < (t.day + 1)::timestamp AT TIME ZONE 'UTC'
            ) r
            GROUP BY 1
        ) b
    ) c
    ON CONFLICT (space_id, pipeline_id, day) DO UPDATE
    SET total = excluded.total, success = excluded.success, failed = excluded.failed, timed = excluded.timed,
        seconds = excluded.seconds, durations = excluded.durations, codes = excluded.codes, ended = excluded.ended;
    DELETE FROM pipeline_days d
    USING unnest(spaces, pipelines, days) AS t (space_id, pipeline_id, day)
    WHERE d.space_id = t.space_id AND d.pipeline_id = t.pipeline_id AND d.day = t.day AND d.total = 0;
    INSERT INTO pipeline_weeks AS w (space_id, pipeline_id, week, total, success, failed, timed, seconds, durations)
    SELECT t.space_id, t.pipeline_id, t.week, c.total, c.success, c.failed, c.timed, c.seconds, merged_durations(c.durations)
    FROM (SELECT DISTINCT t.space_id, t.pipeline_id, week_of(t.day) AS week
          FROM unnest(spaces, pipelines, days) AS t (space_id, pipeline_id, day)) t
    JOIN pipelines p ON p.space_id = t.space_id AND p.id = t.pipeline_id
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(d.total), 0) AS total, coalesce(sum(d.success), 0) AS success,
               coalesce(sum(d.failed), 0) AS failed, coalesce(sum(d.timed), 0) AS timed,
               coalesce(sum(d.seconds), 0) AS seconds, coalesce(string_agg(d.durations, ''), '') AS durations
        FROM pipeline_days d
        WHERE d.space_id = t.space_id AND d.pipeline_id = t.pipeline_id AND d.day >= t.week AND d.day < t.week + 7
    ) c
    ON CONFLICT (space_id, pipeline_id, week) DO UPDATE
    SET total = excluded.total, success = excluded.success, failed = excluded.failed, timed = excluded.timed,
        seconds = excluded.seconds, durations = excluded.durations;
    DELETE FROM pipeline_weeks w
    USING unnest(spaces, pipelines, days) AS t (space_id, pipeline_id, day)
    WHERE w.space_id = t.space_id AND w.pipeline_id = t.pipeline_id AND w.week = week_of(t.day) AND w.total = 0;
    UPDATE pipeline_recent_days x
    SET days = c.days, codes = c.codes
    FROM (SELECT DISTINCT t.space_id, t.pipeline_id
          FROM unnest(spaces, pipelines, days) AS t (space_id, pipeline_id, day)
          WHERE t.day >= today - 40) t
    CROSS JOIN LATERAL recent_days(t.space_id, t.pipeline_id) c
    WHERE x.space_id = t.space_id AND x.pipeline_id = t.pipeline_id;
END
$function$;

-- Keeps pipeline_days: counts the days anew on which a run that was written ended, or had ended.
CREATE FUNCTION keep_days()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'windsock', 'pg_temp'
AS $function$
DECLARE
    spaces    uuid[];
    pipelines uuid[];
    days      date[];
BEGIN
    IF TG_OP = 'INSERT' THEN
        SELECT array_agg(t.space_id), array_agg(t.pipeline_id), array_agg(t.day) INTO spaces, pipelines, days
        FROM (SELECT DISTINCT space_id, pipeline_id, utc_day(ended_at) AS day FROM became WHERE ended_at IS NOT NULL AND removed_at IS NULL) t;
    ELSIF TG_OP = 'DELETE' THEN
        SELECT array_agg(t.space_id), array_agg(t.pipeline_id), array_agg(t.day) INTO spaces, pipelines, days
        FROM (SELECT DISTINCT space_id, pipeline_id, utc_day(ended_at) AS day FROM was WHERE ended_at IS NOT NULL AND removed_at IS NULL) t;
    ELSE
        SELECT array_agg(t.space_id), array_agg(t.pipeline_id), array_agg(t.day) INTO spaces, pipelines, days
        FROM (
            SELECT DISTINCT c.space_id, c.pipeline_id, utc_day(c.ended_at) AS day
            FROM (
                SELECT e.space_id, e.pipeline_id, e.ended_at
                FROM (SELECT id, space_id, pipeline_id, status, started_at, ended_at FROM was WHERE removed_at IS NULL
                      UNION ALL
                      SELECT id, space_id, pipeline_id, status, started_at, ended_at FROM became WHERE removed_at IS NULL) e
                GROUP BY e.id, e.space_id, e.pipeline_id, e.status, e.started_at, e.ended_at
                HAVING count(*) = 1 AND e.ended_at IS NOT NULL
            ) c
        ) t;
    END IF;
    IF days IS NOT NULL THEN
        PERFORM count_days(spaces, pipelines, days);
    END IF;
    RETURN NULL;
END
$function$;

-- A part of space_versions that nobody else moves until this transaction ends, its own if it has one; null of a space that is being deleted.
CREATE FUNCTION part_of(space uuid)
 RETURNS uuid
 LANGUAGE plpgsql
 SET search_path TO 'windsock', 'pg_temp'
AS $function$
DECLARE
    mine uuid;
BEGIN
    SELECT v.part INTO mine FROM space_versions v WHERE v.space_id = space ORDER BY v.part LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        INSERT INTO space_versions (space_id, version) SELECT s.id, 0 FROM spaces s WHERE s.id = space RETURNING part INTO mine;
    END IF;
    RETURN mine;
END
$function$;

-- Moves the version of a space, and waits for nobody.
CREATE FUNCTION bump(space uuid)
 RETURNS void
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'windsock', 'pg_temp'
AS $function$
DECLARE
    -- By the clock, so that no version comes twice when a backup was put back.
    at CONSTANT bigint := extract(epoch FROM clock_timestamp()) * 1000000;
    mine CONSTANT uuid := part_of(space);
BEGIN
    UPDATE space_versions v SET version = greatest(v.version + 1, at) WHERE v.space_id = space AND v.part = mine;
END
$function$;

-- Moves the version of the spaces in which a statement has written; one that found nothing to write moves none.
CREATE FUNCTION bump_after_rows()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'windsock', 'pg_temp'
AS $function$
BEGIN
    IF TG_OP = 'DELETE' THEN
        PERFORM bump(space_id) FROM (SELECT DISTINCT space_id FROM was ORDER BY 1) s;
    ELSE
        PERFORM bump(space_id) FROM (SELECT DISTINCT space_id FROM became ORDER BY 1) s;
    END IF;
    RETURN NULL;
END
$function$;

-- As bump_after_rows, for tables in which a statement writes few rows.
CREATE FUNCTION bump_after_row()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'windsock', 'pg_temp'
AS $function$
BEGIN
    PERFORM bump(CASE WHEN TG_OP = 'DELETE' THEN OLD.space_id ELSE NEW.space_id END);
    RETURN NULL;
END
$function$;

-- A user may have commented or triggered in any space.
CREATE FUNCTION bump_after_renaming()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'windsock', 'pg_temp'
AS $function$
BEGIN
    PERFORM bump(s.id) FROM (SELECT id FROM spaces ORDER BY id) s;
    RETURN NULL;
END
$function$;

-- Adds to the number of a space's pipelines, and waits for nobody.
CREATE FUNCTION count_pipelines(space uuid, more bigint)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'windsock', 'pg_temp'
AS $function$
DECLARE
    mine CONSTANT uuid := part_of(space);
BEGIN
    UPDATE space_versions v SET pipelines = v.pipelines + more WHERE v.space_id = space AND v.part = mine;
END
$function$;

-- Keeps space_versions.pipelines.
CREATE FUNCTION keep_number_of_pipelines()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'windsock', 'pg_temp'
AS $function$
BEGIN
    IF TG_OP = 'INSERT' THEN
        PERFORM count_pipelines(space_id, count(*)) FROM became GROUP BY space_id;
    ELSE
        PERFORM count_pipelines(space_id, -count(*)) FROM was GROUP BY space_id;
    END IF;
    RETURN NULL;
END
$function$;

-- Adds to the number of a space's runs of a kind, and waits for nobody.
CREATE FUNCTION count_runs(space uuid, of_status text, of_type text, more bigint)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'windsock', 'pg_temp'
AS $function$
BEGIN
    INSERT INTO space_counts AS k (space_id, part, status, run_type, total)
    SELECT s.id, part_of(s.id), of_status, of_type, more FROM spaces s WHERE s.id = space  -- not of one that is being deleted
    ON CONFLICT (space_id, part, status, run_type) DO UPDATE SET total = k.total + excluded.total;
END
$function$;

-- Keeps run_counts, space_counts and run_hours.
CREATE FUNCTION keep_counts()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'windsock', 'pg_temp'
AS $function$
-- What is changed of a run mostly is nothing that is counted: then nothing is written. What is of a pipeline or space that is
-- being deleted has no counts any more.
DECLARE
    of_spaces uuid[]; of_pipelines uuid[]; in_hours timestamptz[]; statuses text[]; types text[]; mores bigint[];
BEGIN
    IF TG_OP = 'INSERT' THEN
        SELECT array_agg(e.space_id), array_agg(e.pipeline_id), array_agg(e.hour), array_agg(e.status), array_agg(e.run_type), array_agg(e.more)
        INTO of_spaces, of_pipelines, in_hours, statuses, types, mores
        FROM (SELECT space_id, pipeline_id, hour_of(begun_at) AS hour, status, run_type, count(*) AS more
              FROM became WHERE removed_at IS NULL GROUP BY 1, 2, 3, 4, 5) e;
    ELSIF TG_OP = 'DELETE' THEN
        SELECT array_agg(e.space_id), array_agg(e.pipeline_id), array_agg(e.hour), array_agg(e.status), array_agg(e.run_type), array_agg(e.more)
        INTO of_spaces, of_pipelines, in_hours, statuses, types, mores
        FROM (SELECT space_id, pipeline_id, hour_of(begun_at) AS hour, status, run_type, -count(*) AS more
              FROM was WHERE removed_at IS NULL GROUP BY 1, 2, 3, 4, 5) e;
    ELSE
        SELECT array_agg(e.space_id), array_agg(e.pipeline_id), array_agg(e.hour), array_agg(e.status), array_agg(e.run_type), array_agg(e.more)
        INTO of_spaces, of_pipelines, in_hours, statuses, types, mores
        FROM (SELECT space_id, pipeline_id, hour, status, run_type, sum(more) AS more
              FROM (SELECT space_id, pipeline_id, hour_of(begun_at) AS hour, status, run_type, -1 AS more FROM was WHERE removed_at IS NULL
                    UNION ALL
                    SELECT space_id, pipeline_id, hour_of(begun_at), status, run_type, 1 FROM became WHERE removed_at IS NULL) b
              GROUP BY 1, 2, 3, 4, 5 HAVING sum(more) <> 0) e;
    END IF;
    IF of_spaces IS NULL THEN
        RETURN NULL;
    END IF;
    -- In one order, so that two that write the same ones wait and do not block each other for good.
    INSERT INTO run_counts AS k (space_id, pipeline_id, status, run_type, total)
    SELECT e.space_id, e.pipeline_id, e.status, e.run_type, sum(e.more)
    FROM unnest(of_spaces, of_pipelines, statuses, types, mores) AS e (space_id, pipeline_id, status, run_type, more)
    JOIN pipelines p ON p.space_id = e.space_id AND p.id = e.pipeline_id
    GROUP BY 1, 2, 3, 4 HAVING sum(e.more) <> 0
    ORDER BY 1, 2, 3, 4
    ON CONFLICT (space_id, pipeline_id, status, run_type) DO UPDATE SET total = k.total + excluded.total;
    PERFORM count_runs(e.space_id, e.status, e.run_type, sum(e.more)::bigint)
    FROM unnest(of_spaces, statuses, types, mores) AS e (space_id, status, run_type, more)
    GROUP BY e.space_id, e.status, e.run_type HAVING sum(e.more) <> 0;
    WITH mine AS MATERIALIZED (
        SELECT s.id, part_of(s.id) AS part FROM spaces s WHERE s.id = ANY (of_spaces)
    )
    INSERT INTO run_hours AS k (space_id, hour, part, status, run_type, total)
    SELECT e.space_id, e.hour, mine.part, e.status, e.run_type, sum(e.more)
    FROM unnest(of_spaces, in_hours, statuses, types, mores) AS e (space_id, hour, status, run_type, more)
    JOIN mine ON mine.id = e.space_id
    GROUP BY 1, 2, 3, 4, 5 HAVING sum(e.more) <> 0
    ON CONFLICT (space_id, hour, part, status, run_type) DO UPDATE SET total = k.total + excluded.total;
    RETURN NULL;
END
$function$;

-- Whether a key of a configuration names something that must not be shown, such as db_password or apiKey.
CREATE FUNCTION is_secret_name(name text)
 RETURNS boolean
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
 SET search_path TO 'windsock', 'pg_temp'
AS $function$
    SELECT (n ~ 'passwor[dt]|passwd|passphrase|kennwort|secret|token|credential|authorization'
            OR n ~ '(api|private|access|account|shared|signing|encryption|ssh|service|master)[^a-z]*keys?($|[^a-z])'
            OR n ~ '(^|[^a-z])(pass|pwd|key|keys|bearer|cookie|jwt|pat|sas)($|[^a-z])')
       AND n !~ '(^|[^a-z])(url|uri|endpoint|type|method|name|path|file|ttl|lifetime|expiry|length|policy|version|key[^a-z]*id)$'
       AND n !~ '(primary|foreign|partition|sort|public|cache|row|natural|surrogate|clustering|routing|group|unique|join)[^a-z]*keys?$'
    FROM (SELECT lower(regexp_replace(name, '([a-z0-9])([A-Z])', '\1_\2', 'g')) AS n) normalized
$function$;

-- The text without passwords in URLs and connection strings, and without private keys.
CREATE FUNCTION text_without_secrets(value text)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
 SET search_path TO 'windsock', 'pg_temp'
AS $function$
    SELECT CASE
        WHEN value ~ '-----BEGIN [A-Z ]*PRIVATE KEY-----' THEN '[redacted]'
        ELSE regexp_replace(regexp_replace(value,
            '([a-z][a-z0-9+.-]*://[^/?#\s:@]*):[^/?#\s@]+@', '\1:[redacted]@', 'gi'),
            '((^|[?&;\s])(access_token|auth_token|token|api_?key|accountkey|sharedaccesskey|password|pwd|secret|client_secret|sig|signature)\s*=\s*)[^&;#\s]+',
            '\1[redacted]', 'gi')
    END
$function$;

-- A configuration with "[redacted]" for each value that looks like a secret.
CREATE FUNCTION without_secrets(config jsonb, is_secret boolean DEFAULT false)
 RETURNS jsonb
 LANGUAGE plpgsql
 IMMUTABLE PARALLEL SAFE
 SET search_path TO 'windsock', 'pg_temp'
AS $function$
BEGIN
    IF is_secret AND jsonb_typeof(config) NOT IN ('boolean', 'null') AND config NOT IN ('""', '{}', '[]') THEN
        RETURN '"[redacted]"';
    END IF;
    CASE jsonb_typeof(config)
        WHEN 'object' THEN
            RETURN (SELECT coalesce(jsonb_object_agg(e.key, without_secrets(e.value, is_secret_name(e.key)
                        -- {"name": "password", "value": "…"}
                        OR (e.key IN ('value', 'Value') AND is_secret_name(coalesce(config ->> 'name', config ->> 'Name', config ->> 'key', config ->> 'Key', ''))))), '{}')
                    FROM jsonb_each(config) e);
        WHEN 'array' THEN
            RETURN (SELECT coalesce(jsonb_agg(without_secrets(e.item) ORDER BY e.place), '[]')
                    FROM jsonb_array_elements(config) WITH ORDINALITY e(item, place));
        WHEN 'string' THEN
            RETURN to_jsonb(text_without_secrets(config #>> '{}'));
        ELSE
            RETURN config;
    END CASE;
END
$function$;

-- Members of a space read the audit trail: no secret of a configuration is written into it.
CREATE FUNCTION redact_audited_config()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'windsock', 'pg_temp'
AS $function$
BEGIN
    IF NEW.before ? 'config' THEN
        NEW.before := jsonb_set(NEW.before, '{config}', without_secrets(NEW.before -> 'config'));
    END IF;
    IF NEW.after ? 'config' THEN
        NEW.after := jsonb_set(NEW.after, '{config}', without_secrets(NEW.after -> 'config'));
    END IF;
    RETURN NEW;
END
$function$;

-- Writes down one change: who (setting windsock.actor), what, before and after.
CREATE FUNCTION audit()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'windsock', 'pg_temp'
AS $function$
-- Arguments: the kind of thing, its id's column, its name's column ('' for none), the columns written down, and the
-- columns of which only it is written down that they were given.
DECLARE
    actor   jsonb := nullif(current_setting('windsock.actor', true), '')::jsonb;
    was     jsonb := CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END;
    became  jsonb := CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END;
    thing   jsonb := coalesce(became, was);
    before  jsonb;
    after   jsonb;
    secret  text;
BEGIN
    SELECT jsonb_object_agg(c, was -> c), jsonb_object_agg(c, became -> c) INTO before, after
    FROM unnest(string_to_array(TG_ARGV[3], ' ')) c
    WHERE TG_OP <> 'UPDATE' OR (was -> c) IS DISTINCT FROM (became -> c);
    FOREACH secret IN ARRAY string_to_array(coalesce(TG_ARGV[4], ''), ' ') LOOP
        IF (was -> secret) IS DISTINCT FROM (became -> secret) AND became ->> secret IS NOT NULL THEN
            after := coalesce(after, '{}') || jsonb_build_object(secret, 'written');
            before := coalesce(before, '{}') || jsonb_build_object(secret, CASE WHEN was ->> secret IS NOT NULL THEN 'kept' END);
        END IF;
    END LOOP;
    IF TG_OP = 'UPDATE' AND after IS NULL THEN
        RETURN NULL;
    END IF;
    INSERT INTO audit_events (space_id, action, target_type, target_id, target_name, actor_id, actor_name, api_key_id,
                              before, after, request_id)
    VALUES (coalesce(thing ->> 'space_id', thing ->> 'id')::uuid,
            CASE TG_OP WHEN 'INSERT' THEN 'created' WHEN 'UPDATE' THEN 'changed' ELSE 'deleted' END,
            TG_ARGV[0], (thing ->> TG_ARGV[1])::uuid, thing ->> nullif(TG_ARGV[2], ''),
            (actor ->> 'user_id')::uuid, (SELECT u.name FROM users u WHERE u.id = (actor ->> 'user_id')::uuid),
            (actor ->> 'api_key_id')::uuid,
            CASE WHEN TG_OP <> 'INSERT' THEN before END, CASE WHEN TG_OP <> 'DELETE' THEN after END,
            actor ->> 'request_id');
    RETURN NULL;
END
$function$;

-- Writes down that a key was made or revoked, in every space of its user.
CREATE FUNCTION audit_key()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'windsock', 'pg_temp'
AS $function$
-- A key belongs to no space: its making and its end are told to every space that it opens as a member. Its name is not,
-- for it may speak of another space.
DECLARE
    actor jsonb := nullif(current_setting('windsock.actor', true), '')::jsonb;
BEGIN
    INSERT INTO audit_events (space_id, action, target_type, target_id, target_name, actor_id, actor_name, api_key_id,
                              before, after, request_id)
    SELECT m.space_id, CASE TG_OP WHEN 'INSERT' THEN 'created' ELSE 'changed' END, 'api_key', NEW.id, NEW.key_prefix,
           (actor ->> 'user_id')::uuid, (SELECT u.name FROM users u WHERE u.id = (actor ->> 'user_id')::uuid),
           (actor ->> 'api_key_id')::uuid,
           CASE WHEN TG_OP = 'UPDATE' THEN jsonb_build_object('revoked_at', rfc3339(OLD.revoked_at)) END,
           CASE TG_OP WHEN 'INSERT' THEN jsonb_build_object('user_id', NEW.user_id, 'expires_at', rfc3339(NEW.expires_at))
                      ELSE jsonb_build_object('revoked_at', rfc3339(NEW.revoked_at)) END,
           actor ->> 'request_id'
    FROM memberships m WHERE m.user_id = NEW.user_id;
    RETURN NULL;
END
$function$;

-- Whether it is not to be started yet, since another sync of its connector is under way.
CREATE FUNCTION waits_for_another(r sync_runs)
 RETURNS boolean
 LANGUAGE sql
 STABLE PARALLEL SAFE
AS $function$
    SELECT r.is_follow_up
       AND EXISTS (SELECT FROM sync_runs o
                   WHERE o.space_id = r.space_id AND o.connector_id = r.connector_id AND o.status IN ('queued', 'running')
                     AND NOT o.is_follow_up)
$function$;

-- Spaces in which something may be too old to be kept.
CREATE FUNCTION spaces_to_tidy()
 RETURNS TABLE(space_id uuid, retention_days integer)
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO 'windsock', 'pg_temp'
AS $function$
    SELECT s.id, s.retention_days FROM spaces s
    WHERE s.retention_days IS NOT NULL
       OR EXISTS (SELECT FROM trigger_requests q WHERE q.space_id = s.id AND q.created_at < now() - interval '90 days')
    ORDER BY s.id
$function$;

-- How many connectors are in which state, of all spaces together, and the greatest age of what they show.
CREATE FUNCTION sync_freshness()
 RETURNS TABLE(state text, connectors bigint, lag_seconds double precision)
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO 'windsock', 'pg_temp'
AS $function$
    SELECT sync_state(c.is_active, s, c.config), count(*), max(extract(epoch FROM now() - s.last_complete_at))::float8
    FROM sync_states s JOIN connectors c ON c.space_id = s.space_id AND c.id = s.connector_id
    GROUP BY 1
$function$;

-- Syncs of one lane that have waited for a worker longer than it takes to start one.
CREATE FUNCTION syncs_waiting(doubtful boolean)
 RETURNS bigint
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO 'windsock', 'pg_temp'
AS $function$
    SELECT count(*)
    FROM sync_runs r JOIN sync_states s ON s.space_id = r.space_id AND s.connector_id = r.connector_id
    WHERE r.status = 'queued' AND r.queued_at < now() - interval '3 seconds' AND is_doubtful(s) = doubtful
      AND NOT waits_for_another(r)
$function$;

-- Connectors whose next sync is due and that have none unfinished.
CREATE FUNCTION syncs_to_start()
 RETURNS TABLE(space_id uuid, connector_id uuid)
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO 'windsock', 'pg_temp'
AS $function$
    SELECT s.space_id, s.connector_id
    FROM sync_states s JOIN connectors c ON c.space_id = s.space_id AND c.id = s.connector_id
    WHERE s.next_sync_at <= now() AND c.is_active AND c.connector_type = 'airflow'
      AND NOT EXISTS (SELECT FROM sync_runs r
                      WHERE r.space_id = s.space_id AND r.connector_id = s.connector_id AND r.status IN ('queued', 'running'))
    ORDER BY s.next_sync_at
    LIMIT 1000
$function$;

-- Running syncs whose lease has expired: their worker is dead.
CREATE FUNCTION abandoned_syncs()
 RETURNS TABLE(space_id uuid, sync_id uuid)
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO 'windsock', 'pg_temp'
AS $function$
    SELECT r.space_id, r.id FROM sync_runs r
    WHERE r.status = 'running' AND r.lease_until < now()
    ORDER BY r.lease_until
    LIMIT 1000
$function$;

-- Of one queue the sync that a free worker of this process carries out next: of the space with the fewest running there, those by hand first. Where there are several spaces, one has at most half of the workers.
CREATE FUNCTION next_sync(doubtful boolean, holder text, slots integer)
 RETURNS TABLE(space_id uuid, sync_id uuid)
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO 'windsock', 'pg_temp'
AS $function$
    WITH running AS (
        SELECT r.space_id, count(*) AS total
        FROM sync_runs r JOIN sync_states s ON s.space_id = r.space_id AND s.connector_id = r.connector_id
        WHERE r.status = 'running' AND r.lease_holder = holder AND is_doubtful(s) = doubtful
        GROUP BY r.space_id
    )
    SELECT q.space_id, q.id
    FROM sync_runs q
    JOIN sync_states s ON s.space_id = q.space_id AND s.connector_id = q.connector_id
    LEFT JOIN running b ON b.space_id = q.space_id
    WHERE q.status = 'queued' AND is_doubtful(s) = doubtful AND NOT waits_for_another(q)
      AND coalesce(b.total, 0) < CASE
          WHEN (SELECT count(DISTINCT c.space_id) FROM connectors c WHERE c.is_active AND c.connector_type = 'airflow') > 1
          THEN greatest(1, slots / 2) ELSE slots END
    ORDER BY coalesce(b.total, 0), q.trigger <> 'manual', q.queued_at
    LIMIT 1
$function$;

-- From the hash of a key and a slug to the caller, the space, the role in it (null: none), its version, and whether the use of the key is to be written down. Takes no lock.
CREATE FUNCTION authorize(hash bytea, space_slug text)
 RETURNS TABLE(user_id uuid, email text, name text, is_superadmin boolean, key_id uuid, space_id uuid, slug text, role text, version bigint, is_use_due boolean)
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO 'windsock', 'pg_temp'
AS $function$
    SELECT u.id, u.email, u.name, u.is_superadmin, k.id, s.id, s.slug,
           CASE WHEN u.is_superadmin THEN 'admin' ELSE m.role END,
           (SELECT coalesce(sum(v.version), 0)::bigint FROM space_versions v WHERE v.space_id = s.id),
           k.last_used_at IS NULL OR k.last_used_at < now() - interval '1 minute'
    FROM api_keys k
    JOIN users u ON u.id = k.user_id
    LEFT JOIN spaces s ON s.slug = space_slug
    LEFT JOIN memberships m ON m.space_id = s.id AND m.user_id = u.id
    WHERE k.key_hash = hash AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now()) AND u.is_active
$function$;

-- As authorize, from the hash of a session's token.
CREATE FUNCTION authorize_session(hash bytea, space_slug text)
 RETURNS TABLE(user_id uuid, email text, name text, is_superadmin boolean, session_id uuid, space_id uuid, slug text, role text, version bigint, is_use_due boolean)
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO 'windsock', 'pg_temp'
AS $function$
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
$function$;

CREATE TRIGGER audit AFTER INSERT OR UPDATE OF revoked_at ON api_keys FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION audit_key();
CREATE TRIGGER redact_config BEFORE INSERT ON audit_events FOR EACH ROW WHEN (new.target_type = 'connector'::text) EXECUTE FUNCTION redact_audited_config();
CREATE TRIGGER audit AFTER INSERT OR DELETE OR UPDATE OF content ON comments FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION audit('comment', 'id', '', 'run_id task_run_id parent_id content');
CREATE TRIGGER version AFTER INSERT OR DELETE OR UPDATE ON comments FOR EACH ROW EXECUTE FUNCTION bump_after_row();
CREATE TRIGGER audit AFTER INSERT OR DELETE OR UPDATE ON connectors FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION audit('connector', 'id', 'name', 'name connector_type config is_active source_system_id', 'credentials');
CREATE TRIGGER version AFTER INSERT OR DELETE OR UPDATE ON connectors FOR EACH ROW EXECUTE FUNCTION bump_after_row();
CREATE TRIGGER audit AFTER INSERT OR DELETE OR UPDATE ON memberships FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION audit('member', 'user_id', '', 'role');
CREATE TRIGGER audit AFTER UPDATE OF team_id, criticality ON pipelines FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION audit('pipeline', 'id', 'name', 'team_id criticality');
CREATE TRIGGER number_of_deleted AFTER DELETE ON pipelines REFERENCING OLD TABLE AS was FOR EACH STATEMENT EXECUTE FUNCTION keep_number_of_pipelines();
CREATE TRIGGER number_of_new AFTER INSERT ON pipelines REFERENCING NEW TABLE AS became FOR EACH STATEMENT EXECUTE FUNCTION keep_number_of_pipelines();
CREATE TRIGGER search_of_changed AFTER UPDATE ON pipelines FOR EACH ROW WHEN (old.name IS DISTINCT FROM new.name OR old.external_id IS DISTINCT FROM new.external_id OR old.description IS DISTINCT FROM new.description OR old.owners IS DISTINCT FROM new.owners OR old.tags IS DISTINCT FROM new.tags) EXECUTE FUNCTION keep_search();
CREATE TRIGGER search_of_new AFTER INSERT ON pipelines FOR EACH ROW EXECUTE FUNCTION keep_search();
CREATE TRIGGER version_of_changed AFTER UPDATE ON pipelines REFERENCING NEW TABLE AS became FOR EACH STATEMENT EXECUTE FUNCTION bump_after_rows();
CREATE TRIGGER version_of_deleted AFTER DELETE ON pipelines REFERENCING OLD TABLE AS was FOR EACH STATEMENT EXECUTE FUNCTION bump_after_rows();
CREATE TRIGGER version_of_new AFTER INSERT ON pipelines REFERENCING NEW TABLE AS became FOR EACH STATEMENT EXECUTE FUNCTION bump_after_rows();
CREATE TRIGGER counts_of_changed AFTER UPDATE ON runs REFERENCING OLD TABLE AS was NEW TABLE AS became FOR EACH STATEMENT EXECUTE FUNCTION keep_counts();
CREATE TRIGGER counts_of_deleted AFTER DELETE ON runs REFERENCING OLD TABLE AS was FOR EACH STATEMENT EXECUTE FUNCTION keep_counts();
CREATE TRIGGER counts_of_new AFTER INSERT ON runs REFERENCING NEW TABLE AS became FOR EACH STATEMENT EXECUTE FUNCTION keep_counts();
CREATE TRIGGER days_of_changed AFTER UPDATE ON runs REFERENCING OLD TABLE AS was NEW TABLE AS became FOR EACH STATEMENT EXECUTE FUNCTION keep_days();
CREATE TRIGGER days_of_deleted AFTER DELETE ON runs REFERENCING OLD TABLE AS was FOR EACH STATEMENT EXECUTE FUNCTION keep_days();
CREATE TRIGGER days_of_new AFTER INSERT ON runs REFERENCING NEW TABLE AS became FOR EACH STATEMENT EXECUTE FUNCTION keep_days();
CREATE TRIGGER version_of_changed AFTER UPDATE ON runs REFERENCING NEW TABLE AS became FOR EACH STATEMENT EXECUTE FUNCTION bump_after_rows();
CREATE TRIGGER version_of_deleted AFTER DELETE ON runs REFERENCING OLD TABLE AS was FOR EACH STATEMENT EXECUTE FUNCTION bump_after_rows();
CREATE TRIGGER version_of_new AFTER INSERT ON runs REFERENCING NEW TABLE AS became FOR EACH STATEMENT EXECUTE FUNCTION bump_after_rows();
CREATE TRIGGER audit AFTER INSERT OR UPDATE ON spaces FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION audit('space', 'id', 'name', 'slug name retention_days');
CREATE TRIGGER audit AFTER INSERT ON sync_runs FOR EACH ROW WHEN (pg_trigger_depth() = 0 AND new.trigger = 'manual'::text) EXECUTE FUNCTION audit('sync', 'id', '', 'connector_id is_full');
CREATE TRIGGER audit_cancel AFTER UPDATE OF cancel_requested_at ON sync_runs FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION audit('sync', 'id', '', 'cancel_requested_at');
CREATE TRIGGER audit_full AFTER UPDATE OF is_full ON sync_runs FOR EACH ROW WHEN (pg_trigger_depth() = 0 AND old.status = 'queued'::text AND new.status = 'queued'::text) EXECUTE FUNCTION audit('sync', 'id', '', 'is_full');
CREATE TRIGGER audit AFTER UPDATE OF accepted_at ON sync_states FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION audit('hold', 'connector_id', '', 'accepted');
CREATE TRIGGER version AFTER UPDATE ON sync_states FOR EACH ROW WHEN (old.last_complete_at IS DISTINCT FROM new.last_complete_at OR old.api_version IS DISTINCT FROM new.api_version) EXECUTE FUNCTION bump_after_row();
CREATE TRIGGER version_of_skipped AFTER UPDATE ON sync_states FOR EACH ROW WHEN (old.skipped IS DISTINCT FROM new.skipped) EXECUTE FUNCTION bump_after_row();
CREATE TRIGGER version_of_changed AFTER UPDATE ON task_runs REFERENCING NEW TABLE AS became FOR EACH STATEMENT EXECUTE FUNCTION bump_after_rows();
CREATE TRIGGER version_of_deleted AFTER DELETE ON task_runs REFERENCING OLD TABLE AS was FOR EACH STATEMENT EXECUTE FUNCTION bump_after_rows();
CREATE TRIGGER version_of_new AFTER INSERT ON task_runs REFERENCING NEW TABLE AS became FOR EACH STATEMENT EXECUTE FUNCTION bump_after_rows();
CREATE TRIGGER audit AFTER INSERT OR DELETE OR UPDATE ON team_members FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION audit('team_member', 'team_id', '', 'user_id');
CREATE TRIGGER audit AFTER INSERT OR DELETE OR UPDATE ON teams FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION audit('team', 'id', 'name', 'name');
CREATE TRIGGER version AFTER INSERT OR DELETE OR UPDATE ON teams FOR EACH ROW EXECUTE FUNCTION bump_after_row();
CREATE TRIGGER audit AFTER INSERT OR UPDATE OF outcome ON trigger_requests FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION audit('trigger', 'id', 'run_external_id', 'pipeline_id run_external_id outcome status');
CREATE TRIGGER version AFTER UPDATE OF name ON users FOR EACH ROW WHEN (old.name IS DISTINCT FROM new.name) EXECUTE FUNCTION bump_after_renaming();
CREATE TRIGGER audit AFTER INSERT OR DELETE ON watches FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION audit('watch', 'pipeline_id', '', 'user_id');
CREATE TRIGGER version AFTER INSERT OR DELETE OR UPDATE ON watches FOR EACH ROW EXECUTE FUNCTION bump_after_row();
