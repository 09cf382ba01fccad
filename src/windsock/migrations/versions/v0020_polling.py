"""Columns for choosing the polling mode."""

from windsock.migrations.plain import run_sql_beside

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    run_sql_beside(__file__)
