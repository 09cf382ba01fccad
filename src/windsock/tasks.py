"""Asyncio tasks: running some together, ending them within a time, and sharing one between callers."""

import asyncio
import functools
from collections.abc import Callable, Collection, Coroutine
from typing import Any, Generic, TypeVar, overload

from windsock import log

CANCEL_SECONDS = 5.0
"""What a cancelled task has before it is cancelled again."""
MAX_CANCELS = 3

logger = log.get(__name__)
T = TypeVar("T")
T1 = TypeVar("T1")
T2 = TypeVar("T2")
T3 = TypeVar("T3")
T4 = TypeVar("T4")
T5 = TypeVar("T5")
Work = Coroutine[Any, Any, T]


@overload
async def run_together(first: Work[T1], second: Work[T2], /) -> tuple[T1, T2]: ...
@overload
async def run_together(
    first: Work[T1], second: Work[T2], third: Work[T3], fourth: Work[T4], /
) -> tuple[T1, T2, T3, T4]: ...
@overload
async def run_together(
    first: Work[T1], second: Work[T2], third: Work[T3], fourth: Work[T4], fifth: Work[T5], /
) -> tuple[T1, T2, T3, T4, T5]: ...
@overload
async def run_together(*work: Work[T]) -> tuple[T, ...]: ...
async def run_together(*work: Work[Any]) -> tuple[Any, ...]:
    """As asyncio.gather; when one fails, the others are cancelled and have ended before its error is raised."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in work]
    try:
        return tuple(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class SingleFlight(Generic[T]):
    """Coalesces concurrent calls with the same key: the first runs, the others await its result."""

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[T]] = {}

    async def do(self, key: str, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Return the result of `make` or raise its error; it completes even if its first caller is cancelled."""
        task = self._tasks.get(key)
        if task is None:
            task = self._tasks[key] = asyncio.create_task(make())
            task.add_done_callback(functools.partial(self._done, key))
        return await asyncio.shield(task)

    def _done(self, key: str, task: asyncio.Task[T]) -> None:
        del self._tasks[key]
        if not task.cancelled():
            task.exception()  # retrieved here: without a waiting caller asyncio would log it


async def end_tasks(tasks: Collection[asyncio.Task[Any]], *, grace_seconds: float) -> None:
    """Wait `grace_seconds` seconds for them, then cancel them, and cancel again what goes on; at last leave it behind.

    Code that catches CancelledError, in a library too, would otherwise keep the process from ending.
    """
    left = {task for task in tasks if not task.done()}
    if left and grace_seconds:
        _, left = await asyncio.wait(left, timeout=grace_seconds)
    for _ in range(MAX_CANCELS):
        if not left:
            return
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=CANCEL_SECONDS)
    for task in left:
        logger.error("a task does not end; it is left behind", task=task.get_name())
