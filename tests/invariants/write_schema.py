"""Writes docs/schema.sql from a database that is migrated from zero; `make schema` runs it."""

import tempfile
from pathlib import Path

import psycopg

from invariants.schema_dump import describe
from windsock.db.bootstrap import APPLICATION, DATABASE, OWNER, _make_roles_and_database, _migrate
from windsock.embedded import EmbeddedPostgres

SCHEMA = Path(__file__).parents[2] / "docs" / "schema.sql"


def write_schema() -> None:
    with tempfile.TemporaryDirectory(prefix="windsock-") as folder:
        Path(folder).chmod(0o711)  # PostgreSQL runs as another user when this one is root
        with EmbeddedPostgres(Path(folder) / "data", settings={"fsync": "off"}) as embedded:
            _make_roles_and_database(embedded)
            _migrate(embedded.url(user=OWNER, database=DATABASE), APPLICATION)
            with psycopg.connect(embedded.url(user=OWNER, database=DATABASE)) as connection:
                SCHEMA.write_text(describe(connection), encoding="utf-8")


if __name__ == "__main__":
    write_schema()
