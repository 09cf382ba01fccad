"""Executes the SQL file of the same name beside a revision."""

from pathlib import Path

from alembic import op


def run_sql_beside(revision_file: str) -> None:
    """Run the .sql file beside `revision_file`, all statements at once, unparsed and without parameters."""
    connection = op.get_bind().connection.driver_connection
    if connection is None:
        raise RuntimeError("Alembic has no connection to run the revision on.")
    connection.execute("SET LOCAL search_path = windsock")
    connection.execute(Path(revision_file).with_suffix(".sql").read_bytes())
