-- fragment: matching_pipelines
p.space_id = %(space_id)s
  AND (%(provider)s::text[] IS NULL OR p.provider = ANY (%(provider)s))
  AND (%(owner)s::text[] IS NULL OR p.owner = ANY (%(owner)s) OR p.owners && %(owner)s)
  AND (%(criticality)s::text[] IS NULL OR p.criticality = ANY (%(criticality)s))
  AND (%(team_id)s::uuid[] IS NULL OR p.team_id = ANY (%(team_id)s))
  AND (%(connector_id)s::uuid[] IS NULL OR p.connector_id = ANY (%(connector_id)s))
  AND (%(words)s::text[] IS NULL OR p.search LIKE ALL (SELECT lower(w) FROM unnest(%(words)s::text[]) AS w))
  AND (NOT %(watched_only)s
       OR EXISTS (SELECT FROM watches w
                  WHERE w.space_id = %(space_id)s AND w.pipeline_id = p.id AND w.user_id = %(user_id)s))
