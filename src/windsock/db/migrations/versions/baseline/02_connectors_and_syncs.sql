-- Connectors, and the state and history of their syncs.

CREATE TABLE connectors (
    space_id            uuid NOT NULL REFERENCES spaces ON DELETE CASCADE,
    id                  uuid NOT NULL DEFAULT uuid7(),
    name                text NOT NULL,
    connector_type      text NOT NULL,
    config              jsonb NOT NULL DEFAULT '{}',
    credentials         bytea,
    is_active           boolean NOT NULL DEFAULT true,
    source_system_id    uuid,
    created_at          timestamptz NOT NULL DEFAULT now(),
    updated_at          timestamptz NOT NULL DEFAULT now(),
    credentials_lost_at timestamptz,
    PRIMARY KEY (space_id, id),
    CONSTRAINT connectors_name_unique UNIQUE (space_id, name)
);
COMMENT ON TABLE connectors IS 'Other systems of a space; those of type airflow are mirrored.';
COMMENT ON COLUMN connectors.credentials IS 'Encrypted (Fernet) with keys that are not in this database.';
COMMENT ON COLUMN connectors.credentials_lost_at IS 'When an operator accepted that no key decrypts these credentials; null again when others are entered.';

CREATE TABLE sync_states (
    space_id            uuid NOT NULL,
    connector_id        uuid NOT NULL,
    api_version         text,
    provider_version    text,
    watermark           timestamptz,
    pipelines_listed_at timestamptz,
    excluded_dag_ids    text[] NOT NULL DEFAULT '{}',
    checkpoint          jsonb,
    next_sync_at        timestamptz NOT NULL DEFAULT now(),
    failures            integer NOT NULL DEFAULT 0,
    last_sync_at        timestamptz,
    last_sync_status    text,
    last_complete_at    timestamptz,
    mode                text NOT NULL DEFAULT 'small'
                        CONSTRAINT sync_states_mode_is_known CHECK (mode IN ('small', 'large')),
    poll_seconds        double precision,
    recent_watermark    timestamptz,
    backfill            jsonb,
    reconciled_at       timestamptz,
    recheck_due         boolean NOT NULL DEFAULT false,
    event_log_cursor    jsonb NOT NULL DEFAULT '{}',
    identity_samples    jsonb NOT NULL DEFAULT '[]',
    identity_base_url   text,
    quarantine          jsonb,
    accepted            jsonb,
    accepted_at         timestamptz,
    partial_since       timestamptz,
    failing_since       timestamptz,
    last_error          text,
    fully_reconciled_at timestamptz,
    verified_watermark  timestamptz,
    verified_at         timestamptz,
    skipped             integer NOT NULL DEFAULT 0,
    clocks              jsonb,
    polling             jsonb NOT NULL DEFAULT '{}',
    listing             jsonb,
    is_per_dag          boolean NOT NULL DEFAULT false,
    is_stuck            boolean NOT NULL DEFAULT false,
    miscounts           jsonb NOT NULL DEFAULT '[]',
    PRIMARY KEY (space_id, connector_id),
    CONSTRAINT sync_states_connector FOREIGN KEY (space_id, connector_id) REFERENCES connectors ON DELETE CASCADE
);
CREATE INDEX sync_states_next_sync_at ON sync_states (next_sync_at);
COMMENT ON TABLE sync_states IS 'What a connector''s sync remembers from one pass to the next. Only the sync writes it.';
COMMENT ON COLUMN sync_states.watermark IS 'By the provider''s clock: everything changed before it is stored.';
COMMENT ON COLUMN sync_states.pipelines_listed_at IS 'By our clock: when the pipeline list was last read whole.';
COMMENT ON COLUMN sync_states.excluded_dag_ids IS 'DAGs of that list that the connector''s include and exclude leave out.';
COMMENT ON COLUMN sync_states.checkpoint IS 'Where an unfinished pass goes on; null after a complete one.';
COMMENT ON COLUMN sync_states.failures IS 'Passes in a row that did not end complete; they stretch next_sync_at.';
COMMENT ON COLUMN sync_states.mode IS 'small: each poll reads what changed; large: that is too dear, so only the changed runs of the last days, and all of it every few minutes.';
COMMENT ON COLUMN sync_states.poll_seconds IS 'How long Airflow took for the dearest question of a poll.';
COMMENT ON COLUMN sync_states.recent_watermark IS 'By the provider''s clock: where the next quick poll of the large mode begins.';
COMMENT ON COLUMN sync_states.backfill IS 'How far back the history has been read, and how far it shall be; null before the first sync.';
COMMENT ON COLUMN sync_states.reconciled_at IS 'When our number of rows was last compared with the provider''s.';
COMMENT ON COLUMN sync_states.recheck_due IS 'Something was missing for the first time: the next pass looks again.';
COMMENT ON COLUMN sync_states.event_log_cursor IS 'Whether the event log may be read, and which of its newest entries were followed.';
COMMENT ON COLUMN sync_states.identity_samples IS 'Runs with the moment they began: another Airflow has not the same ones.';
COMMENT ON COLUMN sync_states.identity_base_url IS 'Where the identity samples were seen.';
COMMENT ON COLUMN sync_states.quarantine IS 'What the sync does not do until a person says so, and why.';
COMMENT ON COLUMN sync_states.accepted IS 'What a person last let go on.';
COMMENT ON COLUMN sync_states.fully_reconciled_at IS 'As reconciled_at, of all that the history holds; in between only the last days are compared.';
COMMENT ON COLUMN sync_states.verified_watermark IS 'The watermark of the last sync that made sure who answered: when another Airflow is found out, what was read since is read again.';
COMMENT ON COLUMN sync_states.verified_at IS 'When that sync began, by our clock.';
COMMENT ON COLUMN sync_states.skipped IS 'How many rows skipped_rows has of the connector.';
COMMENT ON COLUMN sync_states.clocks IS 'How Airflow''s clock, that of the host that stamps its rows, and ours differ; null before it was measured.';
COMMENT ON COLUMN sync_states.polling IS 'What the mode of the next sync follows from: seconds of the last polls, number of task instances, runs that the large mode has read.';
COMMENT ON COLUMN sync_states.listing IS 'Of the list of DAGs that was stored last: requests and seconds that it cost, and a digest of its rows.';
COMMENT ON COLUMN sync_states.is_per_dag IS 'The account may read single DAGs only: lists over all DAGs answer 403, so each DAG is asked for its runs and task instances.';
COMMENT ON COLUMN sync_states.is_stuck IS 'The running sync waited long for one answer while others waited for a worker: it goes on in the queue of slow connectors.';
COMMENT ON COLUMN sync_states.miscounts IS 'Lists that gave fewer rows than their totals count: for each its name, how many fewer, and in how many syncs in a row.';

