-- Ends of runs as the sync notices them, and the incidents that follow from them.

CREATE TABLE run_transitions (
    space_id           uuid NOT NULL,
    id                 uuid NOT NULL DEFAULT uuid7(),
    connector_id       uuid NOT NULL,
    pipeline_id        uuid NOT NULL,
    run_id             uuid NOT NULL,
    from_status        text,
    to_status          text NOT NULL
                       CONSTRAINT run_transitions_to_status_is_known CHECK (to_status IN ('success', 'failed')),
    happened_at        timestamptz NOT NULL,
    noticed_at         timestamptz NOT NULL DEFAULT now(),
    is_late            boolean NOT NULL GENERATED ALWAYS AS (noticed_at - happened_at > interval '1 hour') STORED,
    applied_at         timestamptz,
    is_fingerprint_due boolean NOT NULL DEFAULT false,
    PRIMARY KEY (space_id, id),
    CONSTRAINT run_transitions_run FOREIGN KEY (space_id, run_id) REFERENCES runs ON DELETE CASCADE
);
CREATE INDEX run_transitions_of_run ON run_transitions (space_id, run_id);
CREATE INDEX run_transitions_due ON run_transitions (space_id, connector_id, happened_at, id) WHERE applied_at IS NULL OR is_fingerprint_due;
CREATE INDEX run_transitions_successes ON run_transitions (space_id, pipeline_id, happened_at) WHERE to_status = 'success';
CREATE INDEX run_transitions_applied ON run_transitions (space_id, applied_at) WHERE applied_at IS NOT NULL;
COMMENT ON TABLE run_transitions IS 'Runs that ended, written in the transaction that stores the run. Also the queue of what updates incidents. None for history that is read back, archived runs and the first sync of a connector.';
COMMENT ON COLUMN run_transitions.from_status IS 'Null: the run was not here before.';
COMMENT ON COLUMN run_transitions.happened_at IS 'When the run ended, by the clock of the provider.';
COMMENT ON COLUMN run_transitions.is_late IS 'Noticed more than an hour after it happened: it is summarised with others.';
COMMENT ON COLUMN run_transitions.applied_at IS 'When incidents were updated; null: not yet.';
COMMENT ON COLUMN run_transitions.is_fingerprint_due IS 'The log of the failed run has been read since: its incident gets the fingerprint.';

