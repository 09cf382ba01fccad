"""Task loops of Airflow 3.4: the region is part of the identity of a task run."""

from windsock.migrations.plain import run_sql_beside

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    run_sql_beside(__file__)
