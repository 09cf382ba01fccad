"""Totals that count rows which an account may not see, and skipped iterations of a loop."""

from windsock.migrations.plain import run_sql_beside

revision = "0023"
down_revision = "0022"


def upgrade() -> None:
    run_sql_beside(__file__)
