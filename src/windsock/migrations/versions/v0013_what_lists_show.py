"""Stored list JSON of pipelines, and their newest days in one row."""

from windsock.migrations.plain import run_sql_beside

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    run_sql_beside(__file__)
