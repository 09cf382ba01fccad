"""Makes ready what everything else stands on: the database with its roles and revisions, and the secret keys."""

import hmac
import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkstemp

import psycopg
from cryptography.fernet import Fernet
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from windsock import log
from windsock.db.migrations import REVISION, newest_revision
from windsock.embedded import EmbeddedPostgres
from windsock.errors import WindsockError
from windsock.settings import Settings

OWNER, APPLICATION, DATABASE = "windsock_owner", "windsock_app", "windsock"
ALREADY_EXISTS = (
    psycopg.errors.DuplicateObject,
    psycopg.errors.DuplicateDatabase,
    psycopg.errors.UniqueViolation,
)
"""That starts at the same time and was quicker."""
DROP_SCHEMAS = "stop Windsock, run `DROP SCHEMA windsock, procrastinate CASCADE` as the owner and start Windsock again"

logger = log.get(__name__)


@dataclass(frozen=True, slots=True)
class Storage:
    """`app_url` connects as the application's role; `embedded` is None with an external database."""

    app_url: str
    secret_keys: tuple[str, ...]
    embedded: EmbeddedPostgres | None


@contextmanager
def provision_database(settings: Settings) -> Iterator[Storage]:
    """Start (or join) the embedded PostgreSQL or go to the external one; bring it up to date; leave it at the end."""
    keys = secret_keys(settings)
    if settings.database_url is not None:
        app_url = _prepare_external(settings.database_url.get_secret_value(), settings, keys)
        yield Storage(app_url, keys, None)
        return
    settings.data.mkdir(parents=True, exist_ok=True)
    with EmbeddedPostgres(settings.data) as embedded:
        _make_roles_and_database(embedded)
        _migrate(
            embedded.url(user=OWNER, database=DATABASE),
            APPLICATION,
            how_to_recreate=f"stop Windsock, delete the directory {embedded.cluster_dir} and start Windsock again",
        )
        yield Storage(embedded.url(user=APPLICATION, database=DATABASE), keys, embedded)


def secret_keys(settings: Settings) -> tuple[str, ...]:
    """The Fernet keys, first to encrypt: from the setting, else from the key file, which is made when missing."""
    if settings.secret_keys is not None:
        keys = tuple(key.strip() for key in settings.secret_keys.get_secret_value().split(",") if key.strip())
    else:
        keys = tuple(_key_file(settings.data).read_text(encoding="ascii").split())
    try:
        for key in keys:
            Fernet(key)
    except ValueError as error:
        raise WindsockError(
            "WINDSOCK_SECRET_KEYS holds something that is not a Fernet key (32 bytes in url-safe base64)."
        ) from error
    if not keys:
        raise WindsockError("There is no secret key: WINDSOCK_SECRET_KEYS or the key file is empty.")
    return keys


def _key_file(data: Path) -> Path:
    path = data / "secret.key"
    if not path.exists():
        data.mkdir(parents=True, exist_ok=True)
        descriptor, name = mkstemp(prefix=".secret.key.", dir=data)  # readable by its owner only
        beside = Path(name)
        with os.fdopen(descriptor, "wb") as file:
            file.write(Fernet.generate_key() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(beside, path)  # unlike a rename, this never replaces a key that another process has just made
            logger.info("made a key file; credentials cannot be read without it, so back it up", path=str(path))
        except FileExistsError:
            pass
        finally:
            beside.unlink()
    return path


def _make_roles_and_database(embedded: EmbeddedPostgres) -> None:
    with psycopg.connect(embedded.url(user=embedded.superuser, database="postgres"), autocommit=True) as connection:
        for role in (OWNER, APPLICATION):
            if not connection.execute("SELECT FROM pg_roles WHERE rolname = %s", (role,)).rowcount:
                with suppress(*ALREADY_EXISTS):
                    connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(role)))
        if not connection.execute("SELECT FROM pg_database WHERE datname = %s", (DATABASE,)).rowcount:
            with suppress(*ALREADY_EXISTS):
                connection.execute(
                    sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(DATABASE), sql.Identifier(OWNER))
                )


