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
    id              uuid        NOT NULL DEFAULT uuid7(),
    slug            text        NOT NULL,
    name            text        NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    retention_days  integer,  -- Older runs are deleted from Windsock; null: never.
    -- Actions on pipelines of high or critical criticality need a reason.
    requires_reason boolean     NOT NULL DEFAULT false,
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
    contact    text,  -- How to reach the team: an e-mail address, a URL or free text.
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT teams_pkey PRIMARY KEY (space_id, id),
    CONSTRAINT teams_name_unique UNIQUE (space_id, name),
    CONSTRAINT teams_contact_length CHECK (char_length(contact) >= 1 AND char_length(contact) <= 300),
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
    -- task_id to the ids of the tasks that wait for it; {} until the sync has read the graph.
    task_successors       jsonb       NOT NULL DEFAULT '{}',
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
-- The inbox orders all unresolved incidents by it.
CREATE INDEX pipelines_criticality ON pipelines (space_id, id) INCLUDE (criticality);
CREATE INDEX pipelines_deleted_by_sync ON pipelines (space_id, connector_id) WHERE deleted_by_sync_id IS NOT NULL;
CREATE INDEX pipelines_import_errors ON pipelines (space_id, id) WHERE has_import_errors AND removed_at IS NULL;
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
-- Task runs that wait for a person: since Airflow 3.3 they have a status for it, before that they are deferred.
CREATE INDEX task_runs_waiting_for_input ON task_runs (space_id, run_id) WHERE removed_at IS NULL AND (status = 'awaiting_input' OR status = 'deferred' AND (operator = ANY (ARRAY['ApprovalOperator', 'HITLBranchOperator', 'HITLEntryOperator', 'HITLOperator'])));
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

-- What people do in Airflow through Windsock. Written before the request to Airflow, so that what became of it can be looked up when the response is lost.
CREATE TABLE actions (
    space_id        uuid        NOT NULL,
    id              uuid        NOT NULL DEFAULT uuid7(),
    kind            text        NOT NULL,  -- What it is done to: the task run, else the run, else the pipeline.
    pipeline_id     uuid        NOT NULL,
    run_id          uuid,
    task_run_id     uuid,
    user_id         uuid,
    -- Of a trigger the run id that Airflow is given.
    run_external_id text        GENERATED ALWAYS AS (
CASE kind
    WHEN 'trigger' THEN 'windsock__' || id::text
    ELSE NULL::text
END) STORED,
    idempotency_key text,
    -- SHA-256 of kind, target and request body; the same key with others is refused.
    body_hash       bytea       NOT NULL,
    parameters      jsonb       NOT NULL DEFAULT '{}',
    reason          text,
    -- Of a clear the task runs to be cleared as they were, each with a marker that a clear changes.
    expected        jsonb,
    lease_until     timestamptz NOT NULL,  -- Until then one process sends the request, and the others wait.
    -- Null: in progress. done: the response is repeated; refused: by Airflow, or by Windsock for its state there; failed: nothing was changed; partial: a part was; unknown: looked up before it is sent again.
    outcome         text,
    status          integer,  -- The status of the response where it was not done.
    detail          text,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT actions_pkey PRIMARY KEY (space_id, id),
    CONSTRAINT actions_idempotency_key UNIQUE (space_id, pipeline_id, idempotency_key),
    CONSTRAINT actions_triggered_run UNIQUE (space_id, pipeline_id, run_external_id),
    CONSTRAINT actions_kind_is_known CHECK (kind = ANY (ARRAY['trigger', 'clear', 'mark', 'pause', 'note', 'answer'])),
    CONSTRAINT actions_outcome_is_known CHECK (outcome = ANY (ARRAY['done', 'refused', 'failed', 'partial', 'unknown'])),
    CONSTRAINT actions_pipeline FOREIGN KEY (space_id, pipeline_id) REFERENCES pipelines(space_id, id) ON DELETE CASCADE,
    CONSTRAINT actions_run FOREIGN KEY (space_id, run_id) REFERENCES runs(space_id, id) ON DELETE SET NULL (run_id),
    CONSTRAINT actions_task_run FOREIGN KEY (space_id, task_run_id) REFERENCES task_runs(space_id, id) ON DELETE SET NULL (task_run_id),
    CONSTRAINT actions_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE SET NULL
);
-- One clear or mark of a run at a time.
CREATE UNIQUE INDEX actions_in_progress ON actions (space_id, run_id) WHERE outcome IS NULL AND (kind = ANY (ARRAY['clear', 'mark']));
CREATE INDEX actions_newest ON actions (space_id, created_at, id);
CREATE INDEX actions_of_run ON actions (space_id, run_id) WHERE run_id IS NOT NULL;
CREATE INDEX actions_of_task_run ON actions (space_id, task_run_id) WHERE task_run_id IS NOT NULL;
ALTER TABLE actions ENABLE ROW LEVEL SECURITY;
CREATE POLICY within_space ON actions USING (space_id = (SELECT current_space()));

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

-- Filters and order of the pipeline list under a name: of one user, or shared with the space.
CREATE TABLE saved_views (
    space_id   uuid        NOT NULL,
    id         uuid        NOT NULL DEFAULT uuid7(),
    user_id    uuid        NOT NULL,
    name       text        NOT NULL,
    query      text        NOT NULL,  -- The query string of the list, with the parameters of the API.
    is_shared  boolean     NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT saved_views_pkey PRIMARY KEY (space_id, id),
    CONSTRAINT saved_views_name_unique UNIQUE (space_id, user_id, name),
    CONSTRAINT saved_views_name_length CHECK (length(name) >= 1 AND length(name) <= 100),
    CONSTRAINT saved_views_query_length CHECK (length(query) <= 4000),
    CONSTRAINT saved_views_space_id_fkey FOREIGN KEY (space_id) REFERENCES spaces(id) ON DELETE CASCADE,
    CONSTRAINT saved_views_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE
);
ALTER TABLE saved_views ENABLE ROW LEVEL SECURITY;
CREATE POLICY within_space ON saved_views USING (space_id = (SELECT current_space()));

-- Files that the provider cannot import at present, at most 1,000 per connector. Only the sync writes it.
CREATE TABLE import_errors (
    space_id     uuid        NOT NULL,
    id           uuid        NOT NULL DEFAULT uuid7(),
    connector_id uuid        NOT NULL,
    bundle_name  text,  -- Of Airflow 3; filename is relative to it.
    filename     text        NOT NULL,
    stack_trace  text        NOT NULL,  -- Of a long one the last 16,000 characters.
    since        timestamptz NOT NULL,  -- When the provider first told of this file; stays when the error changes.
    CONSTRAINT import_errors_pkey PRIMARY KEY (space_id, id),
    CONSTRAINT import_errors_connector FOREIGN KEY (space_id, connector_id) REFERENCES connectors(space_id, id) ON DELETE CASCADE
);
CREATE UNIQUE INDEX import_errors_file ON import_errors (space_id, connector_id, md5((COALESCE(bundle_name, '') || '/') || filename));
ALTER TABLE import_errors ENABLE ROW LEVEL SECURITY;
CREATE POLICY within_space ON import_errors USING (space_id = (SELECT current_space()));

-- Groups of failures of a pipeline with the same fault. Users merge, split and name them; the algorithm never undoes that.
CREATE TABLE fingerprints (
    space_id           uuid        NOT NULL,
    id                 uuid        NOT NULL DEFAULT uuid7(),
    pipeline_id        uuid        NOT NULL,
    hash               bytea,  -- SHA-256 by the algorithm of algorithm_version; null for a group that a user split off.
    algorithm_version  smallint    NOT NULL,
    -- Of a group that was split off: later failures with one of these finer hashes belong to it.
    message_hashes     bytea[]     NOT NULL DEFAULT '{}'::bytea[],
    split_from         uuid,
    -- The group to which its failures belong since a user merged it; that one is not merged itself.
    merged_into        uuid,
    title              text        NOT NULL,  -- The summary of its first failure.
    grouped_by         text        NOT NULL,  -- Which facts of a failure were compared, in words.
    name               text,
    runbook_comment_id uuid,  -- The comment that says what to do about it.
    -- Number of runs with a failure of this group, of those that the space keeps.
    occurrences        integer     NOT NULL DEFAULT 0,
    first_seen_at      timestamptz NOT NULL,
    last_seen_at       timestamptz NOT NULL,
    created_at         timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT fingerprints_pkey PRIMARY KEY (space_id, id),
    CONSTRAINT fingerprints_identity UNIQUE (space_id, pipeline_id, algorithm_version, hash),
    CONSTRAINT fingerprints_name_length CHECK (length(name) >= 1 AND length(name) <= 200),
    CONSTRAINT fingerprints_merged_into FOREIGN KEY (space_id, merged_into) REFERENCES fingerprints(space_id, id) ON DELETE SET NULL (merged_into),
    CONSTRAINT fingerprints_pipeline FOREIGN KEY (space_id, pipeline_id) REFERENCES pipelines(space_id, id) ON DELETE CASCADE,
    CONSTRAINT fingerprints_runbook FOREIGN KEY (space_id, runbook_comment_id) REFERENCES comments(space_id, id) ON DELETE SET NULL (runbook_comment_id),
    CONSTRAINT fingerprints_split_from FOREIGN KEY (space_id, split_from) REFERENCES fingerprints(space_id, id) ON DELETE SET NULL (split_from)
);
CREATE INDEX fingerprints_merged ON fingerprints (space_id, merged_into) WHERE merged_into IS NOT NULL;
CREATE INDEX fingerprints_newest ON fingerprints (space_id, last_seen_at DESC, id DESC) WHERE merged_into IS NULL;
CREATE INDEX fingerprints_runbook ON fingerprints (space_id, runbook_comment_id) WHERE runbook_comment_id IS NOT NULL;
CREATE INDEX fingerprints_split ON fingerprints (space_id, split_from) WHERE split_from IS NOT NULL;
-- Those that are deleted with their last failure.
CREATE INDEX fingerprints_unnamed ON fingerprints (space_id, last_seen_at, id) WHERE name IS NULL AND runbook_comment_id IS NULL AND merged_into IS NULL AND split_from IS NULL;
ALTER TABLE fingerprints ENABLE ROW LEVEL SECURITY;
CREATE POLICY within_space ON fingerprints USING (space_id = (SELECT current_space()));

