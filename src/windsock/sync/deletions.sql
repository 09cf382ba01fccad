-- Each miss_… statement marks what was not seen in something that was read whole; what a complete sync before this one
-- had not seen either is marked gone. Only remove_…, at the end of a complete pass, takes it away; what people wrote
-- stays. They answer with how many were marked: what is held back as gone is not marked, nor counted, again.

-- fragment: seen_missing_before
-- By a sync that ended complete; one that broke off proves nothing.
EXISTS (SELECT FROM sync_runs s
        WHERE s.space_id = %(space_id)s AND s.id = x.missing_since_sync_id AND s.status = 'complete') AS is_again

-- fragment: unconfirmed
-- Not yet gone by the word of a sync that ended complete (those that are forgotten by now did).
(x.deleted_by_sync_id IS NULL OR EXISTS (SELECT FROM sync_runs s
                              WHERE s.space_id = %(space_id)s AND s.id = x.deleted_by_sync_id AND s.status <> 'complete'))

-- fragment: confirmed_deleted
-- Found gone by this sync, which is complete, or by one that was.
x.deleted_by_sync_id IS NOT NULL
  AND (%(sync_id)s::uuid IS NULL OR x.deleted_by_sync_id = %(sync_id)s
       OR NOT EXISTS (SELECT FROM sync_runs s
                      WHERE s.space_id = %(space_id)s AND s.id = x.deleted_by_sync_id AND s.status <> 'complete'))

-- fragment: set_missing_marks
-- What the log names is gone at the first look: both marks are of one sync then.
missing_since_sync_id = CASE WHEN m.is_again THEN coalesce(x.missing_since_sync_id, %(sync_id)s) ELSE %(sync_id)s END,
deleted_by_sync_id = CASE WHEN m.is_again THEN %(sync_id)s::uuid END, updated_at = now()

-- name: mark_missing_pipelines
-- deleted: what the provider's log says was deleted; that and its absence are two observations.
WITH missing AS MATERIALIZED (
    SELECT y.id, y.is_again OR y.external_id = ANY (%(deleted)s) AS is_again
    FROM (SELECT x.id, x.external_id, {seen_missing_before}
          FROM pipelines x
          WHERE x.space_id = %(space_id)s AND x.connector_id = %(connector_id)s AND x.removed_at IS NULL
            AND x.missing_since_sync_id IS DISTINCT FROM %(sync_id)s AND {unconfirmed}
            AND NOT EXISTS (SELECT FROM unnest(%(seen)s::uuid[]) AS s (id) WHERE s.id = x.id)) y
)
UPDATE pipelines x
SET {set_missing_marks},
    -- As of when it was still there to be read.
    last_synced_at = greatest(x.last_synced_at, CASE WHEN x.missing_since_sync_id IS NULL THEN y.last_complete_at END)
FROM missing m, sync_states y
WHERE x.space_id = %(space_id)s AND x.id = m.id
  AND y.space_id = %(space_id)s AND y.connector_id = %(connector_id)s

-- name: position_of_run
-- Where the provider's lists would have it in time.
SELECT coalesce(r.run_after, r.logical_date) AS position
FROM pipelines p
JOIN runs r ON r.space_id = %(space_id)s AND r.pipeline_id = p.id AND r.external_id = %(run_id)s AND NOT r.is_replaced
WHERE p.space_id = %(space_id)s AND p.connector_id = %(connector_id)s AND p.external_id = %(dag_id)s

-- name: mark_run_deleted
-- The provider's log and its 404 agree, or two 404s in two syncs.
UPDATE runs r SET missing_since_sync_id = %(sync_id)s, deleted_by_sync_id = %(sync_id)s, updated_at = now()
FROM pipelines p
WHERE p.space_id = %(space_id)s AND p.connector_id = %(connector_id)s AND p.external_id = %(dag_id)s
  AND r.space_id = %(space_id)s AND r.pipeline_id = p.id AND r.external_id = %(run_id)s
  AND NOT r.is_replaced AND r.removed_at IS NULL

