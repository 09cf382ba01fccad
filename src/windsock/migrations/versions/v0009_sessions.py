"""Sessions of browsers, and links that begin one."""

from windsock.migrations.plain import run_sql_beside

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    run_sql_beside(__file__)