CREATE TABLE incidents (
    space_id                   uuid NOT NULL,
    id                         uuid NOT NULL DEFAULT uuid7(),
    connector_id               uuid NOT NULL,
    pipeline_id                uuid,
    kind                       text NOT NULL
                               CONSTRAINT incidents_kind_is_known CHECK (kind IN ('failed', 'import_error', 'sync', 'approval')),
    state                      text NOT NULL DEFAULT 'open'
                               CONSTRAINT incidents_state_is_known CHECK (state IN ('open', 'acknowledged', 'snoozed', 'resolved')),
    fingerprint_id             uuid,
    first_run_id               uuid,
    last_run_id                uuid,
    occurrences                integer NOT NULL DEFAULT 1,
    occurrences_before         integer NOT NULL DEFAULT 0,
    opened_at                  timestamptz NOT NULL,
    last_failed_at             timestamptz NOT NULL,
    acknowledged_by_user_id    uuid REFERENCES users ON DELETE SET NULL,
    acknowledged_at            timestamptz,
    acknowledged_until         timestamptz,
    acknowledged_until_success boolean NOT NULL DEFAULT true,
    acknowledged_occurrences   integer,
    acknowledgement_reason     text,
    snoozed_until              timestamptz,
    assignee_user_id           uuid,
    assignee_team_id           uuid,
    resolved_at                timestamptz,
    resolved_by_user_id        uuid REFERENCES users ON DELETE SET NULL,
    held_back_by_incident_id   uuid,
    reopened_count             integer NOT NULL DEFAULT 0,
    created_at                 timestamptz NOT NULL DEFAULT now(),
    updated_at                 timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (space_id, id),
    CONSTRAINT incidents_scope CHECK (kind = 'failed' OR (kind = 'sync') = (pipeline_id IS NULL)),
    CONSTRAINT incidents_resolved_at CHECK ((state = 'resolved') = (resolved_at IS NOT NULL)),
    CONSTRAINT incidents_snoozed_until CHECK ((state = 'snoozed') = (snoozed_until IS NOT NULL)),
    CONSTRAINT incidents_acknowledged_at CHECK (state <> 'acknowledged' OR acknowledged_at IS NOT NULL),
    CONSTRAINT incidents_one_assignee CHECK (assignee_user_id IS NULL OR assignee_team_id IS NULL),
    CONSTRAINT incidents_reason_length CHECK (length(acknowledgement_reason) BETWEEN 1 AND 1000),
    CONSTRAINT incidents_connector FOREIGN KEY (space_id, connector_id) REFERENCES connectors ON DELETE CASCADE,
    CONSTRAINT incidents_pipeline FOREIGN KEY (space_id, pipeline_id) REFERENCES pipelines ON DELETE CASCADE,
    CONSTRAINT incidents_fingerprint FOREIGN KEY (space_id, fingerprint_id) REFERENCES fingerprints ON DELETE SET NULL (fingerprint_id),
    CONSTRAINT incidents_first_run FOREIGN KEY (space_id, first_run_id) REFERENCES runs ON DELETE SET NULL (first_run_id),
    CONSTRAINT incidents_last_run FOREIGN KEY (space_id, last_run_id) REFERENCES runs ON DELETE SET NULL (last_run_id),
    CONSTRAINT incidents_assignee_user FOREIGN KEY (space_id, assignee_user_id) REFERENCES memberships ON DELETE SET NULL (assignee_user_id),
    CONSTRAINT incidents_assignee_team FOREIGN KEY (space_id, assignee_team_id) REFERENCES teams ON DELETE SET NULL (assignee_team_id),
    CONSTRAINT incidents_held_back_by FOREIGN KEY (space_id, held_back_by_incident_id) REFERENCES incidents ON DELETE SET NULL (held_back_by_incident_id)
) WITH (fillfactor = 80);
CREATE UNIQUE INDEX incidents_one_of_pipeline ON incidents (space_id, pipeline_id, kind) WHERE pipeline_id IS NOT NULL AND state <> 'resolved';
CREATE UNIQUE INDEX incidents_one_of_connector ON incidents (space_id, connector_id, kind) WHERE pipeline_id IS NULL AND state <> 'resolved';
CREATE INDEX incidents_newest ON incidents (space_id, opened_at DESC, id DESC);
CREATE INDEX incidents_unresolved ON incidents (space_id, state) WHERE state <> 'resolved';
CREATE INDEX incidents_of_pipeline ON incidents (space_id, pipeline_id, kind, resolved_at);
CREATE INDEX incidents_resolved ON incidents (space_id, resolved_at) WHERE resolved_at IS NOT NULL;
CREATE INDEX incidents_of_connector ON incidents (space_id, connector_id, opened_at);
CREATE INDEX incidents_held_back ON incidents (space_id, held_back_by_incident_id) WHERE held_back_by_incident_id IS NOT NULL;
CREATE INDEX incidents_first_run ON incidents (space_id, first_run_id);
CREATE INDEX incidents_last_run ON incidents (space_id, last_run_id);
CREATE INDEX incidents_fingerprint ON incidents (space_id, fingerprint_id) WHERE fingerprint_id IS NOT NULL;
CREATE INDEX incidents_assignee_user ON incidents (space_id, assignee_user_id) WHERE assignee_user_id IS NOT NULL;
CREATE INDEX incidents_assignee_team ON incidents (space_id, assignee_team_id) WHERE assignee_team_id IS NOT NULL;
CREATE INDEX incidents_expiring ON incidents (least(acknowledged_until, snoozed_until)) WHERE state IN ('acknowledged', 'snoozed');
COMMENT ON TABLE incidents IS 'What needs the attention of a person: failing pipelines, files that cannot be imported, connectors whose sync fails, task runs that wait for input.';
COMMENT ON COLUMN incidents.pipeline_id IS 'Null: of the connector as a whole. Of kind failed that is an outage: at least five of its pipelines failed within two minutes.';
COMMENT ON COLUMN incidents.fingerprint_id IS 'Of the first root failure of its last run whose log was read.';
COMMENT ON COLUMN incidents.last_run_id IS 'Of the runs that failed the one with the latest run_at.';
COMMENT ON COLUMN incidents.occurrences IS 'Number of failures; of an outage, number of pipelines.';
COMMENT ON COLUMN incidents.occurrences_before IS 'The occurrences before it was reopened last: rules of notifications count from there.';
COMMENT ON COLUMN incidents.opened_at IS 'When it was opened, or reopened last.';
COMMENT ON COLUMN incidents.acknowledged_until IS 'When the acknowledgement ends; null: with the incident.';
COMMENT ON COLUMN incidents.acknowledged_until_success IS 'A success ends the acknowledgement; otherwise it also covers a regression until acknowledged_until.';
COMMENT ON COLUMN incidents.acknowledged_occurrences IS 'The occurrences when it was acknowledged: ten times as many end the acknowledgement.';
COMMENT ON COLUMN incidents.resolved_by_user_id IS 'Null: resolved by a success, or because its cause ended.';
COMMENT ON COLUMN incidents.held_back_by_incident_id IS 'The incident of the connector that explains this one: nobody is notified of this one meanwhile.';
COMMENT ON INDEX incidents_one_of_pipeline IS 'Duplicates are impossible, whatever processes there are.';

