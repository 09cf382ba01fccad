-- Secret-looking configuration and the check of the secret key.

ALTER TABLE connectors ADD COLUMN credentials_lost_at timestamptz;
COMMENT ON COLUMN connectors.credentials_lost_at IS
    'When an operator accepted that no key decrypts these credentials; null again when others are entered.';

CREATE FUNCTION is_secret_name(name text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = windsock, pg_temp AS $$
    SELECT (n ~ 'passwor[dt]|passwd|passphrase|kennwort|secret|token|credential|authorization'
            OR n ~ '(api|private|access|account|shared|signing|encryption|ssh|service|master)[^a-z]*keys?($|[^a-z])'
            OR n ~ '(^|[^a-z])(pass|pwd|key|keys|bearer|cookie|jwt|pat|sas)($|[^a-z])')
       AND n !~ '(^|[^a-z])(url|uri|endpoint|type|method|name|path|file|ttl|lifetime|expiry|length|policy|version|key[^a-z]*id)$'
       AND n !~ '(primary|foreign|partition|sort|public|cache|row|natural|surrogate|clustering|routing|group|unique|join)[^a-z]*keys?$'
    FROM (SELECT lower(regexp_replace(name, '([a-z0-9])([A-Z])', '\1_\2', 'g')) AS n) normalized
$$;
COMMENT ON FUNCTION is_secret_name IS 'Whether a key of a configuration names something that must not be shown, such as db_password or apiKey.';

CREATE FUNCTION text_without_secrets(value text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = windsock, pg_temp AS $$
    SELECT CASE
        WHEN value ~ '-----BEGIN [A-Z ]*PRIVATE KEY-----' THEN '[redacted]'
        ELSE regexp_replace(regexp_replace(value,
            '([a-z][a-z0-9+.-]*://[^/?#\s:@]*):[^/?#\s@]+@', '\1:[redacted]@', 'gi'),
            '((^|[?&;\s])(access_token|auth_token|token|api_?key|accountkey|sharedaccesskey|password|pwd|secret|client_secret|sig|signature)\s*=\s*)[^&;#\s]+',
            '\1[redacted]', 'gi')
    END
$$;
COMMENT ON FUNCTION text_without_secrets IS 'The text without passwords in URLs and connection strings, and without private keys.';

CREATE FUNCTION without_secrets(config jsonb, is_secret boolean DEFAULT false) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = windsock, pg_temp AS $$
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

CREATE FUNCTION redact_audited_config() RETURNS trigger
LANGUAGE plpgsql SET search_path = windsock, pg_temp AS $$
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
COMMENT ON FUNCTION redact_audited_config IS 'Members of a space read the audit trail: no secret of a configuration is written into it.';

CREATE TRIGGER redact_config BEFORE INSERT ON audit_events
    FOR EACH ROW WHEN (NEW.target_type = 'connector') EXECUTE FUNCTION redact_audited_config();

UPDATE audit_events
SET before = CASE WHEN before ? 'config' THEN jsonb_set(before, '{config}', without_secrets(before -> 'config')) ELSE before END,
    after = CASE WHEN after ? 'config' THEN jsonb_set(after, '{config}', without_secrets(after -> 'config')) ELSE after END
WHERE target_type = 'connector' AND (before ? 'config' OR after ? 'config');
