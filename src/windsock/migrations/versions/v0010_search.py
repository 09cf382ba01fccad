"""What q looks through, in a table of its own."""

from windsock.migrations.plain import run_sql_beside

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    run_sql_beside(__file__)
