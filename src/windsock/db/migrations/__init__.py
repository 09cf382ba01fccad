"""The database's shape: plain-SQL revisions, and whether a database has them all."""

import re
from importlib.resources import files

REVISION = re.compile(r"v\d{4}")
"""Unreleased versions wrote their revisions without the v."""


def newest_revision() -> str:
    """The revision a current database is at, read from the file names, without importing Alembic (a second)."""
    names = (REVISION.match(entry.name) for entry in files(__name__).joinpath("versions").iterdir())
    return max(name[0] for name in names if name)
