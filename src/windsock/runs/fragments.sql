-- fragment: join_pipeline_and_connector
-- Each by itself (LIMIT keeps it so), or PostgreSQL looks through all pipelines of a connector for the few of a page.
CROSS JOIN LATERAL (SELECT x.* FROM pipelines x WHERE x.space_id = %(space_id)s AND x.id = r.pipeline_id LIMIT 1) p
CROSS JOIN LATERAL (SELECT x.* FROM connectors x WHERE x.space_id = %(space_id)s AND x.id = p.connector_id LIMIT 1) c
LEFT JOIN sync_states y ON y.space_id = %(space_id)s AND y.connector_id = p.connector_id
