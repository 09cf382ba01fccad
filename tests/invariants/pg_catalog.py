"""What PostgreSQL's catalogue says about the tables of the tenants."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg
from psycopg import sql
from psycopg.rows import DictRow

from conftest import RolledBackDatabase

TENANT_TABLES = """
SELECT c.relname AS name, array_agg(a.attname::text ORDER BY a.attnum) FILTER (WHERE a.attgenerated = '') AS columns
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relnamespace = 'windsock'::regnamespace AND c.relkind IN ('r', 'p')
GROUP BY c.oid, c.relname
HAVING bool_or(a.attname = 'space_id')
ORDER BY c.relname
"""


@dataclass(frozen=True)
class TenantTable:
    """A table with a space_id, and its columns without the generated ones."""

    name: str
    columns: tuple[str, ...]

    def statement(self, text: str) -> sql.Composed:
        """`text` with {table} and {columns} filled in."""
        return sql.SQL(text).format(
            table=sql.Identifier("windsock", self.name), columns=sql.SQL(", ").join(map(sql.Identifier, self.columns))
        )

    async def rows(self, connection: psycopg.AsyncConnection[DictRow]) -> list[dict[str, Any]]:
        return await (await connection.execute(self.statement("SELECT {columns} FROM {table}"))).fetchall()

    def copy_of(self, row: dict[str, Any]) -> tuple[sql.Composed, list[Any]]:
        """The statement that inserts such a row, and its values."""
        values = [psycopg.types.json.Jsonb(value) if self._is_json(value) else value for value in row.values()]
        marks = sql.SQL(", ").join([sql.Placeholder()] * len(values))
        return self.statement("INSERT INTO {table} ({columns}) VALUES ") + sql.SQL("({})").format(marks), values

    @staticmethod
    def _is_json(value: object) -> bool:
        return isinstance(value, dict) or (isinstance(value, list) and any(isinstance(item, dict) for item in value))


async def snapshot(db: RolledBackDatabase, tables: list[TenantTable], space_id: UUID) -> dict[str, list[str]]:
    """A fingerprint of all of a space: every value, and which transaction wrote the row."""
    contents = {}
    async with db.tenant_transaction(space_id):
        for table in tables:
            cursor = await db.connection.execute(
                table.statement(
                    "SELECT string_agg(t.xmin || ' ' || t::text, E'\n' ORDER BY t::text) AS all FROM {table} t"
                )
            )
            contents[table.name] = (await cursor.fetchone() or {})["all"]
    return contents
