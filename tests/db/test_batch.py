"""Statements that go to PostgreSQL together: each finds what it would alone, and nothing stays on the connection."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import UUID, uuid4

import orjson
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from databases import Databases
from windsock.db.database import Database, Row, Statement
from windsock.db.queries import Query
from windsock.embedded import EmbeddedPostgres
from windsock.errors import StatementTimedOut, Unavailable
from windsock.http.responses import dump_json

pytestmark = pytest.mark.anyio
SPACE = UUID(int=7)
TYPES = Query("""
SELECT %(text)s::text AS text, %(id)s::uuid AS id, %(number)s::bigint AS number, %(ids)s::uuid[] AS ids,
       0.5::float8 AS half, '2026-11-27 10:00:00.25+00'::timestamptz AS at, NULL::timestamptz AS never,
       true AS is_so, '100%%' AS all,
       '{"a": [1, "ä"]}'::jsonb AS object, '{"b": 2}'::json AS as_text, ARRAY['x', NULL] AS words
""")
WHERE_IT_IS = Query("SELECT current_setting('windsock.space_id', true) AS space_id, pg_backend_pid() AS pid")
DIVIDED = Query("SELECT 1 / %(by)s::integer AS quotient")
NUMBER = Query("SELECT %(number)s::integer AS number")
STATEMENTS = Query("SELECT count(*) AS total FROM pg_prepared_statements")
MAX_PREPARED = 100
"""Psycopg's default."""
SLOW = Query("SELECT pg_sleep(%(seconds)s)")


@pytest.fixture(scope="module")
def url(make_database: Databases) -> str:
    return make_database("pipelined")


@pytest.fixture
async def db(url: str) -> AsyncIterator[Database]:
    """With one connection, so that what stays on it would be found."""
    database = Database(url, pool_size=1)
    await database.open()
    yield database
    await database.close()


@pytest.fixture
def end_connections_of(postgres: EmbeddedPostgres) -> Callable[[str], None]:
    def end(url: str) -> None:
        name = conninfo_to_dict(url)["dbname"]
        with psycopg.connect(postgres.url(user="postgres", database="postgres"), autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s", (name,)
            )

    return end


async def outside(db: Database, query: Query, **parameters: object) -> Row:
    async with db.transaction() as tx:
        return await tx.fetch_one(query, **parameters) or {}


def plain(row: Row) -> Any:
    return orjson.loads(dump_json(row))


async def test_each_finds_what_it_would_find_alone(db: Database) -> None:
    many = {"text": "ä\n", "id": uuid4(), "number": 2**40, "ids": [uuid4(), uuid4()]}
    few: dict[str, object] = {"text": None, "id": None, "number": 1, "ids": []}
    for _ in range(2):
        found = await db.fetch_batch(
            SPACE, Statement(TYPES, many), Statement(TYPES, few), Statement(TYPES, many, prepare=False)
        )
        alone = [await outside(db, TYPES, **item) for item in (many, few, many)]
        assert [[plain(row) for row in rows] for rows in found] == [[plain(row)] for row in alone]
    assert isinstance(found[0][0]["object"], bytes)
    assert [type(value) for name, value in found[0][0].items() if name not in {"object", "as_text"}] == [
        type(value) for name, value in alone[0].items() if name not in {"object", "as_text"}
    ]


async def test_the_space_is_named_for_these_statements_alone(db: Database) -> None:
    before = await outside(db, WHERE_IT_IS)
    for space in (SPACE, uuid4()):
        first, second = await db.fetch_batch(space, Statement(WHERE_IT_IS, {}), Statement(WHERE_IT_IS, {}))
        assert first == second == [{"space_id": str(space), "pid": before["pid"]}]
        assert (await outside(db, WHERE_IT_IS))["space_id"] in {None, ""}


