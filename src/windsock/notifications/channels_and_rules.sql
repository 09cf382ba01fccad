-- fragment: channel
SELECT c.id, c.name, c.kind, without_secrets(c.config) AS config, c.secret IS NOT NULL AS has_secret, c.team_id,
       CASE WHEN t.id IS NOT NULL THEN jsonb_build_object('id', t.id, 'name', t.name) END AS team, c.is_active, c.max_per_hour,
       c.disabled_at, c.disabled_reason, c.failing_since, c.last_error, c.last_delivered_at, c.created_at, c.updated_at
FROM channels c LEFT JOIN teams t ON t.space_id = c.space_id AND t.id = c.team_id

-- name: list_channels
{channel}
WHERE c.space_id = %(space_id)s
ORDER BY c.name, c.id
LIMIT %(limit)s OFFSET %(offset)s

-- name: count_channels
SELECT count(*) AS total FROM channels WHERE space_id = %(space_id)s

-- name: get_channel
{channel}
WHERE c.space_id = %(space_id)s AND c.id = %(channel_id)s

-- name: lock_channel
SELECT * FROM channels WHERE space_id = %(space_id)s AND id = %(channel_id)s FOR UPDATE

-- name: create_channel
INSERT INTO channels (space_id, name, kind, config, secret, team_id, is_active, max_per_hour)
SELECT %(space_id)s, %(name)s, %(kind)s, %(config)s, %(secret)s, %(team_id)s, %(is_active)s, %(max_per_hour)s
WHERE (SELECT count(*) FROM channels WHERE space_id = %(space_id)s) < %(maximum)s
RETURNING id

-- name: update_channel
UPDATE channels
SET name = %(name)s, config = %(config)s, secret = %(secret)s, secret_lost_at = NULL, team_id = %(team_id)s,
    is_active = %(is_active)s, max_per_hour = %(max_per_hour)s, disabled_at = NULL, disabled_reason = NULL, failing_since = NULL,
    last_error = NULL, updated_at = now()
WHERE space_id = %(space_id)s AND id = %(channel_id)s

-- name: delete_channel
DELETE FROM channels WHERE space_id = %(space_id)s AND id = %(channel_id)s

-- name: remove_channel_from_rules
UPDATE notification_rules SET channel_ids = array_remove(channel_ids, %(channel_id)s::uuid)
WHERE space_id = %(space_id)s AND %(channel_id)s = ANY(channel_ids)

-- name: lock_secrets
SELECT id, secret FROM channels
WHERE space_id = %(space_id)s AND secret IS NOT NULL AND secret_lost_at IS NULL
ORDER BY id
FOR UPDATE

-- name: list_secrets
SELECT id, name, secret AS credentials FROM channels
WHERE space_id = %(space_id)s AND secret IS NOT NULL AND secret_lost_at IS NULL
ORDER BY name, id

-- name: give_up_secret
UPDATE channels
SET secret_lost_at = now(), disabled_at = now(),
    disabled_reason = 'No key decrypts the secret of this channel any more. Enter it again.'
WHERE space_id = %(space_id)s AND id = %(channel_id)s

-- name: replace_secret
UPDATE channels SET secret = %(secret)s WHERE space_id = %(space_id)s AND id = %(channel_id)s

-- name: list_rules
SELECT r.* FROM notification_rules r
WHERE r.space_id = %(space_id)s
ORDER BY r.name, r.id
LIMIT %(limit)s OFFSET %(offset)s

-- name: count_rules
SELECT count(*) AS total FROM notification_rules WHERE space_id = %(space_id)s

-- name: get_rule
SELECT * FROM notification_rules WHERE space_id = %(space_id)s AND id = %(rule_id)s

-- name: lock_rule
SELECT * FROM notification_rules WHERE space_id = %(space_id)s AND id = %(rule_id)s FOR UPDATE

