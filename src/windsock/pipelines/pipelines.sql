-- fragment: pipeline_filters
FROM pipelines p
WHERE {matching_pipelines}
  AND p.status = ANY (%(status)s::text[])  -- if status
  AND (p.status IN ('queued', 'running') OR (p.last_run ->> 'ended_at')::timestamptz >= %(since)s)  -- if never_succeeded
  AND NOT (p.status = 'success' AND (p.last_run ->> 'ended_at')::timestamptz >= %(since)s)  -- if never_succeeded
  AND NOT EXISTS (SELECT FROM pipeline_weeks w WHERE w.space_id = %(space_id)s AND w.pipeline_id = p.id AND w.week >= %(monday)s::date AND w.success > 0)  -- if never_succeeded
  AND NOT EXISTS (SELECT FROM pipeline_days d WHERE d.space_id = %(space_id)s AND d.pipeline_id = p.id AND d.day > %(day)s::date AND d.day < %(monday)s::date AND d.success > 0)  -- if never_succeeded
  AND NOT EXISTS (SELECT FROM runs r WHERE r.space_id = %(space_id)s AND r.pipeline_id = p.id AND r.removed_at IS NULL AND r.ended_at >= %(since)s AND r.ended_at < %(midnight)s AND r.status = 'success')  -- if never_succeeded

-- fragment: page_connectors
connectors_of_page AS MATERIALIZED (
    SELECT x.id, json_build_object('id', x.id, 'name', x.name) AS connector, y.last_complete_at, y.api_version,
           coalesce(x.config ->> 'web_url', x.config ->> 'base_url') AS web_url
    FROM connectors x
    LEFT JOIN sync_states y ON y.space_id = %(space_id)s AND y.connector_id = x.id
    WHERE x.space_id = %(space_id)s AND x.id = ANY (ARRAY(SELECT p.connector_id FROM p))
)

-- fragment: page_payload
-- What a page of pipelines is made of, one row of arrays: `p` are the pipelines, in their order. Everything else is found
-- for itself, in any order, with the ids it belongs to. Ids are put behind each other, 16 bytes each, and lengths, four
-- bytes each. Nobody in between looks into the JSON. What every pipeline has is found pipeline by pipeline (LIMIT keeps it
-- so): for `= ANY`, PostgreSQL reads all of an index between the first of them and the last.
SELECT a.*, c.*, t.*, s.*, w.*, n.*, numbers.*
FROM (
    SELECT array_agg(p.shown) AS shown, string_agg(uuid_send(p.id), '') AS ids, array_agg(p.external_id) AS external_ids,
           string_agg(uuid_send(p.connector_id), '') AS of_connectors,
           string_agg(uuid_send(coalesce(p.team_id, '00000000-0000-0000-0000-000000000000')), '') AS of_teams,
           array_agg(CASE WHEN p.is_mirrored THEN greatest(p.last_synced_at, c.last_complete_at)
                          ELSE p.last_synced_at END) AS last_synced_at,
           array_agg(coalesce(p.next_run_at <= now(), false)) AS is_next_run_due
    FROM p
    CROSS JOIN LATERAL (SELECT x.last_complete_at FROM connectors_of_page x WHERE x.id = p.connector_id LIMIT 1) c
) a, (
    SELECT string_agg(uuid_send(x.id), '') AS ids_of_connectors, array_agg(x.connector) AS connectors,
           array_agg(x.web_url) AS web_urls, array_agg(x.api_version) AS api_versions
    FROM connectors_of_page x
) c, (
    SELECT string_agg(uuid_send(x.id), '') AS ids_of_teams, array_agg(json_build_object('id', x.id, 'name', x.name)) AS teams
    FROM teams x WHERE x.space_id = %(space_id)s AND x.id = ANY (ARRAY(SELECT p.team_id FROM p))
) t, (
    SELECT string_agg(uuid_send(x.pipeline_id), '') AS ids_of_strips, array_agg(x.recent_runs) AS strips
    FROM p
    CROSS JOIN LATERAL (
        SELECT s.pipeline_id, s.recent_runs
        FROM pipeline_strips s WHERE s.space_id = %(space_id)s AND s.pipeline_id = p.id LIMIT 1
    ) x
) s, (
    SELECT string_agg(uuid_send(x.pipeline_id), '') AS watched
    FROM watches x
    WHERE x.space_id = %(space_id)s AND x.user_id = %(user_id)s AND x.pipeline_id = ANY (ARRAY(SELECT p.id FROM p))
) w, (
    SELECT string_agg(uuid_send(x.pipeline_id), '') AS ids_of_running, array_agg(x.running) AS running
    FROM (
        SELECT r.pipeline_id, count(*) AS running
        FROM runs r
        WHERE r.space_id = %(space_id)s AND r.pipeline_id = ANY (ARRAY(SELECT p.id FROM p)) AND r.removed_at IS NULL
          AND r.status IN ('queued', 'running')
        GROUP BY r.pipeline_id
    ) x
) n, (
    {window_stats}
) numbers

