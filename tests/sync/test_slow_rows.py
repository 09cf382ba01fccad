"""A row that is too slow to read stops no connector."""

from typing import Any

import pytest

from sync.harness import SyncHarness
from sync.test_deletions import full_check

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("cause", ["slow", "drop", "504"])
async def test_row_that_is_too_slow_to_read_does_not_stop_the_connector(harness: SyncHarness, cause: Any) -> None:
    """Neither in lists nor at its own address; a server that does not answer at all is another matter."""
    await harness.settle()
    model, oddities, key = harness.model, harness.fake.api.oddities, ("news", "run_0")
    oddities.poisoned_by, harness.unreadable = cause, {key}
    oddities.poisoned.add(key)
    model.note_run(key, "its log entry leads to its address")
    model.touch(model.runs[key])
    model.start_run("bills", "beside it")
    for _ in range(3):
        sync = await full_check(harness)
        assert (sync["status"], sync["coverage"]["skipped"]) == ("complete", 1), sync["error"]
    assert ("bills", "beside it") in await harness.runs()
    oddities.poisoned.clear()
    for _ in range(3):
        sync = await full_check(harness)
    assert (sync["status"], sync["coverage"]["skipped"]) == ("complete", 0)
    assert (await harness.runs())[key]["note"] == "its log entry leads to its address"
