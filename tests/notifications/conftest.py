"""A database of the notifications' own: their workers commit, and compare with the clock."""

from collections.abc import AsyncIterator

import pytest

from conftest import SECRET_KEY
from databases import Databases
from notifications.harness import Harness, open_harness


@pytest.fixture(scope="session")
def notification_database(make_database: Databases) -> str:
    return make_database("notifications")


@pytest.fixture
async def harness(notification_database: str) -> AsyncIterator[Harness]:
    async with open_harness(notification_database, SECRET_KEY) as opened:
        yield opened
