"""Rows of the provider that could not be listed, parsed or stored."""

from windsock.migrations.plain import run_sql_beside

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    run_sql_beside(__file__)