-- fragment: window_stats
-- Of the pipelines `p` what is kept of the whole days of a window, of a short one a row, which may begin before it; and of
-- the day in which it begins how its runs ended: as it is kept, or from the runs, where that day is not over.
SELECT d.*, f.*
FROM (
    SELECT string_agg(uuid_send(x.pipeline_id), '') AS ids_of_days, string_agg(x.days, '') AS days,
           string_agg(int4send(length(x.days)), '') AS lengths_of_days, string_agg(x.codes, '') AS codes,
           string_agg(x.durations, '') AS durations,
           string_agg(int4send(length(x.durations)), '') AS lengths_of_durations
    FROM (
        SELECT x.*, ''::bytea AS durations
        FROM p
        CROSS JOIN LATERAL (
            SELECT r.pipeline_id, r.days, CASE WHEN %(with_durations)s THEN r.codes END AS codes
            FROM pipeline_recent_days r WHERE r.space_id = %(space_id)s AND r.pipeline_id = p.id LIMIT 1
        ) x
        WHERE %(is_recent)s
        UNION ALL
        SELECT e.pipeline_id,
               int4send(%(day)s::date + 1 - '1970-01-01'::date) || int4send(sum(e.total)::integer)
               || int4send(sum(e.success)::integer) || int4send(sum(e.failed)::integer) || int4send(sum(e.timed)::integer)
               || float8send(sum(e.seconds)) || int4send(0),
               NULL, string_agg(CASE WHEN %(with_durations)s THEN e.durations ELSE '' END, '')
        FROM (
            SELECT w.pipeline_id, w.total, w.success, w.failed, w.timed, w.seconds, w.durations
            FROM pipeline_weeks w
            WHERE NOT %(is_recent)s AND w.space_id = %(space_id)s AND w.pipeline_id = ANY (ARRAY(SELECT p.id FROM p))
              AND w.week >= %(monday)s::date
            UNION ALL
            SELECT d.pipeline_id, d.total, d.success, d.failed, d.timed, d.seconds, d.durations
            FROM pipeline_days d
            WHERE NOT %(is_recent)s AND d.space_id = %(space_id)s AND d.pipeline_id = ANY (ARRAY(SELECT p.id FROM p))
              AND d.day > %(day)s::date AND d.day < %(monday)s::date
        ) e
        GROUP BY e.pipeline_id
    ) x
) d, (
    SELECT string_agg(uuid_send(x.pipeline_id), '') AS ids_of_ended, string_agg(x.ended, '') AS ended,
           string_agg(int4send(length(x.ended)), '') AS lengths_of_ended
    FROM (
        SELECT d.pipeline_id, coalesce(d.ended, ended_runs(d.space_id, d.pipeline_id, d.day)) AS ended
        FROM p
        CROSS JOIN LATERAL (
            SELECT d.* FROM pipeline_days d
            WHERE d.space_id = %(space_id)s AND d.pipeline_id = p.id AND d.day = %(day)s::date LIMIT 1
        ) d
    ) x
) f

-- fragment: pipeline_columns
p.id, p.external_id, p.shown, p.connector_id, p.team_id, p.last_synced_at, p.next_run_at,
p.removed_at IS NULL AND p.missed_by IS NULL AND NOT p.needs_history AS is_mirrored

-- fragment: pipelines_by_position
-- Each by itself (LIMIT keeps it so): joined as a table, PostgreSQL may take all pipelines for few before it has counted
-- them, and look through them all.
p AS MATERIALIZED (
    SELECT {pipeline_columns}
    FROM page
    CROSS JOIN LATERAL (SELECT x.* FROM pipelines x WHERE x.space_id = %(space_id)s AND x.id = page.id LIMIT 1) p
    ORDER BY page.position, p.id
)

-- fragment: name_key
-- As in the index pipelines_by_name, which cannot hold a name of 2,000 characters.
left(p.name, 600)

-- name: list_pipelines
WITH p AS MATERIALIZED (
    SELECT {pipeline_columns}
    {pipeline_filters}
    ORDER BY {name_key}, p.id
    LIMIT %(limit)s OFFSET %(offset)s
), {page_connectors}
{page_payload}

-- name: list_pipelines_sorted_by_column
WITH keyed AS (
    SELECT p.id, p.name,
           CASE %(by)s::text
               WHEN 'criticality' THEN array_position(ARRAY['low', 'medium', 'high', 'critical'], p.criticality)
               WHEN 'last_run_at' THEN extract(epoch FROM p.last_run_at)
           END AS key
    {pipeline_filters}
), page AS MATERIALIZED (
    SELECT id, position
    FROM unnest(ARRAY(
        SELECT k.id
        FROM keyed k
        ORDER BY CASE WHEN %(descending)s THEN k.key END DESC NULLS LAST,
                 CASE WHEN NOT %(descending)s THEN k.key END NULLS LAST,
                 CASE WHEN %(by)s::text = 'name' AND %(descending)s THEN k.name END DESC,
                 k.name, k.id
        LIMIT %(limit)s OFFSET %(offset)s
    )) WITH ORDINALITY AS given (id, position)
), {pipelines_by_position}, {page_connectors}
{page_payload}

