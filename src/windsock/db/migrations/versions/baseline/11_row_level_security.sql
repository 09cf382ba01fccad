-- A transaction that has not named its space (setting windsock.space_id) sees and changes no row of a tenant.

DO $$
DECLARE
    tenant_table text;
BEGIN
    FOREACH tenant_table IN ARRAY ARRAY[
        'memberships', 'teams', 'team_members', 'connectors', 'sync_states', 'sync_runs', 'skipped_rows',
        'pipelines', 'pipeline_search', 'pipeline_recent_runs', 'pipeline_reads', 'runs', 'task_runs',
        'pipeline_daily_stats', 'pipeline_run_counters', 'space_hourly_run_counters', 'space_versions',
        'watches', 'comments', 'actions', 'audit_events'
    ] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', tenant_table);
        EXECUTE format('CREATE POLICY within_space ON %I USING (space_id = (SELECT current_space()))', tenant_table);
    END LOOP;
END
$$;
CREATE POLICY own_memberships ON memberships FOR SELECT USING (user_id = (SELECT current_caller()));