-- name: names_of_rules
-- Whatever a rule can name: at most a few hundred.
SELECT id, name FROM teams WHERE space_id = %(space_id)s
UNION ALL SELECT id, name FROM connectors WHERE space_id = %(space_id)s
UNION ALL SELECT id, name FROM channels WHERE space_id = %(space_id)s

-- name: create_rule
INSERT INTO notification_rules (space_id, name, is_active, kinds, min_criticality, team_ids, connector_ids, tags, channel_ids,
    to_team_channels, to_watchers, events, min_failures, after_successes, hold_seconds, group_by, repeat_seconds, quiet_start,
    quiet_end, digest_at, time_zone, critical_passes)
SELECT %(space_id)s, %(name)s, %(is_active)s, %(kinds)s::text[], %(min_criticality)s, %(team_ids)s::uuid[], %(connector_ids)s::uuid[],
    %(tags)s::text[], %(channel_ids)s::uuid[], %(to_team_channels)s, %(to_watchers)s, %(events)s::text[], %(min_failures)s,
    %(after_successes)s, %(hold_seconds)s, %(group_by)s::text[], %(repeat_seconds)s, %(quiet_start)s::time, %(quiet_end)s::time,
    %(digest_at)s::time, %(time_zone)s, %(critical_passes)s
WHERE (SELECT count(*) FROM notification_rules WHERE space_id = %(space_id)s) < %(maximum)s
RETURNING id

-- name: update_rule
UPDATE notification_rules
SET name = %(name)s, is_active = %(is_active)s, kinds = %(kinds)s::text[], min_criticality = %(min_criticality)s,
    team_ids = %(team_ids)s::uuid[], connector_ids = %(connector_ids)s::uuid[], tags = %(tags)s::text[],
    channel_ids = %(channel_ids)s::uuid[], to_team_channels = %(to_team_channels)s, to_watchers = %(to_watchers)s,
    events = %(events)s::text[], min_failures = %(min_failures)s, after_successes = %(after_successes)s,
    hold_seconds = %(hold_seconds)s, group_by = %(group_by)s::text[], repeat_seconds = %(repeat_seconds)s,
    quiet_start = %(quiet_start)s::time, quiet_end = %(quiet_end)s::time, digest_at = %(digest_at)s::time,
    time_zone = %(time_zone)s, critical_passes = %(critical_passes)s, updated_at = now()
WHERE space_id = %(space_id)s AND id = %(rule_id)s

-- name: delete_rule
DELETE FROM notification_rules WHERE space_id = %(space_id)s AND id = %(rule_id)s

-- name: known_teams
SELECT id FROM teams WHERE space_id = %(space_id)s AND id = ANY(%(ids)s)

-- name: known_connectors
SELECT id FROM connectors WHERE space_id = %(space_id)s AND id = ANY(%(ids)s)

-- name: known_channels
SELECT id FROM channels WHERE space_id = %(space_id)s AND id = ANY(%(ids)s)

-- fragment: message
SELECT m.id, m.event, m.state, m.channel_id,
       CASE WHEN c.id IS NOT NULL THEN jsonb_build_object('id', c.id, 'name', c.name) END AS channel,
       m.user_id, CASE WHEN u.id IS NOT NULL THEN jsonb_build_object('id', u.id, 'name', u.name) END AS "user",
       m.content ->> 'title' AS title, m.reason, n.incidents, n.incident_count, m.happened_at, m.due_at, m.sent_at, m.is_repetition,
       m.detail, a.attempts, m.created_at
