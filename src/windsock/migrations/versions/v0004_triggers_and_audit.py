"""Triggers that are sent at most once, an audit trail written by the database, and the order of a DAG's tasks."""

from windsock.migrations.plain import run_sql_beside

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    run_sql_beside(__file__)
