-- Deletes resolved incidents after the retention of their space.

-- name: list_spaces_with_retention
-- across spaces: ids only; the deleting is done within each
SELECT space_id, retention_days FROM list_spaces_with_retention() WHERE retention_days IS NOT NULL

-- name: delete_old_incidents
-- With their events, decisions and places in groups. Not while a message or a decision about them is kept, or while they hold
-- back another one; nor those that a regression could reopen.
DELETE FROM incidents i USING (
    SELECT o.id FROM incidents o
    WHERE o.space_id = %(space_id)s AND o.resolved_at < %(before)s AND o.resolved_at < now() - interval '25 hours'
      AND NOT EXISTS (SELECT FROM incidents h
                      WHERE h.space_id = %(space_id)s AND h.held_back_by_incident_id = o.id AND h.state <> 'resolved')
      AND NOT EXISTS (SELECT FROM notification_decisions d WHERE d.space_id = %(space_id)s AND d.incident_id = o.id)
      AND NOT EXISTS (SELECT FROM notification_group_incidents g
                      JOIN messages m ON m.space_id = %(space_id)s AND m.group_id = g.group_id
                      WHERE g.space_id = %(space_id)s AND g.incident_id = o.id)
    ORDER BY o.resolved_at
    LIMIT %(most)s
    FOR UPDATE SKIP LOCKED
) old
WHERE i.space_id = %(space_id)s AND i.id = old.id
