"""`windsock user`: who there is; deactivated, reactivated, made superadmin."""

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


@pytest.fixture(scope="module")
def database_url(make_database: Databases) -> str:
    url = make_database(f"users_{uuid4().hex}")

    async def fill() -> None:
        db = Database(url, pool_size=2)
        await db.open()
        try:
            await create_two_tenants(db, SECRET_KEY)
        finally:
            await db.close()

    asyncio.run(fill())
    return url


@pytest.fixture
def run(database_url: str, tmp_path: Path) -> Callable[..., Result]:
    return lambda *arguments: run_in_process(database_url, tmp_path, "user", *arguments)


def users(run: Callable[..., Result]) -> dict[str, dict[str, Any]]:
    return {row["email"]: row for row in orjson.loads(run("list", "--json").stdout)}


def test_inactive_user_loses_keys_and_active_user_gets_none_back(run: Callable[..., Result], database_url: str) -> None:
    result = run("set", "--email", "Editor@example.com", "--inactive")
    assert result.stdout == "editor@example.com is deactivated, without sessions and API keys.\n"
    assert users(run)["editor@example.com"]["is_active"] is False
    assert "deactivated" in next(line for line in run("list").stdout.splitlines() if "editor@" in line)
    assert run("set", "--email", "editor@example.com", "--active").stdout == "editor@example.com is active.\n"
    with psycopg.connect(owner_url(database_url)) as connection:
        revoked = connection.execute(
            "SELECT u.name, k.revoked_at IS NOT NULL FROM windsock.api_keys k JOIN windsock.users u ON u.id = k.user_id"
        )
        assert dict(revoked.fetchall()) | {"Revoked": False} == {
            name: name == "Editor"
            for name in ("Viewer", "Editor", "Admin", "Superadmin", "Stranger", "Revoked", "Expired")
        }


def test_user_can_be_renamed_and_promoted_to_superadmin(run: Callable[..., Result]) -> None:
    changed = orjson.loads(
        run("set", "--email", "viewer@example.com", "--name", " Vera ", "--superadmin", "--json").stdout
    )
    assert (changed["name"], changed["is_superadmin"], changed["is_active"]) == ("Vera", True, True)
    assert run("set", "--email", "viewer@example.com", "--no-superadmin").exit_code == 0
    assert users(run)["viewer@example.com"]["is_superadmin"] is False


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--email", "viewer@example.com"), 2, "Give --name"),
        (("--email", "viewer@example.com", "--name", " "), 2, "1 to 200 characters"),
        (("--email", "nobody@example.com", "--inactive"), 1, "no such user"),
        (("--email", "superadmin@example.com", "--inactive"), 1, "without a superadmin"),
        (("--email", "superadmin@example.com", "--no-superadmin"), 1, "without a superadmin"),
    ],
)
def test_refused_change_leaves_users_unchanged(
    run: Callable[..., Result], arguments: tuple[str, ...], code: int, words: str
) -> None:
    before = users(run)
    wrong = run("set", *arguments)
    assert (wrong.exit_code, words in wrong.stderr, wrong.stdout) == (code, True, ""), wrong.output
    assert users(run) == before
