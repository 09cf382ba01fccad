-- DAGs, runs and task instances, as the provider has them.

CREATE FUNCTION search_text(VARIADIC parts text[]) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN lower(array_to_string(parts, E'\n'));
COMMENT ON FUNCTION search_text IS 'The text that the filter q searches: each part in lower case on its own line.';

CREATE TABLE pipelines (
    space_id              uuid NOT NULL,
    id                    uuid NOT NULL DEFAULT uuid7(),
    connector_id          uuid NOT NULL,
    provider              text NOT NULL DEFAULT 'airflow',
    external_id           text NOT NULL,
    name                  text NOT NULL,
    description           text,
    owner                 text,
    owners                text[] NOT NULL DEFAULT '{}',
    tags                  text[] NOT NULL DEFAULT '{}',
    schedule              text,
    schedule_description  text,
    next_run_at           timestamptz,
    is_paused             boolean NOT NULL,
    is_active             boolean NOT NULL,
    has_import_errors     boolean NOT NULL,
    provider_metadata     jsonb NOT NULL DEFAULT '{}',
    status                text NOT NULL DEFAULT 'unknown',
    last_run              json,
    criticality           text NOT NULL DEFAULT 'medium'
                         CONSTRAINT pipelines_criticality_is_known CHECK (criticality IN ('low', 'medium', 'high', 'critical')),
    team_id               uuid,
    missing_since_sync_id uuid,
    removed_at            timestamptz,
    last_synced_at        timestamptz NOT NULL DEFAULT now(),
    created_at            timestamptz NOT NULL DEFAULT now(),
    updated_at            timestamptz NOT NULL DEFAULT now(),
    task_successors       jsonb NOT NULL DEFAULT '{}',
    task_depths           jsonb NOT NULL DEFAULT '{}',
    task_graph_synced_at  timestamptz,
    deleted_by_sync_id    uuid,
    needs_backfill        boolean NOT NULL DEFAULT false,
    last_run_at           timestamptz,
    is_draining           boolean NOT NULL DEFAULT false,
    PRIMARY KEY (space_id, id),
    CONSTRAINT pipelines_identity UNIQUE (space_id, connector_id, external_id),
    CONSTRAINT pipelines_connector FOREIGN KEY (space_id, connector_id) REFERENCES connectors ON DELETE CASCADE,
    CONSTRAINT pipelines_team FOREIGN KEY (space_id, team_id) REFERENCES teams ON DELETE SET NULL (team_id)
) WITH (fillfactor = 85);
CREATE INDEX pipelines_by_name ON pipelines (space_id, left(name, 600), id);
CREATE INDEX pipelines_deleted_by_sync ON pipelines (space_id, connector_id) WHERE deleted_by_sync_id IS NOT NULL;
CREATE INDEX pipelines_need_backfill ON pipelines (space_id, connector_id) WHERE needs_backfill;
CREATE INDEX pipelines_team ON pipelines (space_id, team_id) WHERE team_id IS NOT NULL;
COMMENT ON TABLE pipelines IS 'DAGs. A sync never writes criticality and team_id, which users set.';
COMMENT ON COLUMN pipelines.status IS 'The status of the newest run; the sync maintains it, as well as last_run and last_run_at.';
COMMENT ON COLUMN pipelines.missing_since_sync_id IS 'The complete sync that first did not find the DAG; a second one in a row removes it.';
COMMENT ON COLUMN pipelines.last_synced_at IS 'When a sync last wrote the row; the API returns the time of the last complete sync if that is later.';
COMMENT ON COLUMN pipelines.task_successors IS 'task_id to the ids of the tasks that wait for it; {} until the sync has read the graph.';
COMMENT ON COLUMN pipelines.task_depths IS 'task_id to its distance from the start of the DAG; {} until the sync has read the graph.';
COMMENT ON COLUMN pipelines.deleted_by_sync_id IS 'The sync that found it deleted; when that sync ends complete it is removed, unless the deletion is quarantined.';
COMMENT ON COLUMN pipelines.needs_backfill IS 'It appeared, or reappeared, after the backfill began: its earlier runs are not read yet.';
COMMENT ON COLUMN pipelines.last_run_at IS 'effective_start_at of the newest run, to sort by.';
COMMENT ON COLUMN pipelines.is_draining IS 'No new runs start; unfinished runs continue.';

CREATE TABLE pipeline_search (
    space_id    uuid NOT NULL,
    pipeline_id uuid NOT NULL,
    search      text NOT NULL,
    PRIMARY KEY (space_id, pipeline_id),
    CONSTRAINT pipeline_search_pipeline FOREIGN KEY (space_id, pipeline_id) REFERENCES pipelines ON DELETE CASCADE
);
COMMENT ON TABLE pipeline_search IS 'The text that the filter q searches, maintained by a trigger. In a separate table, because rows of pipelines are wide.';
COMMENT ON COLUMN pipeline_search.search IS 'Name, id, description, owners and tags, in lower case.';

