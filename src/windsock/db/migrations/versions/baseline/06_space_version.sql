-- The version of a space, from which ETags are derived: a slotted counter.

CREATE TABLE space_versions (
    space_id uuid NOT NULL,
    slot     uuid NOT NULL DEFAULT uuid7(),
    version  bigint NOT NULL,
    PRIMARY KEY (space_id, slot),
    CONSTRAINT space_versions_space FOREIGN KEY (space_id) REFERENCES spaces ON DELETE CASCADE
) WITH (fillfactor = 40);
COMMENT ON TABLE space_versions IS 'A slotted counter: the sum is the version of a space, which grows with every transaction that changes what the space shows. Concurrent transactions write different slots, so that none waits for another.';

CREATE FUNCTION acquire_counter_slot(space uuid)
RETURNS uuid
LANGUAGE plpgsql SET search_path = windsock, pg_temp
AS $$
DECLARE
    acquired uuid;
BEGIN
    SELECT v.slot INTO acquired FROM space_versions v WHERE v.space_id = space ORDER BY v.slot LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        INSERT INTO space_versions (space_id, version) SELECT s.id, 0 FROM spaces s WHERE s.id = space RETURNING slot INTO acquired;
    END IF;
    RETURN acquired;
END
$$;
COMMENT ON FUNCTION acquire_counter_slot IS 'A slot of the space that no other transaction writes until this one ends, the same within a transaction; null for a space that is being deleted.';

CREATE FUNCTION bump_space_version(space uuid)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = windsock, pg_temp
AS $$
DECLARE
    -- By the clock, so that no version comes twice after a backup was restored.
    at CONSTANT bigint := extract(epoch FROM clock_timestamp()) * 1000000;
    acquired CONSTANT uuid := acquire_counter_slot(space);
BEGIN
    UPDATE space_versions v SET version = greatest(v.version + 1, at) WHERE v.space_id = space AND v.slot = acquired;
END
$$;
COMMENT ON FUNCTION bump_space_version IS 'Increases the version of a space, without waiting for another transaction.';

CREATE FUNCTION bump_space_version_after_statement()
RETURNS trigger
LANGUAGE plpgsql SET search_path = windsock, pg_temp
AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        PERFORM bump_space_version(space_id) FROM (SELECT DISTINCT space_id FROM old_rows ORDER BY 1) s;
    ELSE
        PERFORM bump_space_version(space_id) FROM (SELECT DISTINCT space_id FROM new_rows ORDER BY 1) s;
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION bump_space_version_after_statement IS 'Increases the version of the spaces in which a statement has written a row.';

CREATE FUNCTION bump_space_version_after_row()
RETURNS trigger
LANGUAGE plpgsql SET search_path = windsock, pg_temp
AS $$
BEGIN
    PERFORM bump_space_version(CASE WHEN TG_OP = 'DELETE' THEN OLD.space_id ELSE NEW.space_id END);
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION bump_space_version_after_row IS 'As bump_space_version_after_statement(), for tables in which a statement writes few rows.';

CREATE FUNCTION bump_every_space_version()
RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = windsock, pg_temp
AS $$
BEGIN
    PERFORM bump_space_version(s.id) FROM (SELECT id FROM spaces ORDER BY id) s;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION bump_every_space_version IS 'For the name of a user, who may have commented or triggered in any space.';

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['pipelines', 'runs', 'task_runs'] LOOP
        EXECUTE format('CREATE TRIGGER %I AFTER INSERT ON %I REFERENCING NEW TABLE AS new_rows
                        FOR EACH STATEMENT EXECUTE FUNCTION bump_space_version_after_statement()', name || '_version_ins', name);
        EXECUTE format('CREATE TRIGGER %I AFTER UPDATE ON %I REFERENCING NEW TABLE AS new_rows
                        FOR EACH STATEMENT EXECUTE FUNCTION bump_space_version_after_statement()', name || '_version_upd', name);
        EXECUTE format('CREATE TRIGGER %I AFTER DELETE ON %I REFERENCING OLD TABLE AS old_rows
                        FOR EACH STATEMENT EXECUTE FUNCTION bump_space_version_after_statement()', name || '_version_del', name);
    END LOOP;
    FOREACH name IN ARRAY ARRAY['actions', 'comments', 'connectors', 'teams', 'watches'] LOOP
        EXECUTE format('CREATE TRIGGER %I AFTER INSERT OR UPDATE OR DELETE ON %I
                        FOR EACH ROW EXECUTE FUNCTION bump_space_version_after_row()', name || '_version', name);
    END LOOP;
END
$$;
CREATE TRIGGER sync_states_version AFTER UPDATE ON sync_states FOR EACH ROW
WHEN ((OLD.last_complete_at, OLD.api_version, OLD.skipped) IS DISTINCT FROM (NEW.last_complete_at, NEW.api_version, NEW.skipped))
EXECUTE FUNCTION bump_space_version_after_row();
CREATE TRIGGER users_version AFTER UPDATE OF name ON users FOR EACH ROW
WHEN (OLD.name IS DISTINCT FROM NEW.name) EXECUTE FUNCTION bump_every_space_version();