CREATE TABLE sync_runs (
    space_id            uuid NOT NULL,
    id                  uuid NOT NULL DEFAULT uuid7(),
    connector_id        uuid NOT NULL,
    status              text NOT NULL DEFAULT 'queued'
                        CONSTRAINT sync_runs_status_is_known CHECK (status IN ('queued', 'running', 'complete', 'partial', 'failed', 'cancelled')),
    trigger             text NOT NULL
                        CONSTRAINT sync_runs_trigger_is_known CHECK (trigger IN ('manual', 'schedule')),
    is_full             boolean NOT NULL DEFAULT false,
    requested_by        uuid REFERENCES users ON DELETE SET NULL,
    queued_at           timestamptz NOT NULL DEFAULT now(),
    started_at          timestamptz,
    finished_at         timestamptz,
    phase               text NOT NULL DEFAULT 'waiting for a worker',
    pipelines           jsonb NOT NULL DEFAULT '{"created": 0, "removed": 0, "updated": 0, "unchanged": 0}',
    runs                jsonb NOT NULL DEFAULT '{"created": 0, "removed": 0, "updated": 0, "unchanged": 0}',
    task_runs           jsonb NOT NULL DEFAULT '{"created": 0, "removed": 0, "updated": 0, "unchanged": 0}',
    provider_requests   integer NOT NULL DEFAULT 0,
    coverage            jsonb NOT NULL DEFAULT '{"read": 0, "skipped": 0, "expected": 0}',
    warnings            jsonb NOT NULL DEFAULT '[]',
    error               text,
    lease_holder        text,
    lease_until         timestamptz,
    cancel_requested_at timestamptz,
    requeue_count       integer NOT NULL DEFAULT 0,
    is_follow_up        boolean NOT NULL DEFAULT false,
    PRIMARY KEY (space_id, id),
    CONSTRAINT sync_runs_connector FOREIGN KEY (space_id, connector_id) REFERENCES connectors ON DELETE CASCADE
);
CREATE INDEX sync_runs_newest ON sync_runs (space_id, queued_at DESC, id DESC);
CREATE UNIQUE INDEX sync_runs_one_at_a_time ON sync_runs (space_id, connector_id) WHERE status IN ('queued', 'running') AND NOT is_follow_up;
CREATE UNIQUE INDEX sync_runs_one_follow_up ON sync_runs (space_id, connector_id) WHERE status = 'queued' AND is_follow_up;
CREATE INDEX sync_runs_unfinished ON sync_runs (status) WHERE status IN ('queued', 'running');
COMMENT ON TABLE sync_runs IS 'Each sync: what it counted, what it covered, and in words what went wrong.';
COMMENT ON COLUMN sync_runs.lease_until IS 'The worker renews it; past it the worker counts as dead, and cannot write.';
COMMENT ON COLUMN sync_runs.requeue_count IS 'How often a worker passed it on before its end, to stop or to let others have their turn.';
COMMENT ON COLUMN sync_runs.is_follow_up IS 'A full sync that was requested while another one was under way: it is claimed when that one has ended.';
COMMENT ON INDEX sync_runs_one_at_a_time IS 'One sync under way per connector, whatever processes there are.';
COMMENT ON INDEX sync_runs_one_follow_up IS 'And one full sync behind it.';

