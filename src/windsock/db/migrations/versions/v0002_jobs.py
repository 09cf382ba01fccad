"""Procrastinate's tables, as its release 3.10 creates them, in their own schema."""

from windsock.db.migrations.sql_revision import run_sql_files

revision = "v0002"
down_revision = "v0001"


def upgrade() -> None:
    run_sql_files("v0002_jobs.sql")
