"""Columns for reappearing pipelines and slow connectors."""

from windsock.migrations.plain import run_sql_beside

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    run_sql_beside(__file__)
