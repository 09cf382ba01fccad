-- fragment: update_fingerprint_counts
UPDATE fingerprints g
SET occurrences = k.runs, first_seen_at = least(g.first_seen_at, k.first_at), last_seen_at = coalesce(k.last_at, g.last_seen_at)
FROM unnest(%(ids)s::uuid[]) AS i (id)
CROSS JOIN LATERAL (
    SELECT count(DISTINCT f.run_id)::integer AS runs, min(f.failed_at) AS first_at, max(f.failed_at) AS last_at
    FROM task_failures f WHERE f.space_id = %(space_id)s AND f.fingerprint_id = i.id
) k
WHERE g.space_id = %(space_id)s AND g.id = i.id
