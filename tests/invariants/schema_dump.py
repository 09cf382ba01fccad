"""Describes schema windsock in SQL for people to read, from PostgreSQL's catalogue: docs/schema.sql."""

import re
from collections.abc import Sequence
from itertools import groupby
from typing import Any, LiteralString

import psycopg
from psycopg.rows import DictRow, dict_row

HEADER = "-- The tables of Windsock, as the migrations make them. Written by `make schema`; editing it changes nothing."
WIDTH = 120
ADDED_CAST = re.compile(r"('(?:[^']|'')*')::(?:text|jsonb|integer)\b(?:\[\])?")
CALLED = re.compile(r"(\w+)\(")
ADDED_NAME = re.compile(r"\(\( SELECT (\w+)\(\) AS \1\)\)")

TABLES = """
SELECT c.oid, c.relname AS name, obj_description(c.oid, 'pg_class') AS comment, c.relrowsecurity AS is_walled,
       ARRAY(SELECT confrelid FROM pg_constraint WHERE conrelid = c.oid AND contype = 'f' AND confrelid <> c.oid)
           AS needs
FROM pg_class c
WHERE c.relnamespace = 'windsock'::regnamespace AND c.relkind = 'r' AND c.relname <> 'alembic_version'
ORDER BY c.oid
"""
COLUMNS = """
SELECT a.attrelid AS table, a.attname AS name,
       replace(format_type(a.atttypid, a.atttypmod), 'timestamp with time zone', 'timestamptz') AS type,
       a.attnotnull AS is_required, a.attgenerated <> '' AS is_generated,
       pg_get_expr(d.adbin, d.adrelid, true) AS value,
       col_description(a.attrelid, a.attnum) AS comment
FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attrelid, a.attnum
"""
CONSTRAINTS = """
SELECT conrelid AS table, conname AS name, pg_get_constraintdef(oid, true) AS definition,
       obj_description(oid, 'pg_constraint') AS comment
FROM pg_constraint
WHERE contype IN ('p', 'u', 'c', 'f', 'x') AND connamespace = 'windsock'::regnamespace
ORDER BY conrelid, position(contype IN 'pucxf'), conname
"""
ADDITIONS = """
SELECT i.indrelid AS table, 1 AS rank, i.indexrelid::regclass::text AS name,
       replace(pg_get_indexdef(i.indexrelid, 0, true), ' USING btree', '') AS definition,
       obj_description(i.indexrelid, 'pg_class') AS comment
FROM pg_index i
WHERE NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = i.indexrelid AND contype IN ('p', 'u', 'x'))
UNION ALL
SELECT polrelid, 2, polname,
       'CREATE POLICY ' || quote_ident(polname) || ' ON ' || polrelid::regclass
       || CASE polcmd WHEN 'r' THEN ' FOR SELECT' WHEN 'a' THEN ' FOR INSERT' WHEN 'w' THEN ' FOR UPDATE'
                      WHEN 'd' THEN ' FOR DELETE' ELSE '' END
       || CASE WHEN polpermissive THEN '' ELSE ' AS RESTRICTIVE' END
       || coalesce(' TO ' || (SELECT string_agg(r.rolname, ', ') FROM pg_roles r WHERE r.oid = ANY (polroles)), '')
       || coalesce(' USING (' || pg_get_expr(polqual, polrelid, true) || ')', '')
       || coalesce(' WITH CHECK (' || pg_get_expr(polwithcheck, polrelid, true) || ')', ''),
       obj_description(oid, 'pg_policy')
FROM pg_policy
ORDER BY 1, 2, 3
"""
TRIGGERS = """
SELECT replace(pg_get_triggerdef(t.oid, true), 'windsock.', '') AS definition
FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
WHERE NOT t.tgisinternal AND c.relnamespace = 'windsock'::regnamespace
ORDER BY c.relname, t.tgname
"""
FUNCTIONS = """
SELECT p.oid, p.proname AS name,
       replace(pg_get_functiondef(p.oid), 'CREATE OR REPLACE FUNCTION windsock.', 'CREATE FUNCTION ')
           AS definition,
       obj_description(p.oid, 'pg_proc') AS comment
FROM pg_proc p
WHERE p.pronamespace = 'windsock'::regnamespace
ORDER BY p.oid
"""
UNKNOWN = """
SELECT relname AS name FROM pg_class
WHERE relnamespace = 'windsock'::regnamespace AND relkind NOT IN ('r', 'i')
UNION ALL
SELECT typname FROM pg_type WHERE typnamespace = 'windsock'::regnamespace AND typtype IN ('e', 'd', 'r', 'm')
"""


