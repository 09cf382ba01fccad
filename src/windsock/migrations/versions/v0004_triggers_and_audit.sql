-- Triggers that are sent at most once, an audit trail written by the database itself, and the order of a DAG's tasks.

ALTER TABLE pipelines
    ADD COLUMN task_levels jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN tasks_listed_at timestamptz;
COMMENT ON COLUMN pipelines.task_levels IS 'task_id to its distance from the start of the DAG; {} until the sync has read the graph.';


-- Triggers ------------------------------------------------------------------------------------------------------------

CREATE TABLE trigger_requests (
    space_id        uuid NOT NULL,
    id              uuid NOT NULL DEFAULT uuid7(),
    pipeline_id     uuid NOT NULL,
    user_id         uuid REFERENCES users ON DELETE SET NULL,
    run_external_id text NOT NULL GENERATED ALWAYS AS ('windsock__' || id::text) STORED,
    idempotency_key text,
    body_hash       bytea NOT NULL,
    lease_until     timestamptz NOT NULL,
    outcome         text CONSTRAINT trigger_requests_outcome_is_known CHECK (outcome IN ('created', 'refused', 'unknown')),
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
COMMENT ON TABLE trigger_requests IS 'Written before Airflow is asked: the run id is ours, so that a run whose answer was lost is found again.';
COMMENT ON COLUMN trigger_requests.body_hash IS 'SHA-256 of what was sent; the same key with another body is refused.';
COMMENT ON COLUMN trigger_requests.lease_until IS 'Until then one process is sending it, and the others wait.';
COMMENT ON COLUMN trigger_requests.outcome IS 'created: answered again; refused: Airflow said no; unknown: looked up before it is sent again.';
COMMENT ON COLUMN trigger_requests.status IS 'What the caller was answered, where it was no run.';


-- The audit trail -----------------------------------------------------------------------------------------------------

CREATE TABLE audit_events (
    space_id    uuid NOT NULL REFERENCES spaces ON DELETE CASCADE,
    id          uuid NOT NULL DEFAULT uuid7(),
    created_at  timestamptz NOT NULL DEFAULT now(),
    action      text NOT NULL,
    target_type text NOT NULL,
    target_id   uuid,
    target_name text,
    actor_id    uuid REFERENCES users ON DELETE SET NULL,
    actor_name  text,
    api_key_id  uuid,
    before      jsonb,
    after       jsonb,
    request_id  text,
    PRIMARY KEY (space_id, id)
);
CREATE INDEX audit_events_newest ON audit_events (space_id, created_at DESC, id DESC);
CREATE INDEX audit_events_of_target ON audit_events (space_id, target_id, created_at DESC, id DESC);
COMMENT ON TABLE audit_events IS 'What people changed. Only the triggers below write it; the application cannot change or delete a row.';
COMMENT ON COLUMN audit_events.actor_id IS 'Null: a command run on the machine itself, or a person who is gone (actor_name stays).';

CREATE FUNCTION audit() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = windsock, pg_temp
AS $$
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
$$;
COMMENT ON FUNCTION audit IS 'Writes down one change: who (setting windsock.actor), what, before and after.';

CREATE FUNCTION audit_key() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = windsock, pg_temp
AS $$
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
$$;
COMMENT ON FUNCTION audit_key IS 'Writes down that a key was made or revoked, in every space of its user.';

-- Each only for what somebody did: pg_trigger_depth() > 0 is what followed by a foreign key, and the first event says it.

CREATE TRIGGER audit AFTER INSERT OR UPDATE ON spaces FOR EACH ROW
    WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION audit('space', 'id', 'name', 'slug name');
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON memberships FOR EACH ROW
    WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION audit('member', 'user_id', '', 'role');
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON teams FOR EACH ROW
    WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION audit('team', 'id', 'name', 'name');
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON team_members FOR EACH ROW
    WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION audit('team_member', 'team_id', '', 'user_id');
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON connectors FOR EACH ROW
    WHEN (pg_trigger_depth() = 0)
    EXECUTE FUNCTION audit('connector', 'id', 'name', 'name connector_type config is_active source_system_id', 'credentials');
CREATE TRIGGER audit AFTER UPDATE OF team_id, criticality ON pipelines FOR EACH ROW
    WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION audit('pipeline', 'id', 'name', 'team_id criticality');
CREATE TRIGGER audit AFTER INSERT OR DELETE ON watches FOR EACH ROW
    WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION audit('watch', 'pipeline_id', '', 'user_id');
CREATE TRIGGER audit AFTER INSERT OR UPDATE OF content OR DELETE ON comments FOR EACH ROW
    WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION audit('comment', 'id', '', 'run_id task_run_id parent_id content');
CREATE TRIGGER audit AFTER INSERT ON sync_runs FOR EACH ROW
    WHEN (pg_trigger_depth() = 0 AND NEW.trigger = 'manual') EXECUTE FUNCTION audit('sync', 'id', '', 'connector_id is_full');
CREATE TRIGGER audit AFTER INSERT OR UPDATE OF outcome ON trigger_requests FOR EACH ROW
    WHEN (pg_trigger_depth() = 0)
    EXECUTE FUNCTION audit('trigger', 'id', 'run_external_id', 'pipeline_id run_external_id outcome status');
CREATE TRIGGER audit AFTER INSERT OR UPDATE OF revoked_at ON api_keys FOR EACH ROW
    WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION audit_key();


-- The wall ------------------------------------------------------------------------------------------------------------

ALTER TABLE trigger_requests ENABLE ROW LEVEL SECURITY;
CREATE POLICY within_space ON trigger_requests USING (space_id = (SELECT current_space()));
ALTER TABLE audit_events ENABLE ROW LEVEL SECURITY;
CREATE POLICY within_space ON audit_events USING (space_id = (SELECT current_space()));
