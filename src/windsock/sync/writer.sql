-- Each store_… statement takes a page of rows as jsonb, writes only those that are new or differ, and answers with one
-- row per incoming row: its id here, and whether it was created, updated or unchanged. The comparison comes first, as a
-- join: ON CONFLICT alone would lock, and write ahead, every unchanged row too. Rows are looked up one by one (LATERAL
-- with LIMIT): in a mirror that is being filled the statistics say that there are none, and a join chosen after them read
-- every task run of the space for each page (160 ms instead of 6 at 3,000 runs).

-- fragment: outcome
-- Of a row that was there before the statement, xmax is set.
CASE WHEN xmax = 0 THEN 'created' ELSE 'updated' END AS outcome

-- name: list_mirrored_pipelines
SELECT id, external_id FROM pipelines
WHERE space_id = %(space_id)s AND connector_id = %(connector_id)s AND removed_at IS NULL

-- name: list_pipelines_to_backfill
-- Those that came, or came back, after the history was begun.
SELECT id, external_id FROM pipelines
WHERE space_id = %(space_id)s AND connector_id = %(connector_id)s AND needs_backfill AND missing_since_sync_id IS NULL AND removed_at IS NULL
ORDER BY external_id
LIMIT %(most)s

-- name: mark_backfilled
UPDATE pipelines SET needs_backfill = false WHERE space_id = %(space_id)s AND id = %(pipeline_id)s

-- name: upsert_pipelines
WITH matched AS MATERIALIZED (
    SELECT i.*, e.id AS existing_id,
           e.id IS NULL OR e.missing_since_sync_id IS NOT NULL OR e.deleted_by_sync_id IS NOT NULL OR e.removed_at IS NOT NULL
           OR (e.name, e.description, e.owner, e.owners, e.tags, e.schedule, e.schedule_description, e.next_run_at,
               e.is_paused, e.is_draining, e.is_active, e.has_import_errors, e.provider_metadata)
              IS DISTINCT FROM
              (i.name, i.description, i.owner, i.owners, i.tags, i.schedule, i.schedule_description, i.next_run_at,
               i.is_paused, i.is_draining, i.is_active, i.has_import_errors, i.provider_metadata) AS differs
    FROM jsonb_to_recordset(%(rows)s) AS i (
        external_id text, name text, description text, owner text, owners text[], tags text[], schedule text,
        schedule_description text, next_run_at timestamptz, is_paused boolean, is_draining boolean, is_active boolean,
        has_import_errors boolean, provider_metadata jsonb)
    LEFT JOIN pipelines e ON e.space_id = %(space_id)s AND e.connector_id = %(connector_id)s
                         AND e.external_id = i.external_id
), stored AS (
    INSERT INTO pipelines (space_id, connector_id, external_id, name, description, owner, owners, tags, schedule,
                           schedule_description, next_run_at, is_paused, is_draining, is_active, has_import_errors,
                           provider_metadata, needs_backfill)
    SELECT %(space_id)s, %(connector_id)s, external_id, name, description, owner, owners, tags, schedule,
           schedule_description, next_run_at, is_paused, is_draining, is_active, has_import_errors, provider_metadata,
           %(backfill_started)s
    FROM matched WHERE differs
    ON CONFLICT (space_id, connector_id, external_id) DO UPDATE
    SET name = excluded.name, description = excluded.description, owner = excluded.owner, owners = excluded.owners,
        tags = excluded.tags, schedule = excluded.schedule, schedule_description = excluded.schedule_description,
        next_run_at = excluded.next_run_at, is_paused = excluded.is_paused, is_draining = excluded.is_draining,
        is_active = excluded.is_active, has_import_errors = excluded.has_import_errors, provider_metadata = excluded.provider_metadata,
        -- While it was out of sight its runs were not followed, and the watermark went on.
        needs_backfill = pipelines.needs_backfill
            OR (%(backfill_started)s AND (pipelines.missing_since_sync_id IS NOT NULL OR pipelines.removed_at IS NOT NULL)),
        missing_since_sync_id = NULL, deleted_by_sync_id = NULL, removed_at = NULL, last_synced_at = now(), updated_at = now()
    RETURNING id, external_id, {outcome}
)
SELECT external_id, existing_id AS id, 'unchanged' AS outcome FROM matched WHERE NOT differs
UNION ALL
SELECT external_id, id, outcome FROM stored