def describe(connection: psycopg.Connection[Any]) -> str:
    """Return the schema as SQL, in order of dependency and with comments. Raises for unknown kinds of objects."""

    def rows(query: LiteralString) -> list[DictRow]:
        return cursor.execute(query).fetchall()

    with connection.transaction(), connection.cursor(row_factory=dict_row) as cursor:
        cursor.execute("SET LOCAL search_path = windsock")
        if unknown := rows(UNKNOWN):
            raise ValueError(f"schema_dump.py cannot describe {', '.join(row['name'] for row in unknown)} yet.")
        tables, functions = _parents_first(rows(TABLES)), rows(FUNCTIONS)
        rows_of_triggers = rows(TRIGGERS)
        columns, constraints, additions = (_by_table(rows(query)) for query in (COLUMNS, CONSTRAINTS, ADDITIONS))
    oldest = min(table["oid"] for table in tables)
    used = {name for of_table in columns.values() for column in of_table for name in _called(column)}
    first = [function for function in functions if function["oid"] < oldest or function["name"] in used]
    parts = [HEADER]
    parts += [_function(function) for function in first]
    for table in tables:
        of_table = [found.get(table["oid"], []) for found in (columns, constraints, additions)]
        parts.append(_table(table, *of_table))
    parts += [_function(function) for function in functions if function not in first]
    if triggers := [f"{trigger['definition']};" for trigger in rows_of_triggers]:
        parts.append("\n".join(triggers))
    return "\n\n".join(parts) + "\n"


def _by_table(rows: Sequence[DictRow]) -> dict[int, list[DictRow]]:
    return {table: list(of_table) for table, of_table in groupby(rows, lambda row: row["table"])}


def _parents_first(tables: Sequence[DictRow]) -> list[DictRow]:
    """In the order in which they were made, unless one needs a younger one."""
    waiting, placed = list(tables), list[DictRow]()
    while waiting:
        known = {table["oid"] for table in placed}
        ready = next(table for table in waiting if known.issuperset(table["needs"]))
        waiting.remove(ready)
        placed.append(ready)
    return placed


def _table(table: DictRow, columns: list[DictRow], constraints: list[DictRow], additions: list[DictRow]) -> str:
    widths = [max(len(column[key]) for column in columns) for key in ("name", "type")]
    inside = [
        (f"    {column['name']:{widths[0]}} {column['type']:{widths[1]}} {_rest(column)}".rstrip(), column["comment"])
        for column in columns
    ]
    inside += [
        (f"    CONSTRAINT {constraint['name']} {_plain(constraint['definition'])}", constraint["comment"])
        for constraint in constraints
    ]
    lines = [*_above(table["comment"]), f"CREATE TABLE {table['name']} ("]
    for position, (text, comment) in enumerate(inside, start=1):
        lines += _with_comment(text + ("," if position < len(inside) else ""), comment)
    lines.append(");")
    after = [(f"{_plain(constraint['definition'])};", constraint["comment"]) for constraint in additions]
    if table["is_walled"]:
        after.append((f"ALTER TABLE {table['name']} ENABLE ROW LEVEL SECURITY;", None))
    for text, comment in sorted(after, key=lambda constraint: constraint[0].startswith("CREATE POLICY")):
        lines += _with_comment(text, comment)
    return "\n".join(lines)


def _called(column: DictRow) -> list[str]:
    """The functions that a generated column is made by, which have to be there first."""
    return CALLED.findall(column["value"]) if column["is_generated"] else []


def _rest(column: DictRow) -> str:
    words = ["NOT NULL"] if column["is_required"] else []
    if column["is_generated"]:
        words.append(f"GENERATED ALWAYS AS ({_plain(column['value'])}) STORED")
    elif column["value"] is not None:
        words.append(f"DEFAULT {_plain(column['value'])}")
    return " ".join(words)


def _function(function: DictRow) -> str:
    return "\n".join([*_above(function["comment"]), function["definition"].strip() + ";"])


def _plain(expression: str) -> str:
    """Without the casts and names that PostgreSQL adds to what was written."""
    expression = ADDED_CAST.sub(r"\1", expression)
    return ADDED_NAME.sub(r"(SELECT \1())", expression)


def _above(comment: str | None, indent: str = "") -> list[str]:
    return [f"{indent}-- {line}" for line in (comment or "").splitlines()]


def _with_comment(line: str, comment: str | None) -> list[str]:
    """Behind the line where there is room, else above it."""
    behind = f"{line}  -- {comment}"
    if comment and len(behind) <= WIDTH and "\n" not in comment:
        return [behind]
    return [*_above(comment, " " * (len(line) - len(line.lstrip()))), line]