async def test_what_is_refused_is_an_error_and_the_connection_goes_on(db: Database) -> None:
    pid = (await outside(db, WHERE_IT_IS))["pid"]
    for _ in range(5):
        with pytest.raises(psycopg.errors.DivisionByZero, match="division by zero"):
            await db.fetch_batch(
                SPACE,
                Statement(WHERE_IT_IS, {}),
                Statement(DIVIDED, {"by": 0}),
                Statement(TYPES, dict.fromkeys(("text", "id", "number", "ids"))),
            )
        with pytest.raises(psycopg.errors.UndefinedTable):
            await db.fetch_batch(SPACE, Statement(Query("SELECT 1 FROM nowhere"), {}))
    assert await db.fetch_batch(SPACE, Statement(DIVIDED, {"by": 1})) == [[{"quotient": 1}]]
    after = await outside(db, WHERE_IT_IS)
    assert (after["pid"], after["space_id"] or "") == (pid, "")


async def test_a_transaction_that_reads_so_is_rolled_back_like_any_other(db: Database) -> None:
    async with db.tenant_transaction(SPACE) as tx:
        _, (where,) = await tx.fetch_batch(Statement(DIVIDED, {"by": 1}), Statement(WHERE_IT_IS, {}))
        assert where["space_id"] == str(SPACE)
        with pytest.raises(psycopg.errors.DivisionByZero):
            await tx.fetch_batch(Statement(DIVIDED, {"by": 0}))
        with pytest.raises(psycopg.errors.InFailedSqlTransaction):
            await tx.fetch_batch(Statement(DIVIDED, {"by": 1}))
    assert (await outside(db, WHERE_IT_IS))["space_id"] in {None, ""}
    assert await db.fetch_batch(SPACE, Statement(DIVIDED, {"by": 2})) == [[{"quotient": 0}]]


async def test_statements_behind_an_error_are_prepared_later(db: Database) -> None:
    for _ in range(7):
        with pytest.raises(psycopg.errors.DivisionByZero):
            await db.fetch_batch(SPACE, Statement(DIVIDED, {"by": 0}), Statement(NUMBER, {"number": 1}))
    assert await db.fetch_batch(SPACE, Statement(NUMBER, {"number": 2})) == [[{"number": 2}]]


async def test_prepared_statements_of_a_connection_are_bounded(db: Database) -> None:
    many = [Query(f"SELECT {number} AS number, %(one)s::text AS one") for number in range(MAX_PREPARED + 20)]
    for query in (*many, many[0], *many[-30:]):
        found = await db.fetch_batch(SPACE, Statement(query, {"one": "x"}))
        assert found == [[{"number": int(query.split()[1]), "one": "x"}]]
    assert (await outside(db, STATEMENTS))["total"] <= MAX_PREPARED + 1


async def test_more_than_fits_into_a_socket_goes_both_ways(db: Database) -> None:
    text = "x" * 8_000_000
    echo = Query("SELECT %(text)s::text AS text")
    found = await db.fetch_batch(SPACE, *[Statement(echo, {"text": text + str(number)}) for number in range(3)])
    assert [rows[0]["text"] for rows in found] == [text + str(number) for number in range(3)]


async def test_cancelled_caller_leaves_usable_pool(db: Database) -> None:
    pending = asyncio.create_task(db.fetch_batch(SPACE, Statement(SLOW, {"seconds": 30.0})))
    await asyncio.sleep(0.2)
    pending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await pending
    assert await db.fetch_batch(SPACE, Statement(DIVIDED, {"by": 1})) == [[{"quotient": 1}]]


async def test_a_connection_that_is_lost_meanwhile_is_unavailable_and_replaced(
    db: Database, end_connections_of: Callable[[str], None]
) -> None:
    pending = asyncio.create_task(db.fetch_batch(SPACE, Statement(SLOW, {"seconds": 30.0})))
    await asyncio.sleep(0.2)
    await asyncio.to_thread(end_connections_of, db.url)
    with pytest.raises(Unavailable, match="cannot be reached"):
        await pending
    assert await db.fetch_batch(SPACE, Statement(DIVIDED, {"by": 1})) == [[{"quotient": 1}]]


async def test_slow_request_reports_timeout(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("windsock.db.database.CONNECTION_OPTIONS", "-c search_path=windsock -c statement_timeout=100ms")
    db = Database(url, pool_size=1)
    await db.open()
    with pytest.raises(StatementTimedOut, match="narrow the request"):
        await db.fetch_batch(SPACE, Statement(SLOW, {"seconds": 30.0}))
    assert await db.fetch_batch(SPACE, Statement(DIVIDED, {"by": 1})) == [[{"quotient": 1}]]
    await db.close()
