"""Procrastinate's tables, as its release 3.10 creates them, in their own schema."""

from importlib.resources import files

from windsock.db.migrations.sql_revision import run_sql

revision = "v0002"
down_revision = "v0001"

SCHEMA = files("procrastinate").joinpath("sql", "schema.sql")
"""A test holds its checksum: before a release with another schema is used, this text is copied beside this file."""


def upgrade() -> None:
    run_sql(b"CREATE SCHEMA procrastinate", schema="windsock")
    run_sql(SCHEMA.read_bytes(), schema="procrastinate")
