"""Ends asyncio tasks within a time, also those that do not end when they are cancelled."""

import asyncio
from collections.abc import Collection
from typing import Any

from windsock import log

CANCEL_SECONDS = 5.0
"""What a cancelled task has before it is cancelled again."""
MAX_CANCELS = 3

logger = log.get(__name__)


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