-- name: mark_missing_run
-- One that the mirror takes for unfinished, and that the provider does not have when it is asked for it.
WITH missing AS MATERIALIZED (
    SELECT x.id, {seen_missing_before}
    FROM pipelines p JOIN runs x ON x.space_id = %(space_id)s AND x.pipeline_id = p.id
    WHERE p.space_id = %(space_id)s AND p.connector_id = %(connector_id)s AND p.external_id = %(dag_id)s
      AND p.missing_since_sync_id IS NULL AND p.removed_at IS NULL
      AND x.external_id = %(run_id)s AND NOT x.is_replaced AND x.removed_at IS NULL AND x.archived_at IS NULL
      AND x.missing_since_sync_id IS DISTINCT FROM %(sync_id)s AND {unconfirmed}
)
UPDATE runs x SET {set_missing_marks}
FROM missing m WHERE x.space_id = %(space_id)s AND x.id = m.id

-- name: mark_task_runs_deleted
-- All task runs of a run were read after the log had an entry about it.
UPDATE task_runs t SET missing_since_sync_id = %(sync_id)s, deleted_by_sync_id = %(sync_id)s, updated_at = now()
FROM pipelines p
JOIN runs r ON r.space_id = %(space_id)s AND r.pipeline_id = p.id AND r.external_id = %(run_id)s AND NOT r.is_replaced
WHERE p.space_id = %(space_id)s AND p.connector_id = %(connector_id)s AND p.external_id = %(dag_id)s
  AND t.space_id = %(space_id)s AND t.run_id = r.id AND t.removed_at IS NULL AND t.created_at < %(scan_started_at)s
  AND (%(is_proven)s OR t.loop_id IS NOT NULL)
  AND NOT EXISTS (SELECT FROM unnest(%(seen)s::uuid[]) AS s (id) WHERE s.id = t.id)

-- name: remove_pipelines
UPDATE pipelines x SET removed_at = now(), is_active = false, deleted_by_sync_id = NULL, updated_at = now()
WHERE x.space_id = %(space_id)s AND x.connector_id = %(connector_id)s AND x.removed_at IS NULL AND {confirmed_deleted}
RETURNING x.id

-- fragment: fully_scanned
-- Runs in a window of time that was read from end to end, of pipelines that the listing of this pass held.
r.space_id = %(space_id)s AND p.space_id = %(space_id)s AND p.id = r.pipeline_id
  AND p.connector_id = %(connector_id)s AND p.missing_since_sync_id IS NULL AND p.removed_at IS NULL
  AND p.id = %(pipeline_id)s  -- if pipeline_id
  AND coalesce(r.run_after, r.logical_date) >= %(start)s
  AND (%(end)s::timestamptz IS NULL OR coalesce(r.run_after, r.logical_date) < %(end)s)
  AND x.removed_at IS NULL AND x.archived_at IS NULL AND x.created_at < %(scan_started_at)s
  AND x.missing_since_sync_id IS DISTINCT FROM %(sync_id)s AND {unconfirmed}
  AND NOT EXISTS (SELECT FROM unnest(%(seen)s::uuid[]) AS s (id) WHERE s.id = x.id)

-- name: mark_missing_runs
WITH missing AS MATERIALIZED (
    SELECT x.id, {seen_missing_before}
    FROM runs r, pipelines p, runs x
    WHERE {fully_scanned}
      AND x.space_id = %(space_id)s AND x.id = r.id
)
UPDATE runs x SET {set_missing_marks}
FROM missing m WHERE x.space_id = %(space_id)s AND x.id = m.id

-- name: mark_missing_task_runs
WITH missing AS MATERIALIZED (
    SELECT x.id, {seen_missing_before}
    FROM runs r, pipelines p, task_runs x
    WHERE {fully_scanned}
      AND x.space_id = %(space_id)s AND x.run_id = r.id AND r.removed_at IS NULL AND r.missing_since_sync_id IS NULL
      AND r.archived_at IS NULL
)
UPDATE task_runs x SET {set_missing_marks}
FROM missing m WHERE x.space_id = %(space_id)s AND x.id = m.id