-- fragment: is_another
-- Whether the run i is another one than e, which had its id before. What it is for never changes with a clear; when it was
-- queued (on Airflow 2, which does not say: began) does, so that this tells only of one that was not there meanwhile.
coalesce(e.run_after <> i.run_after, false) OR coalesce(e.logical_date <> i.logical_date, false)
OR ((e.missing_since_sync_id IS NOT NULL OR e.removed_at IS NOT NULL OR e.archived_at IS NOT NULL)
    AND CASE WHEN coalesce(e.queued_at, i.queued_at) IS NULL
             THEN e.started_at IS NOT NULL AND e.started_at IS DISTINCT FROM i.started_at
             ELSE coalesce(e.queued_at <> i.queued_at, false) END)

-- name: upsert_runs
-- One whose id belonged to another run is not stored: its outcome is "another", its id that of the other (replace_runs).
-- One that has failed lately is recorded as to be read, in this transaction; not those of a history that is read back.
-- One that ended is recorded as a transition: not if it ended before the first sync of the connector began, nor of a pipeline
-- whose history is still to be read if that is long ago.
WITH matched AS MATERIALIZED (
    SELECT i.*, e.id AS existing_id, {is_another} AS is_another,
           i.status = 'failed' AND (e.status, e.ended_at) IS DISTINCT FROM (i.status, i.ended_at) AS has_failed,
           e.status AS from_status, i.status IN ('success', 'failed') AND e.archived_at IS NULL
           AND (e.status IS DISTINCT FROM i.status OR i.status = 'failed' AND e.ended_at IS DISTINCT FROM i.ended_at) AS is_transition,
           coalesce(i.ended_at, CASE WHEN e.id IS NOT NULL THEN now() END, i.started_at, i.queued_at, i.run_at) AS happened_at,
           e.id IS NULL OR e.missing_since_sync_id IS NOT NULL OR e.deleted_by_sync_id IS NOT NULL OR e.removed_at IS NOT NULL
           OR e.archived_at IS NOT NULL
           OR (e.status, e.run_type, e.run_at, e.queued_at, e.started_at, e.ended_at, e.run_after, e.logical_date,
               e.data_interval_start, e.data_interval_end, e.conf, e.note, e.triggered_by, e.provider_metadata)
              IS DISTINCT FROM
              (i.status, i.run_type, i.run_at, i.queued_at, i.started_at, i.ended_at, i.run_after, i.logical_date,
               i.data_interval_start, i.data_interval_end, i.conf, i.note, i.triggered_by, i.provider_metadata)
           AS differs
    FROM jsonb_to_recordset(%(rows)s) AS i (
        pipeline_id uuid, external_id text, status text, run_type text, run_at timestamptz, queued_at timestamptz,
        started_at timestamptz, ended_at timestamptz, run_after timestamptz, logical_date timestamptz,
        data_interval_start timestamptz, data_interval_end timestamptz, conf jsonb, note text, triggered_by text,
        provider_metadata jsonb)
    LEFT JOIN LATERAL (
        SELECT * FROM runs k
        WHERE k.space_id = %(space_id)s AND k.pipeline_id = i.pipeline_id AND k.external_id = i.external_id
          AND NOT k.is_replaced
        LIMIT 1
    ) e ON true
), stored AS (
    INSERT INTO runs (space_id, pipeline_id, external_id, status, run_type, run_at, queued_at, started_at, ended_at,
                      run_after, logical_date, data_interval_start, data_interval_end, conf, note, triggered_by,
                      provider_metadata, triggered_by_user_id)
    SELECT %(space_id)s, pipeline_id, external_id, status, run_type, run_at, queued_at, started_at, ended_at,
           run_after, logical_date, data_interval_start, data_interval_end, conf, note, triggered_by,
           provider_metadata,
           -- Whoever triggered it here, also when the answer to the trigger was lost and a sync finds the run.
           CASE WHEN external_id LIKE 'windsock\_\_%%' THEN (
               SELECT q.user_id FROM actions q
               WHERE q.space_id = %(space_id)s AND q.pipeline_id = matched.pipeline_id
                 AND q.run_external_id = matched.external_id)
           END
    FROM matched
    -- What the space no longer keeps is not begun again, but a run that is here is followed to its end.
    WHERE differs AND NOT is_another AND (existing_id IS NOT NULL OR %(oldest)s::timestamptz IS NULL OR run_at >= %(oldest)s)
    ON CONFLICT (space_id, pipeline_id, external_id) WHERE NOT is_replaced DO UPDATE
    SET status = excluded.status, run_type = excluded.run_type, run_at = excluded.run_at, queued_at = excluded.queued_at,
        started_at = excluded.started_at, ended_at = excluded.ended_at, run_after = excluded.run_after,
        logical_date = excluded.logical_date, data_interval_start = excluded.data_interval_start,
        data_interval_end = excluded.data_interval_end, conf = excluded.conf, note = excluded.note,
        triggered_by = excluded.triggered_by, provider_metadata = excluded.provider_metadata,
        missing_since_sync_id = NULL, deleted_by_sync_id = NULL, removed_at = NULL, archived_at = NULL, last_synced_at = now(), updated_at = now()
    RETURNING id, pipeline_id, external_id, {outcome}
), recorded AS (
    INSERT INTO failure_reads (space_id, run_id, connector_id)
    SELECT %(space_id)s, s.id, %(connector_id)s
    FROM stored s
    JOIN matched m ON m.pipeline_id = s.pipeline_id AND m.external_id = s.external_id
    WHERE m.has_failed AND m.ended_at > now() - interval '1 day'
    ON CONFLICT (space_id, run_id) DO UPDATE
    SET state = 'pending', is_requested = false, requests = 0, noticed_at = now(), next_attempt_at = now(), lease_id = NULL,
        lease_until = NULL
), transitions AS (
    INSERT INTO run_transitions (space_id, connector_id, pipeline_id, run_id, from_status, to_status, happened_at)
    SELECT %(space_id)s, %(connector_id)s, s.pipeline_id, s.id, m.from_status, m.status, m.happened_at
    FROM stored s
    JOIN matched m ON m.pipeline_id = s.pipeline_id AND m.external_id = s.external_id
    JOIN pipelines p ON p.space_id = %(space_id)s AND p.id = s.pipeline_id
    JOIN sync_states y ON y.space_id = %(space_id)s AND y.connector_id = %(connector_id)s
    WHERE m.is_transition AND m.happened_at >= (y.backfill ->> 'as_of')::timestamptz
      AND (m.from_status IS NOT NULL OR NOT p.needs_backfill OR m.happened_at > now() - interval '1 hour')
)
SELECT existing_id AS id, pipeline_id, external_id, 'unchanged' AS outcome FROM matched WHERE NOT differs AND NOT is_another
UNION ALL
SELECT existing_id, pipeline_id, external_id, 'another' FROM matched WHERE is_another
UNION ALL
SELECT id, pipeline_id, external_id, outcome FROM stored

