"""The retention of runs and the groups of their failures: numbers follow, groups that nobody uses are deleted."""

from typing import Any
from uuid import UUID

import pytest

from failures.faults import own
from failures.harness import FailureHarness
from windsock.sync import retention
from windsock.sync.retention import purge_expired

pytestmark = pytest.mark.anyio
OLD, NEW = 60 * 24 * 40, 60
"""Minutes; the space keeps 30 days."""


@pytest.fixture
async def failures(harness: FailureHarness, monkeypatch: pytest.MonkeyPatch) -> FailureHarness:
    monkeypatch.setattr(retention, "BATCH", 2)
    await harness.execute("UPDATE spaces SET retention_days = 30")
    return harness


async def fail(harness: FailureHarness, run_id: str, function: str, minutes_ago: int) -> UUID:
    """Return the id of its group."""
    harness.fake.logs = {"load": own("no account", function)(3)}
    failed = await harness.fail(run_id, minutes_ago=minutes_ago)
    await harness.end_sync()
    await harness.request(failed)
    await harness.read_due()
    (row,) = await harness.rows(
        "SELECT f.fingerprint_id FROM task_failures f JOIN runs r ON r.id = f.run_id WHERE r.external_id = %(run_id)s",
        run_id=run_id,
    )
    found: UUID = row["fingerprint_id"]
    return found


async def groups(harness: FailureHarness) -> dict[UUID, int]:
    rows: list[Any] = await harness.rows("SELECT id, occurrences FROM fingerprints")
    return {row["id"]: row["occurrences"] for row in rows}


async def test_group_without_failures_is_deleted_and_others_are_counted_again(
    failures: FailureHarness,
) -> None:
    for number in range(5):
        await fail(failures, f"gone{number}", f"gone{number}", OLD)
    remaining = await fail(failures, "k1", "remaining", OLD)
    assert await fail(failures, "k2", "remaining", NEW) == remaining
    assert (await groups(failures))[remaining] == 2
    await purge_expired(failures.db)
    assert await groups(failures) == {remaining: 1}


async def test_group_that_users_named_merged_split_or_pinned_stays_with_no_occurrences(
    failures: FailureHarness,
) -> None:
    ids = [await fail(failures, f"f{number}", f"f{number}", OLD) for number in range(7)]
    named, pinned, merged, target, origin, split, expired = ids
    changes = (
        ("UPDATE fingerprints SET name = 'Accounts' WHERE id = %(id)s", named, None),
        (
            "UPDATE fingerprints SET runbook_comment_id = (SELECT id FROM comments LIMIT 1) WHERE id = %(id)s",
            pinned,
            None,
        ),
        ("UPDATE fingerprints SET merged_into = %(other)s WHERE id = %(id)s", merged, target),
        ("UPDATE fingerprints SET split_from = %(other)s WHERE id = %(id)s", split, origin),
    )
    for statement, group_id, other in changes:
        await failures.execute(statement, id=group_id, other=other)
    await purge_expired(failures.db)
    assert await groups(failures) == dict.fromkeys(set(ids) - {expired}, 0)


async def test_group_with_failures_moved_to_another_group_stays(failures: FailureHarness) -> None:
    """As of a split: its failures were moved, and deleting it would delete them."""
    old, new = await fail(failures, "f1", "f1", OLD), await fail(failures, "f2", "f2", NEW)
    await failures.execute("UPDATE task_failures SET computed_fingerprint_id = %(old)s", old=old)
    await purge_expired(failures.db)
    assert await groups(failures) == {old: 0, new: 1}
    assert len(await failures.failures()) == 1