CREATE TABLE incident_events (
    space_id     uuid NOT NULL,
    id           uuid NOT NULL DEFAULT uuid7(),
    incident_id  uuid NOT NULL,
    kind         text NOT NULL
                 CONSTRAINT incident_events_kind_is_known CHECK (kind IN (
                     'opened', 'failed_again', 'fingerprint_changed', 'acknowledged', 'acknowledgement_ended', 'snoozed', 'snooze_ended',
                     'assigned', 'resolved', 'reopened', 'held_back', 'released', 'late_summary')),
    happened_at  timestamptz NOT NULL DEFAULT now(),
    user_id      uuid REFERENCES users ON DELETE SET NULL,
    run_id       uuid,
    details      jsonb NOT NULL DEFAULT '{}',
    evaluated_at timestamptz,
    PRIMARY KEY (space_id, id),
    CONSTRAINT incident_events_incident FOREIGN KEY (space_id, incident_id) REFERENCES incidents ON DELETE CASCADE,
    CONSTRAINT incident_events_run FOREIGN KEY (space_id, run_id) REFERENCES runs ON DELETE SET NULL (run_id)
);
CREATE INDEX incident_events_of_incident ON incident_events (space_id, incident_id, id);
CREATE INDEX incident_events_of_run ON incident_events (space_id, run_id) WHERE run_id IS NOT NULL;
CREATE INDEX incident_events_unevaluated ON incident_events (space_id, id) WHERE evaluated_at IS NULL;
COMMENT ON TABLE incident_events IS 'The timeline of incidents. Also the queue of what notifies people.';
COMMENT ON COLUMN incident_events.user_id IS 'Null: the event follows from data or from time.';
COMMENT ON COLUMN incident_events.details IS 'Of late_summary: incident_ids (at most 100; of more there are several events), and opened, failed, succeeded, from and until of all that was noticed late together. Of the events of those incidents: late is true.';
COMMENT ON COLUMN incident_events.evaluated_at IS 'When notifications were decided, in the transaction that writes them; null: not yet. Late openings are written as evaluated, since their late_summary stands for them.';

CREATE INDEX task_runs_waiting_for_input ON task_runs (space_id, run_id) WHERE removed_at IS NULL AND (
    status = 'awaiting_input'
    OR status = 'deferred' AND operator IN ('ApprovalOperator', 'HITLBranchOperator', 'HITLEntryOperator', 'HITLOperator'));
COMMENT ON INDEX task_runs_waiting_for_input IS 'Task runs that wait for a person: since Airflow 3.3 they have a status for it, before that they are deferred.';
CREATE INDEX pipelines_import_errors ON pipelines (space_id, id) WHERE has_import_errors AND removed_at IS NULL;
CREATE INDEX pipelines_criticality ON pipelines (space_id, id) INCLUDE (criticality);
COMMENT ON INDEX pipelines_criticality IS 'The inbox orders all unresolved incidents by it.';

