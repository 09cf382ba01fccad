-- The version of a space, from which ETags are derived.

CREATE TABLE space_versions (
    space_id  uuid NOT NULL,
    part      uuid NOT NULL DEFAULT uuid7(),
    version   bigint NOT NULL,
    pipelines bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (space_id, part),
    CONSTRAINT space_versions_space FOREIGN KEY (space_id) REFERENCES spaces(id) ON DELETE CASCADE
) WITH (fillfactor = 40);
COMMENT ON TABLE space_versions IS 'Their sum is the version of a space: it grows with every transaction that changes what the space shows. Those who write at the same time move different parts, so that none waits for another: there are as many as there ever were at once.';
COMMENT ON COLUMN space_versions.pipelines IS 'Their sum is the number of the space''s pipelines.';

CREATE FUNCTION part_of(space uuid)
RETURNS uuid
LANGUAGE plpgsql SET search_path = windsock, pg_temp
AS $$
DECLARE
    mine uuid;
BEGIN
    SELECT v.part INTO mine FROM space_versions v WHERE v.space_id = space ORDER BY v.part LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        INSERT INTO space_versions (space_id, version) SELECT s.id, 0 FROM spaces s WHERE s.id = space RETURNING part INTO mine;
    END IF;
    RETURN mine;
END
$$;
COMMENT ON FUNCTION part_of IS 'A part of space_versions that nobody else moves until this transaction ends, its own if it has one; null of a space that is being deleted.';

CREATE FUNCTION bump(space uuid)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = windsock, pg_temp
AS $$
DECLARE
    -- By the clock, so that no version comes twice when a backup was put back.
    at CONSTANT bigint := extract(epoch FROM clock_timestamp()) * 1000000;
    mine CONSTANT uuid := part_of(space);
BEGIN
    UPDATE space_versions v SET version = greatest(v.version + 1, at) WHERE v.space_id = space AND v.part = mine;
END
$$;
COMMENT ON FUNCTION bump IS 'Moves the version of a space, and waits for nobody.';

CREATE FUNCTION bump_after_rows()
RETURNS trigger
LANGUAGE plpgsql SET search_path = windsock, pg_temp
AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        PERFORM bump(space_id) FROM (SELECT DISTINCT space_id FROM was ORDER BY 1) s;
    ELSE
        PERFORM bump(space_id) FROM (SELECT DISTINCT space_id FROM became ORDER BY 1) s;
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION bump_after_rows IS 'Moves the version of the spaces in which a statement has written; one that found nothing to write moves none.';

CREATE FUNCTION bump_after_row()
RETURNS trigger
LANGUAGE plpgsql SET search_path = windsock, pg_temp
AS $$
BEGIN
    PERFORM bump(CASE WHEN TG_OP = 'DELETE' THEN OLD.space_id ELSE NEW.space_id END);
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION bump_after_row IS 'As bump_after_rows, for tables in which a statement writes few rows.';

CREATE FUNCTION bump_after_renaming()
RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = windsock, pg_temp
AS $$
BEGIN
    PERFORM bump(s.id) FROM (SELECT id FROM spaces ORDER BY id) s;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION bump_after_renaming IS 'A user may have commented or triggered in any space.';

CREATE TRIGGER version AFTER INSERT OR DELETE OR UPDATE ON comments FOR EACH ROW
EXECUTE FUNCTION bump_after_row();
CREATE TRIGGER version AFTER INSERT OR DELETE OR UPDATE ON connectors FOR EACH ROW
EXECUTE FUNCTION bump_after_row();
CREATE TRIGGER version AFTER UPDATE ON sync_states FOR EACH ROW
WHEN (OLD.last_complete_at IS DISTINCT FROM NEW.last_complete_at OR OLD.api_version IS DISTINCT FROM NEW.api_version) EXECUTE FUNCTION bump_after_row();
CREATE TRIGGER version_of_skipped AFTER UPDATE ON sync_states FOR EACH ROW
WHEN (OLD.skipped IS DISTINCT FROM NEW.skipped) EXECUTE FUNCTION bump_after_row();
CREATE TRIGGER version AFTER INSERT OR DELETE OR UPDATE ON teams FOR EACH ROW
EXECUTE FUNCTION bump_after_row();
CREATE TRIGGER version AFTER UPDATE OF name ON users FOR EACH ROW
WHEN (OLD.name IS DISTINCT FROM NEW.name) EXECUTE FUNCTION bump_after_renaming();
CREATE TRIGGER version AFTER INSERT OR DELETE OR UPDATE ON watches FOR EACH ROW
EXECUTE FUNCTION bump_after_row();

DO $$
DECLARE
    mirror_table text;
BEGIN
    FOREACH mirror_table IN ARRAY ARRAY['pipelines', 'runs', 'task_runs'] LOOP
        EXECUTE format('CREATE TRIGGER version_of_new AFTER INSERT ON %I REFERENCING NEW TABLE AS became
                        FOR EACH STATEMENT EXECUTE FUNCTION bump_after_rows()', mirror_table);
        EXECUTE format('CREATE TRIGGER version_of_changed AFTER UPDATE ON %I REFERENCING NEW TABLE AS became
                        FOR EACH STATEMENT EXECUTE FUNCTION bump_after_rows()', mirror_table);
        EXECUTE format('CREATE TRIGGER version_of_deleted AFTER DELETE ON %I REFERENCING OLD TABLE AS was
                        FOR EACH STATEMENT EXECUTE FUNCTION bump_after_rows()', mirror_table);
    END LOOP;
END
$$;
