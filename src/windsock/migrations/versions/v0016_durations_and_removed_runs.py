"""Durations are never negative, removed runs are not counted, and the newest run is the one queued or started last."""

from windsock.migrations.plain import run_sql_beside

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    run_sql_beside(__file__)
