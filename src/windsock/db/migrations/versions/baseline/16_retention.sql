-- Query of the retention job across spaces.

CREATE FUNCTION list_spaces_with_retention()
RETURNS TABLE(space_id uuid, retention_days integer)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = windsock, pg_temp
AS $$
    SELECT s.id, s.retention_days FROM spaces s
    WHERE s.retention_days IS NOT NULL
       OR EXISTS (SELECT FROM actions q WHERE q.space_id = s.id AND q.created_at < now() - interval '90 days')
       OR EXISTS (SELECT FROM bulk_clears b WHERE b.space_id = s.id AND b.created_at < now() - interval '90 days')
    ORDER BY s.id
$$;
COMMENT ON FUNCTION list_spaces_with_retention IS 'Spaces in which something may be too old to be kept.';
