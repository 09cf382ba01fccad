-- name: list_space_ids_to_notify
-- across spaces: the worker looks for spaces with something to evaluate
SELECT space_id FROM spaces_to_notify()

-- name: lock_evaluation
-- One evaluation of a space at a time: groups would be opened twice otherwise.
SELECT pg_try_advisory_xact_lock(hashtextextended('notifications/' || %(space_id)s::text, 0)) AS is_locked

-- name: claim_events
SELECT e.id, e.incident_id, e.kind, e.happened_at, e.details
FROM incident_events e
WHERE e.space_id = %(space_id)s AND e.evaluated_at IS NULL
ORDER BY e.id
LIMIT %(limit)s
FOR UPDATE SKIP LOCKED

-- fragment: of_connector
a.space_id = i.space_id AND a.connector_id = i.connector_id AND a.removed_at IS NULL
AND (i.kind = 'sync' OR a.id IN (SELECT h.pipeline_id FROM incidents h
                                 WHERE h.space_id = i.space_id AND h.held_back_by_incident_id = i.id))

-- fragment: incident
i.id, i.kind, i.state, i.connector_id, i.pipeline_id, i.fingerprint_id, i.occurrences - i.occurrences_before AS failures,
i.held_back_by_incident_id IS NOT NULL AS is_held_back,
coalesce(p.criticality, 'critical') AS criticality, coalesce(p.tags, '{}') AS tags,
CASE WHEN i.pipeline_id IS NOT NULL THEN array_remove(ARRAY[p.team_id], NULL) ELSE ARRAY(
    SELECT DISTINCT a.team_id FROM pipelines a WHERE {of_connector} AND a.team_id IS NOT NULL) END AS team_ids,
CASE WHEN i.pipeline_id IS NOT NULL THEN ARRAY(
    SELECT w.user_id FROM watches w WHERE w.space_id = i.space_id AND w.pipeline_id = i.pipeline_id ORDER BY 1)
ELSE ARRAY(
    SELECT DISTINCT w.user_id FROM pipelines a JOIN watches w ON w.space_id = a.space_id AND w.pipeline_id = a.id
    WHERE {of_connector} ORDER BY 1) END AS watcher_ids,
CASE WHEN %(counts_successes)s AND i.pipeline_id IS NOT NULL THEN
    {successes_before} ELSE 0 END AS successes_before

-- name: list_incidents_by_id
SELECT {incident}
FROM incidents i
LEFT JOIN pipelines p ON p.space_id = i.space_id AND p.id = i.pipeline_id
LEFT JOIN LATERAL ({begin_of_episode}) b ON %(counts_successes)s
LEFT JOIN runs f ON f.space_id = i.space_id AND f.id = b.run_id
WHERE i.space_id = %(space_id)s AND i.id = ANY(%(incident_ids)s)
ORDER BY i.id

-- name: list_active_rules
SELECT * FROM notification_rules WHERE space_id = %(space_id)s AND is_active ORDER BY name, id

-- name: list_channels_to_notify
SELECT id, kind, team_id, max_per_hour, is_active AND disabled_at IS NULL AS is_usable, config ->> 'channel' IS NOT NULL AS is_bot
FROM channels WHERE space_id = %(space_id)s ORDER BY name, id

-- name: list_users_to_notify
-- Members whose account is active, with their settings.
SELECT u.id, coalesce(s.email_enabled, true) AND s.email_refused_at IS NULL
             AND NOT coalesce(%(space_id)s = ANY(s.muted_space_ids), false) AS is_reachable,
       s.quiet_start, s.quiet_end, s.digest_at, coalesce(s.time_zone, 'UTC') AS time_zone,
       coalesce(s.critical_passes, true) AS critical_passes
FROM users u LEFT JOIN notification_settings s ON s.user_id = u.id
WHERE u.id = ANY(%(user_ids)s) AND u.is_active
  AND (u.is_superadmin OR EXISTS (SELECT FROM memberships m WHERE m.space_id = %(space_id)s AND m.user_id = u.id))
ORDER BY u.id

-- name: list_groups_to_evaluate
-- Open groups, of those that contain one of the incidents how many others are unresolved; and collections that wait.
SELECT g.id, g.rule_id, coalesce(g.channel_id, g.user_id) AS recipient_id, g.key, g.is_collection, g.opened_at, g.closed_at,
       g.notified_at, coalesce(m.members, '{}') AS members, coalesce(m.others_unresolved, 0) AS others_unresolved
