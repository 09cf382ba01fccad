"""The second wall: PostgreSQL itself shows the application's role one space, whatever the code forgets."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg.rows import DictRow

from conftest import RolledBackDatabase
from factories import TwoTenants
from invariants.pg_catalog import TenantTable
from windsock.db.bootstrap import APPLICATION, OWNER
from windsock.db.database import Actor, Database
from windsock.errors import WindsockError

DEFINERS = {"authorize", "authorize_session", "audit", "audit_key", "audit_user"}
DEFINERS |= {
    "bump_space_version",
    "bump_every_space_version",
    "syncs_to_start",
    "abandoned_syncs",
    "next_sync",
    "syncs_waiting",
    "list_spaces_with_retention",
    "sync_freshness",
    "due_failure_reads",
    "due_bulk_clears",
    "connectors_with_transitions",
    "connectors_with_incident_changes",
    "spaces_with_old_transitions",
    "create_default_rules",
    "spaces_to_notify",
    "due_messages",
    "notification_statistics",
}
"""The functions that run as the owner: what is asked before a space is known. Each answers only that."""

READ_ONLY = {"audit_events"}
"""What the database alone writes: nobody can edit the trail, not even in their own space."""
REFUSED = "row-level security|permission denied"

SCHEMAS = ("windsock", "procrastinate", "public")
GLOBAL_TABLES = {"alembic_version", "api_keys", "login_links", "notification_settings", "sessions", "spaces", "users"}
"""Tables of no space."""


def test_every_table_is_tenant_table_or_listed_as_global(
    catalogue: psycopg.Connection[DictRow], tenant_tables: list[TenantTable]
) -> None:
    rows = catalogue.execute(
        "SELECT relname, relkind::text FROM pg_class"
        " WHERE relnamespace = 'windsock'::regnamespace AND relkind NOT IN ('i', 'I')"
    ).fetchall()
    assert {row["relname"] for row in rows} - {table.name for table in tenant_tables} == GLOBAL_TABLES
    assert {row["relkind"] for row in rows} == {"r"}, "a view would look past row-level security"


def test_every_tenant_table_has_row_level_security_policy(
    catalogue: psycopg.Connection[DictRow], tenant_tables: list[TenantTable]
) -> None:
    walled = catalogue.execute(
        "SELECT c.relname AS name FROM pg_class c JOIN pg_policy p ON p.polrelid = c.oid WHERE c.relrowsecurity"
        " AND p.polname = 'within_space' AND p.polcmd = '*' AND p.polroles = '{0}' AND p.polwithcheck IS NULL"
        " AND pg_get_expr(p.polqual, c.oid) = '(space_id = ( SELECT current_space() AS current_space))'"
    ).fetchall()
    assert {row["name"] for row in walled} == {table.name for table in tenant_tables}
    other = catalogue.execute(
        "SELECT polrelid::regclass::text, polname, polcmd FROM pg_policy WHERE polname <> 'within_space'"
    ).fetchall()
    assert [tuple(row.values()) for row in other] == [("memberships", "own_memberships", "r")]


def test_every_tenant_table_has_space_id_first_in_primary_key(
    catalogue: psycopg.Connection[DictRow], tenant_tables: list[TenantTable]
) -> None:
    first = catalogue.execute(
        "SELECT c.conrelid::regclass::text AS name, a.attname, a.attnotnull FROM pg_constraint c"
        " JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1] WHERE c.contype = 'p'"
    ).fetchall()
    with_space = {row["name"] for row in first if row["attname"] == "space_id" and row["attnotnull"]}
    assert with_space == {table.name for table in tenant_tables}


def test_every_unique_index_of_tenant_table_starts_with_space_id(
    catalogue: psycopg.Connection[DictRow], tenant_tables: list[TenantTable]
) -> None:
    """Such a key would tell one space what another has, and could not be distributed."""
    unique = catalogue.execute(
        "SELECT i.indexrelid::regclass::text AS index, i.indrelid::regclass::text AS name, a.attname FROM pg_index i"
        " LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0] WHERE i.indisunique"
        " AND i.indrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'windsock'::regnamespace)"
    ).fetchall()
    names = {table.name for table in tenant_tables}
    assert {row["name"] for row in unique} >= names
    assert [row["index"] for row in unique if row["name"] in names and row["attname"] != "space_id"] == []


def test_foreign_keys_between_tenant_tables_include_space_id(
    catalogue: psycopg.Connection[DictRow], tenant_tables: list[TenantTable]
) -> None:
    keys = catalogue.execute(
        "SELECT c.conname, c.conrelid::regclass::text AS child, c.confrelid::regclass::text AS parent,"
        " ARRAY(SELECT a.attname || '=' || b.attname FROM unnest(c.conkey, c.confkey) AS k(mine, theirs)"
        "  JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.mine"
        "  JOIN pg_attribute b ON b.attrelid = c.confrelid AND b.attnum = k.theirs) AS columns"
        " FROM pg_constraint c WHERE c.contype = 'f' AND c.connamespace = 'windsock'::regnamespace"
    ).fetchall()
    names = {table.name for table in tenant_tables}
    between = [key for key in keys if key["child"] in names and key["parent"] in names]
    assert len(between) >= 10
    assert [key["conname"] for key in between if "space_id=space_id" not in key["columns"]] == []
    assert [key["conname"] for key in keys if key["child"] not in names and key["parent"] in names] == []
    reach_the_space = {key["child"] for key in keys if key["parent"] == "spaces"}
    while more := {key["child"] for key in between if key["parent"] in reach_the_space} - reach_the_space:
        reach_the_space |= more
    assert reach_the_space == names, "a row of a space that is deleted would stay behind"


def test_application_role_is_unprivileged(catalogue: psycopg.Connection[DictRow]) -> None:
    role = catalogue.execute(
        "SELECT rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolreplication FROM pg_roles WHERE rolname = %s",
        (APPLICATION,),
    ).fetchone()
    assert role
    assert not any(role.values())
    owned = catalogue.execute(
        "SELECT classid::regclass::text, objid FROM pg_shdepend"
        " WHERE refobjid = %s::regrole AND deptype = 'o' AND refclassid = 'pg_authid'::regclass",
        (APPLICATION,),
    ).fetchall()
    assert owned == []
    memberships = catalogue.execute(
        "SELECT roleid::regrole::text FROM pg_auth_members WHERE member = %s::regrole", (APPLICATION,)
    )
    assert memberships.fetchall() == []


@pytest.mark.parametrize("schema", SCHEMAS)
def test_application_role_cannot_create_objects(catalogue: psycopg.Connection[DictRow], schema: str) -> None:
    cursor = catalogue.execute("SELECT has_schema_privilege(%s, %s, 'CREATE') AS may", (APPLICATION, schema))
    assert cursor.fetchall() == [{"may": False}]


def test_application_role_has_row_privileges_only(catalogue: psycopg.Connection[DictRow]) -> None:
    grants = catalogue.execute(
        "SELECT c.relname AS name, g.privilege_type AS right FROM pg_class c, aclexplode(c.relacl) g"
        " WHERE c.relnamespace = 'windsock'::regnamespace AND g.grantee IN (0, %s::regrole)",
        (APPLICATION,),
    ).fetchall()
    rows = {"SELECT", "INSERT", "UPDATE", "DELETE"}
    assert {grant["right"] for grant in grants} == rows, "TRUNCATE, REFERENCES and TRIGGER pass row-level security"
    for name in {"alembic_version", *READ_ONLY}:
        assert {grant["right"] for grant in grants if grant["name"] == name} == {"SELECT"}, name


def test_only_listed_functions_are_security_definer(catalogue: psycopg.Connection[DictRow]) -> None:
    functions = catalogue.execute(
        "SELECT proname AS name, prosecdef AS is_definer, proconfig AS settings,"
        " has_function_privilege('public', oid, 'EXECUTE') AS is_for_all"
        " FROM pg_proc WHERE pronamespace = 'windsock'::regnamespace"
    ).fetchall()
    definers = [function for function in functions if function["is_definer"]]
    assert {function["name"] for function in definers} == DEFINERS
    assert all(function["settings"] == ["search_path=windsock, pg_temp"] for function in definers)
    assert not any(function["is_for_all"] for function in functions)


@pytest.mark.anyio
@pytest.mark.parametrize("user", [OWNER, "postgres"])
async def test_application_refuses_to_start_with_privileged_role(
    empty_database: Callable[[str], str], user: str
) -> None:
    db = Database(empty_database(user), pool_size=2)
    try:
        with pytest.raises(WindsockError, match=rf"must not connect as {user}"):
            await db.open()
    finally:
        await db.close()


@pytest.mark.anyio
async def test_transaction_without_space_reads_and_writes_no_tenant_rows(
    two_tenants_full: TwoTenants, db: RolledBackDatabase, tenant_tables: list[TenantTable]
) -> None:
    theirs = await rows_of_each(db, tenant_tables, two_tenants_full.marketing.id)
    async with db.transaction():
        for table in tenant_tables:
            assert await table.rows(db.connection) == [], table.name
            await assert_beyond_reach(db, table, theirs[table.name][0])


@pytest.mark.anyio
async def test_tenant_transaction_cannot_reach_rows_of_other_space(
    two_tenants_full: TwoTenants, db: RolledBackDatabase, tenant_tables: list[TenantTable]
) -> None:
    finance, marketing = two_tenants_full.finance.id, two_tenants_full.marketing.id
    theirs = await rows_of_each(db, tenant_tables, marketing)
    async with db.tenant_transaction(finance):
        for table in tenant_tables:
            ours = await table.rows(db.connection)
            assert {row["space_id"] for row in ours} == {finance}, table.name
            await assert_beyond_reach(db, table, theirs[table.name][0])
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match=REFUSED):
                async with db.connection.transaction():
                    await db.connection.execute(table.statement("UPDATE {table} SET space_id = %s"), (marketing,))
    assert await rows_of_each(db, tenant_tables, marketing) == theirs


@pytest.mark.anyio
async def test_user_transaction_reads_own_memberships_and_changes_none(
    two_tenants_full: TwoTenants, db: RolledBackDatabase
) -> None:
    stranger = two_tenants_full.users["stranger"]
    async with db.user_transaction(Actor(stranger, uuid4(), None)):
        cursor = await db.connection.execute("SELECT space_id, user_id FROM memberships")
        assert await cursor.fetchall() == [{"space_id": two_tenants_full.marketing.id, "user_id": stranger}]
        assert (await db.connection.execute("UPDATE memberships SET role = 'admin'")).rowcount == 0
        assert (await db.connection.execute("DELETE FROM memberships")).rowcount == 0


async def rows_of_each(
    db: RolledBackDatabase, tables: list[TenantTable], space_id: object
) -> dict[str, list[dict[str, Any]]]:
    async with db.tenant_transaction(space_id):  # type: ignore[arg-type]
        rows = {table.name: await table.rows(db.connection) for table in tables}
    assert all(rows.values()), "every table needs a row: add one to PEOPLE_ADD in tests/conftest.py"
    return rows


async def assert_beyond_reach(db: RolledBackDatabase, table: TenantTable, row: dict[str, Any]) -> None:
    """Another space's row is not seen, changed, locked or deleted, and no such row can be put there."""
    space_id = (row["space_id"],)
    writing = (
        "SELECT FROM {table} WHERE space_id = %s FOR UPDATE",
        "UPDATE {table} SET space_id = space_id WHERE space_id = %s",
        "DELETE FROM {table} WHERE space_id = %s",
    )
    for statement in ("SELECT FROM {table} WHERE space_id = %s", *(() if table.name in READ_ONLY else writing)):
        assert (await db.connection.execute(table.statement(statement), space_id)).rowcount == 0, table.name
    for statement in writing if table.name in READ_ONLY else ():
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="permission denied"):
            async with db.connection.transaction():
                await db.connection.execute(table.statement(statement), space_id)
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match=REFUSED):
        async with db.connection.transaction():
            await db.connection.execute(*table.copy_of(row))
