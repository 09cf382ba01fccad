"""Runs the commands that work on a database: in this process, on one that the tests made."""

from pathlib import Path

from click.testing import CliRunner, Result
from psycopg.conninfo import make_conninfo

from conftest import SECRET_KEY
from windsock import log
from windsock.__main__ import main
from windsock.db.bootstrap import OWNER


def owner_url(database_url: str) -> str:
    """Of a database, given as the application connects to it."""
    return make_conninfo(database_url, user=OWNER)


def run_in_process(
    database_url: str, data: Path, *arguments: str, stdin: str | None = None, **environment: str
) -> Result:
    """`given` is typed at the terminal; `data` stays empty."""
    settings = {
        "WINDSOCK_DATABASE_URL": owner_url(database_url),
        "WINDSOCK_DATABASE_APP_URL": database_url,
        "WINDSOCK_SECRET_KEYS": SECRET_KEY,
        "WINDSOCK_DATA": str(data),
        "COLUMNS": "200",
    }
    try:
        result = CliRunner().invoke(main, arguments, input=stdin, env={**settings, **environment})
    finally:
        log.configure("json", "warning")
    assert not isinstance(result.exception, Exception), result.exception
    return result
