"""Runs the SQL files of a revision."""

from pathlib import Path

from alembic import op

VERSIONS = Path(__file__).parent / "versions"


def run_sql_files(name: str) -> None:
    """Run `versions/{name}`, or each file of that directory by name: all statements at once, without parameters."""
    connection = op.get_bind().connection.driver_connection
    if connection is None:
        raise RuntimeError("Alembic has no connection to run the revision on.")
    path = VERSIONS / name
    for file in sorted(path.glob("*.sql")) if path.is_dir() else [path]:
        connection.execute("SET LOCAL search_path = windsock")
        connection.execute(file.read_bytes())
