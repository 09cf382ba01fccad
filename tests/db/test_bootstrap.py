"""What everything stands on: the secret keys, the database's roles and revisions, inside and outside."""

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import psycopg
import pytest
from cryptography.fernet import Fernet
from psycopg.conninfo import conninfo_to_dict
from pydantic import SecretStr

from databases import Databases
from windsock.db.bootstrap import OWNER, Storage, provision_database, secret_keys
from windsock.db.database import Database
from windsock.db.migrations import newest_revision
from windsock.db.queries import Query
from windsock.embedded import EmbeddedPostgres
from windsock.errors import WindsockError
from windsock.settings import Settings

KEY = Fernet.generate_key().decode()
NUMBERS = count(1)
PRINT_KEY = """
import sys
from pathlib import Path
from windsock import log
from windsock.settings import Settings
from windsock.db.queries import Query
from windsock.db.bootstrap import secret_keys
log.configure("json", "error")
sys.stdin.readline()
print(*secret_keys(Settings(data=Path(sys.argv[1]))))
"""


class Outside:
    """A PostgreSQL that somebody else runs, with a database and its owner made for Windsock."""

    def __init__(self, postgres: EmbeddedPostgres, *, options: str = "CREATEROLE") -> None:
        self.postgres, number = postgres, next(NUMBERS)
        self.database, self.owner = f"outside_{number}", f"outside_owner_{number}"
        self.do(f"CREATE ROLE {self.owner} LOGIN {options}", f"CREATE DATABASE {self.database} OWNER {self.owner}")

    def do(self, *statements: str, database: str = "postgres") -> None:
        with psycopg.connect(self.postgres.url(user="postgres", database=database), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def url(self, user: str | None = None) -> str:
        return self.postgres.url(user=user or self.owner, database=self.database)

    def settings(self, *, app_url: str | None = None) -> Settings:
        return Settings(
            database_url=SecretStr(self.url()),
            database_app_url=SecretStr(app_url) if app_url else None,
            secret_keys=SecretStr(KEY),
        )


@pytest.fixture
def outside(postgres: EmbeddedPostgres) -> Iterator[Outside]:
    external = Outside(postgres)
    yield external
    external.do(f"DROP DATABASE {external.database} WITH (FORCE)")


def opened(settings: Settings) -> Storage:
    with provision_database(settings) as storage:
        return storage


async def see_spaces(url: str) -> None:
    """As the application would: refused when the role is too mighty, or may not read."""
    db = Database(url, pool_size=2)
    try:
        await db.open()
        async with db.transaction() as tx:
            assert await tx.fetch_all(Query("SELECT FROM spaces")) == []
    finally:
        await db.close()


def test_key_file_is_created_once_with_owner_permissions(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path / "new" / "data")
    (key,) = secret_keys(settings)
    Fernet(key)
    file = settings.data / "secret.key"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in settings.data.iterdir()] == ["secret.key"]
    assert secret_keys(settings) == (key,)


def test_concurrently_started_processes_agree_on_one_key(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PRINT_KEY, str(tmp_path)]
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    for process in processes:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    keys = {process.communicate(timeout=60)[0] for process in processes}
    assert len(keys) == 1
    assert keys == {(tmp_path / "secret.key").read_text()}
    assert [path.name for path in tmp_path.iterdir()] == ["secret.key"]


def test_several_keys_are_read_from_file_or_setting(tmp_path: Path) -> None:
    keys = tuple(Fernet.generate_key().decode() for _ in range(3))
    assert secret_keys(Settings(data=tmp_path, secret_keys=SecretStr(f" {keys[0]}, {keys[1]} ,,{keys[2]}"))) == keys
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "secret.key").write_text("\n".join(keys))
    assert secret_keys(Settings(data=tmp_path)) == keys


@pytest.mark.parametrize("text", ["planted", f"{KEY},planted", KEY[:-4]], ids=["text", "one of two", "too short"])
def test_invalid_key_is_refused_without_disclosing_it(tmp_path: Path, text: str) -> None:
    with pytest.raises(WindsockError, match="not a Fernet key") as caught:
        secret_keys(Settings(data=tmp_path, secret_keys=SecretStr(text)))
    assert "planted" not in str(caught.value)


@pytest.mark.parametrize("text", ["", " , "])
def test_empty_key_setting_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(WindsockError, match="There is no secret key"):
        secret_keys(Settings(data=tmp_path, secret_keys=SecretStr(text)))


@pytest.mark.anyio
async def test_application_role_on_external_database_is_created_and_owns_no_objects(outside: Outside) -> None:
    storage = opened(outside.settings())
    assert (storage.embedded, storage.secret_keys) == (None, (KEY,))
    role = f"{outside.database}_app"
    assert conninfo_to_dict(storage.app_url)["user"] == role
    await see_spaces(storage.app_url)
    with psycopg.connect(outside.url()) as connection:
        found = connection.execute(
            "SELECT rolsuper, rolcreaterole, rolcreatedb, rolbypassrls, rolcanlogin FROM pg_roles WHERE rolname = %s",
            (role,),
        ).fetchone()
        assert found == (False, False, False, False, True)
    with psycopg.connect(storage.app_url) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("CREATE TABLE windsock.of_the_application (id integer)")


