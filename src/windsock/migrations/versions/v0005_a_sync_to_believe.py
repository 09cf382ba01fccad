"""What the sync needs to hold back, to go on elsewhere, to read the history in the background, and to be understood."""

from windsock.migrations.plain import run_sql_beside

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    run_sql_beside(__file__)
