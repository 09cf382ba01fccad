"""The strips of pipelines in a table of their own."""

from windsock.migrations.plain import run_sql_beside

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    run_sql_beside(__file__)
