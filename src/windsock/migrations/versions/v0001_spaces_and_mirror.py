"""The whole spine: callers, spaces, connectors, the mirror, and what people add."""

from windsock.migrations.plain import run_sql_beside

revision = "0001"
down_revision = None


def upgrade() -> None:
    run_sql_beside(__file__)
