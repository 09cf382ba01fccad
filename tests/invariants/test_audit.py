"""Whatever a person changes is in the audit trail, with who and by which request; a new route cannot forget it."""

from uuid import UUID

import psycopg
import pytest
from psycopg.rows import DictRow

from conftest import RolledBackDatabase
from factories import PASSWORD, TwoTenants
from invariants.operations import OPERATIONS, Operation, ids_of
from invariants.pg_catalog import TenantTable
from validating_client import ValidatingClient

NEVER_WRITTEN = {
    "audit_events": "it is the trail",
    "runs": "only the sync writes it; what people start is in actions",
    "task_runs": "only the sync writes it",
    "pipeline_daily_stats": "only a trigger of runs writes it",
    "pipeline_search": "only a trigger of pipelines writes it",
    "pipeline_recent_runs": "only the sync writes it",
    "skipped_rows": "only the sync writes it",
    "import_errors": "only the sync writes it",
    "pipeline_reads": "only the sync writes it",
    "failure_reads": "only the sync and the reader of failures write it; a user who opens a run may ask for it",
    "bulk_clear_runs": "of bulk_clears; each clear is in actions",
    "task_failures": "the reader of failures writes it; merging and splitting is in fingerprints",
    "run_transitions": "only the sync writes it",
    "incident_events": "the changes of users are in incidents",
    "notification_groups": "only the evaluation writes it",
    "notification_group_incidents": "only the evaluation writes it",
    "notification_decisions": "only the evaluation writes it",
    "message_attempts": "only the delivery writes it",
    "pipeline_run_counters": "only a trigger of runs writes it",
    "space_hourly_run_counters": "only a trigger of runs writes it",
    "space_versions": "only triggers write it",
}
CHANGES_NOTHING_HERE = {
    "POST /spaces/{slug}/notifications/rules/preview": "it only computes",
    "PUT /users/me/notifications": "settings of a user belong to no space",
    "POST /users": "users belong to no space; the log has it",
    "DELETE /spaces/{slug}": "the trail goes with the space; the log has it",
    "POST /catalog/spaces/{slug}/connectors/{connector_id}/test": "it only asks Airflow whether it answers",
}
"""Operations that write nothing of a space. Nothing joins this list without a reason."""

WRITING = [
    operation for operation in OPERATIONS if operation.method != "GET" and str(operation) not in CHANGES_NOTHING_HERE
]


def test_every_tenant_table_is_audited_or_never_written(
    catalogue: psycopg.Connection[DictRow], tenant_tables: list[TenantTable]
) -> None:
    audited = catalogue.execute(
        "SELECT t.tgrelid::regclass::text AS name, t.tgenabled FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid"
        " WHERE p.proname = 'audit' AND NOT t.tgisinternal"
    ).fetchall()
    assert {row["tgenabled"] for row in audited} == {"O"}
    of_a_space = {table.name for table in tenant_tables}
    assert {row["name"] for row in audited} & of_a_space == of_a_space - NEVER_WRITTEN.keys()


def test_audit_triggers_name_existing_columns(catalogue: psycopg.Connection[DictRow]) -> None:
    """The trigger reads them by name; a wrong one would only be null."""
    triggers = catalogue.execute(
        "SELECT t.tgrelid::regclass::text AS name, encode(t.tgargs, 'escape') AS arguments,"
        " ARRAY(SELECT attname::text FROM pg_attribute WHERE attrelid = t.tgrelid AND attnum > 0) AS columns"
        " FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid WHERE p.proname = 'audit' AND NOT t.tgisinternal"
    ).fetchall()
    assert len(triggers) >= 10
    for trigger in triggers:
        _, *rest = trigger["arguments"].split("\\000")[:-1]
        named = {column for argument in rest for column in argument.split()}
        assert named <= set(trigger["columns"]), trigger["name"]


# What has to be otherwise first, so that the operation changes something.
BEFORE = {
    "PATCH /team": "UPDATE pipelines SET team_id = (SELECT id FROM teams LIMIT 1)",
    "PUT /watch": "DELETE FROM watches",
    "DELETE /watch": "INSERT INTO watches (space_id, pipeline_id, user_id)"
    " SELECT space_id, id, %(user_id)s FROM pipelines ON CONFLICT DO NOTHING",
    "POST /sync": "UPDATE sync_runs SET status = 'complete'",
    "PUT /teams/{team_id}/members/{user_id}": "DELETE FROM team_members",
}
# The new space, where one has been made.
IN_ITS_SPACE = """
SELECT set_config('windsock.space_id',
                  coalesce((SELECT id::text FROM spaces WHERE slug = 'sales'), %(space_id)s::text), true)
"""


@pytest.mark.anyio
@pytest.mark.parametrize("operation", WRITING, ids=str)
async def test_every_write_operation_records_event_with_actor_and_request_id(
    client: ValidatingClient,
    db: RolledBackDatabase,
    tenants: TwoTenants,
    key_ids: dict[str, UUID],
    operation: Operation,
) -> None:
    kind = "viewer" if operation.least == "caller" else operation.permitted_caller
    values = {"user_id": tenants.users[kind], "space_id": tenants.finance.id}
    for where, statement in BEFORE.items():
        method, ending = where.split()
        if operation.method == method and operation.path.endswith(ending):
            async with db.tenant_transaction(tenants.finance.id):
                await db.connection.execute(statement.encode(), values)
    path = operation.path.format(slug="finance", **ids_of(tenants, tenants.finance, key_ids))
    request_id = f"law-{operation.method}"
    response = await client.as_(
        tenants.keys[kind], operation.method, path, json=operation.body, headers={"X-Request-ID": request_id}
    )
    assert response.status_code == operation.status, response.text
    await db.connection.execute(IN_ITS_SPACE, values)
    cursor = await db.connection.execute("SELECT * FROM audit_events WHERE request_id = %s", (request_id,))
    rows = await cursor.fetchall()
    assert rows, f"{operation} left nothing in the audit trail"
    for row in rows:
        assert (row["actor_id"], row["actor_name"]) == (tenants.users[kind], kind.title())
        assert row["api_key_id"] == key_ids[kind]
        assert row["target_id"] is not None
        assert row["after"] or row["before"]
        assert PASSWORD not in str(row)
        assert "gAAAA" not in str(row), "an encrypted credential"
