"""Numbers of a pipeline by the day, and a version of each space that moves with whatever is written in it."""

from windsock.migrations.plain import run_sql_beside

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    run_sql_beside(__file__)