-- Failed runs whose logs are to be read, written in the transaction that stores the failure. Also the queue of what reads them.
CREATE TABLE failure_reads (
    space_id        uuid        NOT NULL,
    run_id          uuid        NOT NULL,
    connector_id    uuid        NOT NULL,
    -- on_demand: the connector does not read logs by itself, a user may ask for it; unreadable: no log could be read.
    state           text        NOT NULL DEFAULT 'pending',
    is_requested    boolean     NOT NULL DEFAULT false,  -- A user asked for it.
    -- Logs requested for this failure, counted before each request, so that a killed worker does not request more.
    requests        smallint    NOT NULL DEFAULT 0,
    noticed_at      timestamptz NOT NULL DEFAULT now(),
    next_attempt_at timestamptz NOT NULL DEFAULT now(),
    lease_id        uuid,  -- Of the worker that reads it; what it stores must have this id.
    lease_until     timestamptz,
    CONSTRAINT failure_reads_pkey PRIMARY KEY (space_id, run_id),
    CONSTRAINT failure_reads_state_is_known CHECK (state = ANY (ARRAY['pending', 'reading', 'read', 'unreadable', 'on_demand'])),
    CONSTRAINT failure_reads_connector FOREIGN KEY (space_id, connector_id) REFERENCES connectors(space_id, id) ON DELETE CASCADE,
    CONSTRAINT failure_reads_run FOREIGN KEY (space_id, run_id) REFERENCES runs(space_id, id) ON DELETE CASCADE
);
CREATE INDEX failure_reads_connector ON failure_reads (space_id, connector_id);
CREATE INDEX failure_reads_due ON failure_reads (next_attempt_at) WHERE state = ANY (ARRAY['pending', 'reading']);
-- One log at a time per connector, whatever processes there are.
CREATE UNIQUE INDEX failure_reads_one_at_a_time ON failure_reads (space_id, connector_id) WHERE state = 'reading';
ALTER TABLE failure_reads ENABLE ROW LEVEL SECURITY;
CREATE POLICY within_space ON failure_reads USING (space_id = (SELECT current_space()));

-- Root failures of runs: tries of tasks that failed by themselves, at most three of a run, with an excerpt of the log.
CREATE TABLE task_failures (
    space_id                uuid        NOT NULL,
    id                      uuid        NOT NULL DEFAULT uuid7(),
    run_id                  uuid        NOT NULL,
    task_run_id             uuid        NOT NULL,
    try_number              integer     NOT NULL,
    -- From 0 on, in the order in which they failed; null for a failure that a later one of the run has replaced.
    place                   smallint,
    failed_at               timestamptz NOT NULL,
    summary                 text,
    excerpt                 text,
    exception_type          text,
    own_frame               text,
    log_error               text,  -- Why the log could not be read; then there is no summary.
    algorithm_version       smallint,
    fingerprint_id          uuid,  -- The group it belongs to.
    computed_fingerprint_id uuid,  -- The group of its hash, which users may have merged or split.
    message_hash            bytea,  -- Finer than the hash of its group: with the normalised messages.
    created_at              timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT task_failures_pkey PRIMARY KEY (space_id, id),
    CONSTRAINT task_failures_try UNIQUE (space_id, task_run_id, try_number),
    CONSTRAINT task_failures_excerpt_size CHECK (octet_length(excerpt) <= 4096),
    CONSTRAINT task_failures_is_grouped CHECK ((summary IS NULL) = (fingerprint_id IS NULL)),
    CONSTRAINT task_failures_summary_length CHECK (length(summary) <= 300),
    CONSTRAINT task_failures_computed FOREIGN KEY (space_id, computed_fingerprint_id) REFERENCES fingerprints(space_id, id) ON DELETE CASCADE,
    CONSTRAINT task_failures_fingerprint FOREIGN KEY (space_id, fingerprint_id) REFERENCES fingerprints(space_id, id) ON DELETE CASCADE,
    CONSTRAINT task_failures_run FOREIGN KEY (space_id, run_id) REFERENCES runs(space_id, id) ON DELETE CASCADE,
    CONSTRAINT task_failures_task_run FOREIGN KEY (space_id, task_run_id) REFERENCES task_runs(space_id, id) ON DELETE CASCADE
);
CREATE INDEX task_failures_computed ON task_failures (space_id, computed_fingerprint_id);
CREATE INDEX task_failures_of_fingerprint ON task_failures (space_id, fingerprint_id, failed_at DESC, id DESC) INCLUDE (run_id);
CREATE INDEX task_failures_of_run ON task_failures (space_id, run_id, place);
ALTER TABLE task_failures ENABLE ROW LEVEL SECURITY;
CREATE POLICY within_space ON task_failures USING (space_id = (SELECT current_space()));

-- Requests to clear all failed runs of a fingerprint. Also the queue of the workers that carry them out.
CREATE TABLE bulk_clears (
    space_id        uuid        NOT NULL,
    id              uuid        NOT NULL DEFAULT uuid7(),
    fingerprint_id  uuid        NOT NULL,
    pipeline_id     uuid        NOT NULL,
    connector_id    uuid        NOT NULL,
    user_id         uuid,
    idempotency_key text        NOT NULL,
    -- SHA-256 of fingerprint and request body; the same key with others is refused.
    body_hash       bytea       NOT NULL,
    reason          text,
    left_out        integer     NOT NULL,  -- Number of failed runs beyond the limit of one bulk clear.
    status          text        NOT NULL DEFAULT 'queued',
    lease_id        uuid,  -- Of the worker that carries it out.
    lease_until     timestamptz,
    created_at      timestamptz NOT NULL DEFAULT now(),
    finished_at     timestamptz,
    CONSTRAINT bulk_clears_pkey PRIMARY KEY (space_id, id),
    CONSTRAINT bulk_clears_idempotency_key UNIQUE (space_id, pipeline_id, idempotency_key),
    CONSTRAINT bulk_clears_status_is_known CHECK (status = ANY (ARRAY['queued', 'running', 'done'])),
    CONSTRAINT bulk_clears_connector FOREIGN KEY (space_id, connector_id) REFERENCES connectors(space_id, id) ON DELETE CASCADE,
    CONSTRAINT bulk_clears_fingerprint FOREIGN KEY (space_id, fingerprint_id) REFERENCES fingerprints(space_id, id) ON DELETE CASCADE,
    CONSTRAINT bulk_clears_pipeline FOREIGN KEY (space_id, pipeline_id) REFERENCES pipelines(space_id, id) ON DELETE CASCADE,
    CONSTRAINT bulk_clears_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE SET NULL
);
CREATE INDEX bulk_clears_newest ON bulk_clears (space_id, created_at);
CREATE INDEX bulk_clears_of_connector ON bulk_clears (space_id, connector_id);
CREATE INDEX bulk_clears_of_fingerprint ON bulk_clears (space_id, fingerprint_id);
-- One bulk clear at a time per connector, whatever processes there are.
CREATE UNIQUE INDEX bulk_clears_one_at_a_time ON bulk_clears (space_id, connector_id) WHERE status = 'running';
CREATE INDEX bulk_clears_unfinished ON bulk_clears (created_at) WHERE status <> 'done';
ALTER TABLE bulk_clears ENABLE ROW LEVEL SECURITY;
CREATE POLICY within_space ON bulk_clears USING (space_id = (SELECT current_space()));