-- name: list_pipelines_by_id
WITH page AS MATERIALIZED (
    SELECT id, position FROM unnest(%(ids)s::uuid[]) WITH ORDINALITY AS given (id, position)
), {pipelines_by_position}, {page_connectors}
{page_payload}

-- name: list_pipeline_ids
-- Bounded by the number of pipelines: all of them, by name.
SELECT p.id
{pipeline_filters}
ORDER BY {name_key}, p.id

-- name: list_window_stats
WITH p AS MATERIALIZED (
    SELECT id FROM unnest(%(ids)s::uuid[]) AS given (id)
)
{window_stats}

-- name: count_pipelines
SELECT count(*) AS total
{pipeline_filters}

-- name: get_pipeline_count
-- All of them, as a trigger has counted them.
SELECT coalesce(sum(v.pipelines), 0)::bigint AS total FROM space_versions v WHERE v.space_id = %(space_id)s

-- name: count_pipelines_by_status
SELECT p.status, count(*) AS total, count(*) FILTER (WHERE p.is_paused) AS paused
FROM pipelines p
WHERE {matching_pipelines}
GROUP BY p.status

-- name: get_pipeline
WITH p AS MATERIALIZED (
    SELECT {pipeline_columns}
    FROM pipelines p
    WHERE p.space_id = %(space_id)s AND p.id = %(pipeline_id)s
), {page_connectors}
SELECT m.provider_metadata, m.suggested_team, found.*
FROM (
    SELECT p.provider_metadata::json, (
        SELECT json_build_object('name', r.team_name, 'id', t.id)
        FROM (SELECT x.provider_metadata ->> 'team_name' AS team_name
              FROM runs x
              WHERE x.space_id = %(space_id)s AND x.pipeline_id = p.id AND x.removed_at IS NULL
              ORDER BY x.run_at DESC, x.id DESC
              LIMIT 1) r
        LEFT JOIN teams t ON t.space_id = %(space_id)s AND lower(t.name) = lower(r.team_name)
        WHERE r.team_name IS NOT NULL
        ORDER BY t.name = r.team_name DESC NULLS LAST, t.id
        LIMIT 1
    ) AS suggested_team
    FROM pipelines p
    WHERE p.space_id = %(space_id)s AND p.id = %(pipeline_id)s
) m, (
    {page_payload}
) found

-- name: set_team
UPDATE pipelines SET team_id = %(team_id)s, updated_at = now()
WHERE space_id = %(space_id)s AND id = ANY (%(pipeline_ids)s::uuid[]) AND team_id IS DISTINCT FROM %(team_id)s

-- name: set_criticality
UPDATE pipelines SET criticality = %(criticality)s, updated_at = now()
WHERE space_id = %(space_id)s AND id = ANY (%(pipeline_ids)s::uuid[]) AND criticality <> %(criticality)s

-- name: watch
INSERT INTO watches (space_id, pipeline_id, user_id)
SELECT p.space_id, p.id, %(user_id)s FROM pipelines p WHERE p.space_id = %(space_id)s AND p.id = %(pipeline_id)s
ON CONFLICT DO NOTHING

-- name: unwatch
DELETE FROM watches WHERE space_id = %(space_id)s AND pipeline_id = %(pipeline_id)s AND user_id = %(user_id)s

-- name: pipeline_exists
SELECT id FROM pipelines WHERE space_id = %(space_id)s AND id = %(pipeline_id)s

-- name: list_daily_stats
-- Bounded by the days of the window; the day in which it begins is whole.
SELECT d.day, d.total, d.success, d.failed
FROM pipeline_days d
WHERE d.space_id = %(space_id)s AND d.pipeline_id = %(pipeline_id)s AND d.day >= %(day)s AND d.total > 0
ORDER BY d.day

-- name: finished_runs
-- The newest that ended in the window, oldest first.
SELECT e.* FROM (
    SELECT r.id, r.external_id, r.status, r.ended_at, r.duration_seconds
    FROM runs r
    WHERE r.space_id = %(space_id)s AND r.pipeline_id = %(pipeline_id)s
      AND r.removed_at IS NULL AND r.ended_at >= %(since)s AND r.duration_seconds IS NOT NULL
    ORDER BY r.ended_at DESC, r.id DESC
    LIMIT %(limit)s
) e
ORDER BY e.ended_at, e.id

-- name: recent_comments
-- Of its newest runs alone, newest first, so that it costs the same however long its history is.
SELECT m.id, m.run_id, r.external_id, m.content, m.created_at, m.is_edited, m.parent_id,
       CASE WHEN u.id IS NOT NULL THEN jsonb_build_object('id', u.id, 'name', u.name) END AS author
FROM (
    SELECT x.id, x.external_id FROM runs x
    WHERE x.space_id = %(space_id)s AND x.pipeline_id = %(pipeline_id)s
    ORDER BY x.begun_at DESC, x.id DESC
    LIMIT %(runs)s
) r
JOIN comments m ON m.space_id = %(space_id)s AND m.run_id = r.id
LEFT JOIN users u ON u.id = m.author_id
ORDER BY m.created_at DESC, m.id DESC
LIMIT %(limit)s
