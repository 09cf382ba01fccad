-- Functions of notifications that look across spaces, and the rules of a new space.

CREATE FUNCTION create_default_rules()
RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = windsock, pg_temp
AS $$
BEGIN
    INSERT INTO notification_rules (space_id, name, to_watchers) VALUES (NEW.id, 'Watchers', true);
    INSERT INTO notification_rules (space_id, name, to_team_channels, min_criticality) VALUES (NEW.id, 'Channel of the owning team', true, 'high');
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION create_default_rules IS 'The rules that a new space begins with: users can change and delete them.';
CREATE TRIGGER default_rules AFTER INSERT ON spaces FOR EACH ROW EXECUTE FUNCTION create_default_rules();

CREATE FUNCTION spaces_to_notify()
RETURNS TABLE(space_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = windsock, pg_temp
AS $$
    SELECT DISTINCT e.space_id FROM incident_events e WHERE e.evaluated_at IS NULL
    UNION
    SELECT g.space_id FROM notification_groups g JOIN notification_rules r ON r.space_id = g.space_id AND r.id = g.rule_id
    WHERE g.closed_at IS NULL AND g.notified_at < now() - make_interval(secs => r.repeat_seconds)
    LIMIT 1000
$$;
COMMENT ON FUNCTION spaces_to_notify IS 'Spaces with events that are not evaluated yet, or with a group to be announced again.';

CREATE FUNCTION due_messages()
RETURNS TABLE(space_id uuid, recipient_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = windsock, pg_temp
AS $$
    SELECT m.space_id, coalesce(m.channel_id, m.user_id)
    FROM messages m
    WHERE (m.state = 'queued' AND m.due_at <= now() OR m.state = 'sending' AND m.lease_until < now())
      AND NOT EXISTS (SELECT FROM messages o
                      WHERE o.state = 'sending' AND o.lease_until >= now() AND o.space_id = m.space_id
                        AND coalesce(o.channel_id, o.user_id) = coalesce(m.channel_id, m.user_id))
    GROUP BY 1, 2
    ORDER BY min(m.due_at)
    LIMIT 500
$$;
COMMENT ON FUNCTION due_messages IS 'Recipients with a message to be sent now, and none under way: one at a time for each, so that none delays another.';

CREATE FUNCTION notification_statistics()
RETURNS TABLE(kind text, criticality text, incidents bigint, oldest_seconds double precision)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = windsock, pg_temp
AS $$
    SELECT i.kind, coalesce(p.criticality, 'critical'), count(*), NULL::float8
    FROM incidents i LEFT JOIN pipelines p ON p.space_id = i.space_id AND p.id = i.pipeline_id
    WHERE i.state <> 'resolved'
    GROUP BY 1, 2
    UNION ALL
    SELECT NULL, NULL, NULL, coalesce(extract(epoch FROM now() - min(m.due_at)), 0)::float8
    FROM messages m WHERE m.state IN ('queued', 'sending') AND m.due_at <= now()
$$;
COMMENT ON FUNCTION notification_statistics IS 'Unresolved incidents of all spaces by kind and criticality, and the age of the oldest message that is due.';
