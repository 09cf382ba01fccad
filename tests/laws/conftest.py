"""What the laws stand on: requests that leave nothing behind, and every kind of thing in both spaces."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import httpx2
import psycopg
import pytest
from cryptography.fernet import Fernet
from fastapi import FastAPI

from checking import CheckedClient
from conftest import RolledBackDatabase
from laws.catalogue import TENANT_TABLES, TenantTable
from windsock.app import create_app
from windsock.embedded import EmbeddedPostgres
from windsock.process import Process
from windsock.settings import Settings
from windsock.storage import Storage
from world import World

Ask = Callable[..., Awaitable[httpx2.Response]]


@pytest.fixture(scope="session")
def bare_app() -> FastAPI:
    """The application to walk through; it reaches no database."""
    return create_app(Process(Settings(), Storage("", (Fernet.generate_key().decode(),), None)), works=False)


@pytest.fixture
async def key_ids(db: RolledBackDatabase, world: World) -> dict[str, UUID]:
    """The id of each caller's key."""
    cursor = await db.connection.execute("SELECT user_id, id FROM api_keys")
    of_user = {row["user_id"]: row["id"] for row in await cursor.fetchall()}
    return {kind: of_user[user_id] for kind, user_id in world.users.items()}


@pytest.fixture(scope="session")
def empty_database(postgres: EmbeddedPostgres, make_database: Callable[[str], str]) -> Callable[[str], str]:
    """Gives any role's URL of a migrated, empty database that the laws look at."""
    make_database("laws")
    return lambda user: postgres.url(user=user, database="laws")


@pytest.fixture(scope="session")
def tenant_tables(postgres: EmbeddedPostgres, empty_database: Callable[[str], str]) -> list[TenantTable]:
    """Every table with a space_id, from the catalogue."""
    with psycopg.connect(empty_database(postgres.superuser)) as connection:
        return [TenantTable(name, tuple(columns)) for name, columns in connection.execute(TENANT_TABLES)]


@pytest.fixture
async def ask(client: CheckedClient, db: RolledBackDatabase) -> Ask:
    """`await ask(key, method, path, …)`: one request whose changes are rolled back at once."""

    async def ask(key: str | None, method: str, path: str, **more: Any) -> httpx2.Response:
        async with db.connection.transaction(force_rollback=True):
            return await client.as_(key, method, path, **more)

    return ask


PEOPLE_ADD = (
    "INSERT INTO teams (space_id, name) VALUES (%(space_id)s, 'data') ON CONFLICT DO NOTHING",
    """
    INSERT INTO team_members (space_id, team_id, user_id)
    SELECT space_id, id, %(user_id)s FROM teams ON CONFLICT DO NOTHING
    """,
    """
    INSERT INTO watches (space_id, pipeline_id, user_id)
    SELECT space_id, id, %(user_id)s FROM pipelines ON CONFLICT DO NOTHING
    """,
    """
    INSERT INTO comments (space_id, run_id, author_id, content)
    SELECT space_id, id, %(user_id)s, 'looked at it' FROM runs
    """,
    """
    INSERT INTO comments (space_id, run_id, task_run_id, author_id, content)
    SELECT space_id, run_id, id, %(user_id)s, 'looked at it' FROM task_runs
    """,
    """
    INSERT INTO trigger_requests (space_id, pipeline_id, user_id, body_hash, lease_until)
    SELECT space_id, id, %(user_id)s, '', now() FROM pipelines
    """,
)


@pytest.fixture
async def full_world(db: RolledBackDatabase, world: World) -> World:
    """The world with a row in every table of both spaces: also what no sync writes."""
    for space, user in ((world.finance, "viewer"), (world.marketing, "stranger")):
        async with db.in_space(space.id):
            for statement in PEOPLE_ADD:
                await db.connection.execute(statement, {"space_id": space.id, "user_id": world.users[user]})
    return world
