"""Rows that cannot be read, or are only counted, where each DAG is read by itself: they cost no more than others."""

from datetime import timedelta
from typing import Any

import pytest

from fake_airflow.oddities import key_of
from sync.harness import SyncHarness
from sync.skipping_provider import UnreadableSet, skip_unreadable
from windsock.db.database import Row
from windsock.providers.miscounts import ENOUGH_PASSES

pytestmark = pytest.mark.anyio

RUN, TASK = ("bills", "run_0"), ("news", "run_0", "load", -1)


@pytest.fixture
def bad(scoped: SyncHarness) -> UnreadableSet:
    return skip_unreadable(scoped)


async def check(harness: SyncHarness) -> Row:
    """A sync that compares the totals of each DAG."""
    harness.fake.requests.clear()
    await harness.execute("UPDATE pipeline_reads SET reconciled_at = NULL")
    return await harness.sync(trigger="schedule")


def whole_readings(harness: SyncHarness) -> list[str]:
    """Lists that hold all rows of a DAG: neither of changes nor without rows."""
    names = ("run_after_gte", "execution_date_gte")
    lists = [url for url in harness.fake.requests if any(name in url for name in names)]
    return [url for url in lists if "limit=0" not in url and "limit=1&" not in url and not url.endswith("limit=1")]


@pytest.mark.parametrize("names", [True, False])
@pytest.mark.parametrize("what", ["runs", "tasks"])
@pytest.mark.parametrize("is_mirrored", [True, False])
async def test_skipped_row_causes_no_rescan_when_totals_of_its_dag_are_compared(
    scoped: SyncHarness, bad: UnreadableSet, what: str, *, is_mirrored: bool, names: bool
) -> None:
    if is_mirrored:
        await scoped.settle()
    getattr(bad, what).add(RUN if what == "runs" else TASK)
    bad.names = names
    for _ in range(3):
        scoped.model.let_pass(1_000)
        sync = await check(scoped)
        assert sync["status"] == "complete", sync["error"]
    sync = await check(scoped)
    assert whole_readings(scoped) == []
    assert sync["provider_requests"] == 1 + 1 + 4 * 3, scoped.fake.requests
    idle = await scoped.sync(trigger="schedule")
    assert idle["provider_requests"] == 1 + 1 + 2 * 3


async def test_hidden_row_of_one_dag_does_not_block_other_dags(scoped: SyncHarness) -> None:
    await scoped.settle()
    scoped.fake.api.oddities.hidden = {("bills", "run_0", "load", -1)}
    scoped.model.mark_task(("bills", "run_0", "load", -1), "failed")
    scoped.model.mark_task(TASK, "failed")
    for number in range(1, ENOUGH_PASSES + 1):
        sync = await scoped.sync(trigger="schedule")
        assert (sync["status"] == "complete") == (number == ENOUGH_PASSES), sync["error"]
        assert (await scoped.tasks())[TASK]["status"] == "failed"
        scoped.model.let_pass(60)


async def test_deletion_while_a_row_is_skipped_is_found_by_totals_of_its_dag(scoped: SyncHarness, bad: Any) -> None:
    bad.runs.add(RUN)
    scoped.model.start_run("bills", "another", at=scoped.model.now() - timedelta(hours=2))
    for _ in range(3):
        scoped.model.let_pass(1_000)
        await check(scoped)
    scoped.model.delete_run(("bills", "run_1"))
    for _ in range(3):
        await check(scoped)
    assert ("bills", "run_1") not in await scoped.runs()


@pytest.mark.parametrize("what", ["odd run", "odd task", "unreadable task"])
async def test_warning_about_an_unaddressable_run_past_the_retention_disappears(scoped: SyncHarness, what: str) -> None:
    """Such a run is not mirrored, and nothing but its place in time would find it."""
    model, oddities = scoped.model, scoped.fake.api.oddities
    await scoped.execute("UPDATE spaces SET retention_days = 2 WHERE id = %(id)s", {"id": scoped.space_id})
    await scoped.settle()
    model.start_run("news", "~/20", at=model.now() - timedelta(days=4))
    row = model.runs["news", "~/20"] if what == "odd run" else next(iter(model.tasks_of(("news", "~/20"))))
    if what == "unreadable task":
        oddities.poisoned.add(key_of(row))
    else:
        oddities.odd[key_of(row)] = {"end_date": "2026-13-01T00:00:00Z"}
    model.touch(row)
    for _ in range(2):  # after the second one no listing of changes holds it
        assert (await scoped.sync(trigger="schedule"))["coverage"]["skipped"] == 1
        model.let_pass(400)
    oddities.odd.clear()
    oddities.poisoned.clear()
    for _ in range(3):
        model.let_pass(400)
        await scoped.force_full_check()
        sync = await scoped.sync(trigger="schedule")
    assert (sync["status"], sync["coverage"]["skipped"]) == ("complete", 0)
