"""Errors of PostgreSQL are classified by SQLSTATE: an outage is a lost connection, nothing else."""

from collections.abc import AsyncIterator
from uuid import UUID

import psycopg
import pytest
from psycopg_pool import PoolTimeout, TooManyRequests

from databases import Databases
from windsock.db.database import Database, Statement
from windsock.db.queries import Query
from windsock.db.sqlstates import classify, is_unstorable
from windsock.errors import (
    DatabaseFailed,
    DiskFull,
    Invalid,
    Overloaded,
    StatementTimedOut,
    Unavailable,
    WindsockError,
)

pytestmark = pytest.mark.anyio


RAISED: dict[str, type[Exception]] = {
    "08006": Unavailable,
    "57P01": Unavailable,
    "57P03": Unavailable,
    "57P05": Unavailable,
    "25P03": Unavailable,
    "25006": Unavailable,
    "58030": Unavailable,
    "53100": DiskFull,
    "53200": Overloaded,
    "53300": Overloaded,
    "57014": StatementTimedOut,
    "40001": DatabaseFailed,
    "40P01": DatabaseFailed,
    "55P03": DatabaseFailed,
    "54000": Invalid,
    "54001": Invalid,
    "22003": psycopg.DataError,
    "22P05": psycopg.DataError,
    "23514": psycopg.IntegrityError,
    "39004": psycopg.OperationalError,
    "XX000": psycopg.InternalError,
    "ZZ999": psycopg.DatabaseError,
}
"""What a caller receives for a SQLSTATE. The last ones pass unchanged."""


@pytest.fixture(scope="module")
def url(make_database: Databases) -> str:
    return make_database("sqlstates")


@pytest.fixture
async def db(url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Database]:
    monkeypatch.setattr("windsock.db.database.CONNECTION_OPTIONS", "-c search_path=windsock,public")
    db = Database(url, pool_size=2)
    monkeypatch.setattr(db, "require_unprivileged_role", _nothing)
    await db.open()
    yield db
    await db.close()


async def _nothing() -> None:
    pass


@pytest.mark.parametrize("state", RAISED)
async def test_sqlstate_is_mapped_equally_in_transactions_and_batches(db: Database, state: str) -> None:
    query = Query(f"DO $$ BEGIN RAISE EXCEPTION 'as asked' USING ERRCODE = '{state}'; END $$")
    with pytest.raises(RAISED[state]) as in_transaction:
        async with db.transaction() as tx:
            await tx.execute(query)
    with pytest.raises(RAISED[state]) as in_read:
        await db.fetch_batch(UUID(int=1), Statement(query, {}))
    assert in_transaction.type is in_read.type or state == "ZZ999"
    if RAISED[state] is DatabaseFailed:
        assert in_transaction.type is DatabaseFailed, "a conflict is not an outage"
    if issubclass(RAISED[state], DatabaseFailed):
        error = in_transaction.value
        assert isinstance(error, WindsockError)
        assert error.status == 503


@pytest.mark.parametrize(
    "error", [psycopg.OperationalError("lost"), psycopg.InterfaceError("closed"), PoolTimeout("no connection")]
)
def test_client_error_without_sqlstate_is_an_outage(error: psycopg.Error) -> None:
    assert type(classify(error)) is Unavailable


def test_full_pool_queue_is_reported_as_overload() -> None:
    assert type(classify(TooManyRequests("too many"))) is Overloaded


async def test_row_too_large_for_index_is_reported_as_invalid_value(db: Database) -> None:
    with pytest.raises(psycopg.OperationalError) as raised:  # noqa: PT012 - raised by psycopg, inside the transaction
        async with db._pool.connection() as connection, connection.transaction(force_rollback=True):
            await connection.execute("CREATE TEMPORARY TABLE large (text text UNIQUE)")
            await connection.execute(
                "INSERT INTO large SELECT string_agg(md5(n::text), '') FROM generate_series(1, 1000) n"
            )
    assert raised.value.sqlstate == "54000"
    assert is_unstorable(raised.value)
    assert type(classify(raised.value)) is Invalid
