-- A team consists of members of its space, and a reply outlives the comment it replies to.

DELETE FROM team_members t
WHERE NOT EXISTS (SELECT FROM memberships m WHERE m.space_id = t.space_id AND m.user_id = t.user_id);

ALTER TABLE team_members
    ADD CONSTRAINT team_members_membership FOREIGN KEY (space_id, user_id) REFERENCES memberships ON DELETE CASCADE;

ALTER TABLE comments
    DROP CONSTRAINT comments_parent,
    ADD CONSTRAINT comments_parent FOREIGN KEY (space_id, parent_id) REFERENCES comments ON DELETE SET NULL (parent_id);
CREATE INDEX comments_replies ON comments (space_id, parent_id) WHERE parent_id IS NOT NULL;
