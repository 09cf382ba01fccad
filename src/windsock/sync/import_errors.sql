-- Files that Airflow could not import.

-- name: replace_import_errors
WITH listed AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(%(rows)s) AS i (bundle_name text, filename text, stack_trace text, raised_at timestamptz)
), mended AS (
    DELETE FROM import_errors e
    WHERE e.space_id = %(space_id)s AND e.connector_id = %(connector_id)s
      AND NOT EXISTS (SELECT FROM listed i WHERE (i.bundle_name, i.filename) IS NOT DISTINCT FROM (e.bundle_name, e.filename))
)
INSERT INTO import_errors (space_id, connector_id, bundle_name, filename, stack_trace, since)
SELECT %(space_id)s, %(connector_id)s, i.bundle_name, i.filename, i.stack_trace, least(coalesce(i.raised_at, now()), now())
FROM listed i
WHERE NOT EXISTS (
    SELECT FROM import_errors e
    WHERE e.space_id = %(space_id)s AND e.connector_id = %(connector_id)s
      AND (e.bundle_name, e.filename, e.stack_trace) IS NOT DISTINCT FROM (i.bundle_name, i.filename, i.stack_trace))
ON CONFLICT (space_id, connector_id, md5(coalesce(bundle_name, '') || '/' || filename))
DO UPDATE SET stack_trace = excluded.stack_trace
