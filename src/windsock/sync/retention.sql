-- fragment: expired_fingerprint
-- Without a failure of any run that is kept, and without what users add: name, runbook, merges, splits.
g.name IS NULL AND g.runbook_comment_id IS NULL AND g.merged_into IS NULL AND g.split_from IS NULL
  AND NOT EXISTS (SELECT FROM fingerprints o WHERE o.space_id = %(space_id)s AND o.merged_into = g.id)
  AND NOT EXISTS (SELECT FROM fingerprints o WHERE o.space_id = %(space_id)s AND o.split_from = g.id)
  AND NOT EXISTS (SELECT FROM task_failures f WHERE f.space_id = %(space_id)s AND f.fingerprint_id = g.id)
  AND NOT EXISTS (SELECT FROM task_failures f WHERE f.space_id = %(space_id)s AND f.computed_fingerprint_id = g.id)

-- name: list_spaces_with_retention
-- across spaces: ids only; the deleting is done within each
SELECT space_id, retention_days FROM list_spaces_with_retention()

-- name: delete_old_runs
-- A small batch with what hangs on it; two workers take different ones.
DELETE FROM runs r USING (
    SELECT o.id FROM runs o
    -- The first condition has an index; run_at is never earlier.
    WHERE o.space_id = %(space_id)s AND coalesce(o.run_after, o.logical_date) < %(before)s AND o.run_at < %(before)s
      AND o.status NOT IN ('queued', 'running')
    ORDER BY coalesce(o.run_after, o.logical_date)
    LIMIT %(most)s
    FOR UPDATE SKIP LOCKED
) old
WHERE r.space_id = %(space_id)s AND r.id = old.id
RETURNING r.pipeline_id, ARRAY(
    SELECT f.fingerprint_id FROM task_failures f
    WHERE f.space_id = %(space_id)s AND f.run_id = r.id AND f.fingerprint_id IS NOT NULL
) AS fingerprint_ids

-- name: lock_fingerprints
-- In one order, as users and the reader of failures change them at the same time.
SELECT id FROM fingerprints
WHERE space_id = %(space_id)s AND id = ANY (%(ids)s::uuid[])
ORDER BY id
FOR UPDATE

-- name: refresh_fingerprints
{update_fingerprint_counts}

-- name: lock_expired_fingerprints
SELECT g.id FROM fingerprints g
WHERE g.space_id = %(space_id)s AND g.last_seen_at < %(before)s AND {expired_fingerprint}
ORDER BY g.last_seen_at, g.id
LIMIT %(most)s
FOR UPDATE SKIP LOCKED

-- name: delete_expired_fingerprints
-- Of locked ones, to which no failure can be added: one that was added before they were locked is seen here.
DELETE FROM fingerprints g
WHERE g.space_id = %(space_id)s AND g.id = ANY (%(ids)s::uuid[]) AND {expired_fingerprint}

-- name: delete_old_actions
DELETE FROM actions q USING (
    SELECT o.id FROM actions o
    WHERE o.space_id = %(space_id)s AND o.created_at < now() - interval '90 days'
    ORDER BY o.created_at
    LIMIT %(most)s
    FOR UPDATE SKIP LOCKED
) old
WHERE q.space_id = %(space_id)s AND q.id = old.id

-- name: delete_old_bulk_clears
DELETE FROM bulk_clears b USING (
    SELECT o.id FROM bulk_clears o
    WHERE o.space_id = %(space_id)s AND o.created_at < now() - interval '90 days'
    ORDER BY o.created_at
    LIMIT %(most)s
    FOR UPDATE SKIP LOCKED
) old
WHERE b.space_id = %(space_id)s AND b.id = old.id