-- Runs of a bulk clear. Each clear is an action, too, whose idempotency key names the bulk clear and the run.
CREATE TABLE bulk_clear_runs (
    space_id       uuid     NOT NULL,
    bulk_clear_id  uuid     NOT NULL,
    run_id         uuid     NOT NULL,
    place          smallint NOT NULL,
    task_run_count integer  NOT NULL,  -- Task runs that were cleared; while pending, those that would be.
    task_ids       text[]   NOT NULL,  -- Their first task ids.
    outcome        text     NOT NULL DEFAULT 'pending',
    error          text,  -- Why nothing was cleared, or why it is not known.
    CONSTRAINT bulk_clear_runs_pkey PRIMARY KEY (space_id, bulk_clear_id, run_id),
    CONSTRAINT bulk_clear_runs_outcome_is_known CHECK (outcome = ANY (ARRAY['pending', 'cleared', 'failed'])),
    CONSTRAINT bulk_clear_runs_bulk_clear FOREIGN KEY (space_id, bulk_clear_id) REFERENCES bulk_clears(space_id, id) ON DELETE CASCADE,
    CONSTRAINT bulk_clear_runs_run FOREIGN KEY (space_id, run_id) REFERENCES runs(space_id, id) ON DELETE CASCADE
);
CREATE INDEX bulk_clear_runs_of_run ON bulk_clear_runs (space_id, run_id);
ALTER TABLE bulk_clear_runs ENABLE ROW LEVEL SECURITY;
CREATE POLICY within_space ON bulk_clear_runs USING (space_id = (SELECT current_space()));

-- Runs that ended, written in the transaction that stores the run. Also the queue of what updates incidents. None for history that is read back, archived runs and the first sync of a connector.
CREATE TABLE run_transitions (
    space_id           uuid        NOT NULL,
    id                 uuid        NOT NULL DEFAULT uuid7(),
    connector_id       uuid        NOT NULL,
    pipeline_id        uuid        NOT NULL,
    run_id             uuid        NOT NULL,
    from_status        text,  -- Null: the run was not here before.
    to_status          text        NOT NULL,
    happened_at        timestamptz NOT NULL,  -- When the run ended, by the clock of the provider.
    noticed_at         timestamptz NOT NULL DEFAULT now(),
    -- Noticed more than an hour after it happened: it is summarised with others.
    is_late            boolean     NOT NULL GENERATED ALWAYS AS ((noticed_at - happened_at) > '01:00:00'::interval) STORED,
    applied_at         timestamptz,  -- When incidents were updated; null: not yet.
    -- The log of the failed run has been read since: its incident gets the fingerprint.
    is_fingerprint_due boolean     NOT NULL DEFAULT false,
    CONSTRAINT run_transitions_pkey PRIMARY KEY (space_id, id),
    CONSTRAINT run_transitions_to_status_is_known CHECK (to_status = ANY (ARRAY['success', 'failed'])),
    CONSTRAINT run_transitions_run FOREIGN KEY (space_id, run_id) REFERENCES runs(space_id, id) ON DELETE CASCADE
);
CREATE INDEX run_transitions_applied ON run_transitions (space_id, applied_at) WHERE applied_at IS NOT NULL;
CREATE INDEX run_transitions_due ON run_transitions (space_id, connector_id, happened_at, id) WHERE applied_at IS NULL OR is_fingerprint_due;
CREATE INDEX run_transitions_of_run ON run_transitions (space_id, run_id);
CREATE INDEX run_transitions_successes ON run_transitions (space_id, pipeline_id, happened_at) WHERE to_status = 'success';
ALTER TABLE run_transitions ENABLE ROW LEVEL SECURITY;
CREATE POLICY within_space ON run_transitions USING (space_id = (SELECT current_space()));

-- What needs the attention of a person: failing pipelines, files that cannot be imported, connectors whose sync fails, task runs that wait for input.
CREATE TABLE incidents (
    space_id                   uuid        NOT NULL,
    id                         uuid        NOT NULL DEFAULT uuid7(),
    connector_id               uuid        NOT NULL,
    -- Null: of the connector as a whole. Of kind failed that is an outage: at least five of its pipelines failed within two minutes.
    pipeline_id                uuid,
    kind                       text        NOT NULL,
    state                      text        NOT NULL DEFAULT 'open',
    fingerprint_id             uuid,  -- Of the first root failure of its last run whose log was read.
    first_run_id               uuid,
    last_run_id                uuid,  -- Of the runs that failed the one with the latest run_at.
    -- Number of failures; of an outage, number of pipelines.
    occurrences                integer     NOT NULL DEFAULT 1,
    -- The occurrences before it was reopened last: rules of notifications count from there.
    occurrences_before         integer     NOT NULL DEFAULT 0,
    opened_at                  timestamptz NOT NULL,  -- When it was opened, or reopened last.
    last_failed_at             timestamptz NOT NULL,
    acknowledged_by_user_id    uuid,
    acknowledged_at            timestamptz,
    acknowledged_until         timestamptz,  -- When the acknowledgement ends; null: with the incident.
    -- A success ends the acknowledgement; otherwise it also covers a regression until acknowledged_until.
    acknowledged_until_success boolean     NOT NULL DEFAULT true,
    -- The occurrences when it was acknowledged: ten times as many end the acknowledgement.
    acknowledged_occurrences   integer,
    acknowledgement_reason     text,
    snoozed_until              timestamptz,
    assignee_user_id           uuid,
    assignee_team_id           uuid,
    resolved_at                timestamptz,
    resolved_by_user_id        uuid,  -- Null: resolved by a success, or because its cause ended.
    -- The incident of the connector that explains this one: nobody is notified of this one meanwhile.
    held_back_by_incident_id   uuid,
    reopened_count             integer     NOT NULL DEFAULT 0,
    created_at                 timestamptz NOT NULL DEFAULT now(),
    updated_at                 timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT incidents_pkey PRIMARY KEY (space_id, id),
    CONSTRAINT incidents_acknowledged_at CHECK (state <> 'acknowledged' OR acknowledged_at IS NOT NULL),
    CONSTRAINT incidents_kind_is_known CHECK (kind = ANY (ARRAY['failed', 'import_error', 'sync', 'approval'])),
    CONSTRAINT incidents_one_assignee CHECK (assignee_user_id IS NULL OR assignee_team_id IS NULL),
    CONSTRAINT incidents_reason_length CHECK (length(acknowledgement_reason) >= 1 AND length(acknowledgement_reason) <= 1000),
    CONSTRAINT incidents_resolved_at CHECK ((state = 'resolved') = (resolved_at IS NOT NULL)),
    CONSTRAINT incidents_scope CHECK (kind = 'failed' OR (kind = 'sync') = (pipeline_id IS NULL)),
    CONSTRAINT incidents_snoozed_until CHECK ((state = 'snoozed') = (snoozed_until IS NOT NULL)),
    CONSTRAINT incidents_state_is_known CHECK (state = ANY (ARRAY['open', 'acknowledged', 'snoozed', 'resolved'])),
    CONSTRAINT incidents_acknowledged_by_user_id_fkey FOREIGN KEY (acknowledged_by_user_id) REFERENCES users(id) ON DELETE SET NULL,
    CONSTRAINT incidents_assignee_team FOREIGN KEY (space_id, assignee_team_id) REFERENCES teams(space_id, id) ON DELETE SET NULL (assignee_team_id),
    CONSTRAINT incidents_assignee_user FOREIGN KEY (space_id, assignee_user_id) REFERENCES memberships(space_id, user_id) ON DELETE SET NULL (assignee_user_id),
    CONSTRAINT incidents_connector FOREIGN KEY (space_id, connector_id) REFERENCES connectors(space_id, id) ON DELETE CASCADE,
    CONSTRAINT incidents_fingerprint FOREIGN KEY (space_id, fingerprint_id) REFERENCES fingerprints(space_id, id) ON DELETE SET NULL (fingerprint_id),
    CONSTRAINT incidents_first_run FOREIGN KEY (space_id, first_run_id) REFERENCES runs(space_id, id) ON DELETE SET NULL (first_run_id),
    CONSTRAINT incidents_held_back_by FOREIGN KEY (space_id, held_back_by_incident_id) REFERENCES incidents(space_id, id) ON DELETE SET NULL (held_back_by_incident_id),
    CONSTRAINT incidents_last_run FOREIGN KEY (space_id, last_run_id) REFERENCES runs(space_id, id) ON DELETE SET NULL (last_run_id),
    CONSTRAINT incidents_pipeline FOREIGN KEY (space_id, pipeline_id) REFERENCES pipelines(space_id, id) ON DELETE CASCADE,
    CONSTRAINT incidents_resolved_by_user_id_fkey FOREIGN KEY (resolved_by_user_id) REFERENCES users(id) ON DELETE SET NULL
);
CREATE INDEX incidents_assignee_team ON incidents (space_id, assignee_team_id) WHERE assignee_team_id IS NOT NULL;
CREATE INDEX incidents_assignee_user ON incidents (space_id, assignee_user_id) WHERE assignee_user_id IS NOT NULL;
CREATE INDEX incidents_expiring ON incidents (LEAST(acknowledged_until, snoozed_until)) WHERE state = ANY (ARRAY['acknowledged', 'snoozed']);
CREATE INDEX incidents_fingerprint ON incidents (space_id, fingerprint_id) WHERE fingerprint_id IS NOT NULL;
CREATE INDEX incidents_first_run ON incidents (space_id, first_run_id);
CREATE INDEX incidents_held_back ON incidents (space_id, held_back_by_incident_id) WHERE held_back_by_incident_id IS NOT NULL;
CREATE INDEX incidents_last_run ON incidents (space_id, last_run_id);
CREATE INDEX incidents_newest ON incidents (space_id, opened_at DESC, id DESC);
CREATE INDEX incidents_of_connector ON incidents (space_id, connector_id, opened_at);
CREATE INDEX incidents_of_pipeline ON incidents (space_id, pipeline_id, kind, resolved_at);
CREATE UNIQUE INDEX incidents_one_of_connector ON incidents (space_id, connector_id, kind) WHERE pipeline_id IS NULL AND state <> 'resolved';
-- Duplicates are impossible, whatever processes there are.
CREATE UNIQUE INDEX incidents_one_of_pipeline ON incidents (space_id, pipeline_id, kind) WHERE pipeline_id IS NOT NULL AND state <> 'resolved';
CREATE INDEX incidents_resolved ON incidents (space_id, resolved_at) WHERE resolved_at IS NOT NULL;
CREATE INDEX incidents_unresolved ON incidents (space_id, state) WHERE state <> 'resolved';
ALTER TABLE incidents ENABLE ROW LEVEL SECURITY;
CREATE POLICY within_space ON incidents USING (space_id = (SELECT current_space()));

