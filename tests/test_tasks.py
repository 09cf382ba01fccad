"""Tasks end within a time, whatever they do when they are cancelled; a process opens and closes at any moment."""

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from conftest import SECRET_KEY
from windsock import tasks
from windsock.context import AppContext
from windsock.db.bootstrap import Storage
from windsock.settings import Settings
from windsock.tasks import SingleFlight, end_tasks, run_together

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.anyio


async def stubborn(cancels: int) -> None:
    """Catches so many cancellations, as a library may."""
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            if cancels == 0:
                raise
            cancels -= 1


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "CANCEL_SECONDS", 0.2)


@pytest.mark.parametrize(("cancels", "ends"), [(0, True), (1, True), (2, True), (100, False)])
async def test_task_that_suppresses_cancellation_is_cancelled_again_and_finally_abandoned(
    cancels: int, *, ends: bool
) -> None:
    task = asyncio.create_task(stubborn(cancels))
    await asyncio.sleep(0)
    started = time.monotonic()
    await end_tasks([task], grace_seconds=0.05)
    assert task.done() is ends
    assert time.monotonic() - started < 20
    for _ in range(cancels + 1):
        task.cancel()
        await asyncio.sleep(0)


async def test_task_that_ends_in_time_is_not_cancelled() -> None:
    task = asyncio.create_task(asyncio.sleep(0.05, "done"))
    await end_tasks([task], grace_seconds=10)
    assert task.result() == "done"


@pytest.mark.parametrize("seconds", [0, 0.003, 0.03])
async def test_process_closed_just_after_opening_leaves_no_tasks(
    make_database: "Callable[[str], str]", seconds: float
) -> None:
    url = make_database(f"closed_after_{round(seconds * 1000)}")
    for _ in range(5):
        process = AppContext(Settings(data=Path("nowhere")), Storage(url, (SECRET_KEY,), None))
        async with asyncio.timeout(60), process.lifespan(run_worker=True):
            await asyncio.sleep(seconds)
    assert {task.get_name() for task in asyncio.all_tasks()}.isdisjoint({"worker", "dispatcher", "retention"})


async def test_cancelled_caller_does_not_cancel_shared_build() -> None:
    under_way, let = SingleFlight[str](), asyncio.Event()

    async def make() -> str:
        await let.wait()
        return "made"

    async def fail() -> str:
        await let.wait()
        raise LookupError

    first, stays = (asyncio.create_task(under_way.do("a", make)) for _ in range(2))
    failed = [asyncio.create_task(under_way.do("b", fail)) for _ in range(3)]
    await asyncio.sleep(0)
    first.cancel()
    let.set()
    assert await stays == "made"
    assert first.cancelled()
    assert [type(item) for item in await asyncio.gather(*failed, return_exceptions=True)] == [LookupError] * 3
    assert await under_way.do("b", make) == "made", "what failed is tried again"
    assert not under_way._tasks


async def test_run_together_ends_others_before_it_raises() -> None:
    ended: list[str] = []

    async def goes_on() -> int:
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(0)
            ended.append("cancelled")
        return 1

    async def fails() -> int:
        await asyncio.sleep(0)
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await run_together(goes_on(), fails())
    assert ended == ["cancelled"]


async def test_run_together_returns_results_in_order() -> None:
    async def give(number: int, switches: int) -> int:
        for _ in range(switches):
            await asyncio.sleep(0)
        return number

    assert await run_together(give(1, 5), give(2, 0)) == (1, 2)
    assert await run_together() == ()