-- name: archive_runs
-- What went with everything older of its pipeline was not deleted by somebody but cleaned up; ours outlives that. Not
-- so what the provider's log says was deleted (found gone by the sync that first missed it). `airflow db clean` goes by
-- start_date and keeps the last scheduled run of each DAG, so that a few older ones may stand.
UPDATE runs x SET archived_at = now(), missing_since_sync_id = NULL, deleted_by_sync_id = NULL, updated_at = now()
FROM pipelines p, LATERAL (
    SELECT count(*) AS gone FROM runs g
    WHERE g.space_id = %(space_id)s AND g.pipeline_id = p.id AND g.deleted_by_sync_id = %(sync_id)s
) many, LATERAL (
    -- The oldest run that is left, but for one in five of those that are gone.
    SELECT min(o.run_at) AS run_at
    FROM (SELECT k.run_at FROM runs k
          WHERE k.space_id = %(space_id)s AND k.pipeline_id = p.id
            AND k.missing_since_sync_id IS NULL AND k.removed_at IS NULL AND k.archived_at IS NULL
          ORDER BY k.run_at OFFSET many.gone / 5 LIMIT 1) o
) oldest_left
WHERE p.space_id = %(space_id)s AND p.connector_id = %(connector_id)s AND many.gone > 0
  AND x.space_id = %(space_id)s AND x.pipeline_id = p.id AND x.deleted_by_sync_id = %(sync_id)s AND x.missing_since_sync_id <> %(sync_id)s
  AND x.run_at < now() - interval '7 days'
  AND x.run_at <= coalesce(oldest_left.run_at, 'infinity')

-- name: archive_task_runs
UPDATE task_runs x SET archived_at = now(), missing_since_sync_id = NULL, deleted_by_sync_id = NULL, updated_at = now()
FROM pipelines p JOIN runs r ON r.space_id = %(space_id)s AND r.pipeline_id = p.id
WHERE p.space_id = %(space_id)s AND p.connector_id = %(connector_id)s
  AND x.space_id = %(space_id)s AND x.run_id = r.id AND x.deleted_by_sync_id = %(sync_id)s AND x.missing_since_sync_id <> %(sync_id)s
  AND r.run_at < now() - interval '7 days'
  AND NOT EXISTS (SELECT FROM task_runs o
                  WHERE o.space_id = %(space_id)s AND o.run_id = x.run_id
                    AND o.missing_since_sync_id IS NULL AND o.removed_at IS NULL AND o.archived_at IS NULL)

-- name: get_pending_deletions
-- What is marked gone now, by whichever sync, against what there is, without what the log names (both marks are of one
-- sync then); of runs only the young, of task runs only whole runs. A pipeline that came since is no sign that the
-- others were deleted.
WITH gone_tasks AS MATERIALIZED (
    SELECT t.run_id, count(*) AS gone,
           (SELECT count(*) FROM task_runs o
            WHERE o.space_id = %(space_id)s AND o.run_id = t.run_id AND o.removed_at IS NULL) AS known
    FROM pipelines p
    JOIN runs r ON r.space_id = %(space_id)s AND r.pipeline_id = p.id
    JOIN task_runs t ON t.space_id = %(space_id)s AND t.run_id = r.id AND t.deleted_by_sync_id IS NOT NULL
    WHERE p.space_id = %(space_id)s AND p.connector_id = %(connector_id)s
    GROUP BY t.run_id
)
SELECT (SELECT count(*) FROM pipelines WHERE space_id = %(space_id)s AND connector_id = %(connector_id)s
                                         AND deleted_by_sync_id IS NOT NULL AND missing_since_sync_id <> deleted_by_sync_id) AS pipelines,
       (SELECT count(*) FROM pipelines WHERE space_id = %(space_id)s AND connector_id = %(connector_id)s
                                         AND removed_at IS NULL AND created_at < %(since)s) AS known_pipelines,
       (SELECT array_agg(external_id ORDER BY external_id)
        FROM (SELECT external_id FROM pipelines WHERE space_id = %(space_id)s AND connector_id = %(connector_id)s
                                                  AND deleted_by_sync_id IS NOT NULL AND missing_since_sync_id <> deleted_by_sync_id
              ORDER BY external_id LIMIT 10) e) AS examples,
       (SELECT count(*) FROM runs r JOIN pipelines p ON p.space_id = %(space_id)s AND p.id = r.pipeline_id
        WHERE r.space_id = %(space_id)s AND p.connector_id = %(connector_id)s AND r.deleted_by_sync_id IS NOT NULL
          AND r.missing_since_sync_id <> r.deleted_by_sync_id AND r.effective_start_at >= now() - interval '7 days') AS runs,
       (SELECT count(*) FROM gone_tasks WHERE gone = known) AS emptied_runs,
       (SELECT coalesce(sum(gone), 0) FROM gone_tasks WHERE gone = known)::bigint AS task_runs