CREATE TABLE pipeline_recent_runs (
    space_id    uuid NOT NULL,
    pipeline_id uuid NOT NULL,
    recent_runs json NOT NULL,
    PRIMARY KEY (space_id, pipeline_id),
    CONSTRAINT pipeline_recent_runs_pipeline FOREIGN KEY (space_id, pipeline_id) REFERENCES pipelines ON DELETE CASCADE
) WITH (fillfactor = 70);
COMMENT ON TABLE pipeline_recent_runs IS 'The newest runs of a pipeline, oldest first, as the API returns them; no row where it has no run. In a separate table, so that a scan of pipelines does not read them.';

CREATE TABLE pipeline_reads (
    space_id    uuid NOT NULL,
    pipeline_id uuid NOT NULL,
    watermark   timestamptz,
    read_at     timestamptz,
    refused_at  timestamptz,
    reconciled_at timestamptz,
    PRIMARY KEY (space_id, pipeline_id),
    CONSTRAINT pipeline_reads_pipeline FOREIGN KEY (space_id, pipeline_id) REFERENCES pipelines ON DELETE CASCADE
);
COMMENT ON TABLE pipeline_reads IS 'The progress of each pipeline where the account may read single DAGs only. Only the sync writes it.';
COMMENT ON COLUMN pipeline_reads.watermark IS 'By the clock of the provider: everything of this pipeline that changed before it is stored.';
COMMENT ON COLUMN pipeline_reads.read_at IS 'By our clock: when it was last read; null: not yet.';
COMMENT ON COLUMN pipeline_reads.refused_at IS 'When the provider last refused it; null after it was read.';
COMMENT ON COLUMN pipeline_reads.reconciled_at IS 'When its number of rows was last compared with that of the provider.';

-- Columns that change stand last: a new version on the same page is logged from the first to the last difference.
CREATE TABLE runs (
    space_id              uuid NOT NULL,
    id                    uuid NOT NULL DEFAULT uuid7(),
    pipeline_id           uuid NOT NULL,
    external_id           text NOT NULL,
    run_type              text NOT NULL,
    run_at                timestamptz NOT NULL,
    run_after             timestamptz,
    logical_date          timestamptz,
    data_interval_start   timestamptz,
    data_interval_end     timestamptz,
    conf                  jsonb NOT NULL DEFAULT '{}',
    triggered_by          text,
    triggered_by_user_id  uuid REFERENCES users ON DELETE SET NULL,
    provider_metadata     jsonb NOT NULL DEFAULT '{}',
    created_at            timestamptz NOT NULL DEFAULT now(),
    is_replaced           boolean NOT NULL DEFAULT false,
    archived_at           timestamptz,
    removed_at            timestamptz,
    missing_since_sync_id uuid,
    deleted_by_sync_id    uuid,
    note                  text,
    status                text NOT NULL,
    task_counts           jsonb NOT NULL DEFAULT '{}',
    queued_at             timestamptz,
    started_at            timestamptz,
    ended_at              timestamptz,
    last_synced_at        timestamptz NOT NULL DEFAULT now(),
    updated_at            timestamptz NOT NULL DEFAULT now(),
    duration_seconds      double precision GENERATED ALWAYS AS (
        CASE WHEN ended_at >= started_at THEN extract(epoch FROM ended_at - started_at)::double precision END
    ) STORED,
    effective_start_at    timestamptz NOT NULL GENERATED ALWAYS AS (
        coalesce(started_at, queued_at, run_after, CASE WHEN status IN ('queued', 'running') THEN created_at END, ended_at, run_at)
    ) STORED,
    PRIMARY KEY (space_id, id),
    CONSTRAINT runs_pipeline FOREIGN KEY (space_id, pipeline_id) REFERENCES pipelines ON DELETE CASCADE
) WITH (fillfactor = 70);
CREATE INDEX runs_ended_of_pipeline ON runs (space_id, pipeline_id, ended_at) INCLUDE (status, duration_seconds, removed_at);
CREATE INDEX runs_deleted_by_sync ON runs (space_id, pipeline_id) WHERE deleted_by_sync_id IS NOT NULL;
CREATE INDEX runs_failed ON runs (space_id, ended_at) WHERE status = 'failed';
CREATE UNIQUE INDEX runs_identity ON runs (space_id, pipeline_id, external_id) WHERE NOT is_replaced;
CREATE INDEX runs_newest ON runs (space_id, effective_start_at DESC, id DESC) INCLUDE (pipeline_id, status, run_type, removed_at);
CREATE INDEX runs_newest_of_pipeline ON runs (space_id, pipeline_id, effective_start_at DESC, id DESC) INCLUDE (removed_at);
CREATE INDEX runs_unfinished_of_pipeline ON runs (space_id, pipeline_id) INCLUDE (removed_at) WHERE status IN ('queued', 'running');
CREATE INDEX runs_window ON runs (space_id, (coalesce(run_after, logical_date)));
COMMENT ON TABLE runs IS 'DAG runs. removed_at: two complete syncs in a row did not find the run in Airflow; Windsock keeps it.';
COMMENT ON COLUMN runs.run_at IS 'Its position in the history of the provider, which never changes: run_after, else see the provider.';
COMMENT ON COLUMN runs.task_counts IS 'Number of task runs by status; the sync updates it in the transaction that stores the task runs.';
COMMENT ON COLUMN runs.deleted_by_sync_id IS 'As of pipelines.';
COMMENT ON COLUMN runs.archived_at IS 'When Airflow cleaned up this run and all older ones; Windsock keeps the only copy.';
COMMENT ON COLUMN runs.duration_seconds IS 'Null when unknown: not ended, or ended before it started.';
COMMENT ON COLUMN runs.effective_start_at IS 'When it was started, or queued. Lists are sorted and filtered by it.';
COMMENT ON COLUMN runs.is_replaced IS 'Airflow now uses its id for another run; this one was deleted there.';
COMMENT ON INDEX runs_identity IS 'The run that has the id in Airflow, or had it last.';
COMMENT ON INDEX runs_window IS 'The position in time by which the provider can list runs again.';

