"""The sync and the provider together: rows that break each list, and rows that are counted and never listed."""

import pytest

from sync.doubled import Doubled
from sync.test_gone import freshness, look
from windsock.providers.miscounts import ENOUGH_PASSES

pytestmark = pytest.mark.anyio

RUN, TASK, DAG = ("bills", "run_0"), ("news", "run_0", "load", -1), ("bills",)


@pytest.mark.parametrize("is_mirrored", [True, False])
@pytest.mark.parametrize("key", [RUN, TASK, DAG])
@pytest.mark.parametrize("what", ["poisoned", "hidden"])
async def test_row_that_no_list_gives_is_one_warning_until_it_is_back(
    doubled: Doubled, what: str, key: tuple[object, ...], *, is_mirrored: bool
) -> None:
    if is_mirrored:
        await doubled.settle()
    bad = getattr(doubled.double.api.oddities, what)
    bad.add(key)
    for number in range(1, 6):  # a row that is only counted is believed to be hidden after some passes
        assert (await look(doubled))["status"] == "complete" or (what == "hidden" and number < ENOUGH_PASSES)
    for number in range(1, ENOUGH_PASSES + 1):
        full = await doubled.carry_out(await doubled.queue(is_full=True, trigger="manual"))
        assert full["status"] == "complete" or (what == "hidden" and number < ENOUGH_PASSES), full["error"]
    idle = await doubled.sync(trigger="schedule")
    for sync in (full, idle):
        assert sync["status"] == "complete", sync["error"]
        assert (sync["coverage"]["skipped"], len(sync["warnings"])) == (1, 1)
    assert "1 row of Airflow" in (await freshness(doubled))["reason"]
    if is_mirrored:
        assert len(await doubled.runs()) == 6, "nothing was taken for gone"
    bad.clear()
    for _ in range(4):
        sync = await look(doubled)
    assert (sync["warnings"], sync["coverage"]["skipped"]) == ([], 0)
    await doubled.settle()
    await doubled.assert_equal()
