-- The tables of Windsock, as the migrations make them. Written by `make schema`; editing it changes nothing.

-- A UUID version 7 (RFC 9562): 48 bits of milliseconds, then random bits.
CREATE FUNCTION uuid7()
 RETURNS uuid
 LANGUAGE sql
 PARALLEL SAFE
RETURN (encode(set_bit(set_bit(OVERLAY(uuid_send(gen_random_uuid()) PLACING SUBSTRING(int8send(((EXTRACT(epoch FROM clock_timestamp()) * (1000)::numeric))::bigint) FROM 3) FROM 1 FOR 6), (52)::bigint, 1), (53)::bigint, 1), 'hex'::text))::uuid;

-- The space of this transaction (setting windsock.space_id); null when it is not set.
CREATE FUNCTION current_space()
 RETURNS uuid
 LANGUAGE sql
 STABLE PARALLEL SAFE
RETURN (NULLIF(current_setting('windsock.space_id'::text, true), ''::text))::uuid;

-- The user of this transaction (setting windsock.user_id); null when it is not set.
CREATE FUNCTION current_caller()
 RETURNS uuid
 LANGUAGE sql
 STABLE PARALLEL SAFE
RETURN (NULLIF(current_setting('windsock.user_id'::text, true), ''::text))::uuid;

-- A time in a JSON column, in the format of the API.
CREATE FUNCTION rfc3339(at timestamp with time zone)
 RETURNS text
 LANGUAGE sql
 STABLE PARALLEL SAFE
