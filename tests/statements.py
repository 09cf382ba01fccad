"""Which SQL statements a request executes."""

from typing import Any

import psycopg
from psycopg.rows import DictRow

from conftest import RolledBackDatabase


def count_statements(db: RolledBackDatabase) -> list[str]:
    """Return a list to which every statement is added that the connection executes from now on."""
    statements: list[str] = []

    class CountingCursor(psycopg.AsyncCursor[DictRow]):
        async def execute(self, query: Any, *more: Any, **options: Any) -> Any:
            statements.append(str(query))
            return await super().execute(query, *more, **options)

    db.connection.cursor_factory = CountingCursor
    return statements