CREATE FUNCTION is_transition_due(t run_transitions, s sync_states)
RETURNS boolean
LANGUAGE sql STABLE
AS $$
    SELECT NOT t.is_late OR s.last_complete_at >= t.noticed_at OR s.last_sync_at >= t.noticed_at AND s.partial_since IS NOT NULL
        OR t.noticed_at < now() - interval '1 hour'
$$;
COMMENT ON FUNCTION is_transition_due IS 'Late ones wait until the connector has caught up, an hour at most: then all of them are summarised together.';

CREATE FUNCTION is_outage_over(i incidents)
RETURNS boolean
LANGUAGE sql STABLE
AS $$
    SELECT i.last_failed_at < now() - interval '1 hour'
        OR NOT EXISTS (SELECT FROM incidents h
                       WHERE h.space_id = i.space_id AND h.held_back_by_incident_id = i.id AND h.state <> 'resolved')
$$;
COMMENT ON FUNCTION is_outage_over IS 'Nothing that it holds back is left, or nothing more has failed for an hour: what is left then needs attention for itself.';

CREATE FUNCTION connectors_with_transitions()
RETURNS TABLE(space_id uuid, connector_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = windsock, pg_temp
AS $$
    SELECT t.space_id, t.connector_id FROM run_transitions t
    JOIN sync_states s ON s.space_id = t.space_id AND s.connector_id = t.connector_id
    WHERE (t.applied_at IS NULL OR t.is_fingerprint_due) AND is_transition_due(t, s)
    GROUP BY t.space_id, t.connector_id
$$;
COMMENT ON FUNCTION connectors_with_transitions IS 'Connectors of which a transition is to be applied to incidents.';

CREATE FUNCTION spaces_with_old_transitions()
RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = windsock, pg_temp
AS $$
    SELECT s.id FROM spaces s
    WHERE EXISTS (SELECT FROM run_transitions t WHERE t.space_id = s.id AND t.applied_at < now() - interval '7 days')
$$;
COMMENT ON FUNCTION spaces_with_old_transitions IS 'Spaces in which transitions may be deleted: they were applied a week ago.';

CREATE FUNCTION incident_conditions(watching_since timestamptz)
RETURNS TABLE(space_id uuid, connector_id uuid, pipeline_id uuid, kind text, run_id uuid, is_due boolean)
LANGUAGE sql STABLE
AS $$
    SELECT p.space_id, p.connector_id, p.id, 'import_error', NULL::uuid, true
    FROM pipelines p JOIN connectors c ON c.space_id = p.space_id AND c.id = p.connector_id
    WHERE p.has_import_errors AND p.removed_at IS NULL AND c.is_active
    UNION ALL
    SELECT p.space_id, p.connector_id, p.id, 'approval', (array_agg(r.id ORDER BY r.run_at DESC, r.id))[1], true
    FROM task_runs t
    JOIN runs r ON r.space_id = t.space_id AND r.id = t.run_id AND r.status IN ('queued', 'running') AND r.removed_at IS NULL
    JOIN pipelines p ON p.space_id = r.space_id AND p.id = r.pipeline_id AND p.removed_at IS NULL
    JOIN connectors c ON c.space_id = p.space_id AND c.id = p.connector_id AND c.is_active
    WHERE t.removed_at IS NULL AND (
        t.status = 'awaiting_input'
        OR t.status = 'deferred' AND t.operator IN ('ApprovalOperator', 'HITLBranchOperator', 'HITLEntryOperator', 'HITLOperator'))
    GROUP BY p.space_id, p.connector_id, p.id
    UNION ALL
    SELECT c.space_id, c.id, NULL, 'sync', NULL,
           coalesce(greatest(coalesce(s.last_complete_at, s.failing_since), watching_since) < now() - interval '30 seconds'
               - 3 * interval '1 second' * coalesce((c.config ->> 'sync_interval_seconds')::float8, 60)
               - CASE s.mode WHEN 'large' THEN interval '10 minutes' ELSE interval '0' END, false)
    FROM connectors c JOIN sync_states s ON s.space_id = c.space_id AND s.connector_id = c.id
    WHERE c.connector_type = 'airflow' AND sync_state(c.is_active, s, c.config) IN ('failing', 'held', 'late')
$$;
COMMENT ON FUNCTION incident_conditions IS 'Conditions for which there are incidents as long as they last. watching_since: when the process began to look, so that syncs that did not run because Windsock did not are no reason. is_due: it has lasted long enough to open an incident.';

CREATE FUNCTION connectors_with_incident_changes(watching_since timestamptz)
RETURNS TABLE(space_id uuid, connector_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = windsock, pg_temp
AS $$
    WITH conditions AS MATERIALIZED (SELECT * FROM incident_conditions(watching_since))
    SELECT c.space_id, c.connector_id FROM conditions c
    WHERE c.is_due AND NOT EXISTS (
        SELECT FROM incidents i
        WHERE i.space_id = c.space_id AND i.connector_id = c.connector_id AND i.pipeline_id IS NOT DISTINCT FROM c.pipeline_id
          AND i.kind = c.kind AND i.state <> 'resolved')
    UNION
    SELECT i.space_id, i.connector_id FROM incidents i
    WHERE i.state <> 'resolved' AND i.kind IN ('import_error', 'sync', 'approval') AND NOT EXISTS (
        SELECT FROM conditions c
        WHERE c.space_id = i.space_id AND c.connector_id = i.connector_id AND c.pipeline_id IS NOT DISTINCT FROM i.pipeline_id
          AND c.kind = i.kind)
    UNION
    SELECT i.space_id, i.connector_id FROM incidents i
    WHERE i.state IN ('acknowledged', 'snoozed') AND least(i.acknowledged_until, i.snoozed_until) <= now()
    UNION
    SELECT i.space_id, i.connector_id FROM incidents i
    WHERE i.state <> 'resolved' AND i.kind = 'failed' AND i.pipeline_id IS NULL AND is_outage_over(i)
    UNION
    SELECT i.space_id, i.connector_id FROM incidents i
    JOIN incidents o ON o.space_id = i.space_id AND o.id = i.held_back_by_incident_id
    WHERE i.state <> 'resolved' AND o.state = 'resolved'
$$;
COMMENT ON FUNCTION connectors_with_incident_changes IS 'Connectors of which an incident is to be opened or resolved because a condition has begun or ended, or is to change because a time has come.';

DO $$
DECLARE
    tenant_table text;
BEGIN
    FOREACH tenant_table IN ARRAY ARRAY['run_transitions', 'incidents', 'incident_events'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', tenant_table);
        EXECUTE format('CREATE POLICY within_space ON %I USING (space_id = (SELECT current_space()))', tenant_table);
    END LOOP;
END
$$;
CREATE TRIGGER incidents_version_ins AFTER INSERT ON incidents REFERENCING NEW TABLE AS new_rows
FOR EACH STATEMENT EXECUTE FUNCTION bump_space_version_after_statement();
CREATE TRIGGER incidents_version_upd AFTER UPDATE ON incidents REFERENCING NEW TABLE AS new_rows
FOR EACH STATEMENT EXECUTE FUNCTION bump_space_version_after_statement();
CREATE TRIGGER incidents_version_del AFTER DELETE ON incidents REFERENCING OLD TABLE AS old_rows
FOR EACH STATEMENT EXECUTE FUNCTION bump_space_version_after_statement();
-- Of what people do; what follows from data stands in incident_events.
CREATE TRIGGER audit AFTER UPDATE OF state, acknowledged_at, acknowledged_until, snoozed_until, assignee_user_id, assignee_team_id ON incidents FOR EACH ROW
WHEN (pg_trigger_depth() = 0 AND nullif(current_setting('windsock.actor', true), '') IS NOT NULL)
EXECUTE FUNCTION audit('incident', 'id', 'kind', 'state acknowledged_until acknowledgement_reason snoozed_until assignee_user_id assignee_team_id');
