-- Queries of workers across spaces. Most of these functions run as the owner, and return no more than the query needs.

CREATE FUNCTION waits_for_another(r sync_runs)
RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT r.is_follow_up
       AND EXISTS (SELECT FROM sync_runs o
                   WHERE o.space_id = r.space_id AND o.connector_id = r.connector_id AND o.status IN ('queued', 'running')
                     AND NOT o.is_follow_up)
$$;
COMMENT ON FUNCTION waits_for_another IS 'Whether it is not to be started yet, since another sync of its connector is under way.';

CREATE FUNCTION sync_freshness()
RETURNS TABLE(state text, connectors bigint, lag_seconds double precision)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = windsock, pg_temp
AS $$
    SELECT sync_state(c.is_active, s, c.config), count(*), max(extract(epoch FROM now() - s.last_complete_at))::float8
    FROM sync_states s JOIN connectors c ON c.space_id = s.space_id AND c.id = s.connector_id
    GROUP BY 1
$$;
COMMENT ON FUNCTION sync_freshness IS 'How many connectors are in which state, of all spaces together, and the greatest age of what they show.';

CREATE FUNCTION syncs_waiting(slow_queue boolean)
RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = windsock, pg_temp
AS $$
    SELECT count(*)
    FROM sync_runs r JOIN sync_states s ON s.space_id = r.space_id AND s.connector_id = r.connector_id
    WHERE r.status = 'queued' AND r.queued_at < now() - interval '3 seconds' AND is_slow_or_failing(s) = slow_queue
      AND NOT waits_for_another(r)
$$;
COMMENT ON FUNCTION syncs_waiting IS 'Syncs of one lane that have waited for a worker longer than it takes to start one.';

CREATE FUNCTION syncs_to_start()
RETURNS TABLE(space_id uuid, connector_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = windsock, pg_temp
AS $$
    SELECT s.space_id, s.connector_id
    FROM sync_states s JOIN connectors c ON c.space_id = s.space_id AND c.id = s.connector_id
    WHERE s.next_sync_at <= now() AND c.is_active AND c.connector_type = 'airflow'
      AND NOT EXISTS (SELECT FROM sync_runs r
                      WHERE r.space_id = s.space_id AND r.connector_id = s.connector_id AND r.status IN ('queued', 'running'))
    ORDER BY s.next_sync_at
    LIMIT 1000
$$;
COMMENT ON FUNCTION syncs_to_start IS 'Connectors whose next sync is due and that have none unfinished.';

CREATE FUNCTION abandoned_syncs()
RETURNS TABLE(space_id uuid, sync_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = windsock, pg_temp
AS $$
    SELECT r.space_id, r.id FROM sync_runs r
    WHERE r.status = 'running' AND r.lease_until < now()
    ORDER BY r.lease_until
    LIMIT 1000
$$;
COMMENT ON FUNCTION abandoned_syncs IS 'Running syncs whose lease has expired: their worker is dead.';

CREATE FUNCTION next_sync(slow_queue boolean, holder text, slots integer)
RETURNS TABLE(space_id uuid, sync_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = windsock, pg_temp
AS $$
    WITH running AS (
        SELECT r.space_id, count(*) AS total
        FROM sync_runs r JOIN sync_states s ON s.space_id = r.space_id AND s.connector_id = r.connector_id
        WHERE r.status = 'running' AND r.lease_holder = holder AND is_slow_or_failing(s) = slow_queue
        GROUP BY r.space_id
    )
    SELECT q.space_id, q.id
    FROM sync_runs q
    JOIN sync_states s ON s.space_id = q.space_id AND s.connector_id = q.connector_id
    LEFT JOIN running b ON b.space_id = q.space_id
    WHERE q.status = 'queued' AND is_slow_or_failing(s) = slow_queue AND NOT waits_for_another(q)
      AND coalesce(b.total, 0) < CASE
          WHEN (SELECT count(DISTINCT c.space_id) FROM connectors c WHERE c.is_active AND c.connector_type = 'airflow') > 1
          THEN greatest(1, slots / 2) ELSE slots END
    ORDER BY coalesce(b.total, 0), q.trigger <> 'manual', q.queued_at
    LIMIT 1
$$;
COMMENT ON FUNCTION next_sync IS 'Of one queue the sync that a free worker of this process carries out next: of the space with the fewest running there, those by hand first. Where there are several spaces, one has at most half of the workers.';