def _prepare_external(owner_url: str, settings: Settings, keys: tuple[str, ...]) -> str:
    """Migrate as the owner; answer with the URL of the application's role, made here unless it was given."""
    if settings.database_app_url is not None:
        app_url = settings.database_app_url.get_secret_value()
        role = conninfo_to_dict(app_url).get("user")
        if not role:
            raise WindsockError("WINDSOCK_DATABASE_APP_URL must name the user the application connects as.")
        _migrate(owner_url, str(role))
        return app_url
    with psycopg.connect(owner_url, autocommit=True) as connection:
        # Processes that start at once would stumble over each other's CREATE or ALTER; released with the connection.
        connection.execute("SELECT pg_advisory_lock(hashtext('windsock: the application''s database role'))")
        role = f"{connection.info.dbname}_app"
        # Made from the oldest key, so that every process knows it and it need not be stored.
        password = hmac.digest(keys[-1].encode(), b"windsock: the application's database role", "sha256").hex()
        # Hashed here, so that the server's log of statements does not show it.
        hashed = connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()
        known = connection.execute("SELECT FROM pg_roles WHERE rolname = %s", (role,)).rowcount
        try:
            connection.execute(
                sql.SQL("{} ROLE {} LOGIN PASSWORD {}").format(
                    sql.SQL("ALTER" if known else "CREATE"), sql.Identifier(role), sql.Literal(hashed)
                )
            )
        except psycopg.errors.InsufficientPrivilege as error:
            raise WindsockError(
                f"The owner in WINDSOCK_DATABASE_URL may not make the role {role}. Give it CREATEROLE, or make a role "
                "yourself and name it in WINDSOCK_DATABASE_APP_URL."
            ) from error
    _migrate(owner_url, role)
    return make_conninfo(owner_url, user=role, password=password)


def _migrate(owner_url: str, app_role: str, *, how_to_recreate: str = DROP_SCHEMAS) -> None:
    with psycopg.connect(owner_url) as connection:
        version = connection.info.server_version
        if version < 150000:  # noqa: PLR2004 - PostgreSQL's own way to write 15.0
            raise WindsockError(f"Windsock needs PostgreSQL 15 or newer; this one is {version // 10000}.")
        at, is_granted = _find_revision(connection, app_role)
    newest = newest_revision()
    if at == newest and is_granted:  # another role may have been named since
        return
    if at is not None and not REVISION.fullmatch(at):
        raise WindsockError(
            "This database was created by an unreleased version of Windsock and cannot be upgraded. "
            f"To create it again, which deletes its data: {how_to_recreate}."
        )
    if at and at > newest:
        raise WindsockError(
            f"This database is at revision {at}, made by a newer Windsock than this one ({newest}). "
            "Use that version, or a backup from before the upgrade."
        )
    logger.info("bringing the database up to date", revision=newest, was=at)
    importlib.import_module("windsock.db.migrations.runner").migrate(owner_url, app_role)


def _find_revision(connection: psycopg.Connection, app_role: str) -> tuple[str | None, bool]:
    """The revision of the database, and whether the role may use it.

    None: it has no tables yet. Empty: it has tables without a revision.
    """
    table = connection.execute("SELECT to_regclass('windsock.alembic_version')").fetchone()
    if table and table[0]:
        row = connection.execute(
            "SELECT coalesce(max(version_num), ''), has_schema_privilege(%s, 'windsock', 'USAGE')"
            " FROM windsock.alembic_version",
            (app_role,),
        ).fetchone()
        return row or ("", False)
    tables = connection.execute("SELECT FROM pg_tables WHERE schemaname IN ('windsock', 'procrastinate') LIMIT 1")
    return ("" if tables.rowcount else None), False
