-- DAGs, runs and task instances, as the provider has them.

CREATE FUNCTION search_text(VARIADIC parts text[]) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN lower(array_to_string(parts, E'\n'));
COMMENT ON FUNCTION search_text IS 'What q looks through: the parts in lower case, a line each.';

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
    last_run             json,
    criticality          text NOT NULL DEFAULT 'medium'
                         CONSTRAINT pipelines_criticality_is_known CHECK (criticality IN ('low', 'medium', 'high', 'critical')),
    team_id              uuid,
    missed_by            uuid,
    removed_at           timestamptz,
    last_synced_at       timestamptz NOT NULL DEFAULT now(),
    created_at           timestamptz NOT NULL DEFAULT now(),
    updated_at           timestamptz NOT NULL DEFAULT now(),
    task_levels          jsonb NOT NULL DEFAULT '{}',
    tasks_listed_at      timestamptz,
    gone_by              uuid,
    needs_history        boolean NOT NULL DEFAULT false,
    last_run_at          timestamptz,
    is_draining          boolean NOT NULL DEFAULT false,
    PRIMARY KEY (space_id, id),
    CONSTRAINT pipelines_identity UNIQUE (space_id, connector_id, external_id),
    CONSTRAINT pipelines_connector FOREIGN KEY (space_id, connector_id) REFERENCES connectors ON DELETE CASCADE,
    CONSTRAINT pipelines_team FOREIGN KEY (space_id, team_id) REFERENCES teams ON DELETE SET NULL (team_id)
) WITH (fillfactor = 85);
CREATE INDEX pipelines_by_name ON pipelines (space_id, left(name, 600), id);
CREATE INDEX pipelines_gone ON pipelines (space_id, connector_id) WHERE gone_by IS NOT NULL;
CREATE INDEX pipelines_need_history ON pipelines (space_id, connector_id) WHERE needs_history;
CREATE INDEX pipelines_team ON pipelines (space_id, team_id) WHERE team_id IS NOT NULL;
COMMENT ON TABLE pipelines IS 'DAGs. criticality and team_id are people''s; a sync never writes them.';
COMMENT ON COLUMN pipelines.status IS 'That of the newest run (by run_at); kept by the sync, as are last_run and recent_runs.';
COMMENT ON COLUMN pipelines.missed_by IS 'The complete sync that first did not see it; a second one in a row removes it.';
COMMENT ON COLUMN pipelines.last_synced_at IS 'When a sync last wrote the row; what people read is the later complete pass.';
COMMENT ON COLUMN pipelines.task_levels IS 'task_id to its distance from the start of the DAG; {} until the sync has read the graph.';
COMMENT ON COLUMN pipelines.gone_by IS 'The sync that found it gone; when that sync ends complete it is removed, unless the loss is held back.';
COMMENT ON COLUMN pipelines.needs_history IS 'It has come, or come back, after the history was begun: what happened to its runs meanwhile is to be read.';
COMMENT ON COLUMN pipelines.last_run_at IS 'When the newest run began, or was queued, or due; kept by the sync, to sort by.';
COMMENT ON COLUMN pipelines.is_draining IS 'No new runs start; those that there are go on to their end.';

CREATE TABLE pipeline_search (
    space_id    uuid NOT NULL,
    pipeline_id uuid NOT NULL,
    search      text NOT NULL,
    PRIMARY KEY (space_id, pipeline_id),
    CONSTRAINT pipeline_search_pipeline FOREIGN KEY (space_id, pipeline_id) REFERENCES pipelines ON DELETE CASCADE
);
COMMENT ON TABLE pipeline_search IS 'What q looks through. Kept by a trigger of pipelines, in a table of its own because their rows are wide.';
COMMENT ON COLUMN pipeline_search.search IS 'Name, id, description, owners and tags, in lower case.';

CREATE TABLE pipeline_strips (
    space_id    uuid NOT NULL,
    pipeline_id uuid NOT NULL,
    recent_runs json NOT NULL,
    PRIMARY KEY (space_id, pipeline_id),
    CONSTRAINT pipeline_strips_pipeline FOREIGN KEY (space_id, pipeline_id) REFERENCES pipelines ON DELETE CASCADE
);
COMMENT ON TABLE pipeline_strips IS 'The newest runs of a pipeline, oldest first, as the API returns them; no row where it has no run. In a separate table, so that a scan of pipelines does not read them.';

CREATE TABLE pipeline_reads (
    space_id    uuid NOT NULL,
    pipeline_id uuid NOT NULL,
    watermark   timestamptz,
    read_at     timestamptz,
    refused_at  timestamptz,
    checked_at  timestamptz,
    PRIMARY KEY (space_id, pipeline_id),
    CONSTRAINT pipeline_reads_pipeline FOREIGN KEY (space_id, pipeline_id) REFERENCES pipelines ON DELETE CASCADE
);
COMMENT ON TABLE pipeline_reads IS 'How far each pipeline has been read where the account may read single DAGs only. Only the sync writes it.';
COMMENT ON COLUMN pipeline_reads.watermark IS 'By the clock of the provider: everything of this pipeline that changed before it is stored.';
COMMENT ON COLUMN pipeline_reads.read_at IS 'By our clock: when it was last read; null: not yet.';
COMMENT ON COLUMN pipeline_reads.refused_at IS 'When the provider last refused it; null after it was read.';
COMMENT ON COLUMN pipeline_reads.checked_at IS 'When its number of rows was last compared with that of the provider.';

