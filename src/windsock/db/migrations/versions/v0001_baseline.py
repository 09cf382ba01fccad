"""The schema of Windsock, one SQL file per topic in `baseline/`, run in the order of their names."""

from windsock.db.migrations.sql_revision import run_sql_files

revision = "v0001"
down_revision = None


def upgrade() -> None:
    run_sql_files("baseline")
