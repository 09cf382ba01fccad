"""Columns for quarantine, requeued syncs, background backfill and sync health."""

from windsock.migrations.plain import run_sql_beside

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    run_sql_beside(__file__)
