"""Every index takes the longest values of the API and of Airflow: a row of a B-tree has at most 2,704 bytes."""

import random
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import DictRow

from conftest import RolledBackDatabase
from factories import TwoTenants
from invariants.pg_catalog import TenantTable

pytestmark = pytest.mark.anyio

LONGEST: dict[tuple[str, str], int] = {
    ("users", "email"): 320,
    ("spaces", "slug"): 63,
    ("teams", "name"): 200,
    ("connectors", "name"): 200,
    ("saved_views", "name"): 100,
    ("pipelines", "external_id"): 250,
    ("pipelines", "name"): 2_000,
    ("runs", "external_id"): 250,
    ("runs", "status"): 50,
    ("runs", "run_type"): 50,
    ("task_runs", "external_id"): 250,
    ("task_runs", "region_id"): 36,
    ("task_runs", "status"): 50,
    ("task_runs", "operator"): 1_000,
    ("fingerprints", "name"): 200,
    ("bulk_clears", "idempotency_key"): 255,
    ("channels", "name"): 200,
    ("notification_rules", "name"): 200,
    ("notification_groups", "key"): 250,
    ("messages", "dedup_key"): 100,
    ("actions", "idempotency_key"): 255,
    ("import_errors", "bundle_name"): 1_000,
    ("import_errors", "filename"): 1_000,
    ("pipeline_run_counters", "status"): 50,
    ("pipeline_run_counters", "run_type"): 50,
    ("space_hourly_run_counters", "status"): 50,
    ("space_hourly_run_counters", "run_type"): 50,
}
"""Characters, by the bodies of the API and Airflow's own columns. Counted again where a column of another is longer."""

INDEXED_TEXT = """
SELECT DISTINCT c.relname AS of_table, a.attname AS name
FROM pg_index i
JOIN pg_class c ON c.oid = i.indrelid AND c.relnamespace = 'windsock'::regnamespace
JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = i.indexrelid AND d.refobjid = i.indrelid
JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = d.refobjsubid
WHERE a.attgenerated = '' AND a.atttypid IN ('text'::regtype, 'varchar'::regtype, 'text[]'::regtype, 'jsonb'::regtype)
UNION
SELECT c.relname, a.attname
FROM pg_index i
JOIN pg_constraint k ON k.conindid = i.indexrelid AND k.contype IN ('p', 'u') AND k.conrelid = i.indrelid
JOIN pg_class c ON c.oid = i.indrelid AND c.relnamespace = 'windsock'::regnamespace
JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (k.conkey)
WHERE a.attgenerated = '' AND a.atttypid IN ('text'::regtype, 'varchar'::regtype, 'text[]'::regtype, 'jsonb'::regtype)
"""
"""Columns of keys, of INCLUDE, of expressions and of conditions; those of constraints hang on the constraint."""
AN_ACTION = """
INSERT INTO actions (space_id, kind, pipeline_id, user_id, body_hash, lease_until)
SELECT space_id, 'trigger', id, %(user_id)s, 'hash', now() FROM pipelines WHERE space_id = %(space_id)s LIMIT 1
"""
A_VIEW = """
INSERT INTO saved_views (space_id, user_id, name, query) VALUES (%(space_id)s, %(user_id)s, 'mine', '')
"""
CHOICES = """
SELECT c.relname AS of_table, a.attname AS name
FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey)
WHERE k.contype = 'c' AND c.relnamespace = 'windsock'::regnamespace
  AND pg_get_constraintdef(k.oid) LIKE '%%= ANY (ARRAY[%%'
"""
"""Columns that take one of a few words."""


def incompressible(length: int, of: str) -> str:
    """Characters of four bytes each, as many as there are of CJK beyond the first plane."""
    chooser = random.Random(of)  # noqa: S311 - repeatable on purpose
    return "".join(chr(chooser.randrange(0x20000, 0x2A6DF)) for _ in range(length))


def indexed(catalogue: psycopg.Connection[DictRow]) -> dict[str, set[str]]:
    chosen = {(row["of_table"], row["name"]) for row in catalogue.execute(CHOICES)}
    found: dict[str, set[str]] = {}
    for row in catalogue.execute(INDEXED_TEXT):
        if row["of_table"] != "alembic_version" and (row["of_table"], row["name"]) not in chosen:
            found.setdefault(row["of_table"], set()).add(row["name"])
    return found


def test_every_indexed_text_column_has_maximum_length(catalogue: psycopg.Connection[DictRow]) -> None:
    found = {(table, name) for table, names in indexed(catalogue).items() for name in names}
    assert found == LONGEST.keys(), "say how long it may be, or index a prefix or a hash of it"


async def test_longest_values_of_tenant_tables_fit_into_every_index(
    db: RolledBackDatabase,
    tenants: TwoTenants,
    catalogue: psycopg.Connection[DictRow],
    tenant_tables: list[TenantTable],
) -> None:
    tables = {table.name: table for table in tenant_tables}
    space_id = tenants.finance.id
    for name, columns in indexed(catalogue).items():
        if name not in tables:
            continue
        table = tables[name]
        async with db.tenant_transaction(space_id):
            if statement := {"actions": AN_ACTION, "saved_views": A_VIEW}.get(name):
                await db.connection.execute(statement, {"space_id": space_id, "user_id": tenants.users["editor"]})
            rows = await table.rows(db.connection)
            assert rows, f"the world has no row of {name}"
            changes = {column: incompressible(LONGEST[name, column], f"{name}.{column}") for column in columns}
            row: dict[str, Any] = rows[0] | changes
            row |= {column: uuid4() for column in ("id",) if isinstance(row.get(column), UUID)}
            row |= dict.fromkeys({"hash"} & row.keys())  # of a fingerprint: unique
            await db.connection.execute(*table.copy_of(row))


async def test_longest_values_of_global_tables_fit_into_every_index(
    catalogue: psycopg.Connection[DictRow], tenant_tables: list[TenantTable], db: RolledBackDatabase
) -> None:
    tenants = {table.name for table in tenant_tables}
    others = {name: columns for name, columns in indexed(catalogue).items() if name not in tenants}
    assert others.keys() == {"users", "spaces"}
    async with db.transaction():
        for name, columns in others.items():
            values = {column: incompressible(LONGEST[name, column], f"{name}.{column}") for column in columns} | {
                "name": "longest"
            }
            statement = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
                sql.Identifier("windsock", name),
                sql.SQL(", ").join(map(sql.Identifier, values)),
                sql.SQL(", ").join([sql.Placeholder()] * len(values)),
            )
            await db.connection.execute(statement, list(values.values()))