def test_every_process_reads_same_password(outside: Outside) -> None:
    first, second = opened(outside.settings()), opened(outside.settings())
    assert first.app_url == second.app_url
    password = conninfo_to_dict(first.app_url)["password"]
    assert len(str(password)) == 64
    assert str(password) not in repr(outside.settings())


@pytest.mark.anyio
async def test_concurrently_started_processes_on_empty_database_all_become_ready(outside: Outside) -> None:
    with ThreadPoolExecutor(6) as pool:
        urls = set(pool.map(lambda _: opened(outside.settings()).app_url, range(6)))
    assert len(urls) == 1
    await see_spaces(urls.pop())


def test_owner_without_createrole_gets_instructions(postgres: EmbeddedPostgres) -> None:
    outside = Outside(postgres, options="NOCREATEROLE")
    with pytest.raises(WindsockError, match=f"may not make the role {outside.database}_app. Give it CREATEROLE, or"):
        opened(outside.settings())


@pytest.mark.anyio
async def test_application_role_can_be_configured(postgres: EmbeddedPostgres) -> None:
    outside = Outside(postgres, options="NOCREATEROLE")
    outside.do(f"CREATE ROLE {outside.database}_given LOGIN")
    app_url = outside.url(f"{outside.database}_given")
    assert opened(outside.settings(app_url=app_url)).app_url == app_url
    await see_spaces(app_url)


@pytest.mark.anyio
async def test_application_role_can_be_changed_later(outside: Outside) -> None:
    opened(outside.settings())
    outside.do(f"CREATE ROLE {outside.database}_later LOGIN")
    app_url = outside.url(f"{outside.database}_later")
    await see_spaces(opened(outside.settings(app_url=app_url)).app_url)


def test_application_url_without_user_is_refused(outside: Outside) -> None:
    app_url = outside.url().replace(f"{outside.owner}@", "")
    with pytest.raises(WindsockError, match="WINDSOCK_DATABASE_APP_URL must name the user"):
        opened(outside.settings(app_url=app_url))


@pytest.mark.anyio
@pytest.mark.parametrize("who", ["owner", "superuser", "bypassrls", "member of the owner"])
async def test_role_that_bypasses_row_level_security_is_refused(outside: Outside, who: str) -> None:
    opened(outside.settings())
    privileged = {"owner": outside.owner, "superuser": "postgres"}.get(who, f"{outside.database}_mighty")
    if who == "bypassrls":
        outside.do(f"CREATE ROLE {privileged} LOGIN BYPASSRLS")
    elif who == "member of the owner":
        outside.do(f"CREATE ROLE {privileged} LOGIN IN ROLE {outside.owner}")
    with pytest.raises(WindsockError, match=f"The application must not connect as {privileged}: "):
        await see_spaces(outside.url(privileged))


def test_database_of_newer_windsock_is_refused(outside: Outside) -> None:
    opened(outside.settings())
    newer = "UPDATE windsock.alembic_version SET version_num = 'v9999'"
    outside.do(newer, database=outside.database)
    expected = f"at revision v9999, made by a newer Windsock than this one .{newest_revision()}."
    with pytest.raises(WindsockError, match=expected):
        opened(outside.settings())


@pytest.mark.parametrize(
    "unreleased",
    [
        "UPDATE windsock.alembic_version SET version_num = '0002'",
        "UPDATE windsock.alembic_version SET version_num = '0023'",
        "DELETE FROM windsock.alembic_version",
        "DROP TABLE windsock.alembic_version",
    ],
)
def test_database_of_an_unreleased_version_is_refused_with_instructions(outside: Outside, unreleased: str) -> None:
    opened(outside.settings())
    outside.do(unreleased, database=outside.database)
    with pytest.raises(
        WindsockError, match=r"created by an unreleased version .*`DROP SCHEMA windsock, procrastinate CASCADE`"
    ):
        opened(outside.settings())
    outside.do("DROP SCHEMA windsock, procrastinate CASCADE", database=outside.database)
    opened(outside.settings())


def test_up_to_date_database_is_opened_without_loading_alembic(outside: Outside) -> None:
    opened(outside.settings())
    imported = """
import sys
from pathlib import Path
from windsock.settings import Settings
from windsock.db.queries import Query
from windsock.db.bootstrap import provision_database
with provision_database(Settings()):
    assert "alembic" not in sys.modules
"""
    environment = os.environ | {"WINDSOCK_DATABASE_URL": outside.url(), "WINDSOCK_SECRET_KEYS": KEY}
    subprocess.run([sys.executable, "-c", imported], env=environment, check=True, timeout=60)


@pytest.mark.anyio
async def test_embedded_database_tables_belong_to_owner_role(
    postgres: EmbeddedPostgres, make_database: Databases
) -> None:
    url = make_database("embedded_roles")
    await see_spaces(url)
    with psycopg.connect(postgres.url(user=OWNER, database="embedded_roles")) as connection:
        owners = connection.execute(
            "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname IN ('windsock', 'procrastinate')"
        ).fetchall()
    assert owners == [(OWNER,)]
