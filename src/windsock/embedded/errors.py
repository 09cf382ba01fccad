"""The one error of the embedded PostgreSQL."""


class EmbeddedPostgresError(Exception):
    """The database cannot be used; `str(error)` says what to do, to the person at the command line."""
