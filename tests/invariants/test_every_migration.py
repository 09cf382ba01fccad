"""Migrations from zero give docs/schema.sql, do no harm when repeated, and are never edited once released."""

import hashlib
import importlib
import re
import subprocess
import sys
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import procrastinate
import psycopg
import pytest
from psycopg import sql

from invariants.schema_dump import describe
from invariants.write_schema import SCHEMA
from windsock.db import migrations
from windsock.db.bootstrap import APPLICATION, OWNER
from windsock.db.migrations.runner import migrate
from windsock.embedded import EmbeddedPostgres

VERSIONS = Path(migrations.__file__).parent / "versions"

SHA_256 = {
    "01_tenancy.sql": "f84906dc8b80c0eea7fb8a5df8e6e19de952f9c4f9c2a817d0945b20cdc2dec9",
    "02_connectors_and_syncs.sql": "d1d2e2cee32335aeff84b78ffadaaeb62caffb3e8ac65b04a9e8cf512ab546e1",
    "03_mirror.sql": "842167edf5c4f24c49ef2446d5088fcb0276bf78af6450f896ed9da7aec62cca",
    "04_user_data.sql": "67b897e5a0a5d1929e59ffed74dedb4cafcdcc7b503c119e2b21c63498ad86ec",
    "05_statistics.sql": "ab6d68124eb9823155b884b6a2d3678e2ec441f977737974f8217f8039ba8753",
    "06_space_version.sql": "0e9f25a4ace6129cfb4072b9f2ff7739550b7cb3d065e69adfd37e8d520d1170",
    "07_counters.sql": "9bc89a05a22198a586a91ba2274ca1aa0f9edd18394346d50f52ff07626014bc",
    "08_audit.sql": "b395736ba7c6eb05a57d69692bd8f4a69b2c89719e752667763d910e5e66399e",
    "09_worker_functions.sql": "d76b879aa932470d0ad70ff5524525a41e5d22a8c06f392f2072324d849698a8",
    "10_authorization.sql": "f45049ade522c5b028554f472e8ae58740e9475b52511f5206d9c629eac631b5",
    "11_row_level_security.sql": "dc1e31afde86537c12fe6a634a9ac79aea993e02ea1be085e6ed9187e0b2f99b",
    "procrastinate": "c70ec4b400a60ad9592787653aae5ae77ae41bf801d56b5bd2712751a07f2009",
}
"""A released revision is never edited: databases out there have run it. Until 0.1.0 is released these may change."""


@pytest.fixture
def new_database(postgres: EmbeddedPostgres, request: pytest.FixtureRequest) -> str:
    """The owner's URL of a database without anything in it."""
    name = re.sub(r"\W", "_", str(request.node.name))[:60]
    with psycopg.connect(postgres.url(user=postgres.superuser, database="postgres"), autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(name), sql.Identifier(OWNER)))
    return postgres.url(user=OWNER, database=name)


def description_of(url: str) -> str:
    with psycopg.connect(url) as connection:
        return describe(connection)


def test_migrations_from_empty_database_produce_documented_schema(empty_database: Callable[[str], str]) -> None:
    assert description_of(empty_database(OWNER)) == SCHEMA.read_text(encoding="utf-8"), "run `make schema`"


def test_documented_schema_can_be_executed(new_database: str) -> None:
    """A description that PostgreSQL understands leaves nothing to guess."""
    with psycopg.connect(new_database) as connection:
        connection.execute("CREATE SCHEMA windsock")
        connection.execute("SET search_path = windsock")
        connection.execute("SET check_function_bodies = off")
        connection.execute(SCHEMA.read_bytes())
        created = describe(connection)
    assert without_comments(created) == without_comments(SCHEMA.read_text(encoding="utf-8"))


def without_comments(text: str) -> list[str]:
    return [line for line in re.sub(r" *-- .*", "", text).splitlines() if line]


def test_repeated_migration_changes_no_schema(new_database: str) -> None:
    migrate(new_database, APPLICATION)
    once = description_of(new_database)
    migrate(new_database, APPLICATION)
    assert description_of(new_database) == once == SCHEMA.read_text(encoding="utf-8")


def test_concurrent_migrations_produce_documented_schema(new_database: str) -> None:
    code = "import sys; from windsock.db.migrations.runner import migrate; migrate(*sys.argv[1:])"
    command = [sys.executable, "-W", "error", "-c", code, new_database, APPLICATION]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for process in both:
        _, complaint = process.communicate(timeout=60)
        assert process.returncode == 0, complaint
    assert description_of(new_database) == SCHEMA.read_text(encoding="utf-8")


def test_released_revisions_match_recorded_checksums() -> None:
    contents = {path.name: path.read_bytes() for path in sorted(VERSIONS.rglob("*.sql"))}
    contents["procrastinate"] = files(procrastinate).joinpath("sql", "schema.sql").read_bytes()
    now = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    assert now == SHA_256, "write another revision instead of editing one; before 0.1.0, put the new sums here"


def test_revisions_are_linear_and_match_file_names() -> None:
    earlier = None
    for path in sorted(VERSIONS.glob("v*.py")):
        revision = importlib.import_module(f"windsock.db.migrations.versions.{path.stem}")
        assert revision.down_revision == earlier
        assert path.name.startswith(f"{revision.revision}_")
        earlier = revision.revision
    assert earlier == migrations.newest_revision()
