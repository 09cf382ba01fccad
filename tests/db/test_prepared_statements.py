"""What answers requests is prepared, once for each question; what a sync says is not."""

from collections.abc import AsyncIterator

import pytest

from databases import Databases
from windsock.db.database import Database, Statement, Transaction
from windsock.db.queries import Query

pytestmark = pytest.mark.anyio
PREPARED = Query("SELECT statement, generic_plans + custom_plans AS used FROM pg_prepared_statements")
QUERY = Query("SELECT %(number)s::integer AS number, '{}'::jsonb AS object")


@pytest.fixture(scope="module")
def url(make_database: Databases) -> str:
    return make_database("prepared")


@pytest.fixture
async def tx(url: str) -> AsyncIterator[Transaction]:
    db = Database(url, pool_size=1)
    await db.open()
    try:
        async with db.transaction() as opened:
            yield opened
    finally:
        await db.close()


async def prepared(tx: Transaction) -> list[tuple[bool, int]]:
    return [("AS number" in row["statement"], row["used"]) for row in await tx.fetch_all(PREPARED)]


async def test_response_queries_are_planned_once(tx: Transaction) -> None:
    for number in range(8):
        assert [row["number"] for row in await tx.fetch_json(QUERY, number=number)] == [number]
        ((once,), (again,)) = await tx.fetch_batch(
            Statement(QUERY, {"number": number}), Statement(QUERY, {"number": number})
        )
        assert (once["number"], again["number"]) == (number, number)
    assert await prepared(tx) == [(True, 24)]


async def test_other_statements_are_never_prepared(tx: Transaction) -> None:
    for number in range(8):
        await tx.fetch_one(QUERY, number=number)
        await tx.fetch_all(QUERY, number=number)
        await tx.execute(QUERY, number=number)
    assert await prepared(tx) == []