CREATE TABLE runs (
    space_id             uuid NOT NULL,
    id                   uuid NOT NULL DEFAULT uuid7(),
    pipeline_id          uuid NOT NULL,
    external_id          text NOT NULL,
    status               text NOT NULL,
    run_type             text NOT NULL,
    run_at               timestamptz NOT NULL,
    queued_at            timestamptz,
    started_at           timestamptz,
    ended_at             timestamptz,
    run_after            timestamptz,
    logical_date         timestamptz,
    data_interval_start  timestamptz,
    data_interval_end    timestamptz,
    conf                 jsonb NOT NULL DEFAULT '{}',
    note                 text,
    triggered_by         text,
    provider_metadata    jsonb NOT NULL DEFAULT '{}',
    task_counts          jsonb NOT NULL DEFAULT '{}',
    triggered_by_user_id uuid REFERENCES users ON DELETE SET NULL,
    missed_by            uuid,
    removed_at           timestamptz,
    last_synced_at       timestamptz NOT NULL DEFAULT now(),
    created_at           timestamptz NOT NULL DEFAULT now(),
    updated_at           timestamptz NOT NULL DEFAULT now(),
    gone_by              uuid,
    archived_at          timestamptz,
    duration_seconds     double precision GENERATED ALWAYS AS (
        CASE WHEN ended_at >= started_at THEN extract(epoch FROM ended_at - started_at)::double precision END
    ) STORED,
    begun_at             timestamptz NOT NULL GENERATED ALWAYS AS (
        coalesce(started_at, queued_at, run_after, CASE WHEN status IN ('queued', 'running') THEN created_at END, ended_at, run_at)
    ) STORED,
    is_replaced          boolean NOT NULL DEFAULT false,
    PRIMARY KEY (space_id, id),
    CONSTRAINT runs_pipeline FOREIGN KEY (space_id, pipeline_id) REFERENCES pipelines ON DELETE CASCADE
);
CREATE INDEX runs_ended_of_pipeline ON runs (space_id, pipeline_id, ended_at) INCLUDE (status, duration_seconds, removed_at);
CREATE INDEX runs_gone ON runs (space_id, pipeline_id) WHERE gone_by IS NOT NULL;
CREATE UNIQUE INDEX runs_identity ON runs (space_id, pipeline_id, external_id) WHERE NOT is_replaced;
CREATE INDEX runs_newest ON runs (space_id, begun_at DESC, id DESC) INCLUDE (pipeline_id, status, run_type, removed_at);
CREATE INDEX runs_newest_of_pipeline ON runs (space_id, pipeline_id, begun_at DESC, id DESC) INCLUDE (removed_at);
CREATE INDEX runs_unfinished_of_pipeline ON runs (space_id, pipeline_id) INCLUDE (removed_at) WHERE status IN ('queued', 'running');
CREATE INDEX runs_window ON runs (space_id, (coalesce(run_after, logical_date)));
COMMENT ON TABLE runs IS 'DAG runs. removed_at: two complete passes did not find it in Airflow any more; we keep it.';
COMMENT ON COLUMN runs.run_at IS 'Its position in the history of the provider; never null, never changes: run_after, else see the provider.';
COMMENT ON COLUMN runs.task_counts IS 'Task runs by status; kept by the sync in the transaction that stores the task runs.';
COMMENT ON COLUMN runs.gone_by IS 'As of pipelines.';
COMMENT ON COLUMN runs.archived_at IS 'Airflow has cleaned it up with all that was older; ours is the only copy, and stays.';
COMMENT ON COLUMN runs.duration_seconds IS 'Null when unknown: not ended, or ended before it started.';
COMMENT ON COLUMN runs.begun_at IS 'When it was started, or queued. Lists are ordered, and time ranges found and counted, by it.';
COMMENT ON COLUMN runs.is_replaced IS 'Airflow uses its id for another run by now; this one was deleted there.';
COMMENT ON INDEX runs_identity IS 'The run that has the id in Airflow, or had it last.';
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
    gone_by           uuid,
    archived_at       timestamptz,
    duration_seconds  double precision GENERATED ALWAYS AS (
        CASE WHEN ended_at >= started_at THEN extract(epoch FROM ended_at - started_at)::double precision END
    ) STORED,
    region_id         text NOT NULL DEFAULT '',
    region_index      integer NOT NULL DEFAULT -1,
    loop_id           text,
    loop_iteration    integer,
    PRIMARY KEY (space_id, id),
    CONSTRAINT task_runs_identity UNIQUE (space_id, run_id, external_id, region_id, region_index, map_index),
    CONSTRAINT task_runs_run FOREIGN KEY (space_id, run_id) REFERENCES runs ON DELETE CASCADE
);
CREATE INDEX task_runs_gone ON task_runs (space_id, run_id) WHERE gone_by IS NOT NULL;
COMMENT ON TABLE task_runs IS 'Task instances. Never known by Airflow''s own id, which changes with every try.';
COMMENT ON COLUMN task_runs.map_index IS '-1: not an instance of a mapped task (answered as null).';
COMMENT ON COLUMN task_runs.gone_by IS 'As of pipelines.';
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
