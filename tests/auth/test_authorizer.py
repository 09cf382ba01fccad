"""Requests that ask the same at the same time share an answer, none that is older than they are."""

import asyncio
from typing import Any

import pytest

from windsock.auth.authorizer import Authorizer
from windsock.errors import Unavailable

pytestmark = pytest.mark.anyio


class SlowDatabase:
    """Answers, when it is let, with what was true when it was asked."""

    def __init__(self) -> None:
        self.now, self.requests = 0, 0
        self.may_respond = asyncio.Event()
        self.errors: list[Exception] = []

    async def fetch_shared(self, _query: object, **_names: object) -> dict[str, Any]:
        self.requests += 1
        was = self.now
        await self.may_respond.wait()
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


async def iterations() -> None:
    """Until everything that can go on has."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_concurrent_callers_share_one_query(authorizer: Authorizer, db: SlowDatabase) -> None:
    first, other = ask(authorizer, 20), ask(authorizer, 5, "marketing")
    await iterations()
    assert db.requests == 2
    db.may_respond.set()
    assert {row["version"] for row in await asyncio.gather(*first, *other)} == {0}
    assert (authorizer._next, authorizer._in_flight) == ({}, {})


async def test_cached_response_is_not_older_than_request(authorizer: Authorizer, db: SlowDatabase) -> None:
    first = ask(authorizer, 3)
    await iterations()
    db.now = 1
    second = ask(authorizer, 3)
    await iterations()
    assert db.requests == 1
    db.now = 2
    db.may_respond.set()
    assert [row["version"] for row in await asyncio.gather(*first)] == [0] * 3
    assert [row["version"] for row in await asyncio.gather(*second)] == [2] * 3
    assert db.requests == 2


async def test_disconnected_caller_leaves_response_for_others(authorizer: Authorizer, db: SlowDatabase) -> None:
    deleted, stays = ask(authorizer, 2)
    await iterations()
    deleted.cancel()
    db.may_respond.set()
    assert (await stays)["version"] == 0
    assert deleted.cancelled()


async def test_build_error_reaches_waiting_callers_only(authorizer: Authorizer, db: SlowDatabase) -> None:
    first = ask(authorizer, 2)
    await iterations()
    second = ask(authorizer, 2)
    db.errors.append(Unavailable("not now"))
    db.may_respond.set()
    results = await asyncio.gather(*first, return_exceptions=True)
    assert [type(result) for result in results] == [Unavailable] * 2
    assert [type(item) for item in await asyncio.gather(*second, return_exceptions=True)] == [dict] * 2
