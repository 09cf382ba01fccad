-- A transaction that has not named its space (setting windsock.space_id) sees and changes no row of a tenant.

DO $$
DECLARE
    tenant_table text;
BEGIN
    FOREACH tenant_table IN ARRAY ARRAY[
        'memberships', 'teams', 'team_members', 'connectors', 'sync_states', 'sync_runs', 'pipelines', 'runs',
        'task_runs', 'watches', 'comments', 'trigger_requests', 'audit_events', 'pipeline_days', 'run_counts',
        'space_versions', 'pipeline_weeks', 'pipeline_search', 'pipeline_strips', 'pipeline_recent_days',
        'space_counts', 'run_hours', 'skipped_rows', 'pipeline_reads'
    ] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', tenant_table);
        EXECUTE format('CREATE POLICY within_space ON %I USING (space_id = (SELECT current_space()))', tenant_table);
    END LOOP;
END
$$;
CREATE POLICY own_memberships ON memberships FOR SELECT USING (user_id = (SELECT current_caller()));
