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

from invariants.write_schema import SCHEMA
from windsock import migrations
from windsock.bootstrap import APPLICATION, OWNER
from windsock.embedded import EmbeddedPostgres
from windsock.migrations.describe import describe
from windsock.migrations.runner import migrate

VERSIONS = Path(migrations.__file__).parent / "versions"

SHA_256 = {
    "v0001_spaces_and_mirror.sql": "c4f907c2a01f9eb736160e1e1241eb1c82779c74f2970bec53792f56c83061c8",
    "v0002_jobs.sql": "30cb657faafede68920642280401dbeeff217d96013ba153148695f33a79201a",
    "v0003_teams_and_replies.sql": "f695f8876df31ea919b3c74c5ddacee9f875d267f09f25a6a5501194827b6280",
    "v0004_triggers_and_audit.sql": "c2d40574bb87857ad1bfb5d5a15d50dc15ae8e758986223e26adafcdf42bd506",
    "v0005_a_sync_to_believe.sql": "4937c5ccda5ca475172270823434d367871c0c68ccfd3bec77a91d1a975ea1b8",
    "v0006_out_of_sight.sql": "f7a910b00e9a76b0fc3eabee560131f7999d1415eca0a3d69668f3180fe7b1f1",
    "v0007_numbers_by_the_day.sql": "d077e737c7f2a021ff49cda37c1d88025a2badbf25fef3cde003f87dc0ba9f47",
    "v0008_numbers_by_the_week.sql": "da5f1a16f9f2f162bb308423015d04c720251a2e04beff9cbb98c0d5436cf77f",
    "v0009_sessions.sql": "12fe1933dea7b57347e39f097eb982286980b982bd0cbc65c7a237a56bab543f",
    "v0010_search.sql": "142126801b1e84bc90843d54235b9b58a1cd5371fd81913aba117ec211c00e87",
    "v0011_when_runs_began.sql": "7d5d6b4630ad47ae0546d806456ca5014ab07f3c27f08080d0b55d4631aebd60",
    "v0012_strips_apart.sql": "50a5f8410131192b83e5aaf19779517131f723f187ddd2cf890b9e492c148b75",
    "v0013_what_lists_show.sql": "8ab39670a3cba2aca3903e4f72fe73dbcbd6ee34c6b6c608256f538959dfd1bb",
    "v0014_how_runs_of_a_day_ended.sql": "5331f210618736df6f854bfd6180abc8590309591d69ac3210165846c884f122",
    "v0015_runs_by_the_hour.sql": "85e89c66d1126f887a73983cc1526be616217fa4d1823388f8c9c5331b4f5a56",
    "v0016_durations_and_removed_runs.sql": "6157373e6e08002d61b0d9c4de101c3fa22b9df730b0b8162538ddf7059e8eb1",
    "v0017_skipped_rows.sql": "22a7f5f539dcb23958dbeec4ed1da08f36d03c3acd9d452e5507937d5ccc320b",
    "v0018_task_loops.sql": "a5646973c7b4258029289c3389606bf592370f74f2eef29e8c5e8890eb4e505d",
    "v0019_clocks_and_run_ids.sql": "c647a3258ca47c8e7d8de8d4003c5370da365826cb5d50b486e032473fc448cc",
    "v0020_polling.sql": "d1936db4616de5673545a7c9f467ebda938902b996b718d232320b4fa06dabf3",
    "v0021_fair_shares.sql": "d8f68a51e3ee5b43266120f0875a0307fdfcd8c03a744e9be54c17e0abe3f4f0",
    "v0022_connectors.sql": "7a5e5bd5d0826590c9ee574c512dee5464686f3f52e3c29c52e1c66674741633",
    "v0023_hidden_rows.sql": "2855c2bb67987fe7b7a4a94cd3b102144fd4b4532902bf4f36193d19bdb968d8",
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


def test_migrations_from_zero_give_the_documented_schema(empty_database: Callable[[str], str]) -> None:
    assert description_of(empty_database(OWNER)) == SCHEMA.read_text(encoding="utf-8"), "run `make schema`"


def test_the_documented_schema_can_be_run(new_database: str) -> None:
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


def test_migrating_twice_is_harmless(new_database: str) -> None:
    migrate(new_database, APPLICATION)
    once = description_of(new_database)
    migrate(new_database, APPLICATION)
    assert description_of(new_database) == once == SCHEMA.read_text(encoding="utf-8")


def test_two_processes_that_migrate_at_once_are_harmless(new_database: str) -> None:
    code = "import sys; from windsock.migrations.runner import migrate; migrate(*sys.argv[1:])"
    command = [sys.executable, "-W", "error", "-c", code, new_database, APPLICATION]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for process in both:
        _, complaint = process.communicate(timeout=60)
        assert process.returncode == 0, complaint
    assert description_of(new_database) == SCHEMA.read_text(encoding="utf-8")


def test_released_revisions_stay_as_they_are() -> None:
    now = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(VERSIONS.glob("*.sql"))}
    assert now == SHA_256, "write another revision instead of editing one; before 0.1.0, put the new sums here"


def test_revisions_form_one_line_and_their_files_are_named_by_it() -> None:
    earlier = None
    for path in sorted(VERSIONS.glob("v*.py")):
        revision = importlib.import_module(f"windsock.migrations.versions.{path.stem}")
        assert revision.down_revision == earlier
        assert path.name.startswith(f"v{revision.revision}_")
        assert path.with_suffix(".sql").exists()
        earlier = revision.revision
    assert earlier == migrations.newest_revision()


def test_job_schema_matches_installed_procrastinate() -> None:
    theirs = files(procrastinate).joinpath("sql", "schema.sql").read_text(encoding="utf-8")
    ours = VERSIONS.joinpath("v0002_jobs.sql").read_text(encoding="utf-8")
    assert ours.endswith(theirs)
    before = [line for line in ours.removesuffix(theirs).splitlines() if line and not line.startswith("--")]
    assert before == ["CREATE SCHEMA procrastinate;", "SET LOCAL search_path = procrastinate;"]
