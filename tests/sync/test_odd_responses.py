"""The sync and the provider together: rows that break each list, and rows that are counted and never listed."""

import pytest

from sync.harness import SyncHarness
from sync.test_deletions import freshness, full_check
from windsock.providers.miscounts import ENOUGH_PASSES

pytestmark = pytest.mark.anyio

RUN, TASK, DAG = ("bills", "run_0"), ("news", "run_0", "load", -1), ("bills",)


@pytest.mark.parametrize("is_mirrored", [True, False])
@pytest.mark.parametrize("key", [RUN, TASK, DAG])
@pytest.mark.parametrize("what", ["poisoned", "hidden"])
async def test_row_missing_from_every_list_is_one_warning_until_it_returns(
    harness: SyncHarness, what: str, key: tuple[object, ...], *, is_mirrored: bool
) -> None:
    if is_mirrored:
        await harness.settle()
    bad = getattr(harness.fake.api.oddities, what)
    bad.add(key)
    for number in range(1, 6):  # a row that is only counted is believed to be hidden after some passes
        assert (await full_check(harness))["status"] == "complete" or (what == "hidden" and number < ENOUGH_PASSES)
    for number in range(1, ENOUGH_PASSES + 1):
        full = await harness.carry_out(await harness.queue(is_full=True, trigger="manual"))
        assert full["status"] == "complete" or (what == "hidden" and number < ENOUGH_PASSES), full["error"]
    idle = await harness.sync(trigger="schedule")
    for sync in (full, idle):
        assert sync["status"] == "complete", sync["error"]
        assert (sync["coverage"]["skipped"], len(sync["warnings"])) == (1, 1)
    assert "1 row of Airflow" in (await freshness(harness))["reason"]
    if is_mirrored:
        assert len(await harness.runs()) == 6, "nothing was taken for gone"
    bad.clear()
    for _ in range(4):
        sync = await full_check(harness)
    assert (sync["warnings"], sync["coverage"]["skipped"]) == ([], 0)
    await harness.settle()
    await harness.assert_equal()
