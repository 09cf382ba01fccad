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
    "01_tenancy.sql": "54e8ccd61e86c8abf3f67ecda9927a62dee540fcc1f1a45815a8f079db3769d1",
    "02_connectors_and_syncs.sql": "d1d2e2cee32335aeff84b78ffadaaeb62caffb3e8ac65b04a9e8cf512ab546e1",
    "03_mirror.sql": "8836a38597d6f2e8465dc85071fb15ca27b9e4ddcf27729a467dde5ea57f5ff1",
    "04_user_data.sql": "288bde93bd6e057d53761331e305fd5f434ac85c9f390ff3f55d16baf1ede0e0",
    "05_statistics.sql": "ab6d68124eb9823155b884b6a2d3678e2ec441f977737974f8217f8039ba8753",
    "06_space_version.sql": "fb0942195121952439c3c41436f648c9ba92f202c117947366c08be1382a14cb",
    "07_counters.sql": "9bc89a05a22198a586a91ba2274ca1aa0f9edd18394346d50f52ff07626014bc",
    "08_audit.sql": "d67250a94961964bd608cbce55e809427b37efd47f1c9e8c6a0223bf5e51132a",
    "09_worker_functions.sql": "e6f1bd26a0562c26ce0c9ff4137c2db0696365c76dbe1c1ce767df9c1d61851f",
    "10_authorization.sql": "f45049ade522c5b028554f472e8ae58740e9475b52511f5206d9c629eac631b5",
    "11_row_level_security.sql": "96dd2560306ca3c84b4b00f76c1dfed86036f401266fdc26817fea201fa45250",
    "12_saved_views.sql": "4afa03556e19d8593cd48a5e1f432d0347a84452f9e5f46bb9157e0f444f6a71",
    "13_import_errors.sql": "e1aadbdb8c6a3f8308adb90a5dd1d47562ffaf618a8bc83a8a777e0ff00cad89",
    "14_failures.sql": "44b37cffbf9b555f134e9ba788f3476c058939161cf45df0528c9cf3bb4e3000",
    "15_bulk_clears.sql": "c35cf562d571eb537b7d31f8dd4a47290381803d4ab610ca5bd68d33d4963abd",
    "16_retention.sql": "9caeac87b64363aa22a8c4abbb6081092a5c801be9bb10b0a5d6b74ec1976455",
    "17_incidents.sql": "f527846ee6194037e8b839b8f5af206ca436a703a543d5275b1c2eecfd6e8da1",
    "18_notifications.sql": "dee8d4aefc11a9bbacf06ff8e1d12e93dc8139e497a8c8593b3f9fcb42014862",
    "19_notification_functions.sql": "e42fb11bd3d177dc83d3a493302ba2fdb54702acacef00021d58ddfc09f0c06a",
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
