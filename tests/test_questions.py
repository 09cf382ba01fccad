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
async def asked(url: str) -> AsyncIterator[Questions]:
    made = Questions(make_conninfo(url, application_name="questions"), patience_seconds=1.0)
    yield made
    made.close()


def end_connections(postgres: EmbeddedPostgres) -> None:
    with psycopg.connect(postgres.url(user="postgres", database="postgres"), autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'questions'"
        )


async def test_a_row_has_its_columns_in_their_types(asked: Questions) -> None:
    row = await asked.row(ECHO, {"one": "ä", "two": b"\x00\xff"})
    assert row == {"one": "ä", "two": b"\x00\xff", "number": 7, "is_so": True, "nothing": None}
    assert await asked.row(ECHO, {"one": None, "two": None}) == {**row, "one": None, "two": None}
    found = await asked.row(ID, {}) or {}
    assert (found["id"], found["all"]) == (UUID("01a21c2f-8eca-7b2f-8572-0aa9988bc462"), "100%")
    assert await asked.row("SELECT 1 AS one WHERE false", {}) is None


async def test_a_thousand_at_once_each_get_their_own_on_one_connection(asked: Questions) -> None:
    rows = await asyncio.gather(*(asked.row(ECHO, {"one": str(n), "two": b"x" * (n * 50)}) for n in range(1_000)))
    assert [(row["one"], len(row["two"])) for row in rows if row] == [(str(n), n * 50) for n in range(1_000)]
    pids = await asyncio.gather(*(asked.row(ID, {}) for _ in range(20)))
    assert len({row["pid"] for row in pids if row}) == 1


async def test_a_mistake_is_of_the_one_who_made_it(asked: Questions) -> None:
    right: dict[str, Value] = {"one": "1", "two": b""}
    told = await asyncio.gather(
        asked.row(ECHO, right),
        asked.row("SELECT 1 / length(%(one)s::text) AS one", {"one": ""}),
        asked.row("SELECT no_such_column", {}),
        asked.row(ECHO, right),
        return_exceptions=True,
    )
    names = [type(one).__name__ for one in told]
    assert names == ["dict", "DivisionByZero", "UndefinedColumn", "dict"]
    with pytest.raises(psycopg.errors.UndefinedColumn, match="no_such_column"):
        await asked.row("SELECT no_such_column", {})
    assert await asked.row("SELECT 1 / length(%(one)s::text) AS one", {"one": "x"}) == {"one": 1}


async def test_what_cannot_be_sent_takes_nobodys_place(asked: Questions) -> None:
    right: dict[str, Value] = {"one": "1", "two": b""}
    wrong: list[dict[str, Value]] = [{**right, "one": "\ud800"}, {"one": "1"}, {**right, "one": "a\0b"}]
    told = await asyncio.gather(
        *(asked.row(ECHO, given) for one in wrong for given in (right, one)), asked.row(ECHO, {**right, "one": "2"}),
        return_exceptions=True,
    )  # fmt: skip
    names = [type(one).__name__ for one in told]
    assert names[1::2] == ["UnicodeEncodeError", "KeyError", "CharacterNotInRepertoire"]
    assert [one["one"] for one in told if isinstance(one, dict)] == ["1", "1", "1", "2"]


async def test_who_goes_away_leaves_the_others_their_answers(asked: Questions) -> None:
    first, second = (asyncio.create_task(asked.row(SLOW, {"one": one})) for one in "ab")
    await asyncio.sleep(0.05)
    first.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await first
    assert (await second or {})["one"] == "b"
    assert (await asked.row(SLOW, {"one": "c"}) or {})["one"] == "c"


async def test_a_connection_that_breaks_is_made_anew_and_what_was_asked_is_asked_again(
    asked: Questions, postgres: EmbeddedPostgres
) -> None:
    before = (await asked.row(ID, {}) or {})["pid"]
    waiting = [asyncio.create_task(asked.row(SLOW, {"one": one})) for one in "abc"]
    await asyncio.sleep(0.05)
    await asyncio.to_thread(end_connections, postgres)
    assert [(row or {})["one"] for row in await asyncio.gather(*waiting)] == ["a", "b", "c"]
    assert (await asked.row(ID, {}) or {})["pid"] != before
    end_connections(postgres)  # the event loop stands still meanwhile: nobody has noticed when it is asked
    assert (await asked.row(ECHO, {"one": "1", "two": None}) or {})["one"] == "1"


async def test_without_a_database_everybody_is_told_within_their_patience(url: str) -> None:
    nowhere = Questions(make_conninfo(url, dbname="nowhere"), patience_seconds=0.3)
    began = asyncio.get_running_loop().time()
    told = await asyncio.gather(*(nowhere.row(ID, {}) for _ in range(20)), return_exceptions=True)
    assert {type(one) for one in told} == {psycopg.OperationalError}
    assert asyncio.get_running_loop().time() - began < 3
    db = Database(make_conninfo(url, dbname="nowhere"), pool_size=1)
    db._questions = nowhere
    with pytest.raises(Unavailable, match="cannot be reached right now"):
        await db.fetch_shared(Query(ID))


async def test_a_connection_that_says_nothing_for_too_long_is_given_up(
    asked: Questions, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck = asyncio.create_task(asked.row(SLOW, {"one": "a"}))
    await asyncio.sleep(0.05)
    monkeypatch.setattr(questions, "MOST_SECONDS", 0.01)
    assert (await asked.row(ECHO, {"one": "1", "two": None}) or {})["one"] == "1"
    monkeypatch.undo()
    assert (await stuck or {})["one"] == "a"


async def test_no_more_wait_than_may(asked: Questions, monkeypatch: pytest.MonkeyPatch) -> None:
    await asked.row(ID, {})
    monkeypatch.setattr(questions, "MOST_WAITING", 2)
    told = await asyncio.gather(*(asked.row(SLOW, {"one": one}) for one in "abc"), return_exceptions=True)
    assert [type(one).__name__ for one in told] == ["dict", "dict", "OperationalError"]