RETURN replace(to_char((at AT TIME ZONE 'UTC'::text), 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'::text), '.000000Z'::text, 'Z'::text);

-- A superadmin is admin in every space.
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

-- A key acts as the user who created it. Only the SHA-256 of its 32 random bytes is stored.
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

-- Signed-in browsers. Signing out deletes the row; a later sign-in deletes expired rows.
CREATE TABLE sessions (
    id           uuid        NOT NULL DEFAULT uuid7(),
    user_id      uuid        NOT NULL,
    api_key_id   uuid,  -- The key used to sign in: the session ends with it. Null: signed in with a link.
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

-- Tenants. Each row of every table with a space_id belongs to exactly one.
CREATE TABLE spaces (
    id             uuid        NOT NULL DEFAULT uuid7(),
    slug           text        NOT NULL,
    name           text        NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT now(),
    updated_at     timestamptz NOT NULL DEFAULT now(),
    retention_days integer,  -- Older runs are deleted from Windsock; null: never.
    CONSTRAINT spaces_pkey PRIMARY KEY (id),
    CONSTRAINT spaces_slug_unique UNIQUE (slug),
    CONSTRAINT spaces_retention_days_in_range CHECK (retention_days >= 1 AND retention_days <= 36500)
);

-- The role of a user in a space. Row-level security also shows users their own memberships.
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

-- Groups of users that own pipelines.
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
    excluded_dag_ids    text[]           NOT NULL DEFAULT '{}',
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
    recent_watermark    timestamptz,  -- By the provider's clock: where the next quick poll of the large mode begins.
    -- How far back the history has been read, and how far it shall be; null before the first sync.
    backfill            jsonb,
    reconciled_at       timestamptz,  -- When our number of rows was last compared with the provider's.
    -- Something was missing for the first time: the next pass looks again.
    recheck_due         boolean          NOT NULL DEFAULT false,
    -- Whether the event log may be read, and which of its newest entries were followed.
    event_log_cursor    jsonb            NOT NULL DEFAULT '{}',
    -- Runs with the moment they began: another Airflow has not the same ones.
    identity_samples    jsonb            NOT NULL DEFAULT '[]',
    identity_base_url   text,  -- Where the identity samples were seen.
    quarantine          jsonb,  -- What the sync does not do until a person says so, and why.
    accepted            jsonb,  -- What a person last let go on.
    accepted_at         timestamptz,
    partial_since       timestamptz,
    failing_since       timestamptz,
    last_error          text,
    -- As reconciled_at, of all that the history holds; in between only the last days are compared.
    fully_reconciled_at timestamptz,
    -- The watermark of the last sync that made sure who answered: when another Airflow is found out, what was read since is read again.
    verified_watermark  timestamptz,
    verified_at         timestamptz,  -- When that sync began, by our clock.
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
    requeue_count       integer     NOT NULL DEFAULT 0,
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
    -- With changed_until, a range of changes in which a row without a name was met: this row, or another that was taken for it.
    changed_from         timestamptz,
    changed_until        timestamptz,
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

-- DAGs. A sync never writes criticality and team_id, which users set.
CREATE TABLE pipelines (
    space_id              uuid        NOT NULL,
    id                    uuid        NOT NULL DEFAULT uuid7(),
    connector_id          uuid        NOT NULL,
    provider              text        NOT NULL DEFAULT 'airflow',
    external_id           text        NOT NULL,
    name                  text        NOT NULL,
    description           text,
    owner                 text,
    owners                text[]      NOT NULL DEFAULT '{}',
    tags                  text[]      NOT NULL DEFAULT '{}',
    schedule              text,
    schedule_description  text,
    next_run_at           timestamptz,
    is_paused             boolean     NOT NULL,
    is_active             boolean     NOT NULL,
    has_import_errors     boolean     NOT NULL,
    provider_metadata     jsonb       NOT NULL DEFAULT '{}',
    -- The status of the newest run; the sync maintains it, as well as last_run and last_run_at.
    status                text        NOT NULL DEFAULT 'unknown',
    last_run              json,
    criticality           text        NOT NULL DEFAULT 'medium',
    team_id               uuid,
    missing_since_sync_id uuid,  -- The complete sync that first did not find the DAG; a second one in a row removes it.
    removed_at            timestamptz,
    -- When a sync last wrote the row; the API returns the time of the last complete sync if that is later.
    last_synced_at        timestamptz NOT NULL DEFAULT now(),
    created_at            timestamptz NOT NULL DEFAULT now(),
    updated_at            timestamptz NOT NULL DEFAULT now(),
    -- task_id to its distance from the start of the DAG; {} until the sync has read the graph.
    task_depths           jsonb       NOT NULL DEFAULT '{}',
    task_graph_synced_at  timestamptz,
    -- The sync that found it deleted; when that sync ends complete it is removed, unless the deletion is quarantined.
    deleted_by_sync_id    uuid,
    -- It appeared, or reappeared, after the backfill began: its earlier runs are not read yet.
    needs_backfill        boolean     NOT NULL DEFAULT false,
    last_run_at           timestamptz,  -- effective_start_at of the newest run, to sort by.
    is_draining           boolean     NOT NULL DEFAULT false,  -- No new runs start; unfinished runs continue.
    CONSTRAINT pipelines_pkey PRIMARY KEY (space_id, id),
    CONSTRAINT pipelines_identity UNIQUE (space_id, connector_id, external_id),
    CONSTRAINT pipelines_criticality_is_known CHECK (criticality = ANY (ARRAY['low', 'medium', 'high', 'critical'])),
    CONSTRAINT pipelines_connector FOREIGN KEY (space_id, connector_id) REFERENCES connectors(space_id, id) ON DELETE CASCADE,
    CONSTRAINT pipelines_team FOREIGN KEY (space_id, team_id) REFERENCES teams(space_id, id) ON DELETE SET NULL (team_id)
);
CREATE INDEX pipelines_by_name ON pipelines (space_id, "left"(name, 600), id);
CREATE INDEX pipelines_deleted_by_sync ON pipelines (space_id, connector_id) WHERE deleted_by_sync_id IS NOT NULL;
CREATE INDEX pipelines_need_backfill ON pipelines (space_id, connector_id) WHERE needs_backfill;
CREATE INDEX pipelines_team ON pipelines (space_id, team_id) WHERE team_id IS NOT NULL;
ALTER TABLE pipelines ENABLE ROW LEVEL SECURITY;
CREATE POLICY within_space ON pipelines USING (space_id = (SELECT current_space()));

-- The text that the filter q searches, maintained by a trigger. In a separate table, because rows of pipelines are wide.
CREATE TABLE pipeline_search (
    space_id    uuid NOT NULL,
    pipeline_id uuid NOT NULL,
    search      text NOT NULL,  -- Name, id, description, owners and tags, in lower case.
    CONSTRAINT pipeline_search_pkey PRIMARY KEY (space_id, pipeline_id),
    CONSTRAINT pipeline_search_pipeline FOREIGN KEY (space_id, pipeline_id) REFERENCES pipelines(space_id, id) ON DELETE CASCADE
);
ALTER TABLE pipeline_search ENABLE ROW LEVEL SECURITY;
CREATE POLICY within_space ON pipeline_search USING (space_id = (SELECT current_space()));

-- The newest runs of a pipeline, oldest first, as the API returns them; no row where it has no run. In a separate table, so that a scan of pipelines does not read them.
CREATE TABLE pipeline_recent_runs (
    space_id    uuid NOT NULL,
    pipeline_id uuid NOT NULL,
    recent_runs json NOT NULL,
    CONSTRAINT pipeline_recent_runs_pkey PRIMARY KEY (space_id, pipeline_id),
    CONSTRAINT pipeline_recent_runs_pipeline FOREIGN KEY (space_id, pipeline_id) REFERENCES pipelines(space_id, id) ON DELETE CASCADE
);
ALTER TABLE pipeline_recent_runs ENABLE ROW LEVEL SECURITY;
CREATE POLICY within_space ON pipeline_recent_runs USING (space_id = (SELECT current_space()));

-- The progress of each pipeline where the account may read single DAGs only. Only the sync writes it.
CREATE TABLE pipeline_reads (
    space_id      uuid        NOT NULL,
    pipeline_id   uuid        NOT NULL,
    -- By the clock of the provider: everything of this pipeline that changed before it is stored.
    watermark     timestamptz,
    read_at       timestamptz,  -- By our clock: when it was last read; null: not yet.
    refused_at    timestamptz,  -- When the provider last refused it; null after it was read.
    reconciled_at timestamptz,  -- When its number of rows was last compared with that of the provider.
    CONSTRAINT pipeline_reads_pkey PRIMARY KEY (space_id, pipeline_id),
    CONSTRAINT pipeline_reads_pipeline FOREIGN KEY (space_id, pipeline_id) REFERENCES pipelines(space_id, id) ON DELETE CASCADE
);
ALTER TABLE pipeline_reads ENABLE ROW LEVEL SECURITY;
CREATE POLICY within_space ON pipeline_reads USING (space_id = (SELECT current_space()));

-- DAG runs. removed_at: two complete syncs in a row did not find the run in Airflow; Windsock keeps it.
CREATE TABLE runs (
    space_id              uuid             NOT NULL,
    id                    uuid             NOT NULL DEFAULT uuid7(),
    pipeline_id           uuid             NOT NULL,
    external_id           text             NOT NULL,
    run_type              text             NOT NULL,
    -- Its position in the history of the provider, which never changes: run_after, else see the provider.
    run_at                timestamptz      NOT NULL,
    run_after             timestamptz,
    logical_date          timestamptz,
    data_interval_start   timestamptz,
    data_interval_end     timestamptz,
    conf                  jsonb            NOT NULL DEFAULT '{}',
    triggered_by          text,
    triggered_by_user_id  uuid,
    provider_metadata     jsonb            NOT NULL DEFAULT '{}',
    created_at            timestamptz      NOT NULL DEFAULT now(),
    -- Airflow now uses its id for another run; this one was deleted there.
    is_replaced           boolean          NOT NULL DEFAULT false,
    -- When Airflow cleaned up this run and all older ones; Windsock keeps the only copy.
    archived_at           timestamptz,
    removed_at            timestamptz,
    missing_since_sync_id uuid,
    deleted_by_sync_id    uuid,  -- As of pipelines.
    note                  text,
    status                text             NOT NULL,
    -- Number of task runs by status; the sync updates it in the transaction that stores the task runs.
    task_counts           jsonb            NOT NULL DEFAULT '{}',
    queued_at             timestamptz,
    started_at            timestamptz,
    ended_at              timestamptz,
    last_synced_at        timestamptz      NOT NULL DEFAULT now(),
    updated_at            timestamptz      NOT NULL DEFAULT now(),
    -- Null when unknown: not ended, or ended before it started.
    duration_seconds      double precision GENERATED ALWAYS AS (
CASE
    WHEN ended_at >= started_at THEN EXTRACT(epoch FROM ended_at - started_at)::double precision
    ELSE NULL::double precision
END) STORED,
    -- When it was started, or queued. Lists are sorted and filtered by it.
    effective_start_at    timestamptz      NOT NULL GENERATED ALWAYS AS (COALESCE(started_at, queued_at, run_after,
CASE
    WHEN status = ANY (ARRAY['queued', 'running']) THEN created_at
    ELSE NULL::timestamp with time zone
END, ended_at, run_at)) STORED,
    CONSTRAINT runs_pkey PRIMARY KEY (space_id, id),
    CONSTRAINT runs_pipeline FOREIGN KEY (space_id, pipeline_id) REFERENCES pipelines(space_id, id) ON DELETE CASCADE,
    CONSTRAINT runs_triggered_by_user_id_fkey FOREIGN KEY (triggered_by_user_id) REFERENCES users(id) ON DELETE SET NULL
);
CREATE INDEX runs_deleted_by_sync ON runs (space_id, pipeline_id) WHERE deleted_by_sync_id IS NOT NULL;
CREATE INDEX runs_ended_of_pipeline ON runs (space_id, pipeline_id, ended_at) INCLUDE (status, duration_seconds, removed_at);
CREATE INDEX runs_failed ON runs (space_id, ended_at) WHERE status = 'failed';
-- The run that has the id in Airflow, or had it last.
CREATE UNIQUE INDEX runs_identity ON runs (space_id, pipeline_id, external_id) WHERE NOT is_replaced;
CREATE INDEX runs_newest ON runs (space_id, effective_start_at DESC, id DESC) INCLUDE (pipeline_id, status, run_type, removed_at);
CREATE INDEX runs_newest_of_pipeline ON runs (space_id, pipeline_id, effective_start_at DESC, id DESC) INCLUDE (removed_at);
CREATE INDEX runs_unfinished_of_pipeline ON runs (space_id, pipeline_id) INCLUDE (removed_at) WHERE status = ANY (ARRAY['queued', 'running']);
-- The position in time by which the provider can list runs again.
CREATE INDEX runs_window ON runs (space_id, COALESCE(run_after, logical_date));
ALTER TABLE runs ENABLE ROW LEVEL SECURITY;
CREATE POLICY within_space ON runs USING (space_id = (SELECT current_space()));

-- Task instances. Not identified by Airflow's id, which changes with every try.
CREATE TABLE task_runs (
    space_id              uuid             NOT NULL,
    id                    uuid             NOT NULL DEFAULT uuid7(),
    run_id                uuid             NOT NULL,
    external_id           text             NOT NULL,
    -- -1: not an instance of a mapped task (answered as null).
    map_index             integer          NOT NULL DEFAULT '-1',
    name                  text             NOT NULL,
    operator              text,
    status                text             NOT NULL,
    try_number            integer          NOT NULL,
    max_tries             integer          NOT NULL,
    queued_at             timestamptz,
    started_at            timestamptz,
    ended_at              timestamptz,
    pool                  text,
    queue                 text,
    hostname              text,
    note                  text,
    provider_metadata     jsonb            NOT NULL DEFAULT '{}',
    missing_since_sync_id uuid,
    removed_at            timestamptz,
    last_synced_at        timestamptz      NOT NULL DEFAULT now(),
    created_at            timestamptz      NOT NULL DEFAULT now(),
    updated_at            timestamptz      NOT NULL DEFAULT now(),
    deleted_by_sync_id    uuid,  -- As of pipelines.
    archived_at           timestamptz,  -- As of runs.
    -- As in runs.
    duration_seconds      double precision GENERATED ALWAYS AS (
CASE
    WHEN ended_at >= started_at THEN EXTRACT(epoch FROM ended_at - started_at)::double precision
    ELSE NULL::double precision
END) STORED,
    -- A UUID, of one execution of a loop or of one expansion of a mapped task; empty: in no region (answered as null).
    region_id             text             NOT NULL DEFAULT '',
    -- In the region of a loop the iteration, in that of an expansion the map index; -1: none (answered as null).
    region_index          integer          NOT NULL DEFAULT '-1',
    -- The innermost loop around the task, also of a mapped task in it, whose region is another.
    loop_id               text,
    loop_iteration        integer,
    CONSTRAINT task_runs_pkey PRIMARY KEY (space_id, id),
    CONSTRAINT task_runs_identity UNIQUE (space_id, run_id, external_id, region_id, region_index, map_index),
    CONSTRAINT task_runs_run FOREIGN KEY (space_id, run_id) REFERENCES runs(space_id, id) ON DELETE CASCADE
);
CREATE INDEX task_runs_deleted_by_sync ON task_runs (space_id, run_id) WHERE deleted_by_sync_id IS NOT NULL;
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

-- A comment on a run, or on a task run (then both ids are set).
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

-- Written before the request to Airflow, with the run id, so that the run is found again when the response is lost.
CREATE TABLE trigger_requests (
    space_id        uuid        NOT NULL,
    id              uuid        NOT NULL DEFAULT uuid7(),
    pipeline_id     uuid        NOT NULL,
    user_id         uuid,
    run_external_id text        NOT NULL GENERATED ALWAYS AS ('windsock__' || id::text) STORED,
    idempotency_key text,
    body_hash       bytea       NOT NULL,  -- SHA-256 of the request body; the same key with another body is refused.
    lease_until     timestamptz NOT NULL,  -- Until then one process sends the request, and the others wait.
    -- created: the response is repeated; refused: by Airflow; unknown: looked up before it is sent again.
    outcome         text,
    status          integer,  -- The status of the response where it was not a run.
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

-- The runs of a pipeline that ended on a day (UTC): see run_stats().
CREATE TABLE pipeline_daily_stats (
    space_id           uuid             NOT NULL,
    pipeline_id        uuid             NOT NULL,
    day                date             NOT NULL,
    total              integer          NOT NULL,
    success            integer          NOT NULL,
    failed             integer          NOT NULL,
    duration_count     integer          NOT NULL,
    duration_sum       double precision NOT NULL,
    duration_histogram bytea            NOT NULL,
    CONSTRAINT pipeline_daily_stats_pkey PRIMARY KEY (space_id, pipeline_id, day),
    CONSTRAINT pipeline_daily_stats_pipeline FOREIGN KEY (space_id, pipeline_id) REFERENCES pipelines(space_id, id) ON DELETE CASCADE
);
CREATE INDEX pipeline_daily_stats_failed ON pipeline_daily_stats (space_id, day) INCLUDE (pipeline_id, failed) WHERE failed > 0;
ALTER TABLE pipeline_daily_stats ENABLE ROW LEVEL SECURITY;
CREATE POLICY within_space ON pipeline_daily_stats USING (space_id = (SELECT current_space()));

-- A slotted counter: the sum is the version of a space, which grows with every transaction that changes what the space shows. Concurrent transactions write different slots, so that none waits for another.
CREATE TABLE space_versions (
    space_id uuid   NOT NULL,
    slot     uuid   NOT NULL DEFAULT uuid7(),
    version  bigint NOT NULL,
    CONSTRAINT space_versions_pkey PRIMARY KEY (space_id, slot),
    CONSTRAINT space_versions_space FOREIGN KEY (space_id) REFERENCES spaces(id) ON DELETE CASCADE
);
ALTER TABLE space_versions ENABLE ROW LEVEL SECURITY;
CREATE POLICY within_space ON space_versions USING (space_id = (SELECT current_space()));

-- The number of runs of a pipeline, by status and type.
CREATE TABLE pipeline_run_counters (
    space_id    uuid   NOT NULL,
    pipeline_id uuid   NOT NULL,
    status      text   NOT NULL,
    run_type    text   NOT NULL,
    total       bigint NOT NULL,
    CONSTRAINT pipeline_run_counters_pkey PRIMARY KEY (space_id, pipeline_id, status, run_type),
    CONSTRAINT pipeline_run_counters_pipeline FOREIGN KEY (space_id, pipeline_id) REFERENCES pipelines(space_id, id) ON DELETE CASCADE
);
ALTER TABLE pipeline_run_counters ENABLE ROW LEVEL SECURITY;
CREATE POLICY within_space ON pipeline_run_counters USING (space_id = (SELECT current_space()));

-- The number of runs of a space that began in an hour, by status and type: the sum of the slots, which are those of space_versions.
CREATE TABLE space_hourly_run_counters (
    space_id uuid        NOT NULL,
    hour     timestamptz NOT NULL,  -- trunc_hour_utc() of the effective_start_at of the runs.
    slot     uuid        NOT NULL,
    status   text        NOT NULL,
    run_type text        NOT NULL,
    total    bigint      NOT NULL,
    CONSTRAINT space_hourly_run_counters_pkey PRIMARY KEY (space_id, hour, slot, status, run_type),
    CONSTRAINT space_hourly_run_counters_space FOREIGN KEY (space_id) REFERENCES spaces(id) ON DELETE CASCADE
);
ALTER TABLE space_hourly_run_counters ENABLE ROW LEVEL SECURITY;
CREATE POLICY within_space ON space_hourly_run_counters USING (space_id = (SELECT current_space()));

-- Changes by users. Only triggers write it; the application cannot change or delete a row.
CREATE TABLE audit_events (
    space_id    uuid        NOT NULL,
    id          uuid        NOT NULL DEFAULT uuid7(),
    created_at  timestamptz NOT NULL DEFAULT now(),
    action      text        NOT NULL,
    target_type text        NOT NULL,
    target_id   uuid,
    target_name text,
    actor_id    uuid,  -- Null: a command on the server, or a deleted user (actor_name remains).
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
        WHEN s.quarantine ->> 'kind' = 'other_airflow' THEN 'held'
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
CREATE FUNCTION is_slow_or_failing(s sync_states)
 RETURNS boolean
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS $function$
    SELECT s.failures > 0 OR s.is_stuck OR coalesce(s.poll_seconds, 0) > 10
$function$;

-- The text that the filter q searches: each part in lower case on its own line.
CREATE FUNCTION search_text(VARIADIC parts text[])
 RETURNS text
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN lower(array_to_string(parts, '
'::text));

CREATE FUNCTION refresh_search_text()
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
RETURN ((at AT TIME ZONE 'UTC'::text))::date;

-- The moment at which a day begins, in UTC.
CREATE FUNCTION utc_midnight(day date)
 RETURNS timestamp with time zone
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN ((day)::timestamp without time zone AT TIME ZONE 'UTC'::text);

-- The logarithmic bucket of a duration: n holds durations longer than 1.04^(n-1) ms, up to 1.04^n ms, so that its middle is wrong by 2 % at most; 0 those shorter than 1 ms.
CREATE FUNCTION duration_bucket(seconds double precision)
 RETURNS smallint
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN (CASE WHEN (seconds < (0.001)::double precision) THEN (0)::double precision ELSE ceil((ln((seconds / (0.001)::double precision)) / (ln(1.04))::double precision)) END)::smallint;

-- Of the runs of a pipeline that ended in [since, until): how many, how many of them have a duration, its sum in seconds, and the histogram of durations: for each bucket that is not empty its number (2 bytes, see duration_bucket()) and how many are in it (4 bytes), big-endian.
CREATE FUNCTION run_stats(space uuid, pipeline uuid, since timestamp with time zone, until timestamp with time zone)
 RETURNS TABLE(total integer, success integer, failed integer, duration_count integer, duration_sum double precision, duration_histogram bytea)
 LANGUAGE sql
 STABLE PARALLEL SAFE
AS $function$
    SELECT coalesce(sum(b.total), 0)::integer, coalesce(sum(b.success), 0)::integer, coalesce(sum(b.failed), 0)::integer,
           coalesce(sum(b.duration_count), 0)::integer, coalesce(sum(b.duration_sum), 0),
           coalesce(string_agg(int2send(b.bucket) || int4send(b.duration_count::integer), '') FILTER (WHERE b.bucket IS NOT NULL), '')
    FROM (
        SELECT duration_bucket(r.duration_seconds) AS bucket, count(*) AS total,
               count(*) FILTER (WHERE r.status = 'success') AS success, count(*) FILTER (WHERE r.status = 'failed') AS failed,
               count(r.duration_seconds) AS duration_count, sum(r.duration_seconds) AS duration_sum
        FROM runs r
        WHERE r.space_id = space AND r.pipeline_id = pipeline AND r.removed_at IS NULL
          AND r.ended_at >= since AND r.ended_at < until
        GROUP BY 1
    ) b
$function$;

-- Recomputes these days of these pipelines from their runs.
CREATE FUNCTION refresh_daily_stats(spaces uuid[], pipelines uuid[], days date[])
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'windsock', 'pg_temp'
AS $function$
-- Locks the pipelines, always in the same order, before it reads any run: it then sees the runs of other transactions that
-- changed the same days. A pipeline that is being deleted has no statistics any more.
BEGIN
    PERFORM FROM pipelines p
    WHERE (p.space_id, p.id) IN (SELECT t.space_id, t.pipeline_id FROM unnest(spaces, pipelines) AS t (space_id, pipeline_id))
    ORDER BY p.space_id, p.id
    FOR NO KEY UPDATE OF p;
    INSERT INTO pipeline_daily_stats (space_id, pipeline_id, day, total, success, failed, duration_count, duration_sum, duration_histogram)
    SELECT t.space_id, t.pipeline_id, t.day, s.*
    FROM unnest(spaces, pipelines, days) AS t (space_id, pipeline_id, day)
    JOIN pipelines p ON p.space_id = t.space_id AND p.id = t.pipeline_id
    CROSS JOIN LATERAL run_stats(t.space_id, t.pipeline_id, utc_midnight(t.day), utc_midnight(t.day + 1)) s
    ON CONFLICT (space_id, pipeline_id, day) DO UPDATE
    SET total = excluded.total, success = excluded.success, failed = excluded.failed,
        duration_count = excluded.duration_count, duration_sum = excluded.duration_sum,
        duration_histogram = excluded.duration_histogram;
    DELETE FROM pipeline_daily_stats d
    USING unnest(spaces, pipelines, days) AS t (space_id, pipeline_id, day)
    WHERE d.space_id = t.space_id AND d.pipeline_id = t.pipeline_id AND d.day = t.day AND d.total = 0;
END
$function$;

-- Recomputes the days on which a run that was written ended, or had ended.
CREATE FUNCTION refresh_daily_stats_of_runs()
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
        FROM (SELECT DISTINCT space_id, pipeline_id, utc_day(ended_at) AS day
              FROM new_rows WHERE ended_at IS NOT NULL AND removed_at IS NULL) t;
    ELSIF TG_OP = 'DELETE' THEN
        SELECT array_agg(t.space_id), array_agg(t.pipeline_id), array_agg(t.day) INTO spaces, pipelines, days
        FROM (SELECT DISTINCT space_id, pipeline_id, utc_day(ended_at) AS day
              FROM old_rows WHERE ended_at IS NOT NULL AND removed_at IS NULL) t;
    ELSE
        -- A run whose status and times are as before is in both, and changes no day.
        SELECT array_agg(t.space_id), array_agg(t.pipeline_id), array_agg(t.day) INTO spaces, pipelines, days
        FROM (
            SELECT DISTINCT e.space_id, e.pipeline_id, utc_day(e.ended_at) AS day
            FROM (
                SELECT e.space_id, e.pipeline_id, e.ended_at
                FROM (SELECT id, space_id, pipeline_id, status, started_at, ended_at FROM old_rows WHERE removed_at IS NULL
                      UNION ALL
                      SELECT id, space_id, pipeline_id, status, started_at, ended_at FROM new_rows WHERE removed_at IS NULL) e
                GROUP BY e.id, e.space_id, e.pipeline_id, e.status, e.started_at, e.ended_at
                HAVING count(*) = 1 AND e.ended_at IS NOT NULL
            ) e
        ) t;
    END IF;
    IF days IS NOT NULL THEN
        PERFORM refresh_daily_stats(spaces, pipelines, days);
    END IF;
    RETURN NULL;
END
$function$;

-- A slot of the space that no other transaction writes until this one ends, the same within a transaction; null for a space that is being deleted.
CREATE FUNCTION acquire_counter_slot(space uuid)
 RETURNS uuid
 LANGUAGE plpgsql
 SET search_path TO 'windsock', 'pg_temp'
AS $function$
DECLARE
    acquired uuid;
BEGIN
    SELECT v.slot INTO acquired FROM space_versions v WHERE v.space_id = space ORDER BY v.slot LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        INSERT INTO space_versions (space_id, version) SELECT s.id, 0 FROM spaces s WHERE s.id = space RETURNING slot INTO acquired;
    END IF;
    RETURN acquired;
END
$function$;

-- Increases the version of a space, without waiting for another transaction.
CREATE FUNCTION bump_space_version(space uuid)
 RETURNS void
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'windsock', 'pg_temp'
AS $function$
DECLARE
    -- By the clock, so that no version comes twice after a backup was restored.
    at CONSTANT bigint := extract(epoch FROM clock_timestamp()) * 1000000;
    acquired CONSTANT uuid := acquire_counter_slot(space);
BEGIN
    UPDATE space_versions v SET version = greatest(v.version + 1, at) WHERE v.space_id = space AND v.slot = acquired;
END
$function$;

-- Increases the version of the spaces in which a statement has written a row.
CREATE FUNCTION bump_space_version_after_statement()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'windsock', 'pg_temp'
AS $function$
BEGIN
    IF TG_OP = 'DELETE' THEN
        PERFORM bump_space_version(space_id) FROM (SELECT DISTINCT space_id FROM old_rows ORDER BY 1) s;
    ELSE
        PERFORM bump_space_version(space_id) FROM (SELECT DISTINCT space_id FROM new_rows ORDER BY 1) s;
    END IF;
    RETURN NULL;
END
$function$;

-- As bump_space_version_after_statement(), for tables in which a statement writes few rows.
CREATE FUNCTION bump_space_version_after_row()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'windsock', 'pg_temp'
AS $function$
BEGIN
    PERFORM bump_space_version(CASE WHEN TG_OP = 'DELETE' THEN OLD.space_id ELSE NEW.space_id END);
    RETURN NULL;
END
$function$;

-- For the name of a user, who may have commented or triggered in any space.
CREATE FUNCTION bump_every_space_version()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'windsock', 'pg_temp'
AS $function$
BEGIN
    PERFORM bump_space_version(s.id) FROM (SELECT id FROM spaces ORDER BY id) s;
    RETURN NULL;
END
$function$;

-- The moment at which the hour of a moment begins, in UTC.
CREATE FUNCTION trunc_hour_utc(at timestamp with time zone)
 RETURNS timestamp with time zone
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN date_bin('01:00:00'::interval, at, '1970-01-01 00:00:00+00'::timestamp with time zone);

-- Maintains pipeline_run_counters and space_hourly_run_counters.
CREATE FUNCTION update_run_counters()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'windsock', 'pg_temp'
AS $function$
-- Most updates of a run change nothing that is counted: then nothing is written. Runs of a pipeline or space that is being
-- deleted have no counters any more.
DECLARE
    spaces uuid[]; pipelines uuid[]; hours timestamptz[]; statuses text[]; types text[]; deltas bigint[];
BEGIN
    IF TG_OP = 'INSERT' THEN
        SELECT array_agg(d.space_id), array_agg(d.pipeline_id), array_agg(d.hour), array_agg(d.status), array_agg(d.run_type), array_agg(d.delta)
        INTO spaces, pipelines, hours, statuses, types, deltas
        FROM (SELECT space_id, pipeline_id, trunc_hour_utc(effective_start_at) AS hour, status, run_type, count(*) AS delta
              FROM new_rows WHERE removed_at IS NULL GROUP BY 1, 2, 3, 4, 5) d;
    ELSIF TG_OP = 'DELETE' THEN
        SELECT array_agg(d.space_id), array_agg(d.pipeline_id), array_agg(d.hour), array_agg(d.status), array_agg(d.run_type), array_agg(d.delta)
        INTO spaces, pipelines, hours, statuses, types, deltas
        FROM (SELECT space_id, pipeline_id, trunc_hour_utc(effective_start_at) AS hour, status, run_type, -count(*) AS delta
              FROM old_rows WHERE removed_at IS NULL GROUP BY 1, 2, 3, 4, 5) d;
    ELSE
        SELECT array_agg(d.space_id), array_agg(d.pipeline_id), array_agg(d.hour), array_agg(d.status), array_agg(d.run_type), array_agg(d.delta)
        INTO spaces, pipelines, hours, statuses, types, deltas
        FROM (SELECT space_id, pipeline_id, hour, status, run_type, sum(delta) AS delta
              FROM (SELECT space_id, pipeline_id, trunc_hour_utc(effective_start_at) AS hour, status, run_type, -1 AS delta FROM old_rows WHERE removed_at IS NULL
                    UNION ALL
                    SELECT space_id, pipeline_id, trunc_hour_utc(effective_start_at), status, run_type, 1 FROM new_rows WHERE removed_at IS NULL) d
              GROUP BY 1, 2, 3, 4, 5 HAVING sum(delta) <> 0) d;
    END IF;
    IF spaces IS NULL THEN
        RETURN NULL;
    END IF;
    -- In one order, so that concurrent transactions do not deadlock.
    INSERT INTO pipeline_run_counters AS k (space_id, pipeline_id, status, run_type, total)
    SELECT d.space_id, d.pipeline_id, d.status, d.run_type, sum(d.delta)
    FROM unnest(spaces, pipelines, statuses, types, deltas) AS d (space_id, pipeline_id, status, run_type, delta)
    JOIN pipelines p ON p.space_id = d.space_id AND p.id = d.pipeline_id
    GROUP BY 1, 2, 3, 4 HAVING sum(d.delta) <> 0
    ORDER BY 1, 2, 3, 4
    ON CONFLICT (space_id, pipeline_id, status, run_type) DO UPDATE SET total = k.total + excluded.total;
    WITH slots AS MATERIALIZED (
        SELECT s.id AS space_id, acquire_counter_slot(s.id) AS slot FROM spaces s WHERE s.id = ANY (spaces)
    )
    INSERT INTO space_hourly_run_counters AS k (space_id, hour, slot, status, run_type, total)
    SELECT d.space_id, d.hour, slots.slot, d.status, d.run_type, sum(d.delta)
    FROM unnest(spaces, hours, statuses, types, deltas) AS d (space_id, hour, status, run_type, delta)
    JOIN slots ON slots.space_id = d.space_id
    GROUP BY 1, 2, 3, 4, 5 HAVING sum(d.delta) <> 0
    ON CONFLICT (space_id, hour, slot, status, run_type) DO UPDATE SET total = k.total + excluded.total;
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

-- Redacts secrets of a configuration, since members of the space read the audit log.
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

-- Records a change: its actor (setting windsock.actor), its target, and the values before and after.
CREATE FUNCTION audit()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'windsock', 'pg_temp'
AS $function$
-- Arguments: the entity type, the column of its id, the column of its name ('' for none), the recorded columns, and the
-- secret columns, of which only the fact that they were set is recorded.
DECLARE
    actor   jsonb := nullif(current_setting('windsock.actor', true), '')::jsonb;
    old_row jsonb := CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END;
    new_row jsonb := CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END;
    entity  jsonb := coalesce(new_row, old_row);
    before  jsonb;
    after   jsonb;
    secret  text;
BEGIN
    SELECT jsonb_object_agg(c, old_row -> c), jsonb_object_agg(c, new_row -> c) INTO before, after
    FROM unnest(string_to_array(TG_ARGV[3], ' ')) c
    WHERE TG_OP <> 'UPDATE' OR (old_row -> c) IS DISTINCT FROM (new_row -> c);
    FOREACH secret IN ARRAY string_to_array(coalesce(TG_ARGV[4], ''), ' ') LOOP
        IF (old_row -> secret) IS DISTINCT FROM (new_row -> secret) AND new_row ->> secret IS NOT NULL THEN
            after := coalesce(after, '{}') || jsonb_build_object(secret, 'written');
            before := coalesce(before, '{}') || jsonb_build_object(secret, CASE WHEN old_row ->> secret IS NOT NULL THEN 'kept' END);
        END IF;
    END LOOP;
    IF TG_OP = 'UPDATE' AND after IS NULL THEN
        RETURN NULL;
    END IF;
    INSERT INTO audit_events (space_id, action, target_type, target_id, target_name, actor_id, actor_name, api_key_id,
                              before, after, request_id)
    VALUES (coalesce(entity ->> 'space_id', entity ->> 'id')::uuid,
            CASE TG_OP WHEN 'INSERT' THEN 'created' WHEN 'UPDATE' THEN 'changed' ELSE 'deleted' END,
            TG_ARGV[0], (entity ->> TG_ARGV[1])::uuid, entity ->> nullif(TG_ARGV[2], ''),
            (actor ->> 'user_id')::uuid, (SELECT u.name FROM users u WHERE u.id = (actor ->> 'user_id')::uuid),
            (actor ->> 'api_key_id')::uuid,
            CASE WHEN TG_OP <> 'INSERT' THEN before END, CASE WHEN TG_OP <> 'DELETE' THEN after END,
            actor ->> 'request_id');
    RETURN NULL;
END
$function$;

-- Records that a key was created or revoked, in every space of its user.
CREATE FUNCTION audit_key()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'windsock', 'pg_temp'
AS $function$
-- A key belongs to no space: the event is recorded in every space of its user, without its name, which may name another
-- space.
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
CREATE FUNCTION list_spaces_with_retention()
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
CREATE FUNCTION syncs_waiting(slow_queue boolean)
 RETURNS bigint
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO 'windsock', 'pg_temp'
AS $function$
    SELECT count(*)
    FROM sync_runs r JOIN sync_states s ON s.space_id = r.space_id AND s.connector_id = r.connector_id
    WHERE r.status = 'queued' AND r.queued_at < now() - interval '3 seconds' AND is_slow_or_failing(s) = slow_queue
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
CREATE FUNCTION next_sync(slow_queue boolean, holder text, slots integer)
 RETURNS TABLE(space_id uuid, sync_id uuid)
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO 'windsock', 'pg_temp'
AS $function$
    WITH running AS (
        SELECT r.space_id, count(*) AS total
        FROM sync_runs r JOIN sync_states s ON s.space_id = r.space_id AND s.connector_id = r.connector_id
        WHERE r.status = 'running' AND r.lease_holder = holder AND is_slow_or_failing(s) = slow_queue
        GROUP BY r.space_id
    )
    SELECT q.space_id, q.id
    FROM sync_runs q
    JOIN sync_states s ON s.space_id = q.space_id AND s.connector_id = q.connector_id
    LEFT JOIN running b ON b.space_id = q.space_id
    WHERE q.status = 'queued' AND is_slow_or_failing(s) = slow_queue AND NOT waits_for_another(q)
      AND coalesce(b.total, 0) < CASE
          WHEN (SELECT count(DISTINCT c.space_id) FROM connectors c WHERE c.is_active AND c.connector_type = 'airflow') > 1
          THEN greatest(1, slots / 2) ELSE slots END
    ORDER BY coalesce(b.total, 0), q.trigger <> 'manual', q.queued_at
    LIMIT 1
$function$;

-- From the hash of a key and a slug to the caller, the space, the role in it (null: none), its version, and whether last_used_at of the key is due for an update. Takes no lock.
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
CREATE TRIGGER comments_version AFTER INSERT OR DELETE OR UPDATE ON comments FOR EACH ROW EXECUTE FUNCTION bump_space_version_after_row();
CREATE TRIGGER audit AFTER INSERT OR DELETE OR UPDATE ON connectors FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION audit('connector', 'id', 'name', 'name connector_type config is_active source_system_id', 'credentials');
CREATE TRIGGER connectors_version AFTER INSERT OR DELETE OR UPDATE ON connectors FOR EACH ROW EXECUTE FUNCTION bump_space_version_after_row();
CREATE TRIGGER audit AFTER INSERT OR DELETE OR UPDATE ON memberships FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION audit('member', 'user_id', '', 'role');
CREATE TRIGGER audit AFTER UPDATE OF team_id, criticality ON pipelines FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION audit('pipeline', 'id', 'name', 'team_id criticality');
CREATE TRIGGER pipelines_search_ins AFTER INSERT ON pipelines FOR EACH ROW EXECUTE FUNCTION refresh_search_text();
CREATE TRIGGER pipelines_search_upd AFTER UPDATE ON pipelines FOR EACH ROW WHEN (old.name IS DISTINCT FROM new.name OR old.external_id IS DISTINCT FROM new.external_id OR old.description IS DISTINCT FROM new.description OR old.owners IS DISTINCT FROM new.owners OR old.tags IS DISTINCT FROM new.tags) EXECUTE FUNCTION refresh_search_text();
CREATE TRIGGER pipelines_version_del AFTER DELETE ON pipelines REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION bump_space_version_after_statement();
CREATE TRIGGER pipelines_version_ins AFTER INSERT ON pipelines REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION bump_space_version_after_statement();
CREATE TRIGGER pipelines_version_upd AFTER UPDATE ON pipelines REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION bump_space_version_after_statement();
CREATE TRIGGER runs_counters_del AFTER DELETE ON runs REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION update_run_counters();
CREATE TRIGGER runs_counters_ins AFTER INSERT ON runs REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION update_run_counters();
CREATE TRIGGER runs_counters_upd AFTER UPDATE ON runs REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION update_run_counters();
CREATE TRIGGER runs_daily_stats_del AFTER DELETE ON runs REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION refresh_daily_stats_of_runs();
CREATE TRIGGER runs_daily_stats_ins AFTER INSERT ON runs REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION refresh_daily_stats_of_runs();
CREATE TRIGGER runs_daily_stats_upd AFTER UPDATE ON runs REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION refresh_daily_stats_of_runs();
CREATE TRIGGER runs_version_del AFTER DELETE ON runs REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION bump_space_version_after_statement();
CREATE TRIGGER runs_version_ins AFTER INSERT ON runs REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION bump_space_version_after_statement();
CREATE TRIGGER runs_version_upd AFTER UPDATE ON runs REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION bump_space_version_after_statement();
CREATE TRIGGER audit AFTER INSERT OR UPDATE ON spaces FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION audit('space', 'id', 'name', 'slug name retention_days');
CREATE TRIGGER audit AFTER INSERT ON sync_runs FOR EACH ROW WHEN (pg_trigger_depth() = 0 AND new.trigger = 'manual'::text) EXECUTE FUNCTION audit('sync', 'id', '', 'connector_id is_full');
CREATE TRIGGER audit_cancel AFTER UPDATE OF cancel_requested_at ON sync_runs FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION audit('sync', 'id', '', 'cancel_requested_at');
CREATE TRIGGER audit_full AFTER UPDATE OF is_full ON sync_runs FOR EACH ROW WHEN (pg_trigger_depth() = 0 AND old.status = 'queued'::text AND new.status = 'queued'::text) EXECUTE FUNCTION audit('sync', 'id', '', 'is_full');
CREATE TRIGGER audit AFTER UPDATE OF accepted_at ON sync_states FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION audit('hold', 'connector_id', '', 'accepted');
CREATE TRIGGER sync_states_version AFTER UPDATE ON sync_states FOR EACH ROW WHEN (old.last_complete_at IS DISTINCT FROM new.last_complete_at OR old.api_version IS DISTINCT FROM new.api_version OR old.skipped IS DISTINCT FROM new.skipped) EXECUTE FUNCTION bump_space_version_after_row();
CREATE TRIGGER task_runs_version_del AFTER DELETE ON task_runs REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION bump_space_version_after_statement();
CREATE TRIGGER task_runs_version_ins AFTER INSERT ON task_runs REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION bump_space_version_after_statement();
CREATE TRIGGER task_runs_version_upd AFTER UPDATE ON task_runs REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION bump_space_version_after_statement();
CREATE TRIGGER audit AFTER INSERT OR DELETE OR UPDATE ON team_members FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION audit('team_member', 'team_id', '', 'user_id');
CREATE TRIGGER audit AFTER INSERT OR DELETE OR UPDATE ON teams FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION audit('team', 'id', 'name', 'name');
CREATE TRIGGER teams_version AFTER INSERT OR DELETE OR UPDATE ON teams FOR EACH ROW EXECUTE FUNCTION bump_space_version_after_row();
CREATE TRIGGER audit AFTER INSERT OR UPDATE OF outcome ON trigger_requests FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION audit('trigger', 'id', 'run_external_id', 'pipeline_id run_external_id outcome status');
CREATE TRIGGER users_version AFTER UPDATE OF name ON users FOR EACH ROW WHEN (old.name IS DISTINCT FROM new.name) EXECUTE FUNCTION bump_every_space_version();
CREATE TRIGGER audit AFTER INSERT OR DELETE ON watches FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION audit('watch', 'pipeline_id', '', 'user_id');
CREATE TRIGGER watches_version AFTER INSERT OR DELETE OR UPDATE ON watches FOR EACH ROW EXECUTE FUNCTION bump_space_version_after_row();
