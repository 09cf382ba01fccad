"""Procrastinate's own tables, as its release 3.10 makes them, in a schema of their own."""

from windsock.migrations.plain import run_sql_beside

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    run_sql_beside(__file__)
