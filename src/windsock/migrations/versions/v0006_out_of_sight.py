"""What a sync must remember of pipelines that were out of sight, and of connectors that answer slowly."""

from windsock.migrations.plain import run_sql_beside

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    run_sql_beside(__file__)
