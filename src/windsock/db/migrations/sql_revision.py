"""Runs the SQL files of a revision."""

from pathlib import Path

from alembic import op

VERSIONS = Path(__file__).parent / "versions"


def run_sql_files(folder: str) -> None:
    """Run each file of `versions/{folder}`, by name."""
    for file in sorted(VERSIONS.joinpath(folder).glob("*.sql")):
        run_sql(file.read_bytes(), schema="windsock")


def run_sql(statements: bytes, *, schema: str) -> None:
    """Run all statements at once, without parameters; unqualified names are those of `schema`."""
    connection = op.get_bind().connection.driver_connection
    if connection is None:
        raise RuntimeError("Alembic has no connection to run the revision on.")
    connection.execute(f"SET LOCAL search_path = {schema}")
    connection.execute(statements)
