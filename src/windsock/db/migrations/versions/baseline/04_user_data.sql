-- What users add: watches, comments, triggered runs. A sync never writes these.

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

CREATE TABLE trigger_requests (
    space_id        uuid NOT NULL,
    id              uuid NOT NULL DEFAULT uuid7(),
    pipeline_id     uuid NOT NULL,
    user_id         uuid REFERENCES users ON DELETE SET NULL,
    run_external_id text NOT NULL GENERATED ALWAYS AS ('windsock__' || id::text) STORED,
    idempotency_key text,
    body_hash       bytea NOT NULL,
    lease_until     timestamptz NOT NULL,
    outcome         text
                    CONSTRAINT trigger_requests_outcome_is_known CHECK (outcome IN ('created', 'refused', 'unknown')),
    status          integer,
    detail          text,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (space_id, id),
    CONSTRAINT trigger_requests_idempotency_key UNIQUE (space_id, pipeline_id, idempotency_key),
    CONSTRAINT trigger_requests_run UNIQUE (space_id, pipeline_id, run_external_id),
    CONSTRAINT trigger_requests_pipeline FOREIGN KEY (space_id, pipeline_id) REFERENCES pipelines ON DELETE CASCADE
);
CREATE INDEX trigger_requests_newest ON trigger_requests (space_id, created_at);
COMMENT ON TABLE trigger_requests IS 'Written before the request to Airflow, with the run id, so that the run is found again when the response is lost.';
COMMENT ON COLUMN trigger_requests.body_hash IS 'SHA-256 of the request body; the same key with another body is refused.';
COMMENT ON COLUMN trigger_requests.lease_until IS 'Until then one process sends the request, and the others wait.';
COMMENT ON COLUMN trigger_requests.outcome IS 'created: the response is repeated; refused: by Airflow; unknown: looked up before it is sent again.';
COMMENT ON COLUMN trigger_requests.status IS 'The status of the response where it was not a run.';
