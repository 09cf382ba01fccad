"""What the laws stand on: requests that leave nothing behind, and every kind of thing in both spaces."""

from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import httpx2
import psycopg
import pytest
from psycopg.rows import DictRow, dict_row

from conftest import RolledBackDatabase
from databases import Databases
from invariants.pg_catalog import TENANT_TABLES, TenantTable
from validating_client import ValidatingClient
from windsock.embedded import EmbeddedPostgres

Ask = Callable[..., Awaitable[httpx2.Response]]


@pytest.fixture(scope="session")
def empty_database(postgres: EmbeddedPostgres, make_database: Databases) -> Callable[[str], str]:
    """Gives any role's URL of a migrated, empty database that the laws look at."""
    make_database("laws")
    return lambda user: postgres.url(user=user, database="laws")


@pytest.fixture(scope="session")
def tenant_tables(postgres: EmbeddedPostgres, empty_database: Callable[[str], str]) -> list[TenantTable]:
    """Every table with a space_id, from the catalogue."""
    with psycopg.connect(empty_database(postgres.superuser)) as connection:
        return [TenantTable(name, tuple(columns)) for name, columns in connection.execute(TENANT_TABLES)]


@pytest.fixture
async def ask(client: ValidatingClient, db: RolledBackDatabase) -> Ask:
    """`await ask(key, method, path, …)`: one request whose changes are rolled back at once."""

    async def ask(key: str | None, method: str, path: str, **more: Any) -> httpx2.Response:
        async with db.connection.transaction(force_rollback=True):
            return await client.as_(key, method, path, **more)

    return ask


@pytest.fixture(scope="session")
def catalogue(
    postgres: EmbeddedPostgres, empty_database: Callable[[str], str]
) -> Iterator[psycopg.Connection[DictRow]]:
    """A superuser's look at the migrated database."""
    url = empty_database(postgres.superuser)
    with psycopg.connect(url, row_factory=dict_row, autocommit=True, options="-c search_path=windsock") as connection:
        yield connection
