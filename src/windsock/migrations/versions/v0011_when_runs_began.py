"""When a run began: a column and its index."""

from windsock.migrations.plain import run_sql_beside

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    run_sql_beside(__file__)
