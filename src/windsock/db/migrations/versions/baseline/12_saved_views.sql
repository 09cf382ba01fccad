-- Saved views of the pipeline list.

CREATE TABLE saved_views (
    space_id   uuid NOT NULL REFERENCES spaces ON DELETE CASCADE,
    id         uuid NOT NULL DEFAULT uuid7(),
    user_id    uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    name       text NOT NULL,
    query      text NOT NULL,
    is_shared  boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (space_id, id),
    CONSTRAINT saved_views_name_length CHECK (length(name) BETWEEN 1 AND 100),
    CONSTRAINT saved_views_query_length CHECK (length(query) <= 4000),
    CONSTRAINT saved_views_name_unique UNIQUE (space_id, user_id, name)
);
COMMENT ON TABLE saved_views IS 'Filters and order of the pipeline list under a name: of one user, or shared with the space.';
COMMENT ON COLUMN saved_views.query IS 'The query string of the list, with the parameters of the API.';

ALTER TABLE saved_views ENABLE ROW LEVEL SECURITY;
CREATE POLICY within_space ON saved_views USING (space_id = (SELECT current_space()));
-- Of a private view nothing is recorded: members of the space read the audit log. Sharing and unsharing are.
CREATE TRIGGER audit_insert AFTER INSERT ON saved_views FOR EACH ROW
WHEN (pg_trigger_depth() = 0 AND NEW.is_shared) EXECUTE FUNCTION audit('saved_view', 'id', 'name', 'name query is_shared');
CREATE TRIGGER audit_update AFTER UPDATE ON saved_views FOR EACH ROW
WHEN (pg_trigger_depth() = 0 AND OLD.is_shared AND NEW.is_shared) EXECUTE FUNCTION audit('saved_view', 'id', 'name', 'name query');
CREATE TRIGGER audit_share AFTER UPDATE OF is_shared ON saved_views FOR EACH ROW
WHEN (pg_trigger_depth() = 0 AND NEW.is_shared AND NOT OLD.is_shared) EXECUTE FUNCTION audit('saved_view', 'id', 'name', 'is_shared');
CREATE TRIGGER audit_unshare AFTER UPDATE OF is_shared ON saved_views FOR EACH ROW
WHEN (pg_trigger_depth() = 0 AND OLD.is_shared AND NOT NEW.is_shared) EXECUTE FUNCTION audit('saved_view', 'id', '', 'is_shared');
CREATE TRIGGER audit_delete AFTER DELETE ON saved_views FOR EACH ROW
WHEN (pg_trigger_depth() = 0 AND OLD.is_shared) EXECUTE FUNCTION audit('saved_view', 'id', 'name', 'name query is_shared');
