"""What is there at once is taken at once; what takes longer leaves the event loop to others."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from windsock import connections
from windsock.connections import Connection
from windsock.db import CONNECTION_OPTIONS

pytestmark = pytest.mark.anyio
LARGE = "SELECT n, repeat('x', 1000) AS text FROM generate_series(1, 20000) n"


@pytest.fixture(scope="module")
def url(make_database: Callable[[str], str]) -> str:
    return make_database("connections")


@pytest.fixture
async def connection(url: str) -> AsyncIterator[Connection]:
    async with await Connection.connect(
        url, options=CONNECTION_OPTIONS, autocommit=True, row_factory=dict_row
    ) as busy_connection:
        yield busy_connection
    assert connections._waiting == 0, "somebody still seems to wait"


async def ticks(of: asyncio.Task[Any]) -> float:
    """The longest time for which the event loop stood still while the task was running."""
    longest, before = 0.0, time.monotonic()
    while not of.done():
        await asyncio.sleep(0)
        now = time.monotonic()
        longest, before = max(longest, now - before), now
    return longest


async def test_rows_come_whole_however_many_and_in_whatever_pieces(connection: Connection) -> None:
    rows = await (await connection.execute(LARGE)).fetchall()
    assert [row["n"] for row in rows] == list(range(1, 20_001))
    assert {len(row["text"]) for row in rows} == {1000}
    async with connection.cursor() as cursor, cursor.copy(f"COPY ({LARGE}) TO STDOUT") as copied:
        assert sum([len(piece) async for piece in copied]) > 20_000_000


async def test_a_round_trip_does_not_go_through_the_event_loop(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "MOMENT_SECONDS", 10.0)
    iterations = 0

    async def count() -> None:
        nonlocal iterations
        while True:
            iterations += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    await asyncio.sleep(0)
    before = iterations
    for _ in range(20):
        await (await connection.execute("SELECT 1")).fetchone()
    counting.cancel()
    assert iterations - before < 20


async def test_others_go_on_while_postgresql_thinks_or_sends_much(connection: Connection) -> None:
    thinking = asyncio.create_task(connection.execute("SELECT pg_sleep(0.3)"))
    assert await ticks(thinking) < 0.2
    sending = asyncio.create_task(connection.execute(LARGE))
    iterations = 0
    while not sending.done():
        await asyncio.sleep(0)
        iterations += 1
    assert iterations > 2, "twenty megabytes are not taken at once"


async def test_query_can_be_cancelled_and_errors_are_preserved(connection: Connection) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await connection.execute("SELECT pg_sleep(30)")
    with pytest.raises(psycopg.errors.DivisionByZero):
        await connection.execute("SELECT 1 / 0")
    assert await (await connection.execute("SELECT 2 AS n")).fetchone() == {"n": 2}


async def test_connection_beyond_select_limit_uses_event_loop(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "LAST_SELECTABLE", -1)
    rows = await (await connection.execute(LARGE)).fetchall()
    assert len(rows) == 20_000