-- The timeline of incidents. Also the queue of what notifies people.
CREATE TABLE incident_events (
    space_id     uuid        NOT NULL,
    id           uuid        NOT NULL DEFAULT uuid7(),
    incident_id  uuid        NOT NULL,
    kind         text        NOT NULL,
    happened_at  timestamptz NOT NULL DEFAULT now(),
    user_id      uuid,  -- Null: the event follows from data or from time.
    run_id       uuid,
    -- Of late_summary: incident_ids (at most 100; of more there are several events), and opened, failed, succeeded, from and until of all that was noticed late together. Of the events of those incidents: late is true.
    details      jsonb       NOT NULL DEFAULT '{}',
    -- When notifications were decided, in the transaction that writes them; null: not yet. Late openings are written as evaluated, since their late_summary stands for them.
    evaluated_at timestamptz,
    CONSTRAINT incident_events_pkey PRIMARY KEY (space_id, id),
    CONSTRAINT incident_events_kind_is_known CHECK (kind = ANY (ARRAY['opened', 'failed_again', 'fingerprint_changed', 'acknowledged', 'acknowledgement_ended', 'snoozed', 'snooze_ended', 'assigned', 'resolved', 'reopened', 'held_back', 'released', 'late_summary'])),
    CONSTRAINT incident_events_incident FOREIGN KEY (space_id, incident_id) REFERENCES incidents(space_id, id) ON DELETE CASCADE,
    CONSTRAINT incident_events_run FOREIGN KEY (space_id, run_id) REFERENCES runs(space_id, id) ON DELETE SET NULL (run_id),
    CONSTRAINT incident_events_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE SET NULL
);
CREATE INDEX incident_events_of_incident ON incident_events (space_id, incident_id, id);
CREATE INDEX incident_events_of_run ON incident_events (space_id, run_id) WHERE run_id IS NOT NULL;
CREATE INDEX incident_events_unevaluated ON incident_events (space_id, id) WHERE evaluated_at IS NULL;
ALTER TABLE incident_events ENABLE ROW LEVEL SECURITY;
CREATE POLICY within_space ON incident_events USING (space_id = (SELECT current_space()));

-- Receivers of messages: Slack, Microsoft Teams, e-mail, PagerDuty, Alertmanager, webhooks.
CREATE TABLE channels (
    space_id          uuid        NOT NULL,
    id                uuid        NOT NULL DEFAULT uuid7(),
    name              text        NOT NULL,
    kind              text        NOT NULL,
    config            jsonb       NOT NULL DEFAULT '{}',
    secret            bytea,  -- Encrypted; never returned.
    -- When an operator accepted that no key decrypts the secret; null again when another one is entered.
    secret_lost_at    timestamptz,
    team_id           uuid,  -- The team whose channel it is: rules send incidents of its pipelines here.
    is_active         boolean     NOT NULL DEFAULT true,
    max_per_hour      integer     NOT NULL DEFAULT 60,  -- Messages beyond that are collected into one.
    -- When the receiver refused for good; saving the channel or a test that succeeds enables it again.
    disabled_at       timestamptz,
    disabled_reason   text,
    failing_since     timestamptz,
    last_error        text,
    last_delivered_at timestamptz,
    created_at        timestamptz NOT NULL DEFAULT now(),
    updated_at        timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT channels_pkey PRIMARY KEY (space_id, id),
    CONSTRAINT channels_name_unique UNIQUE (space_id, name),
    CONSTRAINT channels_disabled CHECK ((disabled_at IS NULL) = (disabled_reason IS NULL)),
    CONSTRAINT channels_kind_is_known CHECK (kind = ANY (ARRAY['slack', 'teams', 'email', 'pagerduty', 'alertmanager', 'webhook'])),
    CONSTRAINT channels_max_per_hour_in_range CHECK (max_per_hour >= 1 AND max_per_hour <= 1000),
    CONSTRAINT channels_name_length CHECK (length(name) >= 1 AND length(name) <= 200),
    CONSTRAINT channels_space_id_fkey FOREIGN KEY (space_id) REFERENCES spaces(id) ON DELETE CASCADE,
    CONSTRAINT channels_team FOREIGN KEY (space_id, team_id) REFERENCES teams(space_id, id) ON DELETE SET NULL (team_id)
);
CREATE INDEX channels_team ON channels (space_id, team_id) WHERE team_id IS NOT NULL;
ALTER TABLE channels ENABLE ROW LEVEL SECURITY;
CREATE POLICY within_space ON channels USING (space_id = (SELECT current_space()));

-- Which incidents are announced where. Empty lists match everything.
CREATE TABLE notification_rules (
    space_id         uuid                   NOT NULL,
    id               uuid                   NOT NULL DEFAULT uuid7(),
    name             text                   NOT NULL,
    is_active        boolean                NOT NULL DEFAULT true,
    kinds            text[]                 NOT NULL DEFAULT '{}',
    min_criticality  text                   NOT NULL DEFAULT 'low',
    team_ids         uuid[]                 NOT NULL DEFAULT '{}'::uuid[],
    connector_ids    uuid[]                 NOT NULL DEFAULT '{}'::uuid[],
    tags             text[]                 NOT NULL DEFAULT '{}',
    -- Channels of the space; one that is deleted is removed here.
    channel_ids      uuid[]                 NOT NULL DEFAULT '{}'::uuid[],
    -- To the channels of the team that owns the pipeline.
    to_team_channels boolean                NOT NULL DEFAULT false,
    to_watchers      boolean                NOT NULL DEFAULT false,  -- By e-mail to the users who watch the pipeline.
    events           text[]                 NOT NULL DEFAULT '{opened,changed,acknowledged,resolved}',
    min_failures     integer                NOT NULL DEFAULT 1,
    -- Successful runs that must precede the first failure; fewer are a flapping pipeline.
    after_successes  integer                NOT NULL DEFAULT 0,
    -- A message waits so long for others of its group, and is dropped if all is resolved by then.
    hold_seconds     integer                NOT NULL DEFAULT 0,
    group_by         text[]                 NOT NULL DEFAULT '{team,connector,fingerprint}',
    repeat_seconds   integer,  -- An unresolved group is announced again after so long; null: never.
    quiet_start      time without time zone,
    quiet_end        time without time zone,
    digest_at        time without time zone,
    time_zone        text                   NOT NULL DEFAULT 'UTC',
    -- Incidents of critical pipelines pass quiet hours and digest.
    critical_passes  boolean                NOT NULL DEFAULT true,
    created_at       timestamptz            NOT NULL DEFAULT now(),
    updated_at       timestamptz            NOT NULL DEFAULT now(),
    CONSTRAINT notification_rules_pkey PRIMARY KEY (space_id, id),
    CONSTRAINT notification_rules_name_unique UNIQUE (space_id, name),
    CONSTRAINT notification_rules_after_successes_in_range CHECK (after_successes >= 0 AND after_successes <= 50),
    CONSTRAINT notification_rules_criticality_is_known CHECK (min_criticality = ANY (ARRAY['low', 'medium', 'high', 'critical'])),
    CONSTRAINT notification_rules_hold_seconds_in_range CHECK (hold_seconds >= 0 AND hold_seconds <= 86400),
    CONSTRAINT notification_rules_min_failures_in_range CHECK (min_failures >= 1 AND min_failures <= 100),
    CONSTRAINT notification_rules_name_length CHECK (length(name) >= 1 AND length(name) <= 200),
    CONSTRAINT notification_rules_quiet_hours CHECK ((quiet_start IS NULL) = (quiet_end IS NULL) AND quiet_start IS DISTINCT FROM quiet_end OR quiet_start IS NULL AND quiet_end IS NULL),
    CONSTRAINT notification_rules_repeat_seconds_in_range CHECK (repeat_seconds >= 300 AND repeat_seconds <= 2592000),
    CONSTRAINT notification_rules_space_id_fkey FOREIGN KEY (space_id) REFERENCES spaces(id) ON DELETE CASCADE
);
ALTER TABLE notification_rules ENABLE ROW LEVEL SECURITY;
CREATE POLICY within_space ON notification_rules USING (space_id = (SELECT current_space()));