-- name: replace_runs
-- Their ids belong to other runs now. What had been cleaned up before stays in the archive.
UPDATE runs
SET is_replaced = true, removed_at = CASE WHEN archived_at IS NULL THEN coalesce(removed_at, now()) ELSE removed_at END,
    missing_since_sync_id = NULL, deleted_by_sync_id = NULL, updated_at = now()
WHERE space_id = %(space_id)s AND id = ANY (%(ids)s::uuid[])

-- name: list_missing_parent_runs
SELECT DISTINCT i.pipeline_id, i.run_external_id
FROM jsonb_to_recordset(%(keys)s) AS i (pipeline_id uuid, run_external_id text)
LEFT {join_parent_run}
WHERE r.id IS NULL
LIMIT 10001

-- fragment: join_parent_run
JOIN LATERAL (
    SELECT k.id FROM runs k
    WHERE k.space_id = %(space_id)s AND k.pipeline_id = i.pipeline_id AND k.external_id = i.run_external_id
      AND NOT k.is_replaced
    LIMIT 1
) r ON true

-- fragment: expanded
-- Tasks of which an instance with a map_index has arrived, each with its region.
expanded AS (
    SELECT DISTINCT r.id AS run_id, i.external_id, i.region_id
    FROM jsonb_to_recordset(%(keys)s) AS i (pipeline_id uuid, run_external_id text, external_id text, region_id text)
    {join_parent_run}
)

