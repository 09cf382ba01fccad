"""`windsock space`: what there is, and how long each space keeps its runs."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
import psycopg
import pytest
from click.testing import Result

from cli.cli_inprocess import owner_url, run_in_process
from conftest import SECRET_KEY
from databases import Databases
from factories import create_two_tenants
from windsock.db.database import Database
from windsock.sync.retention import purge_expired


@pytest.fixture
def database_url(make_database: Databases) -> str:
    """Of a database with two spaces, in each of which one run is older than a day."""
    url = make_database(f"spaces_{uuid4().hex}")
    _on(url, lambda db: create_two_tenants(db, SECRET_KEY))
    return url


@pytest.fixture
def run(database_url: str, tmp_path: Path) -> Callable[..., Result]:
    return lambda *arguments: run_in_process(database_url, tmp_path, "space", *arguments)


def _on(url: str, work: Callable[[Database], Any]) -> Any:
    async def opened() -> Any:
        db = Database(url, pool_size=2)
        await db.open()
        try:
            return await work(db)
        finally:
            await db.close()

    return asyncio.run(opened())


def retention(run: Callable[..., Result]) -> dict[str, int | None]:
    return {row["slug"]: row["retention_days"] for row in orjson.loads(run("list", "--json").stdout)}


def runs(database_url: str) -> dict[str, int]:
    with psycopg.connect(owner_url(database_url)) as connection:
        found = connection.execute(
            "SELECT s.slug, count(*) FROM windsock.runs r JOIN windsock.spaces s ON s.id = r.space_id GROUP BY s.slug"
        )
        return dict(found.fetchall())


def test_retention_deletes_expired_runs_of_its_space_only(run: Callable[..., Result], database_url: str) -> None:
    assert runs(database_url) == {"finance": 4, "marketing": 4}
    result = run("set", "--space", "finance", "--retention-days", "1")
    assert result.stdout == "finance keeps runs for 1 day; a worker deletes what is older, every ten minutes.\n"
    assert retention(run) == {"finance": 1, "marketing": None}
    assert _on(database_url, purge_expired) == 1
    assert runs(database_url) == {"finance": 3, "marketing": 4}


def test_keep_all_removes_retention_limit(run: Callable[..., Result]) -> None:
    changed = orjson.loads(run("set", "--space", "marketing", "--retention-days", "90", "--json").stdout)
    assert (changed["slug"], changed["name"], changed["retention_days"]) == ("marketing", "Marketing", 90)
    rows = [line.split() for line in run("list").stdout.splitlines()]
    assert rows[0][:2] == ["space", "name"]
    assert [row[:4] for row in rows[1:]] == [
        ["finance", "Finance", "for", "ever"],
        ["marketing", "Marketing", "90", "days"],
    ]
    assert run("set", "--space", "marketing", "--keep-all").stdout == "marketing keeps all runs.\n"
    assert retention(run) == {"finance": None, "marketing": None}


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--space", "finance"), 2, "either --retention-days or --keep-all"),
        (("--space", "finance", "--retention-days", "9", "--keep-all"), 2, "either --retention-days or --keep-all"),
        (("--space", "finance", "--retention-days", "0"), 2, "1<=x<=36500"),
        (("--space", "nowhere", "--keep-all"), 1, "no space nowhere"),
    ],
)
def test_invalid_retention_options_leave_setting_unchanged(
    run: Callable[..., Result], arguments: tuple[str, ...], code: int, words: str
) -> None:
    run("set", "--space", "finance", "--retention-days", "30")
    wrong = run("set", *arguments)
    assert (wrong.exit_code, words in wrong.stderr, wrong.stdout) == (code, True, ""), wrong.output
    assert retention(run) == {"finance": 30, "marketing": None}