-- Incidents that one recipient is told of together: one alert of PagerDuty, one conversation by e-mail.
CREATE TABLE notification_groups (
    space_id      uuid        NOT NULL,
    id            uuid        NOT NULL DEFAULT uuid7(),
    rule_id       uuid,
    channel_id    uuid,
    user_id       uuid,
    key           text        NOT NULL,
    -- What quiet hours, a digest, a rate limit or a late sync collected.
    is_collection boolean     NOT NULL DEFAULT false,
    opened_at     timestamptz NOT NULL,
    closed_at     timestamptz,
    notified_at   timestamptz,
    ref           jsonb,  -- How the receiver calls the message, so that it can be edited.
    CONSTRAINT notification_groups_pkey PRIMARY KEY (space_id, id),
    CONSTRAINT notification_groups_one_recipient CHECK (num_nonnulls(channel_id, user_id) = 1),
    CONSTRAINT notification_groups_channel FOREIGN KEY (space_id, channel_id) REFERENCES channels(space_id, id) ON DELETE CASCADE,
    CONSTRAINT notification_groups_rule FOREIGN KEY (space_id, rule_id) REFERENCES notification_rules(space_id, id) ON DELETE SET NULL (rule_id),
    CONSTRAINT notification_groups_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE
);
CREATE INDEX notification_groups_channel ON notification_groups (space_id, channel_id);
CREATE UNIQUE INDEX notification_groups_open ON notification_groups (space_id, COALESCE(channel_id, user_id), key) WHERE closed_at IS NULL;
CREATE INDEX notification_groups_rule ON notification_groups (space_id, rule_id);
CREATE INDEX notification_groups_to_repeat ON notification_groups (space_id, notified_at) WHERE closed_at IS NULL AND notified_at IS NOT NULL;
CREATE INDEX notification_groups_user ON notification_groups (user_id);
ALTER TABLE notification_groups ENABLE ROW LEVEL SECURITY;
CREATE POLICY within_space ON notification_groups USING (space_id = (SELECT current_space()));

-- The incidents of a group.
CREATE TABLE notification_group_incidents (
    space_id    uuid NOT NULL,
    group_id    uuid NOT NULL,
    incident_id uuid NOT NULL,
    CONSTRAINT notification_group_incidents_pkey PRIMARY KEY (space_id, group_id, incident_id),
    CONSTRAINT notification_group_incidents_group FOREIGN KEY (space_id, group_id) REFERENCES notification_groups(space_id, id) ON DELETE CASCADE,
    CONSTRAINT notification_group_incidents_incident FOREIGN KEY (space_id, incident_id) REFERENCES incidents(space_id, id) ON DELETE CASCADE
);
CREATE INDEX notification_group_incidents_incident ON notification_group_incidents (space_id, incident_id);
ALTER TABLE notification_group_incidents ENABLE ROW LEVEL SECURITY;
CREATE POLICY within_space ON notification_group_incidents USING (space_id = (SELECT current_space()));

