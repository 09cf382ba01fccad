"""Databases of tests that commit: copies of the migrated one."""

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from windsock.db.bootstrap import APPLICATION, DATABASE, OWNER
from windsock.embedded import EmbeddedPostgres


class Databases:
    """Called with a name, it copies the migrated database and returns the application's URL of the copy."""

    def __init__(self, postgres: EmbeddedPostgres) -> None:
        self._postgres = postgres

    def __call__(self, name: str) -> str:
        # The files are copied: writing their content to the WAL takes three times as long.
        statement = "CREATE DATABASE {} TEMPLATE {} OWNER {} STRATEGY FILE_COPY"
        self._execute(sql.SQL(statement).format(*map(sql.Identifier, (name, DATABASE, OWNER))))
        return self._postgres.url(user=APPLICATION, database=name)

    def drop(self, url: str) -> None:
        """At once: the files of a thousand databases take minutes to write and to delete."""
        name = str(conninfo_to_dict(url)["dbname"])
        self._execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def _execute(self, statement: sql.Composed) -> None:
        with psycopg.connect(self._postgres.url(user="postgres", database="postgres"), autocommit=True) as connection:
            connection.execute(statement)