FROM messages m
LEFT JOIN channels c ON c.space_id = m.space_id AND c.id = m.channel_id
LEFT JOIN users u ON u.id = m.user_id
LEFT JOIN LATERAL (
    SELECT coalesce(jsonb_agg(jsonb_build_object('number', x.number, 'at', rfc3339(x.at), 'outcome', x.outcome, 'status', x.status,
                                                 'ms', x.ms, 'detail', x.detail) ORDER BY x.number), '[]') AS attempts
    FROM (SELECT * FROM message_attempts o WHERE o.space_id = m.space_id AND o.message_id = m.id ORDER BY o.number DESC LIMIT 10) x
) a ON true
LEFT JOIN LATERAL (
    SELECT coalesce(jsonb_agg(jsonb_build_object('id', x.id, 'name', x.name) ORDER BY x.id) FILTER (WHERE x.id IS NOT NULL), '[]') AS incidents,
           coalesce(max(x.total), 0) AS incident_count
    FROM (SELECT i.id, coalesce(p.name, k.name) AS name, count(*) OVER () AS total
          FROM notification_group_incidents gi
          JOIN incidents i ON i.space_id = gi.space_id AND i.id = gi.incident_id
          JOIN connectors k ON k.space_id = i.space_id AND k.id = i.connector_id
          LEFT JOIN pipelines p ON p.space_id = i.space_id AND p.id = i.pipeline_id
          WHERE gi.space_id = m.space_id AND gi.group_id = m.group_id ORDER BY i.id LIMIT 20) x
) n ON true

-- fragment: matching
WHERE m.space_id = %(space_id)s
  AND m.channel_id = ANY(%(channel_id)s)  -- if channel_id
  AND m.state = ANY(%(status)s)  -- if status
  AND m.created_at >= %(created_from)s  -- if created_from
  AND m.created_at < %(created_to)s  -- if created_to
  AND EXISTS (SELECT FROM notification_group_incidents g JOIN incidents i ON i.space_id = g.space_id AND i.id = g.incident_id WHERE g.space_id = m.space_id AND g.group_id = m.group_id AND i.pipeline_id = ANY(%(pipeline_id)s))  -- if pipeline_id

-- name: list_messages
{message}
{matching}
ORDER BY m.created_at DESC, m.id DESC
LIMIT %(limit)s OFFSET %(offset)s

-- name: count_messages
SELECT count(*) AS total FROM messages m
{matching}

-- name: get_message
{message}
WHERE m.space_id = %(space_id)s AND m.id = %(message_id)s

-- name: lock_message
-- is_alert_over: it raised an alert, which was resolved with its group.
SELECT m.id, m.state, m.content,
       m.event <> 'resolved' AND EXISTS (
           SELECT FROM notification_groups g JOIN channels c ON c.space_id = g.space_id AND c.id = m.channel_id
           WHERE g.space_id = m.space_id AND g.id = m.group_id AND g.closed_at IS NOT NULL
             AND c.kind IN ('pagerduty', 'alertmanager')) AS is_alert_over
FROM messages m WHERE m.space_id = %(space_id)s AND m.id = %(message_id)s FOR UPDATE OF m

-- name: copy_message
INSERT INTO messages (space_id, id, group_id, channel_id, user_id, event, dedup_key, happened_at, reason, content)
SELECT space_id, %(new_id)s, group_id, channel_id, user_id, event, %(dedup_key)s, now(), reason, %(content)s
FROM messages WHERE space_id = %(space_id)s AND id = %(message_id)s

-- name: get_decisions
SELECT e.id AS event_id, e.kind AS event_kind, e.happened_at, d.outcome, r.id AS rule_id, r.name AS rule_name, c.name AS channel_name,
       u.name AS user_name, d.message_id, m.state AS message_state
FROM notification_decisions d
JOIN incident_events e ON e.space_id = d.space_id AND e.id = d.event_id
LEFT JOIN notification_rules r ON r.space_id = d.space_id AND r.id = d.rule_id
LEFT JOIN channels c ON c.space_id = d.space_id AND c.id = d.channel_id
LEFT JOIN users u ON u.id = d.user_id
LEFT JOIN messages m ON m.space_id = d.space_id AND m.id = d.message_id
WHERE d.space_id = %(space_id)s AND d.incident_id = %(incident_id)s
ORDER BY e.id DESC, d.message_id IS NULL, r.name, c.name, u.name, d.id
LIMIT 500

