"""How the runs of a day ended, in the row of the day."""

from windsock.migrations.plain import run_sql_beside

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    run_sql_beside(__file__)
