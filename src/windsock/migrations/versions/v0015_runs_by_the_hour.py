"""How many runs of a space began in each hour."""

from windsock.migrations.plain import run_sql_beside

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    run_sql_beside(__file__)