FROM notification_groups g
LEFT JOIN LATERAL (
    SELECT array_agg(gi.incident_id) FILTER (WHERE gi.incident_id = ANY(%(incident_ids)s)) AS members,
           count(*) FILTER (WHERE NOT gi.incident_id = ANY(%(incident_ids)s) AND i.state <> 'resolved') AS others_unresolved
    FROM notification_group_incidents gi
    JOIN incidents i ON i.space_id = gi.space_id AND i.id = gi.incident_id
    WHERE gi.space_id = g.space_id AND gi.group_id = g.id
) m ON EXISTS (SELECT FROM notification_group_incidents o
               WHERE o.space_id = g.space_id AND o.group_id = g.id AND o.incident_id = ANY(%(incident_ids)s))
WHERE g.space_id = %(space_id)s
  AND (g.closed_at IS NULL OR g.is_collection AND EXISTS (
      SELECT FROM messages q WHERE q.space_id = g.space_id AND q.group_id = g.id AND q.state = 'queued' AND q.attempts = 0))
ORDER BY g.id

-- name: lock_pending_messages
-- Those that no worker has leased yet; a lease waits until the evaluation has ended. A message that a person sent again is
-- none of them: the group was announced before.
SELECT id, group_id, coalesce(channel_id, user_id) AS recipient_id, event, due_at, happened_at
FROM messages
WHERE space_id = %(space_id)s AND state = 'queued' AND attempts = 0 AND group_id IS NOT NULL
  AND NOT starts_with(dedup_key, 'resend/')
ORDER BY id
FOR UPDATE

-- name: count_recent_messages
SELECT channel_id AS recipient_id, count(*) AS total FROM messages
WHERE space_id = %(space_id)s AND channel_id IS NOT NULL AND event = 'opened' AND state <> 'dropped'
  AND created_at > now() - interval '1 hour'
GROUP BY channel_id

-- name: insert_groups
INSERT INTO notification_groups (space_id, id, rule_id, channel_id, user_id, key, is_collection, opened_at, closed_at)
SELECT %(space_id)s, g.id, g.rule_id, g.channel_id, g.user_id, g.key, g.is_collection, g.opened_at, g.closed_at
FROM jsonb_to_recordset(%(rows)s) g(id uuid, rule_id uuid, channel_id uuid, user_id uuid, key text, is_collection boolean,
                                    opened_at timestamptz, closed_at timestamptz)

-- name: update_groups
UPDATE notification_groups g SET closed_at = n.closed_at
FROM jsonb_to_recordset(%(rows)s) n(id uuid, closed_at timestamptz)
WHERE g.space_id = %(space_id)s AND g.id = n.id

-- name: insert_group_incidents
INSERT INTO notification_group_incidents (space_id, group_id, incident_id)
SELECT %(space_id)s, n.group_id, n.incident_id
FROM jsonb_to_recordset(%(rows)s) n(group_id uuid, incident_id uuid)
ON CONFLICT DO NOTHING

-- name: insert_messages
INSERT INTO messages (space_id, id, group_id, channel_id, user_id, event, dedup_key, state, happened_at, due_at, reason)
SELECT %(space_id)s, m.id, m.group_id, m.channel_id, m.user_id, m.event, m.dedup_key, m.state, m.happened_at, m.due_at, m.reason
FROM jsonb_to_recordset(%(rows)s) m(id uuid, group_id uuid, channel_id uuid, user_id uuid, event text, dedup_key text, state text,
                                    happened_at timestamptz, due_at timestamptz, reason text)

-- name: update_messages
UPDATE messages m SET event = n.event, state = n.state
FROM jsonb_to_recordset(%(rows)s) n(id uuid, event text, state text)
WHERE m.space_id = %(space_id)s AND m.id = n.id AND m.state = 'queued'

-- name: insert_decisions
INSERT INTO notification_decisions (space_id, event_id, incident_id, rule_id, channel_id, user_id, message_id, outcome)
SELECT %(space_id)s, d.event_id, d.incident_id, d.rule_id, d.channel_id, d.user_id, d.message_id, d.outcome
FROM jsonb_to_recordset(%(rows)s) d(event_id uuid, incident_id uuid, rule_id uuid, channel_id uuid, user_id uuid, message_id uuid, outcome text)

-- name: finish_events
UPDATE incident_events SET evaluated_at = now() WHERE space_id = %(space_id)s AND id = ANY(%(event_ids)s)

-- name: list_groups_to_repeat
-- Open groups that were announced so long ago that their rule repeats them, with an incident that nobody has acknowledged.
SELECT g.id, g.rule_id, g.channel_id, g.user_id, g.notified_at, r.name AS rule_name, r.repeat_seconds, r.quiet_start, r.quiet_end,
       r.time_zone, r.critical_passes, i.id AS incident_id, coalesce(p.criticality, 'critical') AS criticality,
       (SELECT max(e.id::text)::uuid FROM incident_events e WHERE e.space_id = g.space_id AND e.incident_id = i.id) AS event_id