-- name: get_incident_name
SELECT i.id, i.kind, i.state, i.pipeline_id, coalesce(p.name, c.name) AS name
FROM incidents i
JOIN connectors c ON c.space_id = i.space_id AND c.id = i.connector_id
LEFT JOIN pipelines p ON p.space_id = i.space_id AND p.id = i.pipeline_id
WHERE i.space_id = %(space_id)s AND i.id = %(incident_id)s

-- name: get_personal_settings
-- across spaces: the settings of a user are the same in all
SELECT email_enabled, email_refused_at, muted_space_ids, quiet_start, quiet_end, digest_at, time_zone, critical_passes
FROM notification_settings WHERE user_id = %(user_id)s

-- name: put_personal_settings
-- across spaces: the settings of a user are the same in all
INSERT INTO notification_settings (user_id, email_enabled, muted_space_ids, quiet_start, quiet_end, digest_at, time_zone, critical_passes)
VALUES (%(user_id)s, %(email_enabled)s, %(muted_space_ids)s::uuid[], %(quiet_start)s::time, %(quiet_end)s::time, %(digest_at)s::time,
        %(time_zone)s, %(critical_passes)s)
ON CONFLICT (user_id) DO UPDATE
SET (email_enabled, email_refused_at, muted_space_ids, quiet_start, quiet_end, digest_at, time_zone, critical_passes, updated_at)
  = (excluded.email_enabled, NULL, excluded.muted_space_ids, excluded.quiet_start, excluded.quiet_end, excluded.digest_at,
     excluded.time_zone, excluded.critical_passes, now())

-- name: mute_space
-- across spaces: a row of the user
INSERT INTO notification_settings (user_id, muted_space_ids) VALUES (%(user_id)s, ARRAY[%(muted_space_id)s::uuid])
ON CONFLICT (user_id) DO UPDATE
SET muted_space_ids = (SELECT array_agg(DISTINCT m) FROM unnest(notification_settings.muted_space_ids || excluded.muted_space_ids) m)

-- name: list_past_events
SELECT e.id, e.incident_id, e.kind, e.happened_at, e.details
FROM incident_events e
WHERE e.space_id = %(space_id)s AND e.happened_at >= now() - make_interval(days => %(days)s)
ORDER BY e.happened_at DESC, e.id DESC
LIMIT %(most)s

-- name: list_successes_before_episodes
-- Of events that open or reopen the incident of a pipeline.
SELECT e.id AS event_id, {successes_before} AS successes_before
FROM incident_events e
JOIN incidents i ON i.space_id = e.space_id AND i.id = e.incident_id AND i.pipeline_id IS NOT NULL
JOIN runs f ON f.space_id = e.space_id AND f.id = e.run_id
WHERE e.space_id = %(space_id)s AND e.id = ANY(%(event_ids)s)

-- name: get_pipeline_to_notify
-- As an incident of this pipeline that opens now.
SELECT p.id AS pipeline_id, p.name, p.connector_id, p.criticality, p.tags, array_remove(ARRAY[p.team_id], NULL) AS team_ids,
       ARRAY(SELECT w.user_id FROM watches w WHERE w.space_id = p.space_id AND w.pipeline_id = p.id ORDER BY 1) AS watcher_ids
FROM pipelines p
WHERE p.space_id = %(space_id)s AND p.id = %(pipeline_id)s AND p.removed_at IS NULL

-- name: names_of_recipients
SELECT id, name FROM channels WHERE space_id = %(space_id)s
UNION ALL SELECT id, name FROM users WHERE id = ANY(%(user_ids)s)

-- name: names_of_incidents
SELECT i.id, coalesce(p.name, c.name) AS name
FROM incidents i
JOIN connectors c ON c.space_id = i.space_id AND c.id = i.connector_id
LEFT JOIN pipelines p ON p.space_id = i.space_id AND p.id = i.pipeline_id
WHERE i.space_id = %(space_id)s AND i.id = ANY(%(incident_ids)s)
