"""The difference of clocks, and run ids that are used again."""

from windsock.migrations.plain import run_sql_beside

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    run_sql_beside(__file__)