FROM notification_groups g
JOIN notification_rules r ON r.space_id = g.space_id AND r.id = g.rule_id
JOIN LATERAL (
    SELECT x.* FROM notification_group_incidents gi JOIN incidents x ON x.space_id = gi.space_id AND x.id = gi.incident_id
    WHERE gi.space_id = g.space_id AND gi.group_id = g.id AND x.state = 'open' AND x.held_back_by_incident_id IS NULL
    ORDER BY x.opened_at, x.id LIMIT 1
) i ON true
LEFT JOIN pipelines p ON p.space_id = i.space_id AND p.id = i.pipeline_id
WHERE g.space_id = %(space_id)s AND g.closed_at IS NULL AND r.is_active
  AND g.notified_at < now() - make_interval(secs => r.repeat_seconds)
  AND NOT EXISTS (SELECT FROM messages m WHERE m.space_id = g.space_id AND m.group_id = g.id AND m.state IN ('queued', 'sending'))
ORDER BY g.id
FOR UPDATE OF g

-- name: postpone_repeats
-- In quiet hours until those are over; where a reminder is queued for another interval, whether or not it will arrive.
UPDATE notification_groups g SET notified_at = n.notified_at
FROM jsonb_to_recordset(%(rows)s) n(id uuid, notified_at timestamptz)
WHERE g.space_id = %(space_id)s AND g.id = n.id

-- name: list_due_recipients
-- across spaces: the worker looks for recipients with a message to send
SELECT space_id, recipient_id AS id FROM due_messages()

-- fragment: lease
UPDATE messages m
SET state = 'sending', lease_id = gen_random_uuid(), lease_until = now() + make_interval(secs => %(lease_seconds)s),
    attempts = m.attempts + 1, ambiguous = m.ambiguous + (due.state = 'sending')::integer
FROM due
WHERE m.space_id = %(space_id)s AND m.id = due.id
RETURNING m.id, m.lease_id, m.channel_id, m.user_id, m.group_id, m.event, m.attempts, m.ambiguous, m.is_repetition, m.reason,
          m.content, m.happened_at, m.created_at, due.state = 'sending' AS is_taken_over

-- name: lease_next_message
-- The oldest due message of a recipient; of a group none overtakes an earlier one.
WITH due AS (
    SELECT m.id, m.state
    FROM messages m
    WHERE m.space_id = %(space_id)s AND coalesce(m.channel_id, m.user_id) = %(recipient_id)s
      AND (m.state = 'queued' AND m.due_at <= now() OR m.state = 'sending' AND m.lease_until < now())
      AND NOT EXISTS (SELECT FROM messages o
                      WHERE o.space_id = m.space_id AND o.group_id = m.group_id AND o.id < m.id AND o.state IN ('queued', 'sending'))
    ORDER BY m.due_at, m.id
    LIMIT 1
    FOR UPDATE SKIP LOCKED
)
{lease}

-- name: lease_message
WITH due AS (
    SELECT m.id, m.state FROM messages m WHERE m.space_id = %(space_id)s AND m.id = %(message_id)s AND m.state = 'queued' FOR UPDATE
)
{lease}

-- name: close_lost_attempts
-- Their process ended before it recorded a response.
UPDATE message_attempts SET outcome = 'ambiguous', detail = 'The process ended before it recorded a response.'
WHERE space_id = %(space_id)s AND message_id = %(message_id)s AND outcome IS NULL

-- name: insert_attempt
INSERT INTO message_attempts (space_id, message_id, number) VALUES (%(space_id)s, %(message_id)s, %(number)s)

-- name: prepare_message
UPDATE messages SET content = %(content)s, is_repetition = %(is_repetition)s
WHERE space_id = %(space_id)s AND id = %(message_id)s AND lease_id = %(lease_id)s

-- name: finish_attempt
UPDATE message_attempts SET outcome = %(outcome)s, status = %(status)s, ms = %(ms)s, detail = %(detail)s
WHERE space_id = %(space_id)s AND message_id = %(message_id)s AND number = %(number)s AND outcome IS NULL

-- name: release_message
-- Only its lease may: another process may have taken it over.
UPDATE messages
SET state = %(state)s, lease_id = NULL, lease_until = NULL, detail = %(detail)s,
    ambiguous = ambiguous + %(ambiguous)s, is_repetition = is_repetition OR %(is_repetition)s,
    due_at = CASE WHEN %(state)s = 'queued' THEN now() + make_interval(secs => %(delay)s) ELSE due_at END,
    sent_at = CASE WHEN %(state)s = 'sent' THEN now() ELSE sent_at END
WHERE space_id = %(space_id)s AND id = %(message_id)s AND lease_id = %(lease_id)s
RETURNING extract(epoch FROM now() - happened_at)::float8 AS latency