CREATE TABLE task_runs (
    space_id              uuid NOT NULL,
    id                    uuid NOT NULL DEFAULT uuid7(),
    run_id                uuid NOT NULL,
    external_id           text NOT NULL,
    map_index             integer NOT NULL DEFAULT -1,
    name                  text NOT NULL,
    operator              text,
    status                text NOT NULL,
    try_number            integer NOT NULL,
    max_tries             integer NOT NULL,
    queued_at             timestamptz,
    started_at            timestamptz,
    ended_at              timestamptz,
    pool                  text,
    queue                 text,
    hostname              text,
    note                  text,
    provider_metadata     jsonb NOT NULL DEFAULT '{}',
    missing_since_sync_id uuid,
    removed_at            timestamptz,
    last_synced_at        timestamptz NOT NULL DEFAULT now(),
    created_at            timestamptz NOT NULL DEFAULT now(),
    updated_at            timestamptz NOT NULL DEFAULT now(),
    deleted_by_sync_id    uuid,
    archived_at           timestamptz,
    duration_seconds      double precision GENERATED ALWAYS AS (
        CASE WHEN ended_at >= started_at THEN extract(epoch FROM ended_at - started_at)::double precision END
    ) STORED,
    region_id             text NOT NULL DEFAULT '',
    region_index          integer NOT NULL DEFAULT -1,
    loop_id               text,
    loop_iteration        integer,
    PRIMARY KEY (space_id, id),
    CONSTRAINT task_runs_identity UNIQUE (space_id, run_id, external_id, region_id, region_index, map_index),
    CONSTRAINT task_runs_run FOREIGN KEY (space_id, run_id) REFERENCES runs ON DELETE CASCADE
);
CREATE INDEX task_runs_deleted_by_sync ON task_runs (space_id, run_id) WHERE deleted_by_sync_id IS NOT NULL;
COMMENT ON TABLE task_runs IS 'Task instances. Not identified by Airflow''s id, which changes with every try.';
COMMENT ON COLUMN task_runs.map_index IS '-1: not an instance of a mapped task (answered as null).';
COMMENT ON COLUMN task_runs.deleted_by_sync_id IS 'As of pipelines.';
COMMENT ON COLUMN task_runs.archived_at IS 'As of runs.';
COMMENT ON COLUMN task_runs.duration_seconds IS 'As in runs.';
COMMENT ON COLUMN task_runs.region_id IS 'A UUID, of one execution of a loop or of one expansion of a mapped task; empty: in no region (answered as null).';
COMMENT ON COLUMN task_runs.region_index IS 'In the region of a loop the iteration, in that of an expansion the map index; -1: none (answered as null).';
COMMENT ON COLUMN task_runs.loop_id IS 'The innermost loop around the task, also of a mapped task in it, whose region is another.';

CREATE FUNCTION refresh_search_text()
RETURNS trigger
LANGUAGE plpgsql SET search_path = windsock, pg_temp
AS $$
BEGIN
    INSERT INTO pipeline_search AS s (space_id, pipeline_id, search)
    VALUES (NEW.space_id, NEW.id, search_text(
        NEW.name, NEW.external_id, NEW.description, search_text(VARIADIC NEW.owners), search_text(VARIADIC NEW.tags)))
    ON CONFLICT (space_id, pipeline_id) DO UPDATE SET search = excluded.search WHERE s.search <> excluded.search;
    RETURN NULL;
END
$$;

CREATE TRIGGER pipelines_search_upd AFTER UPDATE ON pipelines FOR EACH ROW
WHEN ((OLD.name, OLD.external_id, OLD.description, OLD.owners, OLD.tags)
      IS DISTINCT FROM (NEW.name, NEW.external_id, NEW.description, NEW.owners, NEW.tags))
EXECUTE FUNCTION refresh_search_text();
CREATE TRIGGER pipelines_search_ins AFTER INSERT ON pipelines FOR EACH ROW EXECUTE FUNCTION refresh_search_text();