CREATE TABLE skipped_rows (
    space_id             uuid NOT NULL,
    connector_id         uuid NOT NULL,
    identity             uuid NOT NULL,
    kind                 text NOT NULL
                         CONSTRAINT skipped_rows_kind_is_known CHECK (kind IN ('pipelines', 'runs', 'task_runs')),
    pipeline_external_id text,
    run_external_id      text,
    task_external_id     text,
    map_index            bigint,
    fields               text[] NOT NULL DEFAULT '{}',
    reason               text NOT NULL,
    is_mirrored          boolean NOT NULL DEFAULT false,
    task_runs            integer NOT NULL DEFAULT 0,
    window_start         timestamptz,
    window_end           timestamptz,
    changed_from         timestamptz,
    changed_until        timestamptz,
    sync_id              uuid NOT NULL,
    first_seen_at        timestamptz NOT NULL DEFAULT now(),
    last_seen_at         timestamptz NOT NULL DEFAULT now(),
    region_id            text,
    region_index         bigint,
    unlisted             integer NOT NULL DEFAULT 0,
    PRIMARY KEY (space_id, connector_id, identity),
    CONSTRAINT skipped_rows_connector FOREIGN KEY (space_id, connector_id) REFERENCES connectors ON DELETE CASCADE
);
COMMENT ON TABLE skipped_rows IS 'Rows that the provider has and the mirror lacks, wholly or some fields of them. At most 1,000 per connector; only the sync writes it.';
COMMENT ON COLUMN skipped_rows.identity IS 'A digest of the ids below; of a row without ids, of its place in the reading that met it.';
COMMENT ON COLUMN skipped_rows.fields IS 'Stored without these; empty: not stored.';
COMMENT ON COLUMN skipped_rows.is_mirrored IS 'An earlier state of the row is in the mirror.';
COMMENT ON COLUMN skipped_rows.task_runs IS 'Of a run that is not in the mirror: how many task runs of it the provider lists.';
COMMENT ON COLUMN skipped_rows.window_start IS 'The window of runs in which it was met, as narrow as it is known; both ends are included. Null: met among changes.';
COMMENT ON COLUMN skipped_rows.changed_from IS 'With changed_until, a range of changes in which a row without a name was met: this row, or another that was taken for it.';
COMMENT ON COLUMN skipped_rows.last_seen_at IS 'When a sync last met it, or looked for it.';
COMMENT ON COLUMN skipped_rows.region_id IS 'Of a task run in a loop or in an expansion, as in task_runs.';
COMMENT ON COLUMN skipped_rows.unlisted IS 'How many rows Airflow counts in the window and never lists; 0: this is one row.';

CREATE FUNCTION sync_state(is_active boolean, s sync_states, config jsonb)
RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
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
$$;
COMMENT ON FUNCTION sync_state IS 'In a word, how far what a connector shows can be believed. late: no complete sync for three intervals and half a minute; in the large mode ten minutes more.';

CREATE FUNCTION is_slow_or_failing(s sync_states)
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT s.failures > 0 OR s.is_stuck OR coalesce(s.poll_seconds, 0) > 10
$$;
COMMENT ON FUNCTION is_slow_or_failing IS 'Whether the last sync failed, or Airflow takes more than ten seconds for one answer: such ones have a queue of their own.';
