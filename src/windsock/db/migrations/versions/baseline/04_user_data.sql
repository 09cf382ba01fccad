-- What users add: watches, comments, actions. A sync never writes these.

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
    content     text NOT NULL,
    is_edited   boolean NOT NULL DEFAULT false,
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (space_id, id),
    CONSTRAINT comments_content_length CHECK (length(content) BETWEEN 1 AND 10000),
    CONSTRAINT comments_parent FOREIGN KEY (space_id, parent_id) REFERENCES comments ON DELETE SET NULL (parent_id),
    CONSTRAINT comments_run FOREIGN KEY (space_id, run_id) REFERENCES runs ON DELETE CASCADE,
    CONSTRAINT comments_task_run FOREIGN KEY (space_id, task_run_id) REFERENCES task_runs ON DELETE CASCADE
);
CREATE INDEX comments_replies ON comments (space_id, parent_id) WHERE parent_id IS NOT NULL;
CREATE INDEX comments_run ON comments (space_id, run_id, created_at, id);
CREATE INDEX comments_task_run ON comments (space_id, task_run_id, created_at, id) WHERE task_run_id IS NOT NULL;
COMMENT ON TABLE comments IS 'A comment on a run, or on a task run (then both ids are set).';

CREATE TABLE actions (
    space_id        uuid NOT NULL,
    id              uuid NOT NULL DEFAULT uuid7(),
    kind            text NOT NULL
                    CONSTRAINT actions_kind_is_known CHECK (kind IN ('trigger', 'clear', 'mark', 'pause', 'note', 'answer')),
    pipeline_id     uuid NOT NULL,
    run_id          uuid,
    task_run_id     uuid,
    user_id         uuid REFERENCES users ON DELETE SET NULL,
    run_external_id text GENERATED ALWAYS AS (CASE kind WHEN 'trigger' THEN 'windsock__' || id::text END) STORED,
    idempotency_key text,
    body_hash       bytea NOT NULL,
    parameters      jsonb NOT NULL DEFAULT '{}',
    reason          text,
    expected        jsonb,
    lease_until     timestamptz NOT NULL,
    outcome         text
                    CONSTRAINT actions_outcome_is_known CHECK (outcome IN ('done', 'refused', 'failed', 'partial', 'unknown')),
    status          integer,
    detail          text,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (space_id, id),
    CONSTRAINT actions_idempotency_key UNIQUE (space_id, pipeline_id, idempotency_key),
    CONSTRAINT actions_triggered_run UNIQUE (space_id, pipeline_id, run_external_id),
    CONSTRAINT actions_pipeline FOREIGN KEY (space_id, pipeline_id) REFERENCES pipelines ON DELETE CASCADE,
    CONSTRAINT actions_run FOREIGN KEY (space_id, run_id) REFERENCES runs ON DELETE SET NULL (run_id),
    CONSTRAINT actions_task_run FOREIGN KEY (space_id, task_run_id) REFERENCES task_runs ON DELETE SET NULL (task_run_id)
);
CREATE INDEX actions_newest ON actions (space_id, created_at, id);
CREATE INDEX actions_of_run ON actions (space_id, run_id) WHERE run_id IS NOT NULL;
CREATE INDEX actions_of_task_run ON actions (space_id, task_run_id) WHERE task_run_id IS NOT NULL;
CREATE UNIQUE INDEX actions_in_progress ON actions (space_id, run_id) WHERE outcome IS NULL AND kind IN ('clear', 'mark');
COMMENT ON TABLE actions IS 'What people do in Airflow through Windsock. Written before the request to Airflow, so that what became of it can be looked up when the response is lost.';
COMMENT ON COLUMN actions.kind IS 'What it is done to: the task run, else the run, else the pipeline.';
COMMENT ON COLUMN actions.run_external_id IS 'Of a trigger the run id that Airflow is given.';
COMMENT ON COLUMN actions.body_hash IS 'SHA-256 of kind, target and request body; the same key with others is refused.';
COMMENT ON COLUMN actions.expected IS 'Of a clear the task runs to be cleared as they were, each with a marker that a clear changes.';
COMMENT ON COLUMN actions.lease_until IS 'Until then one process sends the request, and the others wait.';
COMMENT ON COLUMN actions.outcome IS 'Null: in progress. done: the response is repeated; refused: by Airflow, or by Windsock for its state there; failed: nothing was changed; partial: a part was; unknown: looked up before it is sent again.';
COMMENT ON COLUMN actions.status IS 'The status of the response where it was not done.';
COMMENT ON INDEX actions_in_progress IS 'One clear or mark of a run at a time.';
