"""A proxy that puts its own time on what it answers, minutes behind, now and then."""

import pytest

from sync.doubled import Doubled

pytestmark = pytest.mark.anyio


async def test_an_answer_with_a_time_that_is_behind_loses_nothing_of_what_happens_next(doubled: Doubled) -> None:
    """It costs reading some rows again. One that is ahead for once cannot be told from a clock put right."""
    await doubled.settle()
    doubled.double.faults.plan = ["date behind"] * 3
    await doubled.sync(trigger="schedule")
    doubled.model.let_pass(30)
    doubled.model.start_run("news", "soon")
    doubled.model.let_pass(300)
    await doubled.sync(trigger="schedule")
    assert ("news", "soon") in await doubled.runs()
