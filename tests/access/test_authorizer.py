"""Requests that ask the same at the same time share an answer, none that is older than they are."""

import asyncio
from typing import Any

import pytest

from windsock.access.authorizer import Authorizer
from windsock.errors import Unavailable

pytestmark = pytest.mark.anyio


class SlowDatabase:
    """Answers, when it is let, with what was true when it was asked."""

    def __init__(self) -> None:
        self.now, self.asked = 0, 0
        self.may_answer = asyncio.Event()
        self.errors: list[Exception] = []

    async def fetch_shared(self, _query: object, **_names: object) -> dict[str, Any]:
        self.asked += 1
        was = self.now
        await self.may_answer.wait()
        if self.errors:
            raise self.errors.pop()
        return {"version": was, "is_use_due": False}


@pytest.fixture
def db() -> SlowDatabase:
    return SlowDatabase()


@pytest.fixture
def authorizer(db: Any) -> Authorizer:
    return Authorizer(db)


def ask(authorizer: Authorizer, many: int, slug: str = "finance") -> list[asyncio.Task[Any]]:
    return [asyncio.create_task(authorizer.authorize(b"key", slug)) for _ in range(many)]


async def turns() -> None:
    """Until everything that can go on has."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_those_who_come_together_share_one_question(authorizer: Authorizer, db: SlowDatabase) -> None:
    first, other = ask(authorizer, 20), ask(authorizer, 5, "marketing")
    await turns()
    assert db.asked == 2
    db.may_answer.set()
    assert {row["version"] for row in await asyncio.gather(*first, *other)} == {0}
    assert (authorizer._next, authorizer._in_flight) == ({}, {})


async def test_nobody_is_answered_from_before_they_came(authorizer: Authorizer, db: SlowDatabase) -> None:
    first = ask(authorizer, 3)
    await turns()
    db.now = 1
    second = ask(authorizer, 3)
    await turns()
    assert db.asked == 1
    db.now = 2
    db.may_answer.set()
    assert [row["version"] for row in await asyncio.gather(*first)] == [0] * 3
    assert [row["version"] for row in await asyncio.gather(*second)] == [2] * 3
    assert db.asked == 2


async def test_who_goes_away_leaves_the_others_their_answer(authorizer: Authorizer, db: SlowDatabase) -> None:
    gone, stays = ask(authorizer, 2)
    await turns()
    gone.cancel()
    db.may_answer.set()
    assert (await stays)["version"] == 0
    assert gone.cancelled()


async def test_an_error_is_of_those_who_asked_and_of_nobody_later(authorizer: Authorizer, db: SlowDatabase) -> None:
    first = ask(authorizer, 2)
    await turns()
    second = ask(authorizer, 2)
    db.errors.append(Unavailable("not now"))
    db.may_answer.set()
    told = await asyncio.gather(*first, return_exceptions=True)
    assert [type(one) for one in told] == [Unavailable] * 2
    assert [type(one) for one in await asyncio.gather(*second, return_exceptions=True)] == [dict] * 2
