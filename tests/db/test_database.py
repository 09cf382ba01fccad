"""Queries on pooled connections: each returns its own row, whatever becomes of the others and of the connections."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from databases import Databases
from windsock.db.database import Connection, Database, Statement
from windsock.db.queries import Query
from windsock.embedded import EmbeddedPostgres
from windsock.errors import DatabaseFailed, Overloaded, Unavailable

pytestmark = pytest.mark.anyio
ECHO = Query(
    "SELECT %(one)s::text AS one, %(two)s::bytea AS two, 7::bigint AS number, true AS is_so, NULL::text AS nothing"
)
ID = Query("SELECT '01a21c2f-8eca-7b2f-8572-0aa9988bc462'::uuid AS id, '100%%'::text AS all, pg_backend_pid() AS pid")
SLOW = Query("SELECT %(one)s::text AS one, pg_sleep(0.3)")
LONG = Query("SELECT pg_sleep(30)")
DIVIDED = Query("SELECT 1 / length(%(one)s::text) AS one")
LARGE = Query("SELECT n, repeat('x', 1000) AS text FROM generate_series(1, 20000) n")
SPACE = UUID(int=7)


@pytest.fixture(scope="module")
def url(make_database: Databases) -> str:
    return make_database("pooled")


@pytest.fixture
async def db(url: str) -> AsyncIterator[Database]:
    database = Database(url, pool_size=3)
    await database.open()
    yield database
    await database.close()


async def open_every_connection(db: Database) -> None:
    async with db.transaction(), db.transaction(), db.transaction():
        pass


def end_connections(postgres: EmbeddedPostgres, url: str) -> None:
    name = conninfo_to_dict(url)["dbname"]
    with psycopg.connect(postgres.url(user="postgres", database="postgres"), autocommit=True) as connection:
        connection.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s", (name,))


async def test_row_has_columns_in_their_types(db: Database) -> None:
    row = await db.fetch_one(ECHO, one="ä", two=b"\x00\xff")
    assert row == {"one": "ä", "two": b"\x00\xff", "number": 7, "is_so": True, "nothing": None}
    assert await db.fetch_one(ECHO, one=None, two=None) == {**row, "one": None, "two": None}
    found = await db.fetch_one(ID) or {}
    assert (found["id"], found["all"]) == (UUID("01a21c2f-8eca-7b2f-8572-0aa9988bc462"), "100%")
    assert await db.fetch_one(Query("SELECT 1 AS one WHERE false")) is None


async def test_concurrent_queries_each_return_their_own_row(db: Database) -> None:
    rows = await asyncio.gather(*(db.fetch_one(ECHO, one=str(n), two=b"x" * (n * 50)) for n in range(900)))
    assert [(row["one"], len(row["two"])) for row in rows if row] == [(str(n), n * 50) for n in range(900)]
    pids = await asyncio.gather(*(db.fetch_one(ID) for _ in range(50)))
    assert len({row["pid"] for row in pids if row}) <= 3


async def test_error_reaches_only_its_caller(db: Database) -> None:
    results = await asyncio.gather(
        db.fetch_one(ECHO, one="1", two=b""),
        db.fetch_one(DIVIDED, one=""),
        db.fetch_one(Query("SELECT no_such_column")),
        db.fetch_one(ECHO, one="\ud800", two=b""),
        db.fetch_one(ECHO, one="1"),
        db.fetch_one(ECHO, one="a\0b", two=b""),
        db.fetch_one(ECHO, one="1", two=b""),
        return_exceptions=True,
    )
    assert [type(result).__name__ for result in results] == [
        "dict", "DivisionByZero", "UndefinedColumn", "UnicodeEncodeError", "ProgrammingError", "DataError", "dict",
    ]  # fmt: skip
    with pytest.raises(psycopg.errors.UndefinedColumn, match="no_such_column"):
        await db.fetch_one(Query("SELECT no_such_column"))
    assert await db.fetch_one(DIVIDED, one="x") == {"one": 1}


async def test_cancelled_query_leaves_results_of_others(db: Database) -> None:
    first, second = asyncio.create_task(db.fetch_one(LONG)), asyncio.create_task(db.fetch_one(SLOW, one="b"))
    await asyncio.sleep(0.05)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert (await second or {})["one"] == "b"
    assert (await db.fetch_one(SLOW, one="c") or {})["one"] == "c"


async def test_cancelled_callers_lose_no_connections(db: Database) -> None:
    """Cancelled while they wait for the pool, for the first row, in the middle of a batch, while rows arrive."""
    for delay in (0.0, 0.001, 0.01, 0.05, 0.1):
        batch = [Statement(LARGE, {}), Statement(SLOW, {"one": "a"}), Statement(LARGE, {})]
        pending = [asyncio.create_task(db.fetch_batch(SPACE, *batch)) for _ in range(6)]
        await asyncio.sleep(delay)
        for task in pending:
            task.cancel()
        results = await asyncio.gather(*pending, return_exceptions=True)
        # Before Python 3.12 asyncio.wait_for() loses a cancellation that arrives with a connection of the pool.
        assert {type(result) for result in results} <= {asyncio.CancelledError, list}
    found = await asyncio.gather(*(db.fetch_batch(SPACE, Statement(SLOW, {"one": str(n)})) for n in range(6)))
    assert [rows[0]["one"] for (rows,) in found] == [str(n) for n in range(6)]


async def test_other_tasks_run_while_a_query_does(db: Database) -> None:
    querying = asyncio.create_task(db.fetch_one(SLOW, one="a"))
    longest, before = 0.0, time.monotonic()
    while not querying.done():
        await asyncio.sleep(0)
        now = time.monotonic()
        longest, before = max(longest, now - before), now
    assert longest < 0.2


async def test_long_transactions_leave_the_other_connections(db: Database) -> None:
    async with db.transaction(), db.transaction():
        async with asyncio.timeout(3):
            assert await asyncio.gather(*(db.fetch_one(DIVIDED, one="x") for _ in range(50))) == [{"one": 1}] * 50


async def test_full_pool_refuses_after_timeout_and_recovers(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    async with db.transaction(), db.transaction(), db.transaction():
        monkeypatch.setattr(db._pool, "timeout", 0.3)
        results = await asyncio.gather(*(db.fetch_one(ID) for _ in range(50)), return_exceptions=True)
        assert {type(result) for result in results} == {Overloaded}
    monkeypatch.undo()
    assert await asyncio.gather(*(db.fetch_one(DIVIDED, one="x") for _ in range(50))) == [{"one": 1}] * 50


async def test_lost_connections_fail_their_queries_and_are_replaced(
    db: Database, postgres: EmbeddedPostgres, url: str
) -> None:
    await open_every_connection(db)
    before = (await db.fetch_one(ID) or {})["pid"]
    pending = [asyncio.create_task(db.fetch_one(LONG)) for _ in range(3)]
    await asyncio.sleep(0.3)
    await asyncio.to_thread(end_connections, postgres, url)
    assert [type(item) for item in await asyncio.gather(*pending, return_exceptions=True)] == [Unavailable] * 3
    assert (await db.fetch_one(ID) or {})["pid"] != before
    end_connections(postgres, url)  # idle ones; the event loop stands still meanwhile
    assert await db.fetch_one(DIVIDED, one="x") == {"one": 1}


async def test_missing_database_is_reported_within_timeout(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = Database(make_conninfo(url, dbname="nowhere"), pool_size=2)
    monkeypatch.setattr(nowhere._pool, "timeout", 0.5)
    await nowhere._pool.open()
    started = time.monotonic()
    results = await asyncio.gather(*(nowhere.fetch_one(ID) for _ in range(20)), return_exceptions=True)
    assert {type(result) for result in results} == {Unavailable}
    assert time.monotonic() - started < 3
    assert Connection.last_failure is not None
    assert 'database "nowhere" does not exist' in str(Connection.last_failure[1])
    await nowhere.close()


async def test_queries_resume_after_a_restart_of_the_server(open_folder: Path) -> None:
    with EmbeddedPostgres(open_folder / "restarted", settings={"fsync": "off"}) as server:
        db = Database(server.url(user="postgres", database="postgres"), pool_size=2)
        await db._pool.open(wait=True, timeout=10)
        assert await db.fetch_batch(SPACE, Statement(DIVIDED, {"one": "x"})) == [[{"one": 1}]]
        pending = asyncio.create_task(db.fetch_batch(SPACE, Statement(LONG, {})))
        await asyncio.sleep(0.1)
        await asyncio.to_thread(server.stop)
        with pytest.raises(Unavailable, match="cannot be reached"):
            await pending
        db._pool.timeout = 0.5
        with pytest.raises(Unavailable, match="cannot be reached"):
            await db.ping()
        await asyncio.to_thread(server.start)
        deadline = time.monotonic() + 10
        while True:
            try:
                await db.ping()
                break
            except DatabaseFailed:
                assert time.monotonic() < deadline
        assert await db.fetch_batch(SPACE, Statement(DIVIDED, {"one": "x"})) == [[{"one": 1}]]
        await db.close()