-- The outbox: each message is a row before it is sent. Also the log of what was sent.
CREATE TABLE messages (
    space_id      uuid        NOT NULL,
    id            uuid        NOT NULL DEFAULT uuid7(),
    group_id      uuid,
    channel_id    uuid,
    user_id       uuid,
    event         text        NOT NULL,
    -- What caused it: an event of an incident causes one message to a recipient at most.
    dedup_key     text        NOT NULL,
    state         text        NOT NULL DEFAULT 'queued',
    happened_at   timestamptz NOT NULL DEFAULT now(),  -- When that happened.
    due_at        timestamptz NOT NULL DEFAULT now(),
    lease_id      uuid,
    lease_until   timestamptz,
    attempts      integer     NOT NULL DEFAULT 0,
    ambiguous     integer     NOT NULL DEFAULT 0,  -- Attempts of which it is unknown whether they arrived.
    is_repetition boolean     NOT NULL DEFAULT false,  -- It may arrive a second time, and says so.
    reason        text        NOT NULL,  -- Why it is sent, as a sentence of the message.
    detail        text,
    content       jsonb,  -- What it says; written with the first lease, so that every attempt sends the same.
    created_at    timestamptz NOT NULL DEFAULT now(),
    sent_at       timestamptz,
    CONSTRAINT messages_pkey PRIMARY KEY (space_id, id),
    CONSTRAINT messages_dedup_key UNIQUE NULLS NOT DISTINCT (space_id, channel_id, user_id, dedup_key),
    CONSTRAINT messages_event_is_known CHECK (event = ANY (ARRAY['opened', 'changed', 'acknowledged', 'resolved', 'reminder', 'catch_up', 'digest', 'notice', 'test'])),
    CONSTRAINT messages_lease CHECK ((state = 'sending') = (lease_id IS NOT NULL)),
    CONSTRAINT messages_one_recipient CHECK (num_nonnulls(channel_id, user_id) = 1),
    CONSTRAINT messages_state_is_known CHECK (state = ANY (ARRAY['queued', 'sending', 'sent', 'failed', 'dropped'])),
    CONSTRAINT messages_channel FOREIGN KEY (space_id, channel_id) REFERENCES channels(space_id, id) ON DELETE CASCADE,
    CONSTRAINT messages_group FOREIGN KEY (space_id, group_id) REFERENCES notification_groups(space_id, id) ON DELETE CASCADE,
    CONSTRAINT messages_space_id_fkey FOREIGN KEY (space_id) REFERENCES spaces(id) ON DELETE CASCADE,
    CONSTRAINT messages_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE
);
CREATE INDEX messages_due ON messages (due_at, id) WHERE state = 'queued';
CREATE INDEX messages_leased ON messages (lease_until) WHERE state = 'sending';
CREATE INDEX messages_newest ON messages (space_id, created_at DESC, id DESC);
CREATE INDEX messages_of_channel ON messages (space_id, channel_id, created_at DESC, id DESC) WHERE channel_id IS NOT NULL;
CREATE INDEX messages_of_group ON messages (space_id, group_id, id);
CREATE INDEX messages_of_user ON messages (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX messages_unsent ON messages (created_at) WHERE state = ANY (ARRAY['queued', 'sending']);
ALTER TABLE messages ENABLE ROW LEVEL SECURITY;
CREATE POLICY within_space ON messages USING (space_id = (SELECT current_space()));

-- Attempts to deliver a message, each written before it is made.
CREATE TABLE message_attempts (
    space_id   uuid        NOT NULL,
    message_id uuid        NOT NULL,
    number     integer     NOT NULL,
    at         timestamptz NOT NULL DEFAULT now(),
    outcome    text,  -- Null: under way, or its process has ended.
    status     integer,
    ms         integer,
    detail     text,  -- The first 500 bytes of the response, without secrets.
    CONSTRAINT message_attempts_pkey PRIMARY KEY (space_id, message_id, number),
    CONSTRAINT message_attempts_detail_length CHECK (octet_length(detail) <= 500),
    CONSTRAINT message_attempts_outcome_is_known CHECK (outcome = ANY (ARRAY['delivered', 'temporary', 'permanent', 'ambiguous'])),
    CONSTRAINT message_attempts_message FOREIGN KEY (space_id, message_id) REFERENCES messages(space_id, id) ON DELETE CASCADE
);
ALTER TABLE message_attempts ENABLE ROW LEVEL SECURITY;
CREATE POLICY within_space ON message_attempts USING (space_id = (SELECT current_space()));

-- Why a recipient was notified of an event of an incident, or not: a row per event, rule and recipient.
CREATE TABLE notification_decisions (
    space_id    uuid        NOT NULL,
    id          uuid        NOT NULL DEFAULT uuid7(),
    event_id    uuid        NOT NULL,
    incident_id uuid        NOT NULL,
    rule_id     uuid,
    channel_id  uuid,
    user_id     uuid,
    message_id  uuid,
    outcome     text        NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT notification_decisions_pkey PRIMARY KEY (space_id, id),
    CONSTRAINT notification_decisions_outcome_is_known CHECK (outcome = ANY (ARRAY['sent', 'grouped', 'quiet', 'digest', 'late', 'rate_limited', 'reminded', 'acknowledged', 'snoozed', 'held_back', 'below_criticality', 'not_matching', 'too_few_failures', 'flapping', 'not_announced', 'already_sent', 'never_announced', 'resolved_before', 'no_recipient', 'no_rule', 'muted'])),
    CONSTRAINT notification_decisions_channel FOREIGN KEY (space_id, channel_id) REFERENCES channels(space_id, id) ON DELETE CASCADE,
    CONSTRAINT notification_decisions_event FOREIGN KEY (space_id, event_id) REFERENCES incident_events(space_id, id) ON DELETE CASCADE,
    CONSTRAINT notification_decisions_incident FOREIGN KEY (space_id, incident_id) REFERENCES incidents(space_id, id) ON DELETE CASCADE,
    CONSTRAINT notification_decisions_message FOREIGN KEY (space_id, message_id) REFERENCES messages(space_id, id) ON DELETE SET NULL (message_id),
    CONSTRAINT notification_decisions_rule FOREIGN KEY (space_id, rule_id) REFERENCES notification_rules(space_id, id) ON DELETE SET NULL (rule_id),
    CONSTRAINT notification_decisions_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE
);
CREATE INDEX notification_decisions_of_channel ON notification_decisions (space_id, channel_id) WHERE channel_id IS NOT NULL;
CREATE INDEX notification_decisions_of_event ON notification_decisions (space_id, event_id);
CREATE INDEX notification_decisions_of_incident ON notification_decisions (space_id, incident_id, id);
CREATE INDEX notification_decisions_of_message ON notification_decisions (space_id, message_id) WHERE message_id IS NOT NULL;
CREATE INDEX notification_decisions_of_rule ON notification_decisions (space_id, rule_id) WHERE rule_id IS NOT NULL;
CREATE INDEX notification_decisions_of_user ON notification_decisions (user_id) WHERE user_id IS NOT NULL;
ALTER TABLE notification_decisions ENABLE ROW LEVEL SECURITY;
CREATE POLICY within_space ON notification_decisions USING (space_id = (SELECT current_space()));

-- How a user wants personal messages, in all spaces; without a row the defaults.
CREATE TABLE notification_settings (
    user_id          uuid                   NOT NULL,
    email_enabled    boolean                NOT NULL DEFAULT true,
    email_refused_at timestamptz,  -- When the mailbox refused a message for good; saving the settings tries it again.
    muted_space_ids  uuid[]                 NOT NULL DEFAULT '{}'::uuid[],  -- Spaces from which the user unsubscribed.
    quiet_start      time without time zone,
    quiet_end        time without time zone,
    digest_at        time without time zone,
    time_zone        text                   NOT NULL DEFAULT 'UTC',
    critical_passes  boolean                NOT NULL DEFAULT true,
    updated_at       timestamptz            NOT NULL DEFAULT now(),
    CONSTRAINT notification_settings_pkey PRIMARY KEY (user_id),
    CONSTRAINT notification_settings_quiet_hours CHECK ((quiet_start IS NULL) = (quiet_end IS NULL)),
    CONSTRAINT notification_settings_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE
);

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

-- Records a change of a user, or a sign-in link for one, in every space of the user.
CREATE FUNCTION audit_user()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'windsock', 'pg_temp'
AS $function$
-- Arguments: the entity type, the column of the user's id, the recorded columns. A user belongs to no space: the event is
-- recorded in every space of the user.
DECLARE
    actor   jsonb := nullif(current_setting('windsock.actor', true), '')::jsonb;
    old_row jsonb := CASE WHEN TG_OP = 'UPDATE' THEN to_jsonb(OLD) END;
    new_row jsonb := to_jsonb(NEW);
    before  jsonb;
    after   jsonb;
BEGIN
    SELECT jsonb_object_agg(c, old_row -> c), jsonb_object_agg(c, new_row -> c) INTO before, after
    FROM unnest(string_to_array(TG_ARGV[2], ' ')) c WHERE (old_row -> c) IS DISTINCT FROM (new_row -> c);
    INSERT INTO audit_events (space_id, action, target_type, target_id, target_name, actor_id, actor_name, api_key_id,
                              before, after, request_id)
    SELECT m.space_id, CASE TG_OP WHEN 'INSERT' THEN 'created' ELSE 'changed' END, TG_ARGV[0], u.id, u.name,
           (actor ->> 'user_id')::uuid, (SELECT a.name FROM users a WHERE a.id = (actor ->> 'user_id')::uuid),
           (actor ->> 'api_key_id')::uuid, CASE WHEN TG_OP = 'UPDATE' THEN before END, after, actor ->> 'request_id'
    FROM users u JOIN memberships m ON m.user_id = u.id
    WHERE u.id = (new_row ->> TG_ARGV[1])::uuid AND after IS NOT NULL;
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

-- Of each connector the failed run to read next, once the sync that stored it has ended: its task runs are there then. First what a killed worker left, then what users asked for.
CREATE FUNCTION due_failure_reads()
 RETURNS TABLE(space_id uuid, run_id uuid)
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO 'windsock', 'pg_temp'
AS $function$
    SELECT DISTINCT ON (f.space_id, f.connector_id) f.space_id, f.run_id
    FROM failure_reads f
    JOIN connectors c ON c.space_id = f.space_id AND c.id = f.connector_id
    JOIN sync_states s ON s.space_id = f.space_id AND s.connector_id = f.connector_id
    WHERE f.state IN ('pending', 'reading') AND f.next_attempt_at <= now() AND c.is_active
      AND (f.state = 'pending' OR f.lease_until < now())
      AND (f.is_requested OR s.last_sync_at >= f.noticed_at OR f.noticed_at < now() - interval '10 minutes')
      AND NOT EXISTS (SELECT FROM failure_reads o
                      WHERE o.space_id = f.space_id AND o.connector_id = f.connector_id AND o.state = 'reading' AND o.lease_until >= now())
    ORDER BY f.space_id, f.connector_id, f.state = 'reading' DESC, f.is_requested DESC, f.noticed_at DESC, f.run_id
    LIMIT 100
$function$;

-- Of each connector the bulk clear to carry out next: first what a killed worker left.
CREATE FUNCTION due_bulk_clears()
 RETURNS TABLE(space_id uuid, bulk_clear_id uuid)
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO 'windsock', 'pg_temp'
AS $function$
    SELECT DISTINCT ON (b.space_id, b.connector_id) b.space_id, b.id
    FROM bulk_clears b
    WHERE b.status <> 'done' AND (b.status = 'queued' OR b.lease_until < now())
      AND NOT EXISTS (SELECT FROM bulk_clears o
                      WHERE o.space_id = b.space_id AND o.connector_id = b.connector_id AND o.status = 'running' AND o.lease_until >= now())
    ORDER BY b.space_id, b.connector_id, b.status = 'running' DESC, b.created_at, b.id
    LIMIT 100
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
       OR EXISTS (SELECT FROM actions q WHERE q.space_id = s.id AND q.created_at < now() - interval '90 days')
       OR EXISTS (SELECT FROM bulk_clears b WHERE b.space_id = s.id AND b.created_at < now() - interval '90 days')
    ORDER BY s.id
$function$;

-- Late ones wait until the connector has caught up, an hour at most: then all of them are summarised together.
CREATE FUNCTION is_transition_due(t run_transitions, s sync_states)
 RETURNS boolean
 LANGUAGE sql
 STABLE
AS $function$
    SELECT NOT t.is_late OR s.last_complete_at >= t.noticed_at OR s.last_sync_at >= t.noticed_at AND s.partial_since IS NOT NULL
        OR t.noticed_at < now() - interval '1 hour'
$function$;

-- Nothing that it holds back is left, or nothing more has failed for an hour: what is left then needs attention for itself.
CREATE FUNCTION is_outage_over(i incidents)
 RETURNS boolean
 LANGUAGE sql
 STABLE
AS $function$
    SELECT i.last_failed_at < now() - interval '1 hour'
        OR NOT EXISTS (SELECT FROM incidents h
                       WHERE h.space_id = i.space_id AND h.held_back_by_incident_id = i.id AND h.state <> 'resolved')
$function$;

-- Connectors of which a transition is to be applied to incidents.
CREATE FUNCTION connectors_with_transitions()
 RETURNS TABLE(space_id uuid, connector_id uuid)
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO 'windsock', 'pg_temp'
AS $function$
    SELECT t.space_id, t.connector_id FROM run_transitions t
    JOIN sync_states s ON s.space_id = t.space_id AND s.connector_id = t.connector_id
    WHERE (t.applied_at IS NULL OR t.is_fingerprint_due) AND is_transition_due(t, s)
    GROUP BY t.space_id, t.connector_id
$function$;

-- Spaces in which transitions may be deleted: they were applied a week ago.
CREATE FUNCTION spaces_with_old_transitions()
 RETURNS SETOF uuid
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO 'windsock', 'pg_temp'
AS $function$
    SELECT s.id FROM spaces s
    WHERE EXISTS (SELECT FROM run_transitions t WHERE t.space_id = s.id AND t.applied_at < now() - interval '7 days')
$function$;

-- Conditions for which there are incidents as long as they last. watching_since: when the process began to look, so that syncs that did not run because Windsock did not are no reason. is_due: it has lasted long enough to open an incident.
CREATE FUNCTION incident_conditions(watching_since timestamp with time zone)
 RETURNS TABLE(space_id uuid, connector_id uuid, pipeline_id uuid, kind text, run_id uuid, is_due boolean)
 LANGUAGE sql
 STABLE
AS $function$
    SELECT p.space_id, p.connector_id, p.id, 'import_error', NULL::uuid, true
    FROM pipelines p JOIN connectors c ON c.space_id = p.space_id AND c.id = p.connector_id
    WHERE p.has_import_errors AND p.removed_at IS NULL AND c.is_active
    UNION ALL
    SELECT p.space_id, p.connector_id, p.id, 'approval', (array_agg(r.id ORDER BY r.run_at DESC, r.id))[1], true
    FROM task_runs t
    JOIN runs r ON r.space_id = t.space_id AND r.id = t.run_id AND r.status IN ('queued', 'running') AND r.removed_at IS NULL
    JOIN pipelines p ON p.space_id = r.space_id AND p.id = r.pipeline_id AND p.removed_at IS NULL
    JOIN connectors c ON c.space_id = p.space_id AND c.id = p.connector_id AND c.is_active
    WHERE t.removed_at IS NULL AND (
        t.status = 'awaiting_input'
        OR t.status = 'deferred' AND t.operator IN ('ApprovalOperator', 'HITLBranchOperator', 'HITLEntryOperator', 'HITLOperator'))
    GROUP BY p.space_id, p.connector_id, p.id
    UNION ALL
    SELECT c.space_id, c.id, NULL, 'sync', NULL,
           coalesce(greatest(coalesce(s.last_complete_at, s.failing_since), watching_since) < now() - interval '30 seconds'
               - 3 * interval '1 second' * coalesce((c.config ->> 'sync_interval_seconds')::float8, 60)
               - CASE s.mode WHEN 'large' THEN interval '10 minutes' ELSE interval '0' END, false)
    FROM connectors c JOIN sync_states s ON s.space_id = c.space_id AND s.connector_id = c.id
    WHERE c.connector_type = 'airflow' AND sync_state(c.is_active, s, c.config) IN ('failing', 'held', 'late')
$function$;

-- Connectors of which an incident is to be opened or resolved because a condition has begun or ended, or is to change because a time has come.
CREATE FUNCTION connectors_with_incident_changes(watching_since timestamp with time zone)
 RETURNS TABLE(space_id uuid, connector_id uuid)
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO 'windsock', 'pg_temp'
AS $function$
    WITH conditions AS MATERIALIZED (SELECT * FROM incident_conditions(watching_since))
    SELECT c.space_id, c.connector_id FROM conditions c
    WHERE c.is_due AND NOT EXISTS (
        SELECT FROM incidents i
        WHERE i.space_id = c.space_id AND i.connector_id = c.connector_id AND i.pipeline_id IS NOT DISTINCT FROM c.pipeline_id
          AND i.kind = c.kind AND i.state <> 'resolved')
    UNION
    SELECT i.space_id, i.connector_id FROM incidents i
    WHERE i.state <> 'resolved' AND i.kind IN ('import_error', 'sync', 'approval') AND NOT EXISTS (
        SELECT FROM conditions c
        WHERE c.space_id = i.space_id AND c.connector_id = i.connector_id AND c.pipeline_id IS NOT DISTINCT FROM i.pipeline_id
          AND c.kind = i.kind)
    UNION
    SELECT i.space_id, i.connector_id FROM incidents i
    WHERE i.state IN ('acknowledged', 'snoozed') AND least(i.acknowledged_until, i.snoozed_until) <= now()
    UNION
    SELECT i.space_id, i.connector_id FROM incidents i
    WHERE i.state <> 'resolved' AND i.kind = 'failed' AND i.pipeline_id IS NULL AND is_outage_over(i)
    UNION
    SELECT i.space_id, i.connector_id FROM incidents i
    JOIN incidents o ON o.space_id = i.space_id AND o.id = i.held_back_by_incident_id
    WHERE i.state <> 'resolved' AND o.state = 'resolved'
$function$;

-- The rules that a new space begins with: users can change and delete them.
CREATE FUNCTION create_default_rules()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'windsock', 'pg_temp'
AS $function$
BEGIN
    INSERT INTO notification_rules (space_id, name, to_watchers) VALUES (NEW.id, 'Watchers', true);
    INSERT INTO notification_rules (space_id, name, to_team_channels, min_criticality) VALUES (NEW.id, 'Channel of the owning team', true, 'high');
    RETURN NULL;
END
$function$;

-- Spaces with events that are not evaluated yet, or with a group to be announced again.
CREATE FUNCTION spaces_to_notify()
 RETURNS TABLE(space_id uuid)
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO 'windsock', 'pg_temp'
AS $function$
    SELECT DISTINCT e.space_id FROM incident_events e WHERE e.evaluated_at IS NULL
    UNION
    SELECT g.space_id FROM notification_groups g JOIN notification_rules r ON r.space_id = g.space_id AND r.id = g.rule_id
    WHERE g.closed_at IS NULL AND g.notified_at < now() - make_interval(secs => r.repeat_seconds)
    LIMIT 1000
$function$;

-- Recipients with a message to be sent now, and none under way: one at a time for each, so that none delays another.
CREATE FUNCTION due_messages()
 RETURNS TABLE(space_id uuid, recipient_id uuid)
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO 'windsock', 'pg_temp'
AS $function$
    SELECT m.space_id, coalesce(m.channel_id, m.user_id)
    FROM messages m
    WHERE (m.state = 'queued' AND m.due_at <= now() OR m.state = 'sending' AND m.lease_until < now())
      AND NOT EXISTS (SELECT FROM messages o
                      WHERE o.state = 'sending' AND o.lease_until >= now() AND o.space_id = m.space_id
                        AND coalesce(o.channel_id, o.user_id) = coalesce(m.channel_id, m.user_id))
    GROUP BY 1, 2
    ORDER BY min(m.due_at)
    LIMIT 500
$function$;

-- Unresolved incidents of all spaces by kind and criticality, and the age of the oldest message that is due.
CREATE FUNCTION notification_statistics()
 RETURNS TABLE(kind text, criticality text, incidents bigint, oldest_seconds double precision)
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO 'windsock', 'pg_temp'
AS $function$
    SELECT i.kind, coalesce(p.criticality, 'critical'), count(*), NULL::float8
    FROM incidents i LEFT JOIN pipelines p ON p.space_id = i.space_id AND p.id = i.pipeline_id
    WHERE i.state <> 'resolved'
    GROUP BY 1, 2
    UNION ALL
    SELECT NULL, NULL, NULL, coalesce(extract(epoch FROM now() - min(m.due_at)), 0)::float8
    FROM messages m WHERE m.state IN ('queued', 'sending') AND m.due_at <= now()
$function$;

CREATE TRIGGER actions_version AFTER INSERT OR DELETE OR UPDATE ON actions FOR EACH ROW EXECUTE FUNCTION bump_space_version_after_row();
CREATE TRIGGER audit AFTER INSERT OR UPDATE OF outcome ON actions FOR EACH ROW WHEN (pg_trigger_depth() = 0 AND new.kind <> 'trigger'::text) EXECUTE FUNCTION audit('action', 'id', '', 'kind pipeline_id run_id task_run_id parameters reason outcome status');
CREATE TRIGGER audit_trigger AFTER INSERT OR UPDATE OF outcome ON actions FOR EACH ROW WHEN (pg_trigger_depth() = 0 AND new.kind = 'trigger'::text) EXECUTE FUNCTION audit('trigger', 'id', 'run_external_id', 'pipeline_id run_external_id outcome status');
CREATE TRIGGER audit AFTER INSERT OR UPDATE OF revoked_at ON api_keys FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION audit_key();
CREATE TRIGGER redact_channel_config BEFORE INSERT ON audit_events FOR EACH ROW WHEN (new.target_type = 'channel'::text) EXECUTE FUNCTION redact_audited_config();
CREATE TRIGGER redact_config BEFORE INSERT ON audit_events FOR EACH ROW WHEN (new.target_type = 'connector'::text) EXECUTE FUNCTION redact_audited_config();
CREATE TRIGGER audit AFTER INSERT ON bulk_clears FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION audit('bulk_clear', 'id', '', 'fingerprint_id reason');
CREATE TRIGGER audit AFTER INSERT OR DELETE OR UPDATE OF name, config, secret, team_id, is_active, max_per_hour ON channels FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION audit('channel', 'id', 'name', 'name kind config team_id is_active max_per_hour', 'secret');
CREATE TRIGGER audit AFTER INSERT OR DELETE OR UPDATE OF content ON comments FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION audit('comment', 'id', '', 'run_id task_run_id parent_id content');
CREATE TRIGGER comments_version AFTER INSERT OR DELETE OR UPDATE ON comments FOR EACH ROW EXECUTE FUNCTION bump_space_version_after_row();
CREATE TRIGGER audit AFTER INSERT OR DELETE OR UPDATE ON connectors FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION audit('connector', 'id', 'name', 'name connector_type config is_active source_system_id', 'credentials');
CREATE TRIGGER connectors_version AFTER INSERT OR DELETE OR UPDATE ON connectors FOR EACH ROW EXECUTE FUNCTION bump_space_version_after_row();
CREATE TRIGGER audit AFTER UPDATE OF name, merged_into, runbook_comment_id ON fingerprints FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION audit('fingerprint', 'id', 'title', 'name merged_into runbook_comment_id');
CREATE TRIGGER audit_split AFTER INSERT ON fingerprints FOR EACH ROW WHEN (pg_trigger_depth() = 0 AND new.split_from IS NOT NULL) EXECUTE FUNCTION audit('fingerprint', 'id', 'title', 'split_from title');
CREATE TRIGGER fingerprints_version_del AFTER DELETE ON fingerprints REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION bump_space_version_after_statement();
CREATE TRIGGER fingerprints_version_ins AFTER INSERT ON fingerprints REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION bump_space_version_after_statement();
CREATE TRIGGER fingerprints_version_upd AFTER UPDATE ON fingerprints REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION bump_space_version_after_statement();
CREATE TRIGGER import_errors_version AFTER INSERT OR DELETE OR UPDATE ON import_errors FOR EACH ROW EXECUTE FUNCTION bump_space_version_after_row();
CREATE TRIGGER audit AFTER UPDATE OF state, acknowledged_at, acknowledged_until, snoozed_until, assignee_user_id, assignee_team_id ON incidents FOR EACH ROW WHEN (pg_trigger_depth() = 0 AND NULLIF(current_setting('actor'::text, true), ''::text) IS NOT NULL) EXECUTE FUNCTION audit('incident', 'id', 'kind', 'state acknowledged_until acknowledgement_reason snoozed_until assignee_user_id assignee_team_id');
CREATE TRIGGER incidents_version_del AFTER DELETE ON incidents REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION bump_space_version_after_statement();
CREATE TRIGGER incidents_version_ins AFTER INSERT ON incidents REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION bump_space_version_after_statement();
CREATE TRIGGER incidents_version_upd AFTER UPDATE ON incidents REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION bump_space_version_after_statement();
CREATE TRIGGER audit AFTER INSERT ON login_links FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION audit_user('login_link', 'user_id', 'expires_at');
CREATE TRIGGER audit AFTER INSERT OR DELETE OR UPDATE ON memberships FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION audit('member', 'user_id', '', 'role');
CREATE TRIGGER audit AFTER INSERT ON messages FOR EACH ROW WHEN (pg_trigger_depth() = 0 AND NULLIF(current_setting('actor'::text, true), ''::text) IS NOT NULL) EXECUTE FUNCTION audit('message', 'id', 'event', 'event channel_id user_id');
CREATE TRIGGER audit AFTER INSERT OR DELETE OR UPDATE ON notification_rules FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION audit('notification_rule', 'id', 'name', 'name is_active kinds min_criticality team_ids connector_ids tags channel_ids to_team_channels to_watchers events min_failures after_successes hold_seconds group_by repeat_seconds quiet_start quiet_end digest_at time_zone critical_passes');
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
CREATE TRIGGER audit_delete AFTER DELETE ON saved_views FOR EACH ROW WHEN (pg_trigger_depth() = 0 AND old.is_shared) EXECUTE FUNCTION audit('saved_view', 'id', 'name', 'name query is_shared');
CREATE TRIGGER audit_insert AFTER INSERT ON saved_views FOR EACH ROW WHEN (pg_trigger_depth() = 0 AND new.is_shared) EXECUTE FUNCTION audit('saved_view', 'id', 'name', 'name query is_shared');
CREATE TRIGGER audit_share AFTER UPDATE OF is_shared ON saved_views FOR EACH ROW WHEN (pg_trigger_depth() = 0 AND new.is_shared AND NOT old.is_shared) EXECUTE FUNCTION audit('saved_view', 'id', 'name', 'is_shared');
CREATE TRIGGER audit_unshare AFTER UPDATE OF is_shared ON saved_views FOR EACH ROW WHEN (pg_trigger_depth() = 0 AND old.is_shared AND NOT new.is_shared) EXECUTE FUNCTION audit('saved_view', 'id', '', 'is_shared');
CREATE TRIGGER audit_update AFTER UPDATE ON saved_views FOR EACH ROW WHEN (pg_trigger_depth() = 0 AND old.is_shared AND new.is_shared) EXECUTE FUNCTION audit('saved_view', 'id', 'name', 'name query');
CREATE TRIGGER audit AFTER INSERT OR UPDATE ON spaces FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION audit('space', 'id', 'name', 'slug name retention_days requires_reason');
CREATE TRIGGER default_rules AFTER INSERT ON spaces FOR EACH ROW EXECUTE FUNCTION create_default_rules();
CREATE TRIGGER audit AFTER INSERT ON sync_runs FOR EACH ROW WHEN (pg_trigger_depth() = 0 AND new.trigger = 'manual'::text) EXECUTE FUNCTION audit('sync', 'id', '', 'connector_id is_full');
CREATE TRIGGER audit_cancel AFTER UPDATE OF cancel_requested_at ON sync_runs FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION audit('sync', 'id', '', 'cancel_requested_at');
CREATE TRIGGER audit_full AFTER UPDATE OF is_full ON sync_runs FOR EACH ROW WHEN (pg_trigger_depth() = 0 AND old.status = 'queued'::text AND new.status = 'queued'::text) EXECUTE FUNCTION audit('sync', 'id', '', 'is_full');
CREATE TRIGGER audit AFTER UPDATE OF accepted_at ON sync_states FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION audit('hold', 'connector_id', '', 'accepted');
CREATE TRIGGER sync_states_version AFTER UPDATE ON sync_states FOR EACH ROW WHEN (old.last_complete_at IS DISTINCT FROM new.last_complete_at OR old.api_version IS DISTINCT FROM new.api_version OR old.skipped IS DISTINCT FROM new.skipped) EXECUTE FUNCTION bump_space_version_after_row();
CREATE TRIGGER task_failures_version_del AFTER DELETE ON task_failures REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION bump_space_version_after_statement();
CREATE TRIGGER task_failures_version_ins AFTER INSERT ON task_failures REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION bump_space_version_after_statement();
CREATE TRIGGER task_failures_version_upd AFTER UPDATE ON task_failures REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION bump_space_version_after_statement();
CREATE TRIGGER task_runs_version_del AFTER DELETE ON task_runs REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION bump_space_version_after_statement();
CREATE TRIGGER task_runs_version_ins AFTER INSERT ON task_runs REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION bump_space_version_after_statement();
CREATE TRIGGER task_runs_version_upd AFTER UPDATE ON task_runs REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION bump_space_version_after_statement();
CREATE TRIGGER audit AFTER INSERT OR DELETE OR UPDATE ON team_members FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION audit('team_member', 'team_id', '', 'user_id');
CREATE TRIGGER audit AFTER INSERT OR DELETE OR UPDATE ON teams FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION audit('team', 'id', 'name', 'name contact');
CREATE TRIGGER teams_version AFTER INSERT OR DELETE OR UPDATE ON teams FOR EACH ROW EXECUTE FUNCTION bump_space_version_after_row();
CREATE TRIGGER audit AFTER UPDATE OF name, is_superadmin, is_active ON users FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION audit_user('user', 'id', 'name is_superadmin is_active');
CREATE TRIGGER users_version AFTER UPDATE OF name ON users FOR EACH ROW WHEN (old.name IS DISTINCT FROM new.name) EXECUTE FUNCTION bump_every_space_version();
CREATE TRIGGER audit AFTER INSERT OR DELETE ON watches FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION audit('watch', 'pipeline_id', '', 'user_id');
CREATE TRIGGER watches_version AFTER INSERT OR DELETE OR UPDATE ON watches FOR EACH ROW EXECUTE FUNCTION bump_space_version_after_row();
