-- fragment: team
t.id, t.name, t.contact,
(SELECT count(*) FROM team_members m WHERE m.space_id = %(space_id)s AND m.team_id = t.id) AS member_count,
t.created_at, t.updated_at

-- name: list_teams
SELECT {team}
FROM teams t
WHERE t.space_id = %(space_id)s
ORDER BY t.name, t.id
LIMIT %(limit)s OFFSET %(offset)s

-- name: count_teams
SELECT count(*) AS total FROM teams WHERE space_id = %(space_id)s

-- name: get_team
SELECT {team},
       coalesce((SELECT jsonb_agg(jsonb_build_object('user_id', u.id, 'email', u.email, 'name', u.name)
                                  ORDER BY u.email, u.id)
                 FROM team_members m JOIN users u ON u.id = m.user_id
                 WHERE m.space_id = %(space_id)s AND m.team_id = t.id), '[]') AS members
FROM teams t
WHERE t.space_id = %(space_id)s AND t.id = %(team_id)s

-- name: create_team
INSERT INTO teams (space_id, name, contact) VALUES (%(space_id)s, %(name)s, %(contact)s) RETURNING id

-- name: update_team
UPDATE teams
SET name = coalesce(%(name)s, name), contact = CASE WHEN %(sets_contact)s THEN %(contact)s ELSE contact END,
    updated_at = now()
WHERE space_id = %(space_id)s AND id = %(team_id)s

-- name: delete_team
DELETE FROM teams WHERE space_id = %(space_id)s AND id = %(team_id)s

-- name: put_team_member
INSERT INTO team_members (space_id, team_id, user_id) VALUES (%(space_id)s, %(team_id)s, %(user_id)s)
ON CONFLICT DO NOTHING

-- name: delete_team_member
DELETE FROM team_members WHERE space_id = %(space_id)s AND team_id = %(team_id)s AND user_id = %(user_id)s
