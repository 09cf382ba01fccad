-- An episode of an incident begins when it is opened or reopened: the thresholds of rules judge one episode.

-- fragment: begin_of_episode
SELECT e.run_id FROM incident_events e
WHERE e.space_id = i.space_id AND e.incident_id = i.id AND e.kind IN ('opened', 'reopened')
ORDER BY e.id DESC LIMIT 1

-- fragment: successes_before
(SELECT count(*) FROM runs r
     WHERE r.space_id = i.space_id AND r.pipeline_id = i.pipeline_id AND r.status = 'success'
       AND r.run_at < f.run_at AND r.removed_at IS NULL
       AND r.run_at > coalesce((SELECT max(x.run_at) FROM runs x
                                WHERE x.space_id = i.space_id AND x.pipeline_id = i.pipeline_id AND x.status = 'failed'
                                  AND x.run_at < f.run_at AND x.removed_at IS NULL), '-infinity'))
