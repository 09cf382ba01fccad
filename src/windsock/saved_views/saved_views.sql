-- fragment: view
v.id, v.name, v.query, v.is_shared, v.user_id = %(user_id)s AS is_own, v.user_id AS owner_id,
jsonb_build_object('id', u.id, 'name', u.name) AS owner, v.created_at, v.updated_at

-- fragment: visible
v.space_id = %(space_id)s AND (v.user_id = %(user_id)s OR v.is_shared)

-- name: list_saved_views
-- The caller's, and the shared ones; own first.
SELECT {view}
FROM saved_views v JOIN users u ON u.id = v.user_id
WHERE {visible}
ORDER BY v.user_id <> %(user_id)s, lower(v.name), v.id
LIMIT %(limit)s OFFSET %(offset)s

-- name: count_saved_views
SELECT count(*) AS total FROM saved_views v
WHERE {visible}

-- name: get_saved_view
SELECT {view}
FROM saved_views v JOIN users u ON u.id = v.user_id
WHERE {visible} AND v.id = %(view_id)s
FOR UPDATE OF v

-- name: create_saved_view
-- Nothing where the user has as many as one may have.
INSERT INTO saved_views (space_id, user_id, name, query, is_shared)
SELECT %(space_id)s, %(user_id)s, %(name)s, %(query)s, %(is_shared)s
WHERE (SELECT count(*) FROM saved_views v WHERE v.space_id = %(space_id)s AND v.user_id = %(user_id)s) < %(maximum)s
RETURNING id

-- name: update_saved_view
UPDATE saved_views SET name = %(name)s, query = %(query)s, is_shared = %(is_shared)s, updated_at = now()
WHERE space_id = %(space_id)s AND id = %(view_id)s

-- name: delete_saved_view
DELETE FROM saved_views WHERE space_id = %(space_id)s AND id = %(view_id)s
