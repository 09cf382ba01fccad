"""Thresholds of rules and reopened incidents: each episode is judged for itself, also in the preview."""

from collections import Counter

import pytest

from incidents.harness import IncidentHarness
from windsock.notifications.preview import preview_rule
from windsock.notifications.queue import evaluate_space
from windsock.notifications.rule_models import RuleIn
from windsock.notifications.store import create_rule

pytestmark = pytest.mark.anyio

RUNS = ("success", "success", "failed", "success", "failed", "failed")
"""One after another: the last but one reopens the incident."""


@pytest.mark.parametrize(
    ("threshold", "expected"),
    [
        ({"min_failures": 2}, ["too_few_failures", "never_announced", "too_few_failures", "sent"]),
        ({"after_successes": 2}, ["sent", "sent", "flapping", "flapping"]),
        ({"after_successes": 1}, ["sent", "sent", "sent", "already_sent"]),
    ],
)
async def test_threshold_is_judged_by_the_present_episode(
    harness: IncidentHarness, threshold: dict[str, int], expected: list[str]
) -> None:
    (pipeline,) = await harness.add_pipelines(1)
    space_id = harness.tenant.id
    assert harness.tenant.channel_id is not None
    body = RuleIn(name="threshold", channel_ids=[harness.tenant.channel_id], **threshold)
    async with harness.db.tenant_transaction(space_id) as tx:
        rule = await create_rule(tx, space_id, body)
    for number, status in enumerate(RUNS):
        await harness.end_run(f"r{number}", status, pipeline=pipeline, due=50 - number, ended=30 - number)
        await harness.update()
        await evaluate_space(harness.db, space_id, has_mail=True)
        await harness.execute("UPDATE messages SET state = 'sent' WHERE state = 'queued'")
    decisions = await harness.rows(
        "SELECT outcome FROM notification_decisions WHERE rule_id = %(id)s ORDER BY id", id=rule["id"]
    )
    assert [row["outcome"] for row in decisions] == expected
    async with harness.db.tenant_transaction(space_id) as tx:
        preview = await preview_rule(tx, space_id, body, has_mail=True)
    assert preview["decisions"] == Counter(expected)
