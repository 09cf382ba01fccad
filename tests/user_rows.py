"""Rows that users add to a tenant: a team with a pipeline, a saved view and a comment."""

from typing import Any

A_TEAM: Any = """
WITH team AS (
    INSERT INTO teams (space_id, name) VALUES (%(space_id)s, 'ingestion') RETURNING id
), member AS (
    INSERT INTO team_members (space_id, team_id, user_id) SELECT %(space_id)s, id, %(user_id)s FROM team
), owned AS (
    UPDATE pipelines SET team_id = (SELECT id FROM team) WHERE space_id = %(space_id)s AND id = %(pipeline_id)s
)
SELECT id FROM team
"""
A_VIEW: Any = """
INSERT INTO saved_views (space_id, user_id, name, query, is_shared)
VALUES (%(space_id)s, %(user_id)s, 'of the world', 'status=failed', true)
RETURNING id
"""
A_COMMENT: Any = """
INSERT INTO comments (space_id, run_id, author_id, content)
SELECT r.space_id, r.id, %(user_id)s, 'the first load' FROM runs r JOIN pipelines p ON p.id = r.pipeline_id
WHERE r.space_id = %(space_id)s AND r.external_id = 'r1' AND p.external_id = 'hourly_load'
RETURNING id
"""
