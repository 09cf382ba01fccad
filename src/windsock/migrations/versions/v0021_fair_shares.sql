-- Which queued sync a free worker carries out next, with fair shares of spaces; when a key or session was used is written
-- beside the requests, not by them.

-- Syncs ---------------------------------------------------------------------------------------------------------------

ALTER TABLE sync_states ADD COLUMN is_stuck boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN sync_states.is_stuck IS 'The running sync waited long for one answer while others waited for a worker: it goes on in the queue of slow connectors.';

CREATE OR REPLACE FUNCTION is_doubtful(s sync_states) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT s.failures > 0 OR s.is_stuck OR coalesce(s.poll_seconds, 0) > 10
$$;
COMMENT ON FUNCTION is_doubtful(sync_states) IS 'Whether the last sync failed, or Airflow takes more than ten seconds for one answer: such ones have a queue of their own.';

DROP FUNCTION syncs_to_start();
CREATE FUNCTION syncs_to_start() RETURNS TABLE (space_id uuid, connector_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = windsock, pg_temp AS $$
    SELECT s.space_id, s.connector_id
    FROM sync_states s JOIN connectors c ON c.space_id = s.space_id AND c.id = s.connector_id
    WHERE s.next_sync_at <= now() AND c.is_active AND c.connector_type = 'airflow'
      AND NOT EXISTS (SELECT FROM sync_runs r
                      WHERE r.space_id = s.space_id AND r.connector_id = s.connector_id AND r.status IN ('queued', 'running'))
    ORDER BY s.next_sync_at
    LIMIT 1000
$$;
COMMENT ON FUNCTION syncs_to_start() IS 'Connectors whose next sync is due and that have none unfinished.';

DROP FUNCTION syncs_to_look_after();
CREATE FUNCTION abandoned_syncs() RETURNS TABLE (space_id uuid, sync_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = windsock, pg_temp AS $$
    SELECT r.space_id, r.id FROM sync_runs r
    WHERE r.status = 'running' AND r.lease_until < now()
    ORDER BY r.lease_until
    LIMIT 1000
$$;
COMMENT ON FUNCTION abandoned_syncs() IS 'Running syncs whose lease has expired: their worker is dead.';

CREATE FUNCTION next_sync(doubtful boolean, holder text, slots integer) RETURNS TABLE (space_id uuid, sync_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = windsock, pg_temp AS $$
    WITH running AS (
        SELECT r.space_id, count(*) AS total
        FROM sync_runs r JOIN sync_states s ON s.space_id = r.space_id AND s.connector_id = r.connector_id
        WHERE r.status = 'running' AND r.lease_holder = holder AND is_doubtful(s) = doubtful
        GROUP BY r.space_id
    )
    SELECT q.space_id, q.id
    FROM sync_runs q
    JOIN sync_states s ON s.space_id = q.space_id AND s.connector_id = q.connector_id
    LEFT JOIN running b ON b.space_id = q.space_id
    WHERE q.status = 'queued' AND is_doubtful(s) = doubtful AND NOT waits_for_another(q)
      AND coalesce(b.total, 0) < CASE
          WHEN (SELECT count(DISTINCT c.space_id) FROM connectors c WHERE c.is_active AND c.connector_type = 'airflow') > 1
          THEN greatest(1, slots / 2) ELSE slots END
    ORDER BY coalesce(b.total, 0), q.trigger <> 'manual', q.queued_at
    LIMIT 1
$$;
COMMENT ON FUNCTION next_sync(boolean, text, integer) IS 'Of one queue the sync that a free worker of this process carries out next: of the space with the fewest running there, those by hand first. Where there are several spaces, one has at most half of the workers.';

-- A request that hangs keeps a worker as long as that.
UPDATE connectors SET config = jsonb_set(config, '{timeout_seconds}', '60')
WHERE connector_type = 'airflow' AND jsonb_typeof(config -> 'timeout_seconds') = 'number' AND (config ->> 'timeout_seconds')::float8 > 60;


-- Callers -------------------------------------------------------------------------------------------------------------

DROP FUNCTION authorize(bytea, text);
CREATE FUNCTION authorize(hash bytea, space_slug text) RETURNS TABLE (
    user_id uuid, email text, name text, is_superadmin boolean, key_id uuid, space_id uuid, slug text, role text, version bigint, is_use_due boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = windsock, pg_temp AS $$
    SELECT u.id, u.email, u.name, u.is_superadmin, k.id, s.id, s.slug,
           CASE WHEN u.is_superadmin THEN 'admin' ELSE m.role END,
           (SELECT coalesce(sum(v.version), 0)::bigint FROM space_versions v WHERE v.space_id = s.id),
           k.last_used_at IS NULL OR k.last_used_at < now() - interval '1 minute'
    FROM api_keys k
    JOIN users u ON u.id = k.user_id
    LEFT JOIN spaces s ON s.slug = space_slug
    LEFT JOIN memberships m ON m.space_id = s.id AND m.user_id = u.id
    WHERE k.key_hash = hash AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now()) AND u.is_active
$$;
COMMENT ON FUNCTION authorize IS 'From the hash of a key and a slug to the caller, the space, the role in it (null: none), its version, and whether the use of the key is to be written down. Takes no lock.';

DROP FUNCTION authorize_session(bytea, text);
CREATE FUNCTION authorize_session(hash bytea, space_slug text) RETURNS TABLE (
    user_id uuid, email text, name text, is_superadmin boolean, session_id uuid, space_id uuid, slug text, role text, version bigint, is_use_due boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = windsock, pg_temp AS $$
    SELECT u.id, u.email, u.name, u.is_superadmin, k.id, s.id, s.slug,
           CASE WHEN u.is_superadmin THEN 'admin' ELSE m.role END,
           (SELECT coalesce(sum(v.version), 0)::bigint FROM space_versions v WHERE v.space_id = s.id),
           k.last_used_at IS NULL OR k.last_used_at < now() - interval '1 minute'
    FROM sessions k
    JOIN users u ON u.id = k.user_id
    LEFT JOIN api_keys a ON a.id = k.api_key_id
    LEFT JOIN spaces s ON s.slug = space_slug
    LEFT JOIN memberships m ON m.space_id = s.id AND m.user_id = u.id
    WHERE k.token_hash = hash AND k.expires_at > now() AND u.is_active
      AND (k.api_key_id IS NULL OR (a.revoked_at IS NULL AND (a.expires_at IS NULL OR a.expires_at > now())))
$$;
COMMENT ON FUNCTION authorize_session IS 'As authorize, from the hash of a session''s token.';
