"""Questions share one connection: each gets its own answer, whatever becomes of the others and of the connection."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from uuid import UUID

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from windsock import questions
from windsock.db import Database
from windsock.embedded import EmbeddedPostgres
from windsock.errors import Unavailable
from windsock.questions import Questions, Value
from windsock.sql import Query

pytestmark = pytest.mark.anyio
ECHO = "SELECT %(one)s::text AS one, %(two)s::bytea AS two, 7::bigint AS number, true AS is_so, NULL::text AS nothing"
ID = "SELECT '01a21c2f-8eca-7b2f-8572-0aa9988bc462'::uuid AS id, '100%%'::text AS all, pg_backend_pid() AS pid"
SLOW = "SELECT %(one)s::text AS one, pg_sleep(0.3)"


@pytest.fixture(scope="module")
def url(make_database: Callable[[str], str]) -> str:
    return make_database("questions")


@pytest.fixture
async def client(url: str) -> AsyncIterator[Questions]:
    created = Questions(make_conninfo(url, application_name="questions"), patience_seconds=1.0)
    yield created
    created.close()


def end_connections(postgres: EmbeddedPostgres) -> None:
    with psycopg.connect(postgres.url(user="postgres", database="postgres"), autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'questions'"
        )


async def test_a_row_has_its_columns_in_their_types(client: Questions) -> None:
    row = await client.row(ECHO, {"one": "ä", "two": b"\x00\xff"})
    assert row == {"one": "ä", "two": b"\x00\xff", "number": 7, "is_so": True, "nothing": None}
    assert await client.row(ECHO, {"one": None, "two": None}) == {**row, "one": None, "two": None}
    found = await client.row(ID, {}) or {}
    assert (found["id"], found["all"]) == (UUID("01a21c2f-8eca-7b2f-8572-0aa9988bc462"), "100%")
    assert await client.row("SELECT 1 AS one WHERE false", {}) is None


async def test_a_thousand_at_once_each_get_their_own_on_one_connection(client: Questions) -> None:
    rows = await asyncio.gather(*(client.row(ECHO, {"one": str(n), "two": b"x" * (n * 50)}) for n in range(1_000)))
    assert [(row["one"], len(row["two"])) for row in rows if row] == [(str(n), n * 50) for n in range(1_000)]
    pids = await asyncio.gather(*(client.row(ID, {}) for _ in range(20)))
    assert len({row["pid"] for row in pids if row}) == 1


async def test_query_error_reaches_only_its_caller(client: Questions) -> None:
    right: dict[str, Value] = {"one": "1", "two": b""}
    results = await asyncio.gather(
        client.row(ECHO, right),
        client.row("SELECT 1 / length(%(one)s::text) AS one", {"one": ""}),
        client.row("SELECT no_such_column", {}),
        client.row(ECHO, right),
        return_exceptions=True,
    )
    names = [type(case).__name__ for case in results]
    assert names == ["dict", "DivisionByZero", "UndefinedColumn", "dict"]
    with pytest.raises(psycopg.errors.UndefinedColumn, match="no_such_column"):
        await client.row("SELECT no_such_column", {})
    assert await client.row("SELECT 1 / length(%(one)s::text) AS one", {"one": "x"}) == {"one": 1}


async def test_what_cannot_be_sent_takes_nobodys_place(client: Questions) -> None:
    right: dict[str, Value] = {"one": "1", "two": b""}
    wrong: list[dict[str, Value]] = [{**right, "one": "\ud800"}, {"one": "1"}, {**right, "one": "a\0b"}]
    results = await asyncio.gather(
        *(client.row(ECHO, row) for case in wrong for row in (right, case)), client.row(ECHO, {**right, "one": "2"}),
        return_exceptions=True,
    )  # fmt: skip
    names = [type(case).__name__ for case in results]
    assert names[1::2] == ["UnicodeEncodeError", "KeyError", "CharacterNotInRepertoire"]
    assert [case["one"] for case in results if isinstance(case, dict)] == ["1", "1", "1", "2"]


async def test_cancelled_query_leaves_results_of_others(client: Questions) -> None:
    first, second = (asyncio.create_task(client.row(SLOW, {"one": case})) for case in "ab")
    await asyncio.sleep(0.05)
    first.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await first
    assert (await second or {})["one"] == "b"
    assert (await client.row(SLOW, {"one": "c"}) or {})["one"] == "c"


async def test_broken_connection_is_reopened_and_pending_queries_resent(
    client: Questions, postgres: EmbeddedPostgres
) -> None:
    before = (await client.row(ID, {}) or {})["pid"]
    waiting = [asyncio.create_task(client.row(SLOW, {"one": case})) for case in "abc"]
    await asyncio.sleep(0.05)
    await asyncio.to_thread(end_connections, postgres)
    assert [(row or {})["one"] for row in await asyncio.gather(*waiting)] == ["a", "b", "c"]
    assert (await client.row(ID, {}) or {})["pid"] != before
    end_connections(postgres)  # the event loop stands still meanwhile: nobody has noticed when it is asked
    assert (await client.row(ECHO, {"one": "1", "two": None}) or {})["one"] == "1"


async def test_missing_database_is_reported_within_timeout(url: str) -> None:
    nowhere = Questions(make_conninfo(url, dbname="nowhere"), patience_seconds=0.3)
    started = asyncio.get_running_loop().time()
    results = await asyncio.gather(*(nowhere.row(ID, {}) for _ in range(20)), return_exceptions=True)
    assert {type(case) for case in results} == {psycopg.OperationalError}
    assert asyncio.get_running_loop().time() - started < 3
    db = Database(make_conninfo(url, dbname="nowhere"), pool_size=1)
    db._questions = nowhere
    with pytest.raises(Unavailable, match="cannot be reached right now"):
        await db.fetch_shared(Query(ID))


async def test_silent_connection_is_closed_after_timeout(client: Questions, monkeypatch: pytest.MonkeyPatch) -> None:
    stuck = asyncio.create_task(client.row(SLOW, {"one": "a"}))
    await asyncio.sleep(0.05)
    monkeypatch.setattr(questions, "MOST_SECONDS", 0.01)
    assert (await client.row(ECHO, {"one": "1", "two": None}) or {})["one"] == "1"
    monkeypatch.undo()
    assert (await stuck or {})["one"] == "a"


async def test_no_more_wait_than_may(client: Questions, monkeypatch: pytest.MonkeyPatch) -> None:
    await client.row(ID, {})
    monkeypatch.setattr(questions, "MOST_WAITING", 2)
    results = await asyncio.gather(*(client.row(SLOW, {"one": case}) for case in "abc"), return_exceptions=True)
    assert [type(case).__name__ for case in results] == ["dict", "dict", "OperationalError"]