-- fragment: placeholder
-- Of the same region; or of none, where an Airflow that was upgraded meanwhile expands it. No iteration of a loop is one.
t.space_id = %(space_id)s AND t.run_id = x.run_id AND t.external_id = x.external_id AND t.map_index = -1
  AND t.region_index = -1 AND t.region_id IN ('', x.region_id)

-- fragment: first_instance
o.space_id = %(space_id)s AND o.run_id = x.run_id AND o.external_id = x.external_id AND o.map_index = 0
  AND o.region_id = x.region_id AND o.region_index = CASE x.region_id WHEN '' THEN -1 ELSE 0 END

-- name: expand_placeholders
-- Airflow re-keys the placeholder of a mapped task to map_index 0 in place; so do we, which keeps its comments.
WITH {expanded}
UPDATE task_runs t
SET map_index = 0, region_id = x.region_id, region_index = CASE x.region_id WHEN '' THEN -1 ELSE 0 END, updated_at = now()
FROM expanded x
WHERE {placeholder}
  AND NOT EXISTS (SELECT FROM task_runs o WHERE {first_instance})

-- name: move_placeholder_comments
-- Where an instance 0 is there already, what was said about the placeholder is said about that one.
WITH {expanded}
UPDATE comments m SET task_run_id = o.id
FROM expanded x
JOIN task_runs t ON {placeholder}
JOIN task_runs o ON {first_instance}
WHERE m.space_id = %(space_id)s AND m.task_run_id = t.id

-- name: drop_placeholders
WITH {expanded}
DELETE FROM task_runs t USING expanded x
WHERE {placeholder}

-- name: create_staging
-- across spaces: the connection's own table, empty before and after each of its transactions
-- Numbers are wider than where they go: what does not fit is refused there, where COPY would be given the rest of it.
CREATE TEMPORARY TABLE IF NOT EXISTS staging_task_runs (
    pipeline_id uuid, run_external_id text, external_id text, region_id text, region_index bigint, map_index bigint,
    loop_id text, loop_iteration bigint, name text, operator text, status text, try_number bigint, max_tries bigint,
    queued_at timestamptz, started_at timestamptz, ended_at timestamptz, pool text, queue text, hostname text, note text,
    provider_metadata jsonb
) ON COMMIT DELETE ROWS

-- name: truncate_staging
-- across spaces: as create_staging; of an earlier page in the same transaction
DELETE FROM pg_temp.staging_task_runs

-- name: copy_into_staging
-- across spaces: as create_staging
COPY pg_temp.staging_task_runs FROM STDIN (FORMAT BINARY)

-- fragment: existing_task_run
SELECT * FROM task_runs k
WHERE k.space_id = %(space_id)s AND k.run_id = r.id AND k.external_id = i.external_id
  AND k.region_id = i.region_id AND k.region_index = i.region_index AND k.map_index = i.map_index LIMIT 1

