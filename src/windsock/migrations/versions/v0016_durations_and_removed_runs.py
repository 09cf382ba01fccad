"""Negative durations are unknown; removed runs are left out of counts."""

from windsock.migrations.plain import run_sql_beside

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    run_sql_beside(__file__)
