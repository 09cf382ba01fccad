"""Search text of pipelines in its own table."""

from windsock.migrations.plain import run_sql_beside

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    run_sql_beside(__file__)