-- name: list_runs_with_replaced_iterations
-- Runs of which iterations may be gone: something in a loop was cleared or tried again (its try is a new one), or has come
-- to stand beside another of the same task and iteration.
SELECT DISTINCT i.pipeline_id, i.run_external_id
FROM pg_temp.staging_task_runs i {join_parent_run}
LEFT JOIN LATERAL ({existing_task_run}) e ON true
WHERE i.loop_id IS NOT NULL AND (e.try_number < i.try_number OR e.id IS NULL AND EXISTS (
    SELECT FROM task_runs o
    WHERE o.space_id = %(space_id)s AND o.run_id = r.id AND o.external_id = i.external_id AND o.map_index = i.map_index
      AND o.loop_id = i.loop_id AND o.loop_iteration = i.loop_iteration AND o.region_id <> i.region_id
      AND o.removed_at IS NULL))

-- name: upsert_task_runs
-- What is here is changed by its key: that costs less than an INSERT that meets it.
WITH matched AS MATERIALIZED (
    SELECT i.*, r.id AS run_id, e.id AS existing_id,
           e.id IS NULL OR e.missing_since_sync_id IS NOT NULL OR e.deleted_by_sync_id IS NOT NULL OR e.removed_at IS NOT NULL
           OR e.archived_at IS NOT NULL
           OR (e.loop_id, e.loop_iteration, e.name, e.operator, e.status, e.try_number, e.max_tries, e.queued_at, e.started_at,
               e.ended_at, e.pool, e.queue, e.hostname, e.note, e.provider_metadata)
              IS DISTINCT FROM
              (i.loop_id, i.loop_iteration, i.name, i.operator, i.status, i.try_number, i.max_tries, i.queued_at, i.started_at,
               i.ended_at, i.pool, i.queue, i.hostname, i.note, i.provider_metadata) AS differs
    FROM pg_temp.staging_task_runs i {join_parent_run}
    LEFT JOIN LATERAL ({existing_task_run}) e ON true
), changed AS (
    UPDATE task_runs t
    SET name = m.name, operator = m.operator, status = m.status, try_number = m.try_number, max_tries = m.max_tries,
        queued_at = m.queued_at, started_at = m.started_at, ended_at = m.ended_at, pool = m.pool, queue = m.queue,
        hostname = m.hostname, note = m.note, provider_metadata = m.provider_metadata, loop_id = m.loop_id,
        loop_iteration = m.loop_iteration,
        missing_since_sync_id = NULL, deleted_by_sync_id = NULL, removed_at = NULL, archived_at = NULL, last_synced_at = now(), updated_at = now()
    FROM matched m
    WHERE t.space_id = %(space_id)s AND t.id = m.existing_id AND m.differs
    RETURNING t.id, t.run_id
), stored AS (
    INSERT INTO task_runs (space_id, run_id, external_id, region_id, region_index, map_index, loop_id, loop_iteration,
                           name, operator, status, try_number, max_tries, queued_at, started_at, ended_at, pool, queue,
                           hostname, note, provider_metadata)
    SELECT %(space_id)s, run_id, external_id, region_id, region_index, map_index, loop_id, loop_iteration,
           name, operator, status, try_number, max_tries, queued_at, started_at, ended_at, pool, queue,
           hostname, note, provider_metadata
    FROM matched WHERE existing_id IS NULL
    ON CONFLICT (space_id, run_id, external_id, region_id, region_index, map_index) DO UPDATE
    SET loop_id = excluded.loop_id, loop_iteration = excluded.loop_iteration, name = excluded.name,
        operator = excluded.operator, status = excluded.status, try_number = excluded.try_number,
        max_tries = excluded.max_tries, queued_at = excluded.queued_at, started_at = excluded.started_at,
        ended_at = excluded.ended_at, pool = excluded.pool, queue = excluded.queue, hostname = excluded.hostname,
        note = excluded.note, provider_metadata = excluded.provider_metadata,
        missing_since_sync_id = NULL, deleted_by_sync_id = NULL, removed_at = NULL, archived_at = NULL, last_synced_at = now(), updated_at = now()
    RETURNING id, run_id, {outcome}
)
SELECT existing_id AS id, run_id, 'unchanged' AS outcome FROM matched WHERE NOT differs
UNION ALL
SELECT id, run_id, 'updated' FROM changed
UNION ALL
SELECT id, run_id, outcome FROM stored
