-- name: skipped_rows
SELECT identity, kind, pipeline_external_id, run_external_id, task_external_id, region_id, region_index, map_index, fields,
       reason, unlisted, is_mirrored, task_runs, window_start, window_end, changed_from, changed_until
FROM skipped_rows
WHERE space_id = %(space_id)s AND connector_id = %(connector_id)s
ORDER BY last_seen_at, identity
LIMIT %(most)s

-- name: save_skipped_rows
-- The window is that of the narrowest reading in which the row was met; of a mirrored run it is known.
INSERT INTO skipped_rows AS s (space_id, connector_id, identity, kind, pipeline_external_id, run_external_id,
                               task_external_id, region_id, region_index, map_index, fields, reason, unlisted,
                               is_mirrored, window_start, window_end, changed_from, changed_until, sync_id)
SELECT %(space_id)s, %(connector_id)s, i.identity, i.kind, i.pipeline_external_id, i.run_external_id, i.task_external_id,
       i.region_id, i.region_index, i.map_index, i.fields, i.reason, i.unlisted,
       CASE i.kind
           WHEN 'pipelines' THEN EXISTS (
               SELECT FROM pipelines p
               WHERE p.space_id = %(space_id)s AND p.connector_id = %(connector_id)s
                 AND p.external_id = i.pipeline_external_id AND p.removed_at IS NULL)
           WHEN 'runs' THEN r.id IS NOT NULL
           ELSE EXISTS (
               SELECT FROM task_runs t
               WHERE t.space_id = %(space_id)s AND t.run_id = r.id AND t.external_id = i.task_external_id
                 AND t.map_index = coalesce(i.map_index, -1) AND t.removed_at IS NULL
                 AND (i.region_id IS NULL OR (t.region_id, t.region_index) = (i.region_id, coalesce(i.region_index, -1))))
       END,
       coalesce(r.position, i.window_start), coalesce(r.position, i.window_end), i.changed_from, i.changed_until, %(sync_id)s
FROM jsonb_to_recordset(%(rows)s) AS i (
    identity uuid, kind text, pipeline_external_id text, run_external_id text, task_external_id text, region_id text,
    region_index bigint, map_index bigint, fields text[], reason text, unlisted integer, window_start timestamptz, window_end timestamptz,
    changed_from timestamptz, changed_until timestamptz)
LEFT JOIN LATERAL (
    SELECT r.id, coalesce(r.run_after, r.logical_date) AS position
    FROM pipelines p JOIN runs r ON r.space_id = %(space_id)s AND r.pipeline_id = p.id
    WHERE p.space_id = %(space_id)s AND p.connector_id = %(connector_id)s AND p.external_id = i.pipeline_external_id
      AND r.external_id = i.run_external_id AND r.removed_at IS NULL
    LIMIT 1
) r ON true
ON CONFLICT (space_id, connector_id, identity) DO UPDATE
SET fields = excluded.fields, reason = excluded.reason, unlisted = excluded.unlisted, is_mirrored = excluded.is_mirrored,
    window_start = excluded.window_start, window_end = excluded.window_end,
    changed_from = excluded.changed_from, changed_until = excluded.changed_until, sync_id = excluded.sync_id, last_seen_at = now()
RETURNING identity, is_mirrored, window_start, window_end

-- name: forget_skipped_rows
DELETE FROM skipped_rows
WHERE space_id = %(space_id)s AND connector_id = %(connector_id)s AND identity = ANY (%(identities)s::uuid[])

-- name: touch_skipped_rows
UPDATE skipped_rows SET last_seen_at = now()
WHERE space_id = %(space_id)s AND connector_id = %(connector_id)s AND identity = ANY (%(identities)s::uuid[])

-- name: clear_changes_of_skipped_rows
UPDATE skipped_rows SET changed_from = NULL, changed_until = NULL
WHERE space_id = %(space_id)s AND connector_id = %(connector_id)s AND identity = ANY (%(identities)s::uuid[])

-- name: save_task_runs_of_skipped_rows
UPDATE skipped_rows s SET task_runs = i.task_runs
FROM jsonb_to_recordset(%(rows)s) AS i (identity uuid, task_runs integer)
WHERE s.space_id = %(space_id)s AND s.connector_id = %(connector_id)s AND s.identity = i.identity

-- name: summarize_skipped_rows
-- The rows that a sync names, and how many there are.
SELECT kind, pipeline_external_id, run_external_id, task_external_id, region_id, region_index, map_index, fields, reason, unlisted,
       count(*) OVER () AS total
FROM skipped_rows
WHERE space_id = %(space_id)s AND connector_id = %(connector_id)s
ORDER BY first_seen_at, identity
LIMIT %(most)s

-- fragment: skipped
-- Ids that the provider did not show may be any.
jsonb_to_recordset(%(rows)s) AS i (
    pipeline_external_id text, run_external_id text, task_external_id text, region_id text, region_index bigint, map_index bigint)

-- name: skipped_runs
-- Mirrored runs that a skipped row may be: not seeing them proves nothing.
SELECT DISTINCT r.id
FROM {skipped}, pipelines p JOIN runs r ON r.space_id = %(space_id)s AND r.pipeline_id = p.id
WHERE p.space_id = %(space_id)s AND p.connector_id = %(connector_id)s AND r.removed_at IS NULL
  AND coalesce(r.run_after, r.logical_date) >= %(start)s
  AND (%(end)s::timestamptz IS NULL OR coalesce(r.run_after, r.logical_date) < %(end)s)
  AND (i.pipeline_external_id IS NULL OR i.pipeline_external_id = p.external_id)
  AND (i.run_external_id IS NULL OR i.run_external_id = r.external_id)

-- name: skipped_task_runs
SELECT DISTINCT t.id
FROM {skipped}, pipelines p JOIN runs r ON r.space_id = %(space_id)s AND r.pipeline_id = p.id
                            JOIN task_runs t ON t.space_id = %(space_id)s AND t.run_id = r.id
WHERE p.space_id = %(space_id)s AND p.connector_id = %(connector_id)s AND t.removed_at IS NULL
  AND (%(start)s::timestamptz IS NULL OR coalesce(r.run_after, r.logical_date) >= %(start)s)
  AND (%(end)s::timestamptz IS NULL OR coalesce(r.run_after, r.logical_date) < %(end)s)
  AND (i.pipeline_external_id IS NULL OR i.pipeline_external_id = p.external_id)
  AND (i.run_external_id IS NULL OR i.run_external_id = r.external_id)
  AND (i.task_external_id IS NULL OR i.task_external_id = t.external_id)
  AND (i.region_id IS NULL OR (i.region_id, coalesce(i.region_index, -1)) = (t.region_id, t.region_index))
  AND (i.map_index IS NULL OR i.map_index = t.map_index)
