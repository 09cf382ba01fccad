"""A proxy that puts its own time on what it answers, minutes behind, now and then."""

import pytest

from sync.harness import SyncHarness

pytestmark = pytest.mark.anyio


async def test_response_with_late_clock_loses_no_later_change(harness: SyncHarness) -> None:
    """It costs reading some rows again. One that is ahead for once cannot be told from a clock put right."""
    await harness.settle()
    harness.fake.faults.plan = ["date behind"] * 3
    await harness.sync(trigger="schedule")
    harness.model.let_pass(30)
    harness.model.start_run("news", "soon")
    harness.model.let_pass(300)
    await harness.sync(trigger="schedule")
    assert ("news", "soon") in await harness.runs()
