"""Limits and fair shares of spaces."""

from windsock.migrations.plain import run_sql_beside

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    run_sql_beside(__file__)
