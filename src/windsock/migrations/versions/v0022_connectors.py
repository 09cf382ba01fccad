"""Secret-looking configuration and the check of the secret key."""

from windsock.migrations.plain import run_sql_beside

revision = "0022"
down_revision = "0021"


def upgrade() -> None:
    run_sql_beside(__file__)
