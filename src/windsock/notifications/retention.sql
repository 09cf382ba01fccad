-- Deletes messages, groups and decisions after 90 days.

-- name: delete_old_messages
-- Decisions and groups go with what they belong to, or after the same time.
DELETE FROM messages WHERE space_id = %(space_id)s AND id IN (
    SELECT m.id FROM messages m
    WHERE m.space_id = %(space_id)s AND m.state IN ('sent', 'failed', 'dropped') AND m.created_at < now() - interval '90 days'
    ORDER BY m.created_at LIMIT %(most)s)

-- name: delete_old_groups
-- Also open ones whose incidents were deleted: nothing will close them.
DELETE FROM notification_groups g WHERE g.space_id = %(space_id)s AND g.id IN (
    SELECT o.id FROM notification_groups o
    WHERE o.space_id = %(space_id)s AND (o.closed_at < now() - interval '90 days' OR o.opened_at < now() - interval '90 days' AND NOT EXISTS (
        SELECT FROM notification_group_incidents i WHERE i.space_id = o.space_id AND i.group_id = o.id))
    ORDER BY o.id LIMIT %(most)s)

-- name: delete_old_decisions
-- Ids ascend with the time, so that only the first ones are read.
DELETE FROM notification_decisions WHERE space_id = %(space_id)s AND id IN (
    SELECT o.id FROM (SELECT d.id, d.created_at FROM notification_decisions d
                      WHERE d.space_id = %(space_id)s ORDER BY d.id LIMIT %(most)s) o
    WHERE o.created_at < now() - interval '90 days')

-- name: list_all_space_ids
-- across spaces: what is old is deleted in each, in its own transaction
SELECT id AS space_id FROM spaces ORDER BY id