-- name: note_group_sent
UPDATE notification_groups SET notified_at = now(), ref = coalesce(%(ref)s::jsonb, ref)
WHERE space_id = %(space_id)s AND id = %(group_id)s

-- name: note_channel_delivery
UPDATE channels SET last_delivered_at = now(), failing_since = NULL, last_error = NULL, disabled_at = NULL, disabled_reason = NULL
WHERE space_id = %(space_id)s AND id = %(channel_id)s

-- name: note_channel_failure
UPDATE channels SET failing_since = coalesce(failing_since, now()), last_error = %(detail)s
WHERE space_id = %(space_id)s AND id = %(channel_id)s

-- name: disable_channel
UPDATE channels SET disabled_at = now(), disabled_reason = %(detail)s, last_error = %(detail)s, failing_since = coalesce(failing_since, now())
WHERE space_id = %(space_id)s AND id = %(channel_id)s AND disabled_at IS NULL
RETURNING name

-- name: refuse_email
-- across spaces: the settings of a user are the same in all
INSERT INTO notification_settings (user_id, email_refused_at) VALUES (%(user_id)s, now())
ON CONFLICT (user_id) DO UPDATE SET email_refused_at = now()

-- name: list_admins_to_notify
SELECT u.id FROM memberships m JOIN users u ON u.id = m.user_id
LEFT JOIN notification_settings s ON s.user_id = u.id
WHERE m.space_id = %(space_id)s AND m.role = 'admin' AND u.is_active AND coalesce(s.email_enabled, true) AND s.email_refused_at IS NULL
  AND NOT coalesce(%(space_id)s = ANY(s.muted_space_ids), false)
ORDER BY u.id

-- name: find_other_channel
SELECT id FROM channels
WHERE space_id = %(space_id)s AND id <> %(channel_id)s AND is_active AND disabled_at IS NULL
ORDER BY kind <> 'email', failing_since IS NOT NULL, id
LIMIT 1

-- name: insert_message
INSERT INTO messages (space_id, id, group_id, channel_id, user_id, event, dedup_key, due_at, reason, content)
VALUES (%(space_id)s, %(message_id)s, %(group_id)s, %(channel_id)s, %(user_id)s, %(event)s, %(dedup_key)s,
        now() + make_interval(secs => %(delay)s), %(reason)s, %(content)s)
ON CONFLICT DO NOTHING

-- name: get_channel_to_use
SELECT id, name, kind, config, secret, is_active, disabled_at IS NOT NULL AS is_disabled FROM channels
WHERE space_id = %(space_id)s AND id = %(channel_id)s

-- name: get_recipient
-- A user as a recipient of this space: nothing for one who has left it.
SELECT u.id, u.email, coalesce(s.email_enabled, true) AND s.email_refused_at IS NULL
                      AND NOT coalesce(%(space_id)s = ANY(s.muted_space_ids), false) AS is_reachable
FROM users u LEFT JOIN notification_settings s ON s.user_id = u.id
WHERE u.id = %(user_id)s AND u.is_active
  AND (u.is_superadmin OR EXISTS (SELECT FROM memberships m WHERE m.space_id = %(space_id)s AND m.user_id = u.id))

-- name: get_space_name
SELECT slug, name FROM spaces WHERE id = %(space_id)s

-- name: get_group
SELECT id, rule_id, opened_at, closed_at, ref FROM notification_groups WHERE space_id = %(space_id)s AND id = %(group_id)s

-- name: get_group_items
SELECT i.id AS incident_id, coalesce(p.name, c.name) AS name, i.kind, i.state, coalesce(p.criticality, 'critical') AS criticality,
       t.name AS team, c.name AS connector, coalesce(f.name, f.title) AS error, i.occurrences, i.opened_at, i.resolved_at,
       count(*) OVER () AS total, count(*) FILTER (WHERE i.state <> 'resolved') OVER () AS unresolved
FROM notification_group_incidents gi
JOIN incidents i ON i.space_id = gi.space_id AND i.id = gi.incident_id
JOIN connectors c ON c.space_id = i.space_id AND c.id = i.connector_id
LEFT JOIN pipelines p ON p.space_id = i.space_id AND p.id = i.pipeline_id
LEFT JOIN teams t ON t.space_id = p.space_id AND t.id = p.team_id
LEFT JOIN fingerprints f ON f.space_id = i.space_id AND f.id = i.fingerprint_id
WHERE gi.space_id = %(space_id)s AND gi.group_id = %(group_id)s
ORDER BY i.state = 'resolved', array_position(ARRAY['critical', 'high', 'medium', 'low'], coalesce(p.criticality, 'critical')), i.opened_at, i.id
LIMIT %(most)s

-- name: get_notification_statistics
-- across spaces: of all together
SELECT kind, criticality, incidents, oldest_seconds FROM notification_statistics()
