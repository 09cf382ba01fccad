-- Pipelines that are read one by one, since the account may read single DAGs only.

-- fragment: readable
-- Pipelines that the last list of DAGs held.
FROM pipelines p
LEFT JOIN pipeline_reads r ON r.space_id = %(space_id)s AND r.pipeline_id = p.id
WHERE p.space_id = %(space_id)s AND p.connector_id = %(connector_id)s AND p.missing_since_sync_id IS NULL AND p.removed_at IS NULL

-- name: pipelines_in_turn
-- Those that were never read, then the least recently read; one with an unfinished run counts as read some minutes
-- earlier. A refused one is asked again after a while. A full sync (began_at) reads each that it has not checked yet.
SELECT p.id, p.external_id, p.needs_backfill, r.watermark, r.reconciled_at
{readable}
  AND (r.refused_at IS NULL OR r.refused_at < now() - %(patience)s::interval)
  AND (r.reconciled_at IS NULL OR r.reconciled_at < %(began_at)s)  -- if began_at
ORDER BY greatest(r.read_at, r.refused_at)
         - CASE WHEN p.status IN ('queued', 'running') THEN %(head_start)s::interval ELSE interval '0' END NULLS FIRST,
         p.external_id

-- name: sum_up_reads
-- refused: with the newest names first. unread: what the next syncs have still to begin with.
SELECT count(*) AS pipelines, min(r.watermark) FILTER (WHERE NOT p.needs_backfill) AS watermark,
       min(r.read_at) FILTER (WHERE NOT p.needs_backfill) AS read_at,
       count(*) FILTER (WHERE r.refused_at IS NULL AND p.needs_backfill) AS unread,
       count(*) FILTER (WHERE r.refused_at IS NULL AND r.reconciled_at IS NULL) AS unchecked,
       coalesce(array_agg(p.external_id ORDER BY p.external_id) FILTER (WHERE r.refused_at IS NOT NULL), '{}') AS refused
{readable}

-- name: save_read
INSERT INTO pipeline_reads (space_id, pipeline_id, watermark, read_at, reconciled_at)
VALUES (%(space_id)s, %(pipeline_id)s, %(watermark)s, %(read_at)s, %(reconciled_at)s)
ON CONFLICT (space_id, pipeline_id) DO UPDATE
SET watermark = excluded.watermark, read_at = excluded.read_at, refused_at = NULL, reconciled_at = excluded.reconciled_at

-- name: correct_reads
UPDATE pipeline_reads r SET watermark = %(watermark)s
FROM pipelines p
WHERE r.space_id = %(space_id)s AND p.space_id = %(space_id)s AND p.id = r.pipeline_id AND p.connector_id = %(connector_id)s
  AND r.watermark > %(watermark)s

-- name: save_refusal
INSERT INTO pipeline_reads (space_id, pipeline_id, refused_at) VALUES (%(space_id)s, %(pipeline_id)s, now())
ON CONFLICT (space_id, pipeline_id) DO UPDATE SET refused_at = now()

-- name: require_backfill
-- What happens to a refused pipeline meanwhile is not followed.
UPDATE pipelines SET needs_backfill = true
WHERE space_id = %(space_id)s AND connector_id = %(connector_id)s AND NOT needs_backfill
  AND id = %(pipeline_id)s  -- if pipeline_id

-- name: begin_reads
-- Where all of them were read together until now.
INSERT INTO pipeline_reads (space_id, pipeline_id, watermark, read_at)
SELECT %(space_id)s, p.id, %(watermark)s, %(read_at)s
FROM pipelines p
WHERE p.space_id = %(space_id)s AND p.connector_id = %(connector_id)s AND NOT p.needs_backfill
ON CONFLICT (space_id, pipeline_id) DO NOTHING

-- name: delete_reads
DELETE FROM pipeline_reads r USING pipelines p
WHERE r.space_id = %(space_id)s AND p.space_id = %(space_id)s AND p.id = r.pipeline_id AND p.connector_id = %(connector_id)s
