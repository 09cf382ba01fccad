"""Background jobs: a loop outlives the errors of its work."""

import asyncio

import pytest

from windsock.db.job_queue import repeat
from windsock.errors import DatabaseFailed

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("error", [KeyError("a fault of ours"), DatabaseFailed("away")])
async def test_loop_goes_on_after_an_error_of_its_work(error: Exception) -> None:
    calls = 0
    has_recovered = asyncio.Event()

    async def work() -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise error
        has_recovered.set()

    loop = asyncio.create_task(repeat(work, name="a job", seconds=0.01))
    try:
        async with asyncio.timeout(5):
            await has_recovered.wait()
    finally:
        loop.cancel()
    assert calls >= 2


async def test_woken_loop_does_not_wait() -> None:
    wake, calls = asyncio.Event(), asyncio.Semaphore(0)

    async def work() -> None:
        calls.release()

    loop = asyncio.create_task(repeat(work, name="a job", seconds=3_600, wake=wake))
    try:
        async with asyncio.timeout(5):
            await calls.acquire()
            wake.set()
            await calls.acquire()
    finally:
        loop.cancel()
