"""A team consists of members of its space; a reply outlives the comment it replies to."""

from windsock.migrations.plain import run_sql_beside

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    run_sql_beside(__file__)
