-- The audit log, written by triggers.

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
COMMENT ON TABLE audit_events IS 'Changes by users. Only triggers write it; the application cannot change or delete a row.';
COMMENT ON COLUMN audit_events.actor_id IS 'Null: a command on the server, or a deleted user (actor_name remains).';

CREATE FUNCTION is_secret_name(name text)
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = windsock, pg_temp
AS $$
    SELECT (n ~ 'passwor[dt]|passwd|passphrase|kennwort|secret|token|credential|authorization'
            OR n ~ '(api|private|access|account|shared|signing|encryption|ssh|service|master)[^a-z]*keys?($|[^a-z])'
            OR n ~ '(^|[^a-z])(pass|pwd|key|keys|bearer|cookie|jwt|pat|sas)($|[^a-z])')
       AND n !~ '(^|[^a-z])(url|uri|endpoint|type|method|name|path|file|ttl|lifetime|expiry|length|policy|version|key[^a-z]*id)$'
       AND n !~ '(primary|foreign|partition|sort|public|cache|row|natural|surrogate|clustering|routing|group|unique|join)[^a-z]*keys?$'
    FROM (SELECT lower(regexp_replace(name, '([a-z0-9])([A-Z])', '\1_\2', 'g')) AS n) normalized
$$;
COMMENT ON FUNCTION is_secret_name IS 'Whether a key of a configuration names something that must not be shown, such as db_password or apiKey.';

CREATE FUNCTION text_without_secrets(value text)
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = windsock, pg_temp
AS $$
    SELECT CASE
        WHEN value ~ '-----BEGIN [A-Z ]*PRIVATE KEY-----' THEN '[redacted]'
        ELSE regexp_replace(regexp_replace(value,
            '([a-z][a-z0-9+.-]*://[^/?#\s:@]*):[^/?#\s@]+@', '\1:[redacted]@', 'gi'),
            '((^|[?&;\s])(access_token|auth_token|token|api_?key|accountkey|sharedaccesskey|password|pwd|secret|client_secret|sig|signature)\s*=\s*)[^&;#\s]+',
            '\1[redacted]', 'gi')
    END
$$;
COMMENT ON FUNCTION text_without_secrets IS 'The text without passwords in URLs and connection strings, and without private keys.';

CREATE FUNCTION without_secrets(config jsonb, is_secret boolean DEFAULT false)
RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = windsock, pg_temp
AS $$
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
$$;
COMMENT ON FUNCTION without_secrets IS 'A configuration with "[redacted]" for each value that looks like a secret.';

CREATE FUNCTION redact_audited_config()
RETURNS trigger
LANGUAGE plpgsql SET search_path = windsock, pg_temp
AS $$
BEGIN
    IF NEW.before ? 'config' THEN
        NEW.before := jsonb_set(NEW.before, '{config}', without_secrets(NEW.before -> 'config'));
    END IF;
    IF NEW.after ? 'config' THEN
        NEW.after := jsonb_set(NEW.after, '{config}', without_secrets(NEW.after -> 'config'));
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION redact_audited_config IS 'Redacts secrets of a configuration, since members of the space read the audit log.';

CREATE FUNCTION audit()
RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = windsock, pg_temp
AS $$
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
$$;
COMMENT ON FUNCTION audit IS 'Records a change: its actor (setting windsock.actor), its target, and the values before and after.';

CREATE FUNCTION audit_key()
RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = windsock, pg_temp
AS $$
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
$$;
COMMENT ON FUNCTION audit_key IS 'Records that a key was created or revoked, in every space of its user.';

CREATE FUNCTION audit_user()
RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = windsock, pg_temp
AS $$
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
$$;
COMMENT ON FUNCTION audit_user IS 'Records a change of a user, or a sign-in link for one, in every space of the user.';

CREATE TRIGGER audit AFTER INSERT OR UPDATE OF outcome ON actions FOR EACH ROW
WHEN (pg_trigger_depth() = 0 AND NEW.kind <> 'trigger') EXECUTE FUNCTION audit('action', 'id', '', 'kind pipeline_id run_id task_run_id parameters reason outcome status');
CREATE TRIGGER audit_trigger AFTER INSERT OR UPDATE OF outcome ON actions FOR EACH ROW
WHEN (pg_trigger_depth() = 0 AND NEW.kind = 'trigger') EXECUTE FUNCTION audit('trigger', 'id', 'run_external_id', 'pipeline_id run_external_id outcome status');
CREATE TRIGGER audit AFTER INSERT OR UPDATE OF revoked_at ON api_keys FOR EACH ROW
WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION audit_key();
CREATE TRIGGER redact_config BEFORE INSERT ON audit_events FOR EACH ROW
WHEN (NEW.target_type = 'connector') EXECUTE FUNCTION redact_audited_config();
CREATE TRIGGER audit AFTER INSERT OR DELETE OR UPDATE OF content ON comments FOR EACH ROW
WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION audit('comment', 'id', '', 'run_id task_run_id parent_id content');
CREATE TRIGGER audit AFTER INSERT OR DELETE OR UPDATE ON connectors FOR EACH ROW
WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION audit('connector', 'id', 'name', 'name connector_type config is_active source_system_id', 'credentials');
CREATE TRIGGER audit AFTER INSERT ON login_links FOR EACH ROW
WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION audit_user('login_link', 'user_id', 'expires_at');
CREATE TRIGGER audit AFTER INSERT OR DELETE OR UPDATE ON memberships FOR EACH ROW
WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION audit('member', 'user_id', '', 'role');
CREATE TRIGGER audit AFTER UPDATE OF team_id, criticality ON pipelines FOR EACH ROW
WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION audit('pipeline', 'id', 'name', 'team_id criticality');
CREATE TRIGGER audit AFTER INSERT OR UPDATE ON spaces FOR EACH ROW
WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION audit('space', 'id', 'name', 'slug name retention_days requires_reason');
CREATE TRIGGER audit AFTER INSERT ON sync_runs FOR EACH ROW
WHEN (pg_trigger_depth() = 0 AND NEW.trigger = 'manual') EXECUTE FUNCTION audit('sync', 'id', '', 'connector_id is_full');
CREATE TRIGGER audit_cancel AFTER UPDATE OF cancel_requested_at ON sync_runs FOR EACH ROW
WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION audit('sync', 'id', '', 'cancel_requested_at');
CREATE TRIGGER audit_full AFTER UPDATE OF is_full ON sync_runs FOR EACH ROW
WHEN (pg_trigger_depth() = 0 AND OLD.status = 'queued' AND NEW.status = 'queued') EXECUTE FUNCTION audit('sync', 'id', '', 'is_full');
CREATE TRIGGER audit AFTER UPDATE OF accepted_at ON sync_states FOR EACH ROW
WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION audit('hold', 'connector_id', '', 'accepted');
CREATE TRIGGER audit AFTER INSERT OR DELETE OR UPDATE ON team_members FOR EACH ROW
WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION audit('team_member', 'team_id', '', 'user_id');
CREATE TRIGGER audit AFTER INSERT OR DELETE OR UPDATE ON teams FOR EACH ROW
WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION audit('team', 'id', 'name', 'name contact');
CREATE TRIGGER audit AFTER UPDATE OF name, is_superadmin, is_active ON users FOR EACH ROW
WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION audit_user('user', 'id', 'name is_superadmin is_active');
CREATE TRIGGER audit AFTER INSERT OR DELETE ON watches FOR EACH ROW
WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION audit('watch', 'pipeline_id', '', 'user_id');
