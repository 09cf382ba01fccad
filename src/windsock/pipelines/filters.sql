-- fragment: due
p.is_active AND NOT p.is_paused AND NOT p.is_draining AND p.next_run_at < now()

-- fragment: grace
interval '2 minutes'

-- fragment: overdue
{due} AND p.next_run_at < (SELECT y.pipelines_listed_at - {grace} FROM sync_states y WHERE y.space_id = %(space_id)s AND y.connector_id = p.connector_id)

-- fragment: matching_pipelines
p.space_id = %(space_id)s
  AND p.provider = ANY (%(provider)s::text[])  -- if provider
  AND (p.owner = ANY (%(owner)s::text[]) OR p.owners && %(owner)s::text[])  -- if owner
  AND p.tags && %(tag)s::text[]  -- if tag
  AND p.criticality = ANY (%(criticality)s::text[])  -- if criticality
  AND p.team_id = ANY (%(team_id)s::uuid[])  -- if team_id
  AND p.connector_id = ANY (%(connector_id)s::uuid[])  -- if connector_id
  AND p.id IN (SELECT s.pipeline_id FROM pipeline_search s WHERE s.space_id = %(space_id)s AND s.search LIKE ALL (string_to_array(lower(%(words)s), E'\n')))  -- if words
  AND p.is_paused = %(is_paused)s::boolean  -- if is_paused
  AND p.has_import_errors = %(has_import_errors)s::boolean  -- if has_import_errors
  AND {overdue}  -- if overdue
  AND EXISTS (SELECT FROM watches w WHERE w.space_id = %(space_id)s AND w.pipeline_id = p.id AND w.user_id = %(user_id)s)  -- if watched_only
