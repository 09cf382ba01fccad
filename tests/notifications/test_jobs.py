"""The background work over all spaces: evaluation, and deletion of what is old."""

from typing import Any
from uuid import UUID, uuid4

import pytest

from notifications.harness import Harness
from windsock.notifications import jobs
from windsock.notifications.jobs import NotificationJobs
from windsock.notifications.queue import evaluate_space

pytestmark = pytest.mark.anyio

AGE: Any = (
    "UPDATE notification_groups SET opened_at = now() - interval '91 days', closed_at = closed_at - interval '91 days'"
    " WHERE space_id = %(space_id)s RETURNING id"
)
CLOSE: Any = (
    "UPDATE notification_groups SET closed_at = now() WHERE space_id = %(space_id)s AND id = ANY(%(ids)s) RETURNING id"
)
DELETE_INCIDENT: Any = "DELETE FROM incidents WHERE space_id = %(space_id)s AND id = %(incident_id)s RETURNING id"
GROUPS: Any = "SELECT id FROM notification_groups WHERE space_id = %(space_id)s ORDER BY id"


def only_spaces(monkeypatch: pytest.MonkeyPatch, *ids: UUID) -> None:
    async def space_ids(*_: object) -> list[UUID]:
        return list(ids)

    monkeypatch.setattr(NotificationJobs, "_space_ids", space_ids)


async def test_space_that_cannot_be_evaluated_does_not_delay_another(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = uuid4()
    evaluate = evaluate_space

    async def fail_in_one(db: Any, space_id: UUID, **more: Any) -> int:
        if space_id == bad:
            raise KeyError("time_zone")
        return await evaluate(db, space_id, **more)

    monkeypatch.setattr(jobs, "evaluate_space", fail_in_one)
    only_spaces(monkeypatch, bad, harness.space_id)
    await harness.add_rule(await harness.add_channel())
    await harness.open_incident()
    await NotificationJobs(harness.db, harness.delivery).evaluate()
    assert await harness.outcomes() == ["sent"]


async def test_old_groups_are_deleted_also_more_than_a_batch_and_without_incidents(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "PURGE_BATCH", 1)
    only_spaces(monkeypatch, harness.space_id)
    await harness.add_rule(await harness.add_channel(), group_by=["pipeline"])
    incidents = [await harness.open_incident() for _ in range(4)]
    await harness.run()
    groups = [row["id"] for row in await harness.execute(GROUPS)]
    assert len(groups) == 4
    await harness.execute(DELETE_INCIDENT, incident_id=incidents[0])
    orphan = await harness.execute(
        "SELECT g.id FROM notification_groups g WHERE g.space_id = %(space_id)s AND NOT EXISTS ("
        "SELECT FROM notification_group_incidents i WHERE i.space_id = g.space_id AND i.group_id = g.id)"
    )
    lasting = next(id_ for id_ in groups if id_ != orphan[0]["id"])
    await harness.execute(CLOSE, ids=[id_ for id_ in groups if id_ not in {lasting, orphan[0]["id"]}])
    await harness.execute(AGE)
    await NotificationJobs(harness.db, harness.delivery).purge()
    assert [row["id"] for row in await harness.execute(GROUPS)] == [lasting]
