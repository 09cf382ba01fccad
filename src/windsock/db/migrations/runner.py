"""Brings a database to the newest revision, as its owner, and lets the application's role use it.

Imported only when there is something to migrate, since Alembic costs a second.
"""

from pathlib import Path

import psycopg
from alembic import command
from alembic.config import Config
from psycopg import sql
from sqlalchemy import create_engine

LOCK = 0x77696E64736F636B
"""Advisory lock, so that several processes that start at once migrate once ("windsock" in ASCII)."""

GRANTS = """
GRANT USAGE ON SCHEMA windsock, procrastinate TO {role};
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA windsock, procrastinate TO {role};
GRANT USAGE ON ALL SEQUENCES IN SCHEMA procrastinate TO {role};
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA windsock FROM PUBLIC;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA windsock, procrastinate TO {role};
REVOKE INSERT, UPDATE, DELETE ON windsock.alembic_version, windsock.audit_events FROM {role};
GRANT TEMPORARY ON DATABASE {database} TO {role};
"""


def migrate(owner_url: str, app_role: str) -> None:
    """Run the missing revisions as the owner and grant the application's role what it needs; one process at a time."""
    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(owner_url), poolclass=None)
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql(f"SELECT pg_advisory_lock({LOCK})")
            connection.exec_driver_sql("CREATE SCHEMA IF NOT EXISTS windsock")
            connection.commit()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            connection.commit()
            driver = connection.connection.driver_connection
            if driver is None:
                raise RuntimeError("the connection is gone")
            names = {"role": sql.Identifier(app_role), "database": sql.Identifier(driver.info.dbname)}
            driver.execute(sql.SQL(GRANTS).format(**names))
            driver.commit()
    finally:
        engine.dispose()
