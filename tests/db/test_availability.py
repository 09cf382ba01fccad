"""A server on a PostgreSQL that has no connections left, or whose rows are locked: what requests and readiness say."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import httpx2
import psycopg
import pytest
from psycopg import sql

from conftest import SECRET_KEY
from databases import Databases
from live_server import LiveServer, serve_two_tenants
from windsock.db.bootstrap import OWNER
from windsock.db.database import BUSY, Database
from windsock.embedded import EmbeddedPostgres
from windsock.errors import Overloaded

LIST = "/api/v1.0/spaces/finance/orchestration/pipelines"


@pytest.fixture(scope="module")
def live(make_database: Databases) -> Iterator[LiveServer]:
    with serve_two_tenants(make_database, SECRET_KEY, run_worker=False) as server:
        yield server


def ask(live: LiveServer, path: str = LIST, *, seconds: float = 15) -> httpx2.Response:
    headers = {"Authorization": f"Bearer {live.tenants.keys['viewer']}"}
    return httpx2.get(f"{live.url}{path}", headers=headers, timeout=seconds)


def name_of(live: LiveServer) -> str:
    return str(psycopg.conninfo.conninfo_to_dict(live.database_url)["dbname"])


def owner(live: LiveServer, postgres: EmbeddedPostgres) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(
        postgres.url(user=OWNER, database=name_of(live)),
        options="-c search_path=windsock",
    )


def test_locked_key_blocks_no_request(live: LiveServer, postgres: EmbeddedPostgres) -> None:
    with owner(live, postgres) as connection:
        connection.execute("UPDATE api_keys SET last_used_at = NULL")  # locked until the end of the block
        assert ask(live, seconds=3).status_code == 200
        assert ask(live, "/api/v1.0/users/me", seconds=3).status_code == 200
        connection.rollback()


def test_api_key_use_is_recorded_within_seconds(live: LiveServer, postgres: EmbeddedPostgres) -> None:
    with owner(live, postgres) as connection:
        connection.execute("UPDATE api_keys SET last_used_at = NULL")
        connection.commit()
        assert ask(live).status_code == 200
        for _ in range(100):
            rows = connection.execute("SELECT count(last_used_at) FROM api_keys").fetchone()
            connection.commit()
            if rows == (1,):
                break
            asyncio.run(asyncio.sleep(0.1))
        assert rows == (1,)


@contextlib.contextmanager
def no_connections_left(live: LiveServer, postgres: EmbeddedPostgres) -> Iterator[None]:
    """Those of the server are ended, and PostgreSQL lets it make no others."""
    with psycopg.connect(postgres.url(user="postgres", database="postgres"), autocommit=True) as connection:
        name = name_of(live)
        change = sql.SQL("ALTER DATABASE {} CONNECTION LIMIT {}")
        connection.execute(change.format(sql.Identifier(name), 0))
        connection.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s", (name,))
        try:
            yield
        finally:
            connection.execute(change.format(sql.Identifier(name), -1))


def test_readiness_and_requests_agree_when_connections_are_exhausted(
    live: LiveServer, postgres: EmbeddedPostgres
) -> None:
    assert ask(live, "/health/ready").status_code == 200
    with no_connections_left(live, postgres):
        refused, ready, health = ask(live), ask(live, "/health/ready"), ask(live, "/health")
    assert (refused.status_code, ready.status_code, health.status_code) == (503, 503, 200)
    assert "no memory or connections left" in refused.json()["detail"]
    assert ready.json() == {"status": "not ready", "detail": refused.json()["detail"]}
    for _ in range(100):
        if ask(live, "/health/ready").status_code == 200:
            break
    assert ask(live).status_code == 200


@pytest.fixture
async def small(make_database: Databases) -> AsyncIterator[Database]:
    db = Database(make_database(f"small_{uuid4().hex}"), pool_size=2)
    await db.open()
    yield db
    await db.close()


@pytest.mark.anyio
async def test_exhausted_pool_is_distinguished_from_outage(small: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(small._pool, "timeout", 0.3)
    async with small.transaction(), small.transaction():
        with pytest.raises(Overloaded, match=BUSY):
            async with small.transaction():
                raise AssertionError("there was a third connection")
        with pytest.raises(Overloaded):
            await small.ping()
    await small.ping()
