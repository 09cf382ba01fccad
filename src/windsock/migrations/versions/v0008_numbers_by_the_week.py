"""Numbers of a pipeline by the week beside those by the day, and the strips of runs as text."""

from windsock.migrations.plain import run_sql_beside

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    run_sql_beside(__file__)