-- name: count_recent_runs
SELECT count(*) AS total FROM runs r JOIN pipelines p ON p.space_id = %(space_id)s AND p.id = r.pipeline_id
WHERE r.space_id = %(space_id)s AND p.connector_id = %(connector_id)s AND r.removed_at IS NULL
  AND r.effective_start_at >= now() - interval '7 days'

-- name: remove_runs
UPDATE runs x SET removed_at = now(), deleted_by_sync_id = NULL, updated_at = now()
FROM pipelines p
WHERE p.space_id = %(space_id)s AND p.connector_id = %(connector_id)s
  AND x.space_id = %(space_id)s AND x.pipeline_id = p.id AND x.removed_at IS NULL AND {confirmed_deleted}
RETURNING x.pipeline_id

-- name: remove_task_runs
UPDATE task_runs x SET removed_at = now(), deleted_by_sync_id = NULL, updated_at = now()
FROM pipelines p JOIN runs r ON r.space_id = %(space_id)s AND r.pipeline_id = p.id
WHERE p.space_id = %(space_id)s AND p.connector_id = %(connector_id)s
  AND x.space_id = %(space_id)s AND x.run_id = r.id AND x.removed_at IS NULL AND {confirmed_deleted}
RETURNING x.run_id

-- fragment: counted
-- Without what is held back as gone: no number would ever agree again.
p.space_id = %(space_id)s AND p.connector_id = %(connector_id)s AND p.removed_at IS NULL AND p.missing_since_sync_id IS NULL
  AND p.id = %(pipeline_id)s  -- if pipeline_id
  AND r.space_id = %(space_id)s AND r.pipeline_id = p.id AND r.removed_at IS NULL AND r.archived_at IS NULL
  AND NOT (r.deleted_by_sync_id IS NOT NULL AND NOT EXISTS (SELECT FROM sync_runs s
                                                 WHERE s.space_id = %(space_id)s AND s.id = r.deleted_by_sync_id AND s.status <> 'complete'))
  AND coalesce(r.run_after, r.logical_date) >= %(start)s AND coalesce(r.run_after, r.logical_date) <= %(end)s

-- name: count_runs
SELECT count(*) AS total FROM pipelines p, runs r WHERE {counted}

-- name: count_task_runs
SELECT count(*) AS total FROM pipelines p, runs r, task_runs t
WHERE {counted} AND t.space_id = %(space_id)s AND t.run_id = r.id AND t.removed_at IS NULL AND t.archived_at IS NULL
  AND NOT (t.deleted_by_sync_id IS NOT NULL AND NOT EXISTS (SELECT FROM sync_runs s
                                                 WHERE s.space_id = %(space_id)s AND s.id = t.deleted_by_sync_id AND s.status <> 'complete'))

-- name: list_identity_samples
-- Runs that have ended, the newest of each pipeline before the second of any: their beginning never changes, unless
-- somebody clears them. Found by way of the strip that each pipeline keeps. Once a person has said that this Airflow
-- was set up anew, only what was read since: the mirror still holds the runs of the one before.
SELECT w.dag_id, w.run_id, w.started_at
FROM (
    SELECT p.external_id AS dag_id, r.external_id AS run_id, r.started_at, r.effective_start_at,
           row_number() OVER (PARTITION BY p.id ORDER BY r.effective_start_at DESC) AS place
    FROM pipelines p
    JOIN sync_states y ON y.space_id = %(space_id)s AND y.connector_id = p.connector_id
    JOIN pipeline_recent_runs s ON s.space_id = %(space_id)s AND s.pipeline_id = p.id
    CROSS JOIN LATERAL (VALUES (s.recent_runs -> -1), (s.recent_runs -> -2), (s.recent_runs -> -3)) AS b (brief)
    JOIN runs r ON r.space_id = %(space_id)s AND r.id = (b.brief ->> 'id')::uuid
    WHERE p.space_id = %(space_id)s AND p.connector_id = %(connector_id)s AND p.removed_at IS NULL AND p.missing_since_sync_id IS NULL
      AND r.removed_at IS NULL AND r.archived_at IS NULL AND r.missing_since_sync_id IS NULL
      AND r.started_at IS NOT NULL AND r.ended_at IS NOT NULL AND r.effective_start_at >= %(since)s
      AND (y.accepted ->> 'kind' IS DISTINCT FROM 'other_airflow' OR r.last_synced_at > y.accepted_at)
) w
ORDER BY w.place, w.effective_start_at DESC
LIMIT 10
